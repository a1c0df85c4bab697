//! What clients send.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::json::{ShapeError, check_shape};

/// A client's frame.
#[derive(Debug)]
pub enum V2Frame {
    Hello(Hello),
    Open(Open),
    Close(Close),
    Send(Send),
    Typing(Typing),
    Take(Take),
    Release(Release),
    Draft(DraftFrame),
    End(End),
    List(List),
    Watch(Watch),
}

/// A frame that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MalformedFrame {
    /// Names the field, and says what is wrong with it.
    pub text: String,
    /// What the client wants its answer to carry, as far as that can be read.
    pub reference: Option<u64>,
    /// The message that it was to be, as far as that can be read: whoever waits for its answer gets one.
    pub message: Option<(String, u64)>,
    /// It has more bytes than a frame may have.
    pub is_too_long: bool,
}

/// The first frame: who comes.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hello {
    pub app: Option<String>,
    pub token: Option<String>,
    /// By the cookie of the login, on a page of the router itself.
    #[serde(default)]
    pub login: bool,
}

/// Opens a session, or another look at it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Open {
    #[serde(rename = "ref")]
    pub reference: u64,
    pub sid: Option<String>,
    pub name: Option<String>,
    pub client: String,
    #[serde(default)]
    pub last_mid: u64,
    pub resume: Option<Resume>,
    pub display_name: Option<String>,
}

/// A cursor: the last event that the client has dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Resume {
    pub epoch: u64,
    pub n: u64,
}

/// Leaves a session.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Close {
    pub sid: String,
}

/// A message, or a note.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Send {
    pub sid: String,
    pub mid: u64,
    pub text: Option<String>,
    /// A Stentor Request: what the visitor chose.
    #[cfg_attr(test, schemars(with = "Option<Value>"))]
    pub request: Option<Box<RawValue>>,
    #[serde(default)]
    pub note: bool,
}

/// Somebody types, or no longer does.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Typing {
    pub sid: String,
    pub on: bool,
}

/// Barges in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Take {
    #[serde(rename = "ref")]
    pub reference: u64,
    pub sid: String,
    pub display_name: Option<String>,
}

/// Barges out.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Release {
    #[serde(rename = "ref")]
    pub reference: u64,
    pub sid: String,
}

/// Deals with a late answer of the bot.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DraftFrame {
    #[serde(rename = "ref")]
    pub reference: u64,
    pub sid: String,
    pub turn: u64,
    #[serde(rename = "do")]
    pub deed: DraftDeed,
}

/// What is to become of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum DraftDeed {
    Send,
    Dismiss,
    Edited,
}

/// Ends a session.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct End {
    #[serde(rename = "ref")]
    pub reference: u64,
    pub sid: String,
}

/// Asks for sessions of the app, the latest change first.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct List {
    #[serde(rename = "ref")]
    pub reference: u64,
    #[serde(default)]
    pub filter: Filter,
    /// Words that the last text, the visitor's name or their alias contain.
    #[serde(default)]
    pub search: String,
    /// What `next` of the answer before said.
    pub after: Option<String>,
    pub limit: Option<u32>,
}

/// Which sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Filter {
    #[default]
    All,
    Waiting,
    Mine,
    Open,
    Ended,
}

/// Asks to be told of changes in the lists, or no longer.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Watch {
    #[serde(rename = "ref")]
    pub reference: u64,
    pub on: bool,
}

/// What tells a frame from others, of whatever kind the values may be.
#[derive(Default, Deserialize)]
struct Kind {
    t: Option<Value>,
    #[serde(rename = "ref")]
    reference: Option<Value>,
    sid: Option<Value>,
    mid: Option<Value>,
}

// === impl V2Frame ===

impl V2Frame {
    /// Reads a frame. Fields that are not known are left alone.
    ///
    /// # Errors
    /// It is too large, nested too deeply, no JSON object, of an unknown kind, or a field is missing or
    /// wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedFrame> {
        if let Err(error) = check_shape(bytes) {
            let is_too_long = matches!(error, ShapeError::TooLarge { .. });
            let kind = serde_json::from_slice(bytes).unwrap_or_default();
            return Err(MalformedFrame { is_too_long, ..malformed(error.to_string(), &kind) });
        }
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(malformed("not a JSON object".into(), &Kind::default()));
        }
        let kind: Kind = read(bytes, &Kind::default())?;
        match kind.t.as_ref().and_then(Value::as_str) {
            Some("hello") => read(bytes, &kind).map(Self::Hello),
            Some("open") => read(bytes, &kind).map(Self::Open),
            Some("close") => read(bytes, &kind).map(Self::Close),
            Some("send") => read(bytes, &kind).map(Self::Send),
            Some("typing") => read(bytes, &kind).map(Self::Typing),
            Some("take") => read(bytes, &kind).map(Self::Take),
            Some("release") => read(bytes, &kind).map(Self::Release),
            Some("draft") => read(bytes, &kind).map(Self::Draft),
            Some("end") => read(bytes, &kind).map(Self::End),
            Some("list") => read(bytes, &kind).map(Self::List),
            Some("watch") => read(bytes, &kind).map(Self::Watch),
            Some(_) => Err(malformed("t: not a kind of frame".into(), &kind)),
            None if kind.t.is_some() => Err(malformed("t: must be a string".into(), &kind)),
            None => Err(malformed("t: missing".into(), &kind)),
        }
    }
}

fn malformed(text: String, kind: &Kind) -> MalformedFrame {
    let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64);
    let sends = kind.t.as_ref().is_some_and(|t| t == "send");
    let sid = kind.sid.as_ref().and_then(Value::as_str).filter(|_| sends);
    MalformedFrame {
        text,
        reference: number(&kind.reference),
        message: sid.map(str::to_owned).zip(number(&kind.mid)),
        is_too_long: false,
    }
}

/// The message names the field and never repeats its value, which may be a secret.
fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], kind: &Kind) -> Result<T, MalformedFrame> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let malformed = |text| malformed(text, kind);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        malformed(match cause.classify() {
            serde_json::error::Category::Data if path == "." => expected(&cause.to_string()),
            serde_json::error::Category::Data => {
                format!("{path}: {}", expected(&cause.to_string()))
            }
            _ => format!("no JSON object: broken at column {}", cause.column()),
        })
    })?;
    reader.end().map_err(|_| malformed("something follows the JSON object".into()))?;
    Ok(value)
}

/// What was expected, without what was found.
fn expected(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    match message.split_once(", expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None => message.to_owned(),
    }
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Hello").field("app", &self.app).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("List").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Send {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Send").field("mid", &self.mid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(frame: &str) -> String {
        V2Frame::parse(frame.as_bytes()).unwrap_err().text
    }

    #[test]
    fn errors_name_the_field_and_not_its_value() {
        assert_eq!(fails(r#"{"t":"open","ref":1}"#), "missing field `client`");
        assert_eq!(fails(r#"{"t":"send","sid":"a","mid":"secret"}"#), "mid: must be u64");
        assert_eq!(
            fails(r#"{"t":"open","ref":1,"client":"c","resume":{"epoch":1,"n":-1}}"#),
            "resume.n: must be u64"
        );
        assert_eq!(
            fails(r#"{"t":"draft","ref":1,"sid":"a","turn":1,"do":"secret"}"#),
            "do: must be one of `send`, `dismiss`, `edited`"
        );
        assert_eq!(fails(r#"{"t":"secret"}"#), "t: not a kind of frame");
        assert_eq!(fails("{}"), "t: missing");
        assert_eq!(fails("[]"), "not a JSON object");
        assert_eq!(fails(r#"{"t":"#), "no JSON object: broken at column 5");
        assert_eq!(
            fails(r#"{"t":"end","ref":1,"sid":"a"} {}"#),
            "something follows the JSON object"
        );
        let reference = V2Frame::parse(br#"{"t":"take","ref":7}"#).unwrap_err().reference;
        assert_eq!(reference, Some(7));
    }

    #[test]
    fn a_message_that_cannot_be_read_is_known_by_its_number() {
        let message = |frame: &str| V2Frame::parse(frame.as_bytes()).unwrap_err().message;
        let known = Some(("a".to_owned(), 7));
        assert_eq!(message(r#"{"t":"send","sid":"a","mid":7,"text":5}"#), known);
        let large = format!(r#"{{"t":"send","text":"{}","sid":"a","mid":7}}"#, "x".repeat(70_000));
        assert_eq!(message(&large), known);
        assert!(V2Frame::parse(large.as_bytes()).unwrap_err().is_too_long);
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert_eq!(
            message(&format!(r#"{{"t":"send","sid":"a","mid":7,"request":{deep}}}"#)),
            known
        );
        assert_eq!(message(r#"{"t":"send","sid":"a","mid":-7}"#), None);
        assert_eq!(message(r#"{"t":"take","sid":"a","mid":7}"#), None);
        assert_eq!(message(r#"{"t":{},"sid":"a","mid":7}"#), None);
    }

    #[test]
    fn s10_deep_and_large_frames_are_refused() {
        let deep = format!(r#"{{"t":"hello","x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
        assert!(fails(&deep).contains("32 levels"));
        let large = format!(r#"{{"t":"hello","x":"{}"}}"#, "x".repeat(70_000));
        assert!(fails(&large).contains("65536 bytes"));
    }

    #[test]
    fn unknown_fields_are_left_alone() {
        let frame = V2Frame::parse(br#"{"t":"hello","later":{"a":[1]},"app":"demo"}"#).unwrap();
        assert!(
            matches!(frame, V2Frame::Hello(Hello { app: Some(app), token: None, login: false }) if app == "demo")
        );
    }

    #[test]
    fn s18_debug_shows_no_secrets_and_no_texts() {
        let frames = [
            r#"{"t":"hello","token":"canary"}"#,
            r#"{"t":"send","sid":"a","mid":1,"text":"canary","request":{"x":"canary"}}"#,
        ];
        for frame in frames {
            let frame = V2Frame::parse(frame.as_bytes()).unwrap();
            assert!(!format!("{frame:?}").contains("canary"));
        }
    }
}
