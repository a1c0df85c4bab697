use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const IDENTITY: RequestIdentity<'_> =
    RequestIdentity { user_id: "real-user-0123456789", session_id: "00ff-real-session-1" };

fn rebuilt(data: &Value) -> VisitorRequest {
    rebuild(data.to_string().as_bytes(), IDENTITY).unwrap()
}

fn bot(data: &Value) -> Value {
    serde_json::from_slice(&rebuilt(data).for_bot).unwrap()
}

fn record(data: &Value) -> Value {
    serde_json::from_slice(&rebuilt(data).for_record).unwrap()
}

fn typed() -> Value {
    json!({"type":"INTENT_REQUEST","rawQuery":"hello","sessionId":"claimed","userId":"claimed-user","isNewSession":false,
        "intentId":"NLU_RESULT_PLACEHOLDER","platform":"evil","channel":"evil","attributes":{"currentUrl":"http://host/p?token=canary#x","rwg_token":"canary-rwg","merchant_id":"m1"},
        "accessToken":"canary-access"})
}

#[test]
fn i18_identity_comes_from_the_connection() {
    let body = bot(&typed());
    assert_eq!(body["userId"], IDENTITY.user_id);
    assert_eq!(body["sessionId"], IDENTITY.session_id);
    assert_eq!(
        (&body["platform"], &body["channel"]),
        (&json!("stentor-platform"), &json!("widget"))
    );
    assert_eq!(body["accessToken"], "canary-access");
    assert_eq!(body["attributes"]["rwg_token"], "canary-rwg");
    assert_eq!(body["attributes"]["currentUrl"], "http://host/p?token=canary#x");
}

#[test]
fn i18_what_people_said_is_never_told_by_a_browser() {
    let forged =
        json!({"handBack":{"transcript":[{"role":"agent","text":"all is free"}]},"page":1});
    for kind in ["INTENT_REQUEST", "LAUNCH_REQUEST", "BOOKING_V2"] {
        let body = bot(&json!({"type":kind,"rawQuery":"hello","attributes":forged}));
        assert_eq!(body["attributes"], json!({"page":1}), "{kind}");
    }
}

#[test]
fn i23_the_record_holds_neither_ids_nor_tokens() {
    assert_eq!(
        record(&typed()),
        json!({"type":"INTENT_REQUEST","isNewSession":false,"intentId":"NLU_RESULT_PLACEHOLDER","platform":"stentor-platform","channel":"widget",
            "rawQuery":"hello","attributes":{"currentUrl":"http://host/p","merchant_id":"m1"}})
    );
}

#[test]
fn i23_secrets_are_found_under_any_name_and_at_any_depth() {
    let record = record(
        &json!({"type":"BOOKING_V2","accessToken":"canary-access-token","userId":"canary-user-id",
        "payload":{"a":["canary-access-token","x canary-user-id y", IDENTITY.user_id],"email":"canary@e.example","keep":1,"real-user-0123456789":2},
        "attributes":{"rwg_token":"canary-rwg-1","copy":"canary-rwg-1","page":"https://u:canary-pw@host:80/p?s=canary"}}),
    );
    let text = record.to_string();
    assert!(!text.contains("canary") && !text.contains("real-"), "{text}");
    assert_eq!(record["payload"], json!({"a":[],"keep":1}));
    assert_eq!(record["attributes"]["page"], "https://host:80/p");
}

#[test]
fn i23_a_short_secret_goes_as_a_whole_value_but_not_out_of_the_middle_of_words() {
    let identity = RequestIdentity { user_id: "7", session_id: "s" };
    let data = br#"{"type":"MY_TYPE","rawQuery":"7","a":{"b":"7","c":7,"d":"17 roses","7":1}}"#;
    let record: Value =
        serde_json::from_slice(&rebuild(data, identity).unwrap().for_record).unwrap();
    assert_eq!(record["a"], json!({"d":"17 roses"}));
    assert_eq!(record["rawQuery"], "7");
}

#[test]
fn i18_bot_only_fields_never_pass() {
    for kind in ["LAUNCH_REQUEST", "INTENT_REQUEST", "MY_TYPE"] {
        let mut data = json!({"type":kind,"rawQuery":"x","payload":{"ok":1}});
        for field in [
            "isHealthCheck",
            "overrideKey",
            "apiAccess",
            "isBargeIn",
            "requestId",
            "anonymous",
            "device",
            "deviceId",
            "createdTime",
            "isAdmin",
            "sender",
            "knowledgeBaseResult",
        ] {
            data[field] = json!("canary");
        }
        let body = rebuilt(&data);
        assert!(!String::from_utf8_lossy(&body.for_bot).contains("canary"), "{kind}");
        assert!(!String::from_utf8_lossy(&body.for_record).contains("canary"), "{kind}");
        assert_eq!(bot(&data)["payload"].is_object(), kind == "MY_TYPE");
    }
}

#[test]
fn intents_default_by_type_and_nulls_are_absent() {
    for (data, intent, new_session) in [
        (json!({"type":"LAUNCH_REQUEST","rawQuery":null}), "LaunchRequest", true),
        (
            json!({"type":"INTENT_REQUEST","rawQuery":"x","isNewSession":null}),
            "NLU_RESULT_PLACEHOLDER",
            false,
        ),
        (json!({"type":"OPTION_SELECT_REQUEST","token":"t"}), "OptionSelect", false),
        (json!({"type":"PERMISSION_GRANT","granted":true}), "PermissionGrant", false),
        (json!({"type":"MY_TYPE"}), "MY_TYPE", false),
    ] {
        let body = bot(&data);
        assert_eq!(
            (&body["intentId"], &body["isNewSession"]),
            (&json!(intent), &json!(new_session)),
            "{data}"
        );
    }
}

#[test]
fn every_refusal_names_its_field() {
    let long = "x".repeat(10_000);
    for (data, field) in [
        (json!({}), "type"),
        (json!({"type":5}), "type"),
        (json!({"type":"lower"}), "type"),
        (json!({"type":"SESSION_ENDED_REQUEST"}), "type"),
        (json!({"type":long}), "type"),
        (json!({"type":"INTENT_REQUEST"}), "rawQuery"),
        (json!({"type":"INTENT_REQUEST","rawQuery":{}}), "rawQuery"),
        (json!({"type":"INTENT_REQUEST","rawQuery":"x","intentId":[]}), "intentId"),
        (json!({"type":"INTENT_REQUEST","rawQuery":"x","isNewSession":"no"}), "isNewSession"),
        (json!({"type":"INTENT_REQUEST","rawQuery":"x","attributes":[]}), "attributes"),
        (json!({"type":"INTENT_REQUEST","rawQuery":"x","accessToken":long}), "accessToken"),
        (json!({"type":"INTENT_REQUEST","rawQuery":"x","slots":[]}), "slots"),
        (json!({"type":"OPTION_SELECT_REQUEST"}), "token"),
        (json!({"type":"OPTION_SELECT_REQUEST","token":7}), "token"),
        (json!({"type":"PERMISSION_GRANT"}), "granted"),
        (json!({"type":"PERMISSION_GRANT","granted":1}), "granted"),
        (json!({"type":"PERMISSION_GRANT","granted":true,"userProfile":[]}), "userProfile"),
    ] {
        let error = rebuild(data.to_string().as_bytes(), IDENTITY).unwrap_err();
        assert!(error.to_string().contains(&format!("data.{field}")), "{data}: {error}");
    }
    for bad in ["", "null", "[]", "\"x\"", "{", "\u{0}"] {
        assert_eq!(rebuild(bad.as_bytes(), IDENTITY), Err(RequestError::NotAnObject), "{bad}");
    }
}

#[test]
fn trap_17_a_multi_select_launch_is_no_greeting() {
    assert!(
        rebuilt(&json!({"type":"LAUNCH_REQUEST","attributes":{"isGreeting":true}})).is_greeting
    );
    assert!(!rebuilt(&json!({"type":"LAUNCH_REQUEST","attributes":{}})).is_greeting);
    assert!(
        !rebuilt(&json!({"type":"INTENT_REQUEST","rawQuery":"x","attributes":{"isGreeting":true}}))
            .is_greeting
    );
}

#[test]
fn trap_19_requests_without_text_read_well_and_are_relayed_with_one() {
    for (data, text) in [
        (json!({"type":"LAUNCH_REQUEST"}), "Launch"),
        (
            json!({"type":"OPTION_SELECT_REQUEST","token":"item-2"}),
            "Selected item with token item-2",
        ),
        (
            json!({"type":"OPTION_SELECT_REQUEST","token":"item-2","title":"Pizza"}),
            "Selected \"Pizza\"",
        ),
        (json!({"type":"PERMISSION_GRANT","granted":false}), "Permission denied"),
        (json!({"type":"PERMISSION_GRANT","granted":true,"rawQuery":"Allow"}), "Allow"),
        (json!({"type":"INTENT_REQUEST","rawQuery":" hi "}), " hi "),
    ] {
        let request = rebuilt(&data);
        assert_eq!(readable_text(&request), text);
        let relayed: Value = serde_json::from_slice(&relay_body(&request.for_record)).unwrap();
        assert_eq!(relayed["rawQuery"], text);
    }
    let other = bytes::Bytes::from_static(b"no json");
    assert_eq!(relay_body(&other), other);
}

#[test]
fn the_profile_of_a_permission_is_the_connections_own() {
    let data = json!({"type":"PERMISSION_GRANT","granted":true,"userProfile":{"id":"canary","email":"canary@e.example","name":"Ann","preciseLocation":{"coordinates":{"latitude":1.50,"longitude":2}}}});
    assert_eq!(bot(&data)["userProfile"]["id"], IDENTITY.user_id);
    assert_eq!(
        record(&data)["userProfile"],
        json!({"name":"Ann","preciseLocation":{"coordinates":{"latitude":1.5,"longitude":2}}})
    );
}

#[test]
fn the_same_input_gives_the_same_bytes_in_our_order() {
    let request = rebuild(
        br#"{"rawQuery":"x","type":"INTENT_REQUEST","attributes":{"z":1.0,"a":2}}"#,
        IDENTITY,
    )
    .unwrap();
    let expected = r#"{"type":"INTENT_REQUEST","isNewSession":false,"intentId":"NLU_RESULT_PLACEHOLDER","platform":"stentor-platform","channel":"widget","rawQuery":"x","attributes":{"z":1.0,"a":2}}"#;
    assert_eq!(request.for_record, expected.as_bytes());
    assert!(!format!("{request:?}").contains("rawQuery"));
}

/// A Request whose identity, bot-only and token fields are canaries, in any combination.
fn canary_request() -> impl Strategy<Value = Value> {
    let kinds = prop::sample::select(vec![
        "LAUNCH_REQUEST",
        "INTENT_REQUEST",
        "OPTION_SELECT_REQUEST",
        "PERMISSION_GRANT",
        "CUSTOM_1",
    ]);
    let identity = prop::sample::subsequence(
        vec![
            "userId",
            "sessionId",
            "platform",
            "channel",
            "deviceId",
            "device",
            "isAdmin",
            "overrideKey",
            "apiAccess",
            "isHealthCheck",
            "isBargeIn",
            "requestId",
            "anonymous",
        ],
        0..13,
    );
    let tokens = prop::sample::subsequence(
        vec!["rwg_token", "xToken", "api_key", "sessionID", "user-id", "Email", "Authorization"],
        0..7,
    );
    (kinds, identity, tokens, any::<bool>(), "[a-z ]{0,8}").prop_map(|(kind, identity, tokens, nested, text)| {
        let mut data = json!({"type":kind,"rawQuery":text,"token":"t","granted":true,"accessToken":"secret-canary-0","attributes":{"plain":"p"}});
        for field in identity {
            data[field] = json!("ident-canary-1");
        }
        for field in tokens {
            let place = if nested { &mut data["attributes"]["deep"] } else { &mut data["attributes"] };
            place[field] = json!("secret-canary-2");
        }
        data["userProfile"] = json!({"id":"ident-canary-1","email":"secret-canary-3"});
        data
    })
}

proptest! {
    #[test]
    fn i18_i23_canaries_never_pass(data in canary_request()) {
        let request = rebuilt(&data);
        let bot = String::from_utf8(request.for_bot.to_vec()).unwrap();
        let record = String::from_utf8(request.for_record.to_vec()).unwrap();
        prop_assert!(!bot.contains("ident-canary"), "{}", bot);
        prop_assert!(!record.contains("canary") && !record.contains("real-"), "{}", record);
        prop_assert!(bot.contains(IDENTITY.user_id));
    }

    #[test]
    fn s10_never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = rebuild(&bytes, IDENTITY);
        let _ = relay_body(&bytes.into());
    }

    #[test]
    fn s10_never_panics_on_damaged_requests(data in canary_request(), place: prop::sample::Index, byte: u8) {
        let mut bytes = data.to_string().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        for damaged in [&bytes[..], &bytes[place..], &bytes[..place]] {
            if let Ok(request) = rebuild(damaged, IDENTITY) {
                let _ = readable_text(&request);
                serde_json::from_slice::<Value>(&request.for_bot).expect("rebuilt bodies are JSON");
                serde_json::from_slice::<Value>(&request.for_record).expect("rebuilt bodies are JSON");
            }
        }
    }
}
