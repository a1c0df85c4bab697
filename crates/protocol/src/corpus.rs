//! Replays the corpus: every file says by its name what it must be.
//!
//! The fuzz targets start from the same files; what they find is added here.

use std::path::Path;

use crate::response::oracle::widget_would_survive;
use crate::{BotAnswer, ClientFrame, RequestIdentity, normalise, rebuild};

/// Calls `judge` with expectation (the first word of the name), name and bytes of every file.
fn replay(folder: &str, at_least: usize, judge: impl Fn(&str, &str, &[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= at_least, "only {} files", files.len());
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (expectation, _) = name.split_once('-').unwrap();
        judge(expectation, name, &std::fs::read(&file).unwrap());
    }
}

#[test]
fn s10_client_frames_of_the_corpus_are_judged_as_named() {
    replay("client_frame", 20, |expectation, name, bytes| {
        let frame = ClientFrame::parse(bytes);
        assert_eq!(frame.is_ok(), expectation == "ok", "{name}: {frame:?}");
    });
}

#[test]
fn i18_requests_of_the_corpus_are_judged_as_named() {
    let identity = RequestIdentity { user_id: "real-user-0123456789", session_id: "real-session" };
    replay("request", 20, |expectation, name, bytes| {
        let request = rebuild(bytes, identity);
        assert_eq!(request.is_ok(), expectation == "ok", "{name}: {request:?}");
        if let Ok(request) = request {
            let record = String::from_utf8(request.for_record.to_vec()).unwrap();
            for secret in ["real-", "3f0c5a1e-7d52-65aa", "rwg-1", "eyJ"] {
                assert!(!record.contains(secret), "{name}: {record}");
            }
        }
    });
}

#[test]
fn trap_9_trap_25_responses_of_the_corpus_are_judged_as_named_and_survived() {
    replay("response", 40, |expectation, name, bytes| {
        match (expectation, normalise(None, bytes)) {
            ("empty", BotAnswer::Empty) | ("failure", BotAnswer::NotAResponse(_)) => {}
            ("reply", BotAnswer::Reply(reply)) => {
                let body = serde_json::from_slice(&reply.body).unwrap();
                widget_would_survive(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
                match normalise(None, &reply.body) {
                    BotAnswer::Reply(again) => {
                        assert_eq!((again.body, again.removed), (reply.body, Vec::new()), "{name}")
                    }
                    _ => assert!(!reply.has_content, "{name}"),
                }
                // Every poisoned answer is known to the oracle: the repair is what makes it harmless.
                if name.contains("poison") || name.contains("throws") || name.contains("xss") {
                    let given = serde_json::from_slice(bytes).unwrap();
                    assert!(
                        widget_would_survive(&given).is_err(),
                        "{name} is no poison to the oracle"
                    );
                    assert!(!reply.removed.is_empty(), "{name}");
                }
            }
            (_, answer) => panic!("{name}: {answer:?}"),
        }
    });
}
