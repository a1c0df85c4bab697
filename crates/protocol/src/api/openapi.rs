//! `docs/openapi.json` is what the table and the types say. `UPDATE_DOCS=1` writes it anew.

#![expect(clippy::disallowed_methods, reason = "the page is a file")]

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    Accepted, Call, Certificate, KEY_BYTES_MAX, NewMessage, Problem, ROUTES, SESSIONS, Sessions,
    Taking,
};
use crate::v2::event_schema;

/// What is read may leave out what has a default; what is written has it always.
fn body<T: JsonSchema>(required: bool) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    json!({ "required": required, "content": { "application/json": { "schema": schema } } })
}

fn parameter(name: &str, place: &str, about: &str, schema: Value) -> Value {
    json!({ "name": name, "in": place, "description": about, "required": place == "path", "schema": schema })
}

fn parameters(call: Call) -> Vec<Value> {
    let text = || json!({ "type": "string" });
    let number = |most: u64| json!({ "type": "integer", "minimum": 1, "maximum": most });
    let of_session = [parameter("sid", "path", "The session.", text())];
    let more = match call {
        Call::List => vec![
            parameter(
                "filter",
                "query",
                "Which sessions.",
                json!({ "enum": ["all", "waiting", "mine", "open", "ended"], "default": "all" }),
            ),
            parameter(
                "search",
                "query",
                "Words in what was said lately, the visitor's name or alias, the user's or the session's id.",
                text(),
            ),
            parameter(
                "after",
                "query",
                "What `next` said.",
                json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
            ),
            parameter("limit", "query", "At most so many.", number(100)),
        ],
        Call::Events => vec![
            parameter("from", "query", "The first event; 1 if left out.", number(1 << 53)),
            parameter("limit", "query", "At most so many; 500 if left out.", number(500)),
        ],
        Call::Transcript => vec![parameter(
            "format",
            "query",
            "How it is written.",
            json!({ "enum": ["json", "text"], "default": "json" }),
        )],
        Call::Post => vec![parameter(
            "Idempotency-Key",
            "header",
            "The same message under the same key is taken once.",
            json!({ "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[ -~]+$" }),
        )],
        Call::Take | Call::Release | Call::End | Call::Erase => Vec::new(),
    };
    let session = of_session.into_iter().filter(|_| call != Call::List);
    session.chain(more).collect()
}

fn operation(generator: &mut SchemaGenerator, call: Call, summary: &str) -> Value {
    let problem = generator.subschema_for::<Problem>();
    let refused = |about: &str| json!({ "description": about, "content": { "application/json": { "schema": problem } } });
    let good = match call {
        Call::List => {
            let schema = generator.subschema_for::<Sessions>();
            json!({ "description": "Sessions", "content": { "application/json": { "schema": schema } } })
        }
        Call::Events => {
            let events = json!({ "type": "array", "items": event_schema(generator) });
            let schema = json!({
                "type": "object",
                "required": ["epoch", "head", "events"],
                "properties": {
                    "epoch": { "type": "integer" },
                    "head": { "type": "integer", "description": "The session's last event." },
                    "events": events,
                },
            });
            json!({ "description": "Events", "content": { "application/json": { "schema": schema } } })
        }
        Call::Transcript => {
            let events = json!({ "type": "array", "items": event_schema(generator) });
            json!({ "description": "All of it", "content": {
                "application/json": { "schema": events },
                "text/plain": { "schema": { "type": "string" } },
            } })
        }
        Call::Erase => {
            let schema = generator.subschema_for::<Certificate>();
            json!({ "description": "Erased", "content": { "application/json": { "schema": schema } } })
        }
        Call::Post | Call::Take | Call::Release | Call::End => {
            let schema = generator.subschema_for::<Accepted>();
            json!({ "description": "On disk", "content": { "application/json": { "schema": schema } } })
        }
    };
    let mut responses = json!({
        "200": good,
        "400": refused("Something in the request is wrong; `text` names it"),
        "401": refused("No token, or one that is not believed"),
        "403": refused("The token's role may not do that"),
        "429": refused("Too much at once; come back after `Retry-After`"),
        "503": refused("Not now; send the same again after `Retry-After`"),
    });
    let mut add = |status: &str, about: &str| {
        if let Some(responses) = responses.as_object_mut() {
            responses.insert(status.into(), refused(about));
        }
    };
    if call != Call::List {
        add("404", "There is no such session");
    }
    if matches!(call, Call::Post | Call::Take | Call::Release | Call::End) {
        add("409", "Somebody else answers: take over first; or the key was used too long ago");
        add("410", "What was in the session is erased");
        add("413", "Longer than allowed");
    }
    if call == Call::Erase {
        add(
            "409",
            "The members of the cluster would not understand it yet; `text` says what to do",
        );
        add("500", "The session's record is damaged: nothing can be written behind it");
        add("501", "The router that owns the session has an older version");
    }
    let mut operation = json!({
        "operationId": format!("{call:?}").to_lowercase(),
        "summary": summary,
        "parameters": parameters(call),
        "responses": responses,
    });
    let body = match call {
        Call::Post => Some(body::<NewMessage>(true)),
        Call::Take => Some(body::<Taking>(false)),
        _ => None,
    };
    if let Some((operation, body)) = operation.as_object_mut().zip(body) {
        operation.insert("requestBody".into(), body);
    }
    operation
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = match route.tail {
            Some(tail) => format!("{SESSIONS}/{{sid}}{tail}"),
            None => SESSIONS.to_owned(),
        };
        let operation = operation(&mut generator, route.call, route.summary);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.to_lowercase(), operation);
        }
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stentor",
            "version": "1",
            "description": "For integrators: list, read, post into, export and end sessions. Tokens are those of the v2 protocol.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

#[test]
fn the_page_is_what_the_table_and_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let now = format!("{:#}\n", document());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let page = std::fs::read_to_string(path).expect("run once with UPDATE_DOCS=1");
    assert_eq!(page, now, "docs/openapi.json is out of date: run once with UPDATE_DOCS=1");
}
