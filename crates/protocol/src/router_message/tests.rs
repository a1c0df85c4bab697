use proptest::prelude::*;

use super::*;

const JOINED: &str = r#"{"event":"user joined","sender":{"deviceId":"Widget","userId":"u-1","displayName":"Visitor","isAdmin":false,"urlAttributes":{"path":["dev","app-77","widget"]}},"sessionId":"stentor-widget-session-1","timeMs":1795344650459}"#;

fn parsed(text: &str) -> ClientFrame<'_> {
    ClientFrame::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_real_join_frame_is_read() {
    let frame = parsed(JOINED);
    assert_eq!(frame.event, ClientEvent::UserJoined);
    assert_eq!(frame.time_ms, Some(1_795_344_650_459));
    assert_eq!(frame.claimed_session.as_deref(), Some("stentor-widget-session-1"));
    assert_eq!(frame.sender.user_id.as_deref(), Some("u-1"));
    assert_eq!(frame.sender.display_name.as_deref(), Some("Visitor"));
    assert_eq!(frame.data, None);
    assert_eq!(app_id_from_path(&frame.sender.path), Some("app-77"));
}

#[test]
fn trap_28_only_the_old_form_names_the_app_in_its_path() {
    let path = |segments: &[&str]| segments.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    assert_eq!(app_id_from_path(&path(&["dev", "app-1"])), Some("app-1"));
    for none in [&[][..], &[""], &["dev"], &["", "a", "b"], &["dev", ""]] {
        assert_eq!(app_id_from_path(&path(none)), None, "{none:?}");
    }
}

#[test]
fn only_the_four_events_of_a_widget_are_taken() {
    for event in ["typing", "user left", "connection update", "NEW MESSAGE", ""] {
        let text = format!(r#"{{"event":"{event}"}}"#);
        assert_eq!(ClientFrame::parse(text.as_bytes()), Err(FrameError::UnknownEvent), "{event}");
    }
    for text in ["{}", r#"{"event":3}"#, r#"{"event":null}"#] {
        assert_eq!(ClientFrame::parse(text.as_bytes()), Err(FrameError::UnknownEvent));
    }
    for text in ["", "null x", "{", r#"{"event":"user joined",}"#] {
        assert_eq!(ClientFrame::parse(text.as_bytes()), Err(FrameError::NotJson), "{text}");
    }
    for text in ["null", "[]", "3", "\"user joined\""] {
        assert_eq!(ClientFrame::parse(text.as_bytes()), Err(FrameError::NotAnObject), "{text}");
    }
}

#[test]
fn trap_4_only_a_number_is_a_time() {
    for (given, time) in [
        ("17", Some(17)),
        ("-3", Some(-3)),
        ("12.9", Some(12)),
        ("1.7e12", Some(1_700_000_000_000)),
        ("\"2026-01-01T00:00:00Z\"", None),
        ("\"17\"", None),
        ("null", None),
        ("1e300", None),
        ("{}", None),
    ] {
        let text = format!(r#"{{"event":"barge in","timeMs":{given}}}"#);
        assert_eq!(parsed(&text).time_ms, time, "{given}");
    }
}

#[test]
fn session_names_are_short_strings_and_the_error_names_the_field() {
    let frame = |name: &str| format!(r#"{{"event":"barge in","sessionId":{name}}}"#);
    assert_eq!(parsed(&frame("\"\"")).claimed_session.as_deref(), Some(""));
    assert_eq!(parsed(&frame("null")).claimed_session, None);
    for bad in ["7", "{}", &format!("\"{}\"", "s".repeat(257))] {
        let error = ClientFrame::parse(frame(bad).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("sessionId"), "{error}");
    }
}

#[test]
fn s5_senders_of_wrong_types_are_ignored_never_refused() {
    let text = r#"{"event":"barge in","sender":{"userId":7,"isAdmin":"true","displayName":{},"email":[],"avatarPath":"javascript:x","urlAttributes":{"path":["a",3,"b"]}}}"#;
    assert_eq!(parsed(text).sender, SenderInfo { path: vec!["a".into()], ..SenderInfo::default() });
    for sender in ["null", "3", "[]", "\"x\""] {
        assert_eq!(
            parsed(&format!(r#"{{"event":"barge in","sender":{sender}}}"#)).sender,
            SenderInfo::default()
        );
    }
}

#[test]
fn the_last_of_repeated_fields_counts_and_data_is_kept_as_sent() {
    let text = r#"{"event":"typing","data":1,"event":"new message","data": {"b":1.0, "a":[]} }"#;
    let frame = parsed(text);
    assert_eq!(frame.event, ClientEvent::NewMessage);
    assert_eq!(frame.data, Some(br#"{"b":1.0, "a":[]}"#.as_slice()));
}

#[test]
fn debug_shows_no_ids() {
    assert!(!format!("{:?}", parsed(JOINED)).contains("u-1"));
}

proptest! {
    #[test]
    fn s10_never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = ClientFrame::parse(&bytes);
    }

    #[test]
    fn s10_never_panics_on_damaged_frames(place in 0..JOINED.len(), byte: u8, cut in 0..JOINED.len()) {
        let mut bytes = JOINED.as_bytes().to_vec();
        bytes[place] = byte;
        let _ = ClientFrame::parse(&bytes);
        let _ = ClientFrame::parse(&bytes[cut..]);
        let _ = ClientFrame::parse(&bytes[..cut]);
    }
}
