//! Any bytes as a client's frame. Run: `cargo +nightly fuzz run client_frame crates/protocol/corpus/client_frame`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stentor_protocol::{ClientFrame, app_id_from_path};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = ClientFrame::parse(bytes) {
        let _ = app_id_from_path(&frame.sender.path);
        if let Some(data) = frame.data {
            let text = std::str::from_utf8(data).expect("data is UTF-8");
            stentor_protocol::json::parse(text).expect("data is JSON");
        }
    }
});
