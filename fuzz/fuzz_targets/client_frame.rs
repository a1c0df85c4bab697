//! Any bytes as a client's frame. Run: `cargo +nightly fuzz run client_frame crates/protocol/corpus/client_frame`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stentor_protocol::{ClientFrame, app_id_from_path};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = ClientFrame::parse(bytes) {
        let _ = app_id_from_path(&frame.sender.path);
        if let Some(data) = frame.data {
            serde_json::from_slice::<serde_json::Value>(data).expect("data is JSON");
        }
    }
});
