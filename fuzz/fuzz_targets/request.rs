//! Any bytes as a visitor's Request. Run: `cargo +nightly fuzz run request crates/protocol/corpus/request`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stentor_protocol::{RequestIdentity, readable_text, rebuild, relay_body};

fuzz_target!(|bytes: &[u8]| {
    let identity = RequestIdentity {
        user_id: "\u{1f511}-user-of-this-connection",
        session_id: "\u{1f511}-session",
    };
    if let Ok(request) = rebuild(bytes, identity) {
        let _ = (readable_text(&request), relay_body(&request.for_record));
        let bot: serde_json::Value =
            serde_json::from_slice(&request.for_bot).expect("for_bot is JSON");
        assert_eq!(bot["userId"], identity.user_id);
        assert_eq!(bot["sessionId"], identity.session_id);
        let record: serde_json::Value =
            serde_json::from_slice(&request.for_record).expect("for_record is JSON");
        for absent in ["userId", "sessionId", "accessToken"] {
            assert!(record.get(absent).is_none(), "{absent} is in the record");
        }
    }
});
