use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::widget_would_survive;
use super::*;

mod generated;

fn reply(body: &Value) -> NormalisedResponse {
    reply_to(&body.to_string())
}

fn reply_to(body: &str) -> NormalisedResponse {
    match normalise(Some("application/json"), body.as_bytes()) {
        BotAnswer::Reply(reply) => reply,
        other => panic!("{body} gave {other:?}"),
    }
}

fn repaired(body: Value) -> Value {
    serde_json::from_slice(&reply(&body).body).unwrap()
}

/// Given, expected, and the fields reported.
fn check(rows: Vec<(Value, Value, &[&str])>) {
    for (given, expected, fields) in rows {
        let reply = reply(&given);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body, expected, "given {given}");
        assert_eq!(
            reply.removed.iter().map(|removed| removed.field.as_str()).collect::<Vec<_>>(),
            fields,
            "given {given}"
        );
        widget_would_survive(&body).unwrap();
    }
}

#[test]
fn trap_25_bodies_are_told_apart_by_content() {
    use BotAnswer::{Empty, NotAResponse as No};
    let html = Some("text/html; charset=utf-8");
    let json_type = Some("application/json");
    for (content_type, body, answer) in [
        (html, "Error: no channel", No(NotAResponse::Html)),
        (None, "<!doctype html>", No(NotAResponse::Html)),
        (json_type, "Error: x", No(NotAResponse::NotJson)),
        (None, "{\"outputSpeech\":", No(NotAResponse::NotJson)),
        (json_type, "null", No(NotAResponse::NotAnObject)),
        (json_type, "[{}]", No(NotAResponse::NotAnObject)),
        (json_type, "\"hello\"", No(NotAResponse::NotAnObject)),
        (json_type, "{\"message\":\"Internal server error\"}", No(NotAResponse::NoResponseField)),
        (json_type, "", Empty),
        (html, " \n", Empty),
        (json_type, "\u{feff}{}", Empty),
        (json_type, " {} ", Empty),
        (json_type, "{\"status\":\"complete\"}", Empty),
    ] {
        assert_eq!(normalise(content_type, body.as_bytes()), answer, "{body}");
    }
    assert_eq!(normalise(json_type, b"{\"tag\":\"\xff\"}"), No(NotAResponse::NotJson));
    let apology = json!({"tag":"TROUBLE_WITH_REQUEST","outputSpeech":{"displayText":"Sorry"}});
    assert!(reply(&apology).has_content);
    // A proxy that forgets the type does not make a Response less of one.
    assert!(matches!(normalise(html, apology.to_string().as_bytes()), BotAnswer::Reply(_)));
}

#[test]
fn trap_9_fatal_payloads_lose_their_smallest_bad_part() {
    let text = |displays: Value| json!({"outputSpeech":"t","displays":displays});
    let item = |item: Value| text(json!([{"type":"LIST","items":[item]}]));
    check(vec![
        (text(json!({})), json!({"outputSpeech":"t"}), &["displays"]),
        (text(json!(null)), json!({"outputSpeech":"t"}), &["displays"]),
        (text(json!([null, {"type":"NEW"}])), text(json!([{"type":"NEW"}])), &["displays[]"]),
        (
            text(json!([{"type":"LIST"}])),
            text(json!([{"type":"LIST","items":[]}])),
            &["displays[].items"],
        ),
        (
            text(json!([{"type":"CAROUSEL","items":{"0":1}}])),
            text(json!([{"type":"CAROUSEL","items":[]}])),
            &["displays[].items", "displays[].items"],
        ),
        (
            text(json!([{"type":"LIST","items":[null, {"title":"a"}]}])),
            item(json!({"title":"a"})),
            &["displays[].items[]"],
        ),
        (
            item(json!({"title":{"x":1},"description":"d"})),
            item(json!({"description":"d"})),
            &["displays[].items[].title"],
        ),
        (
            item(json!({"title":"a","image":null})),
            item(json!({"title":"a"})),
            &["displays[].items[].image"],
        ),
        (
            item(json!({"title":"a","token":7})),
            item(json!({"title":"a","token":"7"})),
            &["displays[].items[].token"],
        ),
        (
            item(json!({"title":"a","buttons":[null, {"title":[]}]})),
            item(json!({"title":"a","buttons":[{}]})),
            &["displays[].items[].buttons[]", "displays[].items[].buttons[].title"],
        ),
        (
            text(json!([{"type":"CARD","content":{},"title":"c"}])),
            text(json!([{"type":"CARD","title":"c"}])),
            &["displays[].content"],
        ),
        (
            text(json!([{"type":"CARD","buttons":{"a":1}}])),
            text(json!([{"type":"CARD"}])),
            &["displays[].buttons"],
        ),
        (
            text(json!([{"type":"MultiSelect"}])),
            text(json!([{"type":"MultiSelect","items":[]}])),
            &["displays[].items"],
        ),
        (
            text(json!([{"type":"ScheduleButton","label":{}}])),
            text(json!([{"type":"ScheduleButton"}])),
            &["displays[].label"],
        ),
        (
            json!({"outputSpeech":{"displayText":{"a":1},"ssml":"<speak>s</speak>"}}),
            json!({"outputSpeech":{"ssml":"<speak>s</speak>","displayText":"s"}}),
            &["outputSpeech.displayText"],
        ),
        (
            json!({"outputSpeech":{"displayText":"t","suggestions":[{"title":{}},"b"]}}),
            json!({"outputSpeech":{"displayText":"t","suggestions":["b"]}}),
            &["outputSpeech.suggestions[].title", "outputSpeech.suggestions[]"],
        ),
    ]);
}

#[test]
fn trap_9_payloads_that_lose_a_frame_are_repaired() {
    let speech = |chips: Value| json!({"outputSpeech":{"displayText":"t","suggestions":chips}});
    let bare = json!({"outputSpeech":{"displayText":"t"}});
    check(vec![
        (speech(json!("Hours")), bare.clone(), &["outputSpeech.suggestions"]),
        (speech(json!(null)), bare, &["outputSpeech.suggestions"]),
        (
            speech(json!([null, 5, "a", []])),
            speech(json!(["5", "a"])),
            &[
                "outputSpeech.suggestions[]",
                "outputSpeech.suggestions[]",
                "outputSpeech.suggestions[]",
            ],
        ),
        (
            json!({"tag":"x","context":{"active":{}}}),
            json!({"tag":"x","context":{}}),
            &["context.active"],
        ),
        (
            json!({"tag":"x","context":{"active":[null,{"name":"n","x":1},{"name":4}]}}),
            json!({"tag":"x","context":{"active":[{"name":"n","x":1}]}}),
            &["context.active[]", "context.active[]"],
        ),
        (json!({"tag":"x","context":null}), json!({"tag":"x"}), &["context"]),
        (json!({"outputSpeech":"t","system":7}), json!({"outputSpeech":"t"}), &["system"]),
        (json!({"outputSpeech":null,"tag":"x"}), json!({"tag":"x"}), &["outputSpeech"]),
    ]);
}

#[test]
fn trap_10_system_values_that_hide_the_message_are_taken_out_and_reported() {
    check(vec![
        (
            json!({"outputSpeech":"t","system":"TRANSFER_CALL","data":{"transferPhoneNumber":"1"}}),
            json!({"outputSpeech":"t","data":{"transferPhoneNumber":"1"}}),
            &["system"],
        ),
        (
            json!({"outputSpeech":"t","system":"PERMISSION_PHONE_NUMBER"}),
            json!({"outputSpeech":"t"}),
            &["system"],
        ),
        (
            json!({"outputSpeech":"t","system":"PERMISSION_LOCATION_PRECISE"}),
            json!({"outputSpeech":"t","system":"PERMISSION_LOCATION_PRECISE","data":{}}),
            &["data"],
        ),
        (
            json!({"system":"PERMISSION_EMAIL","data":[]}),
            json!({"system":"PERMISSION_EMAIL","data":{}}),
            &["data"],
        ),
        (
            json!({"system":"PERMISSION_EMAIL","data":{"permissionDenied":4}}),
            json!({"system":"PERMISSION_EMAIL","data":{}}),
            &["data.permissionDenied"],
        ),
    ]);
    assert_eq!(
        reply(&json!({"outputSpeech":"t","system":"TRANSFER_CALL"})).system.as_deref(),
        Some("TRANSFER_CALL")
    );
    let handoff = reply(&json!({"outputSpeech":"t","system":"HANDOFF","data":{"q":1}}));
    assert!(handoff.handoff && handoff.removed.is_empty());
}

#[test]
fn i19_harmless_and_unknown_parts_keep_their_very_bytes() {
    for body in [
        r#"{"outputSpeech" : "plain", "zzz":{"b":1.50,"a":null}, "n":12345678901234567890 }"#,
        r#"{"displays":["text",5,{"type":"FUTURE","items":null},{"type":"CARD"},{"type":"LIST","items":[]}]}"#,
        r#"{"outputSpeech":{"displayText":17}}"#,
        r#"{"outputSpeech":{"displayText":["a","b"]}}"#,
        r#"{"outputSpeech":{"displayText":"a","html":"<b>a</b>","suggestions":["x",{"title":"y","url":"https://e.example/"}]}}"#,
        r#"{"system":"SURFACE_CLOSE","data":null,"media":[null]}"#,
    ] {
        let reply = reply_to(body);
        assert_eq!(reply.body, body.as_bytes());
        assert_eq!(reply.removed, Vec::new());
    }
    let repaired = reply_to(r#"{"zzz":1.50,"displays":[null,{"type":"X","y":[null]}],"aaa":1e2}"#);
    assert_eq!(
        repaired.body,
        r#"{"zzz":1.50,"displays":[{"type":"X","y":[null]}],"aaa":1e2}"#.as_bytes()
    );
}

#[test]
fn a_repeated_key_cannot_hide_poison() {
    let reply = reply_to(r#"{"displays":[],"outputSpeech":"t","displays":null}"#);
    assert_eq!(reply.body, r#"{"outputSpeech":"t"}"#.as_bytes());
}

#[test]
fn s15_html_and_addresses_are_made_safe_while_text_stays() {
    let html = repaired(
        json!({"outputSpeech":{"html":"<p>hi <a href='javascript:x'>l</a><script>x</script></p>"}}),
    );
    assert_eq!(html["outputSpeech"]["html"], "<p>hi <a rel=\"noopener noreferrer\">l</a></p>");
    let gone = repaired(json!({"outputSpeech":{"html":"<script>x</script>","displayText":"t"}}));
    assert_eq!(gone["outputSpeech"], json!({"displayText":"t"}));
    let huge = repaired(json!({"outputSpeech":{"html":format!("<p>{}</p>", "x ".repeat(40_000))}}));
    assert!(
        huge["outputSpeech"]["html"].is_null()
            && huge["outputSpeech"]["displayText"].as_str().unwrap().starts_with("x x")
    );

    for url in ["javascript:alert(1)", "JaVa\tScript:x", "data:text/html,x", "file:///etc/passwd"] {
        let body = repaired(json!({
            "outputSpeech":{"displayText":"t","suggestions":[{"title":"c","url":url}]},
            "displays":[{"type":"CARD","title":"c","smallImageUrl":url,"imageActionUrl":url,"buttons":[{"title":"b","openUrlAction":url}]},
                {"type":"LIST","items":[{"title":"i","url":url,"image":{"url":url,"imageActionUrl":url}}]}]}));
        assert_eq!(
            body,
            json!({
            "outputSpeech":{"displayText":"t","suggestions":[{"title":"c"}]},
            "displays":[{"type":"CARD","title":"c","buttons":[{"title":"b"}]},{"type":"LIST","items":[{"title":"i","image":{}}]}]})
        );
    }
    let nested = reply(
        &json!({"outputSpeech":{"displayText":"t","locales":{"de":{"outputSpeech":{"html":"<img src=x onerror=y>"}}}}}),
    );
    assert_eq!(
        nested.removed.first().map(|removed| removed.field.as_str()),
        Some("outputSpeech.locales.html")
    );
}

#[test]
fn speech_markup_alone_gets_a_text() {
    let body = repaired(json!({"outputSpeech":{"ssml":"<speak>We open <break/>at nine.</speak>"}}));
    assert_eq!(body["outputSpeech"]["displayText"], "We open at nine.");
    assert!(reply(&json!({"outputSpeech":{"ssml":"<speak>x</speak>"}})).removed.is_empty());
}

#[test]
fn trap_14_an_answer_without_anything_visible_says_so() {
    for (body, visible) in [
        (json!({"outputSpeech":"hi"}), true),
        (json!({"outputSpeech":" "}), false),
        (json!({"outputSpeech":{}}), false),
        (json!({"outputSpeech":5}), false),
        (json!({"outputSpeech":{"suggestions":["a"]}}), true),
        (json!({"outputSpeech":{"html":"<script>x</script>"}}), false),
        (json!({"displays":[]}), false),
        (json!({"displays":[{"type":"LIST"}]}), false),
        (json!({"displays":[{"type":"CARD","title":"x"}]}), true),
        (json!({"context":{"active":[]}}), false),
        (json!({"system":"PERMISSION_EMAIL"}), true),
        (json!({"system":"PERMISSION_LIST"}), false),
    ] {
        assert_eq!(reply(&body).has_content, visible, "{body}");
    }
}

#[test]
fn answers_beyond_256_kib_are_refused() {
    let body = json!({"outputSpeech":"x".repeat(RESPONSE_BYTES_MAX)}).to_string();
    assert_eq!(normalise(None, body.as_bytes()), BotAnswer::NotAResponse(NotAResponse::TooLarge));
    assert_eq!(normalise(None, &[b' '; 10]), BotAnswer::Empty);
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(normalise(None, deep.as_bytes()), BotAnswer::NotAResponse(NotAResponse::TooDeep));
}

#[test]
fn the_account_names_fields_by_pattern_and_counts() {
    let reply = reply(&json!({"displays":[null,null,{"type":"CARD","title":{"secret":"canary"}}]}));
    assert_eq!(reply.removed.len(), 2);
    assert!(reply.removed.contains(&Removed {
        field: "displays[]".into(),
        why: Why::Null,
        count: 2
    }));
    assert!(!format!("{reply:?}").contains("canary"));
}

fn survives_and_is_stable(body: &[u8]) -> Result<(), TestCaseError> {
    if let BotAnswer::Reply(first) = normalise(None, body) {
        let value: Value = serde_json::from_slice(&first.body).expect("repaired bodies are JSON");
        prop_assert_eq!(widget_would_survive(&value), Ok(()));
        let BotAnswer::Reply(second) = normalise(None, &first.body) else {
            // Repair may leave nothing of a Response; then there was nothing to show either.
            prop_assert!(!first.has_content);
            return Ok(());
        };
        prop_assert_eq!(&second.body, &first.body);
        prop_assert_eq!(second.removed, Vec::new());
        prop_assert_eq!(second.has_content, first.has_content);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn i19_trap_9_any_near_response_is_harmless_after_repair_and_repair_is_idempotent(body in generated::response()) {
        survives_and_is_stable(body.to_string().as_bytes())?;
    }

    #[test]
    fn s10_never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives_and_is_stable(&bytes)?;
    }

    #[test]
    fn s10_never_panics_on_damaged_responses(body in generated::response(), place: prop::sample::Index, byte: u8) {
        let mut bytes = body.to_string().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        survives_and_is_stable(&bytes)?;
        survives_and_is_stable(&bytes[..place])?;
    }
}
