//! What the bot is told when it answers again after people did.

use bytes::Bytes;

use crate::json::{Node, Object, parse};

/// The attribute that holds it.
pub(super) const HAND_BACK: &str = "handBack";

/// Something that was said while people answered.
#[derive(Clone, Copy, Debug)]
pub struct HandBackLine<'a> {
    /// `visitor` or `agent`.
    pub role: &'a str,
    pub name: &'a str,
    pub text: &'a str,
}

/// A Request for the bot with `attributes.handBack = {from, to, transcript: [{role, name, text}]}`: the
/// numbers of the events that people covered, and what was said last among them. Attributes of the
/// visitor's own stay; what is no JSON object comes back as it is.
pub fn with_hand_back<'a>(
    for_bot: &Bytes,
    from: u64,
    to: u64,
    lines: impl Iterator<Item = HandBackLine<'a>>,
) -> Bytes {
    let text = std::str::from_utf8(for_bot).ok();
    let Some((Node::Object(mut request), _)) = text.and_then(|text| parse(text).ok()) else {
        return for_bot.clone();
    };
    let transcript = lines.map(|line| {
        let mut entry = Object::new();
        entry.set("role", line.role);
        entry.set("name", line.name);
        entry.set("text", line.text);
        Node::Object(entry)
    });
    let transcript = Node::Array(transcript.collect());
    let (from, to) = (from.to_string(), to.to_string());
    let mut hand_back = Object::new();
    hand_back.set("from", Node::Number(&from));
    hand_back.set("to", Node::Number(&to));
    hand_back.set("transcript", transcript);
    let mut attributes = match request.remove("attributes") {
        Some(Node::Object(attributes)) => attributes,
        _ => Object::new(),
    };
    attributes.set(HAND_BACK, hand_back);
    request.set("attributes", attributes);
    request.to_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_span_is_added_and_nothing_is_lost() {
        let request =
            Bytes::from_static(br#"{"type":"INTENT_REQUEST","attributes":{"a":1},"x":[1.50]}"#);
        let lines = [HandBackLine { role: "agent", name: "Ada", text: "\"Hi\"" }];
        let told = with_hand_back(&request, 4, 9, lines.into_iter());
        let hand_back = json!({
            "from": 4, "to": 9,
            "transcript": [{"role": "agent", "name": "Ada", "text": "\"Hi\""}],
        });
        let value: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(value["attributes"], json!({"a": 1, "handBack": hand_back}));
        assert!(std::str::from_utf8(&told).unwrap().contains("[1.50]"));
        let odd = Bytes::from_static(b"no JSON");
        assert_eq!(with_hand_back(&odd, 1, 2, std::iter::empty()), odd);
    }
}
