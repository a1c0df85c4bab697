//! Responses that are almost right: the model's shape, with poison in any place.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON, small.
fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text(),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..3)
                .prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
    .boxed()
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "type",
        "title",
        "items",
        "html",
        "url",
        "buttons",
        "x",
        "displayText",
        "name",
        "image",
    ])
    .prop_map(str::to_owned)
}

fn text() -> BoxedStrategy<Value> {
    prop::sample::select(vec![
        "",
        " ",
        "hello",
        "TRANSFER_CALL",
        "LIST",
        "<p>x</p>",
        "<script>x</script>",
        "<img src=x onerror=y>",
        "<a href=\"javascript:x\">y</a>",
        "javascript:x",
        "https://e.example/",
        "<speak>a</speak>",
        "\u{1f600}\"\\\n",
    ])
    .prop_map(Value::from)
    .boxed()
}

/// Mostly what belongs there, sometimes anything.
fn mostly(good: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![4 => good, 1 => anything()].boxed()
}

/// An object with some of the fields.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            prop::option::weighted(0.6, mostly(value))
                .prop_map(move |value| (name.to_owned(), value))
        })
        .collect();
    fields
        .prop_map(|fields| {
            let present = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            Value::from(present.collect::<Map<_, _>>())
        })
        .boxed()
}

fn list(entry: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(mostly(entry), 0..3).prop_map(Value::from).boxed()
}

fn one_of(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(words).prop_map(Value::from).boxed()
}

fn buttons() -> BoxedStrategy<Value> {
    list(object(vec![("title", text()), ("openUrlAction", text())]))
}

fn speech() -> BoxedStrategy<Value> {
    let chip = prop_oneof![text(), object(vec![("title", text()), ("url", text())])].boxed();
    let locales = object(vec![("de", object(vec![("html", text()), ("displayText", text())]))]);
    prop_oneof![
        1 => text(),
        4 => object(vec![
            ("displayText", text()), ("ssml", text()), ("html", text()), ("suggestions", list(chip)), ("locales", locales),
        ]),
    ]
    .boxed()
}

fn display() -> BoxedStrategy<Value> {
    let image = object(vec![("url", text()), ("imageActionUrl", text())]);
    let item = object(vec![
        ("title", text()),
        ("description", text()),
        ("token", text()),
        ("url", text()),
        ("image", image),
        ("buttons", buttons()),
    ]);
    let kind = one_of(&["CARD", "LIST", "CAROUSEL", "MultiSelect", "ScheduleButton", "FUTURE"]);
    // The type is always there, or most displays would be unknown ones.
    let rest = object(vec![
        ("title", text()),
        ("content", text()),
        ("subTitle", text()),
        ("smallImageUrl", text()),
        ("imageActionUrl", text()),
        ("items", list(item)),
        ("buttons", buttons()),
        ("label", text()),
    ]);
    (kind, rest)
        .prop_map(|(kind, mut rest)| {
            if let Some(display) = rest.as_object_mut() {
                display.insert("type".into(), kind);
            }
            rest
        })
        .boxed()
}

pub(super) fn response() -> BoxedStrategy<Value> {
    let system = one_of(&[
        "HANDOFF",
        "TRANSFER_CALL",
        "PERMISSION_EMAIL",
        "PERMISSION_LOCATION_PRECISE",
        "PERMISSION_LIST",
        "",
    ]);
    let data = object(vec![
        ("permissionDenied", speech()),
        ("permissionPrimerAccepted", speech()),
        ("x", text()),
    ]);
    let context =
        object(vec![("active", list(object(vec![("name", text()), ("parameters", text())])))]);
    object(vec![
        ("outputSpeech", speech()),
        ("reprompt", speech()),
        ("displays", list(display())),
        ("context", context),
        ("system", system),
        ("data", data),
        ("tag", Just(json!("t")).boxed()),
        ("unknown", text()),
    ])
}
