//! Frames for the published widget: every event it understands, in a form that cannot hurt it.
//!
//! `data` is an object wherever the widget looks into it, a sender is present wherever it dereferences
//! one, stamps are integers. Raw bodies must have passed [`crate::normalise`] or [`crate::rebuild`]; they
//! are spliced in unread.

use bytes::Bytes;

use crate::json::Object;
use crate::router_message::RouterMessage;

/// How the widget reads a `new message`: a Response from a bot, a Request from a person. There is no third
/// kind: a `Router` makes it throw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Bot,
    Widget,
}

/// Who a frame is from, as the recipient may know them: `user_id` is an alias, never a real id.
#[derive(Clone, Copy, Debug)]
pub struct OutSender<'a> {
    pub device: Device,
    /// The widget draws one participant per device and id. An id that ends in `router` hides its join and
    /// leave lines.
    pub user_id: &'a str,
    /// Without it the join line says "Bot".
    pub display_name: Option<&'a str>,
    pub avatar_path: Option<&'a str>,
}

/// Which attempt of a turn failed. Any other number throws in the widget or draws an empty bubble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedTry {
    First = 1,
    Second = 2,
    /// The last one: its delay is always 0, so that the text stays.
    Third = 3,
}

/// Session confirmed (`created`), or access refused with a reason.
pub fn connection_update(created: bool, error: Option<&str>, time_ms: i64) -> Bytes {
    let mut data = Object::new();
    data.set("sessionCreated", created);
    if let Some(error) = error {
        data.set("errorMessage", error);
    }
    frame("connection update", Some(&data.to_bytes()), None, time_ms)
}

/// Brings the header caption back to normal after `disconnect` or a refusal.
pub fn account_status(time_ms: i64) -> Bytes {
    frame("account status", Some(b"{}"), None, time_ms)
}

/// Somebody is here; also clears that sender's typing mark.
pub fn user_joined(sender: OutSender<'_>, time_ms: i64) -> Bytes {
    frame("user joined", None, Some(sender), time_ms)
}

/// Somebody left.
pub fn user_left(sender: OutSender<'_>, time_ms: i64) -> Bytes {
    frame("user left", None, Some(sender), time_ms)
}

/// Three dots for this sender until [`stop_typing`]; a message does not clear them.
pub fn typing(sender: OutSender<'_>, time_ms: i64) -> Bytes {
    frame("typing", None, Some(sender), time_ms)
}

/// No dots for this sender.
pub fn stop_typing(sender: OutSender<'_>, time_ms: i64) -> Bytes {
    frame("stop typing", None, Some(sender), time_ms)
}

/// A bot's answer; `response_body` comes from [`crate::normalise`].
pub fn new_message_bot(sender: OutSender<'_>, response_body: &[u8], time_ms: i64) -> Bytes {
    message(OutSender { device: Device::Bot, ..sender }, response_body, time_ms)
}

/// A person's message; `request_body` comes from [`crate::relay_body`].
pub fn new_message_widget(sender: OutSender<'_>, request_body: &[u8], time_ms: i64) -> Bytes {
    message(OutSender { device: Device::Widget, ..sender }, request_body, time_ms)
}

/// A text in the bot's voice: the only way to say something as the system.
pub fn new_message_text(sender: OutSender<'_>, text: &str, time_ms: i64) -> Bytes {
    let mut speech = Object::new();
    speech.set("displayText", text);
    let mut response = Object::new();
    response.set("outputSpeech", speech);
    new_message_bot(sender, &response.to_bytes(), time_ms)
}

/// An attempt at the bot failed; the next one is in `delay_s` whole seconds. Always from the same sender,
/// or the widget draws the bubble once per sender.
pub fn failure(
    sender: OutSender<'_>,
    tries: FailedTry,
    delay_s: u32,
    error: &str,
    time_ms: i64,
) -> Bytes {
    let (tries, delay_s) = match tries {
        FailedTry::First => ("1", delay_s),
        FailedTry::Second => ("2", delay_s),
        FailedTry::Third => ("3", 0),
    };
    let delay_s = delay_s.to_string();
    let mut data = Object::new();
    data.set("type", "BOT");
    data.set("tries", crate::json::Node::Number(tries));
    data.set("delay", crate::json::Node::Number(&delay_s));
    data.set("error", error);
    frame("failure", Some(&data.to_bytes()), Some(sender), time_ms)
}

/// Covers the panel; the socket stays.
pub fn disconnect(time_ms: i64) -> Bytes {
    frame("disconnect", Some(b"{}"), None, time_ms)
}

/// Removes the cover.
pub fn reconnect(time_ms: i64) -> Bytes {
    frame("reconnect", Some(b"{}"), None, time_ms)
}

// === impl FailedTry ===

impl FailedTry {
    /// Attempt 1, 2, 3; nothing else is a try that the widget can show.
    pub fn from_attempt(attempt: u32) -> Option<Self> {
        match attempt {
            1 => Some(Self::First),
            2 => Some(Self::Second),
            3 => Some(Self::Third),
            _ => None,
        }
    }
}

fn message(sender: OutSender<'_>, body: &[u8], time_ms: i64) -> Bytes {
    // A message without an object throws; an empty one is only a blank row.
    let body = if body.is_empty() { b"{}" } else { body };
    frame("new message", Some(body), Some(sender), time_ms)
}

fn frame(event: &str, data: Option<&[u8]>, sender: Option<OutSender<'_>>, time_ms: i64) -> Bytes {
    let sender = sender.map(|sender| sender_json(&sender));
    RouterMessage { event, data, sender: sender.as_deref(), session_id: None, time_ms }.encode()
}

fn sender_json(sender: &OutSender<'_>) -> Bytes {
    let mut json = Object::new();
    json.set(
        "deviceId",
        match sender.device {
            Device::Bot => "Bot",
            Device::Widget => "Widget",
        },
    );
    json.set("userId", sender.user_id);
    if let Some(name) = sender.display_name {
        json.set("displayName", name);
    }
    if let Some(avatar_path) = sender.avatar_path {
        json.set("avatarPath", avatar_path);
    }
    json.to_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bot() -> OutSender<'static> {
        OutSender {
            device: Device::Bot,
            user_id: "bot-1",
            display_name: Some("Be \"B\""),
            avatar_path: None,
        }
    }

    fn value(frame: &Bytes) -> Value {
        serde_json::from_slice(frame).unwrap()
    }

    #[test]
    fn trap_12_connection_update_and_failure_have_a_data_object() {
        assert_eq!(
            value(&connection_update(true, None, 5)),
            json!({"event":"connection update","data":{"sessionCreated":true},"timeMs":5})
        );
        assert_eq!(
            value(&connection_update(false, Some("no"), 5))["data"],
            json!({"sessionCreated":false,"errorMessage":"no"})
        );
        assert_eq!(
            value(&failure(bot(), FailedTry::First, 5, "x", 1))["data"],
            json!({"type":"BOT","tries":1,"delay":5,"error":"x"})
        );
    }

    #[test]
    fn trap_13_the_final_failure_has_no_delay_and_there_is_no_fourth() {
        assert_eq!(value(&failure(bot(), FailedTry::Third, 7, "x", 1))["data"]["delay"], 0);
        assert_eq!(FailedTry::from_attempt(0), None);
        assert_eq!(FailedTry::from_attempt(4), None);
    }

    #[test]
    fn trap_4_every_frame_has_an_integer_stamp_and_a_sender_where_the_widget_needs_one() {
        let sender = bot();
        for frame in [
            user_joined(sender, 9),
            user_left(sender, 9),
            typing(sender, 9),
            stop_typing(sender, 9),
            new_message_bot(sender, b"{}", 9),
            new_message_widget(sender, b"{}", 9),
            failure(sender, FailedTry::Second, 5, "", 9),
        ] {
            let frame = value(&frame);
            assert_eq!(frame["sender"]["userId"], "bot-1", "{frame}");
            assert_eq!(frame["timeMs"].as_i64(), Some(9));
        }
        for frame in
            [account_status(9), disconnect(9), reconnect(9), connection_update(true, None, 9)]
        {
            assert_eq!(value(&frame)["timeMs"].as_i64(), Some(9));
        }
    }

    #[test]
    fn trap_11_messages_are_from_a_bot_or_a_widget_and_bodies_are_spliced_unread() {
        let raw = br#"{"rawQuery":"hi", "x":1.50}"#;
        let frame = new_message_widget(bot(), raw, 1);
        assert!(frame.windows(raw.len()).any(|window| window == raw));
        assert_eq!(value(&frame)["sender"]["deviceId"], "Widget");
        assert_eq!(
            value(&new_message_text(bot(), "a\"b", 1))["data"]["outputSpeech"]["displayText"],
            "a\"b"
        );
        assert_eq!(value(&new_message_bot(bot(), b"", 1))["data"], json!({}));
    }
}
