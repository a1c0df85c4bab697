//! Any bytes as a bot's answer. Run: `cargo +nightly fuzz run response crates/protocol/corpus/response`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stentor_protocol::{BotAnswer, normalise};

fuzz_target!(|bytes: &[u8]| {
    if let BotAnswer::Reply(reply) = normalise(None, bytes) {
        serde_json::from_slice::<serde_json::Value>(&reply.body).expect("a repaired body is JSON");
        match normalise(None, &reply.body) {
            BotAnswer::Reply(again) => assert_eq!(again.body, reply.body, "repair is idempotent"),
            _ => assert!(!reply.has_content, "a visible body stays a Response"),
        }
    }
});
