//! What a Response says in plain words.

use crate::json::{Node, parse};
use crate::text::plain_text_of_ssml;

/// The words of a Response (as it is kept: made harmless before), for lists and transcripts; nothing if it
/// has none.
#[must_use]
pub fn response_text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let Ok((Node::Object(response), _)) = parse(text) else { return None };
    let text = match response.get("outputSpeech")? {
        Node::String(text) => text.to_string(),
        Node::Object(speech) => match speech.get("displayText") {
            Some(Node::Array(entries)) => {
                let entries: Vec<_> = entries.iter().filter_map(Node::as_text).collect();
                entries.join("\n")
            }
            Some(Node::Number(number)) => (*number).to_owned(),
            Some(Node::String(text)) => text.to_string(),
            _ => plain_text_of_ssml(speech.get("ssml")?.as_text()?),
        },
        _ => return None,
    };
    Some(text).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_a_response_has_them() {
        for (body, expected) in [
            (r#"{"outputSpeech":"Hi"}"#, Some("Hi")),
            (r#"{"outputSpeech":{"displayText":"Hi","ssml":"<speak>Ho</speak>"}}"#, Some("Hi")),
            (r#"{"outputSpeech":{"displayText":["One","Two"]}}"#, Some("One\nTwo")),
            (r#"{"outputSpeech":{"displayText":42}}"#, Some("42")),
            (r#"{"outputSpeech":{"ssml":"<speak>Ho <b>ho</b></speak>"}}"#, Some("Ho ho")),
            (r#"{"outputSpeech":{"displayText":" "}}"#, None),
            (r#"{"displays":[]}"#, None),
            ("[]", None),
            ("nonsense", None),
        ] {
            assert_eq!(response_text(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
