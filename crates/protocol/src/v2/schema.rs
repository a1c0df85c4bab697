//! `docs/v2.schema.json` is what the types say. `UPDATE_DOCS=1` writes it anew.

#![expect(clippy::disallowed_methods, reason = "the page is a file")]

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::{event::EventFrame, *};

fn frame<T: JsonSchema>(generator: &mut SchemaGenerator, tag: &str) -> Value {
    let mut schema = generator.root_schema_for::<T>().to_value();
    let properties = schema.pointer_mut("/properties").and_then(Value::as_object_mut);
    if let Some(properties) = properties {
        properties.insert("t".into(), json!({"const": tag}));
    }
    schema
}

fn schema() -> Value {
    let mut reading = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let mut writing =
        schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
    let client = json!({
        "hello": frame::<Hello>(&mut reading, "hello"),
        "open": frame::<Open>(&mut reading, "open"),
        "close": frame::<Close>(&mut reading, "close"),
        "send": frame::<Send>(&mut reading, "send"),
        "typing": frame::<Typing>(&mut reading, "typing"),
        "take": frame::<Take>(&mut reading, "take"),
        "release": frame::<Release>(&mut reading, "release"),
        "draft": frame::<DraftFrame>(&mut reading, "draft"),
        "end": frame::<End>(&mut reading, "end"),
        "list": frame::<List>(&mut reading, "list"),
        "watch": frame::<Watch>(&mut reading, "watch"),
    });
    let server = json!({
        "welcome": frame::<Welcome>(&mut writing, "welcome"),
        "opened": frame::<Opened>(&mut writing, "opened"),
        "closed": frame::<Closed>(&mut writing, "closed"),
        "event": frame::<EventFrame<'static>>(&mut writing, "event"),
        "ack": frame::<Ack>(&mut writing, "ack"),
        "nack": frame::<Nack>(&mut writing, "nack"),
        "done": frame::<Done>(&mut writing, "done"),
        "refused": frame::<Refused>(&mut writing, "refused"),
        "typing": frame::<TypingNow>(&mut writing, "typing"),
        "resync": frame::<Resync>(&mut writing, "resync"),
        "listed": frame::<Listed>(&mut writing, "listed"),
        "listChanged": frame::<ListChanged>(&mut writing, "listChanged"),
        "drain": frame::<Drain>(&mut writing, "drain"),
        "beat": frame::<Beat>(&mut writing, "beat"),
    });
    json!({ "title": "Frames of stentor.v2", "client": client, "server": server })
}

#[test]
fn the_page_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/v2.schema.json");
    let now = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let page = std::fs::read_to_string(path).expect("run once with UPDATE_DOCS=1");
    assert_eq!(page, now, "docs/v2.schema.json is out of date: run once with UPDATE_DOCS=1");
}
