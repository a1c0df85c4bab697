//! The envelope of the legacy dialect, and how a client's frame is read.
//!
//! Everything in a client's frame is a claim. The sender's fields are read leniently (a wrong type is
//! ignored, the connection's own identity counts anyway), the event and the session name strictly.

use std::borrow::Cow;
use std::fmt;

use crate::json::{
    FRAME_BYTES_MAX, Node, ShapeError, check_shape_within, parse, push_string, top_level_fields,
};

/// Longest session name that a client may claim, in bytes. The widget makes 60.
pub const CLAIMED_SESSION_BYTES_MAX: usize = 256;
/// Longest sender field (name, e-mail, avatar address, one path segment), in bytes; longer is ignored.
const SENDER_FIELD_BYTES_MAX: usize = 2048;
/// Most path segments looked at; the app id is the second.
const PATH_SEGMENTS_MAX: usize = 16;
/// Largest time a browser's clock can show, in ms either side of 1970.
const TIME_MS_MAX: f64 = 8.64e15;

/// What a widget can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientEvent {
    UserJoined,
    NewMessage,
    BargeIn,
    BargeOut,
}

/// A client's frame. `data` is kept as sent; [`crate::rebuild`] looks into it.
/// `Debug` shows no ids and no content.
#[derive(Clone, PartialEq)]
pub struct ClientFrame<'a> {
    pub event: ClientEvent,
    /// The client's clock, ms since 1970, when the frame was queued. `None` when it is not a usable number.
    pub time_ms: Option<i64>,
    /// The session name the client gives; may be empty; a name, not a secret.
    pub claimed_session: Option<String>,
    pub sender: SenderInfo,
    /// The JSON value of `data` as sent (valid JSON by [`crate::json::parse`]); `None` when absent or null.
    pub data: Option<&'a [u8]>,
}

/// What a client says about itself. `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SenderInfo {
    pub user_id: Option<String>,
    /// A wish, never a grant.
    pub is_admin: bool,
    /// Fit to be shown (see [`crate::sanitise_display_name`]).
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub avatar_path: Option<String>,
    /// `urlAttributes.path`; see [`app_id_from_path`].
    pub path: Vec<String>,
}

/// Why a client's frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too large, too deep, not UTF-8.
    #[error("frame refused by its shape")]
    Shape(#[from] ShapeError),
    #[error("frame is not JSON")]
    NotJson,
    #[error("frame is not a JSON object")]
    NotAnObject,
    #[error("event is missing or not one that a client may send")]
    UnknownEvent,
    #[error("{field} is not a string of at most {max_bytes} bytes")]
    BadField { field: &'static str, max_bytes: usize },
}

/// A frame to be written: the five fields of the legacy envelope, `data` already JSON.
#[derive(Clone, Copy, Debug)]
pub struct RouterMessage<'a> {
    pub event: &'a str,
    /// Valid JSON, spliced in as it is.
    pub data: Option<&'a [u8]>,
    /// Valid JSON, spliced in as it is.
    pub sender: Option<&'a [u8]>,
    pub session_id: Option<&'a str>,
    /// Always an integer on the wire: a non-numeric stamp freezes the browser tab.
    pub time_ms: i64,
}

// === impl ClientEvent ===

impl ClientEvent {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserJoined => "user joined",
            Self::NewMessage => "new message",
            Self::BargeIn => "barge in",
            Self::BargeOut => "barge out",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::UserJoined, Self::NewMessage, Self::BargeIn, Self::BargeOut]
            .into_iter()
            .find(|event| event.as_str() == name)
    }
}

// === impl ClientFrame ===

impl<'a> ClientFrame<'a> {
    /// Reads one text frame. A repeated field counts by its last value, as in browsers.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let text = check_shape_within(bytes, FRAME_BYTES_MAX)?;
        let fields = top_level_fields(text)
            .map_err(|_| FrameError::NotJson)?
            .ok_or(FrameError::NotAnObject)?;
        let field = |name: &str| last(&fields, name).filter(|raw| *raw != "null");
        let node = |name: &str| field(name).and_then(|raw| parse(raw).ok()).map(|(node, _)| node);

        let event = node("event")
            .as_ref()
            .and_then(Node::as_str)
            .and_then(ClientEvent::from_name)
            .ok_or(FrameError::UnknownEvent)?;
        let claimed_session = match node("sessionId") {
            None => None,
            Some(Node::String(name)) if name.len() <= CLAIMED_SESSION_BYTES_MAX => {
                Some(name.into_owned())
            }
            Some(_) => {
                return Err(FrameError::BadField {
                    field: "sessionId",
                    max_bytes: CLAIMED_SESSION_BYTES_MAX,
                });
            }
        };
        Ok(Self {
            event,
            time_ms: node("timeMs").as_ref().and_then(time_ms),
            claimed_session,
            sender: node("sender").as_ref().map(SenderInfo::read).unwrap_or_default(),
            data: field("data").map(str::as_bytes),
        })
    }
}

impl fmt::Debug for ClientFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFrame")
            .field("event", &self.event)
            .field("time_ms", &self.time_ms)
            .field("data_bytes", &self.data.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

// === impl SenderInfo ===

impl SenderInfo {
    fn read(node: &Node<'_>) -> Self {
        let Some(sender) = node.as_object() else { return Self::default() };
        let text = |name: &str, max_bytes: usize| {
            sender
                .str(name)
                .filter(|text| !text.is_empty() && text.len() <= max_bytes)
                .map(str::to_owned)
        };
        let path = sender
            .get("urlAttributes")
            .and_then(Node::as_object)
            .and_then(|attributes| attributes.get("path"))
            .and_then(Node::as_array)
            .unwrap_or_default();
        Self {
            user_id: text("userId", crate::url::USER_ID_BYTES_MAX),
            is_admin: sender.get("isAdmin").and_then(Node::as_bool).unwrap_or_default(),
            display_name: sender.str("displayName").and_then(crate::sanitise_display_name),
            email: text("email", 320),
            avatar_path: text("avatarPath", SENDER_FIELD_BYTES_MAX)
                .filter(|url| crate::text::is_safe_url(url)),
            // Stops at the first segment that is no short string: what follows would shift places.
            path: path
                .iter()
                .take(PATH_SEGMENTS_MAX)
                .map_while(Node::as_str)
                .take_while(|segment| segment.len() <= SENDER_FIELD_BYTES_MAX)
                .map(str::to_owned)
                .collect(),
        }
    }
}

impl fmt::Debug for SenderInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderInfo").field("is_admin", &self.is_admin).finish_non_exhaustive()
    }
}

// === impl RouterMessage ===

impl RouterMessage<'_> {
    /// Writes the frame.
    pub fn encode(&self) -> bytes::Bytes {
        let body = self.data.map_or(0, <[u8]>::len) + self.sender.map_or(0, <[u8]>::len);
        let mut out = Vec::with_capacity(96 + body);
        out.extend_from_slice(b"{\"event\":");
        push_string(&mut out, self.event);
        for (name, raw) in [("data", self.data), ("sender", self.sender)] {
            if let Some(raw) = raw {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                out.extend_from_slice(raw);
            }
        }
        if let Some(session_id) = self.session_id {
            out.extend_from_slice(b",\"sessionId\":");
            push_string(&mut out, session_id);
        }
        out.extend_from_slice(b",\"timeMs\":");
        out.extend_from_slice(self.time_ms.to_string().as_bytes());
        out.push(b'}');
        out.into()
    }
}

/// The app id in `urlAttributes.path` of the old URL form, `[stage, appId, …]`. The new form's path starts
/// with an empty segment and carries none.
pub fn app_id_from_path(path: &[String]) -> Option<&str> {
    let stage = path.first()?;
    let app_id = path.get(1)?;
    (!stage.is_empty() && !app_id.is_empty()).then_some(app_id.as_str())
}

fn last<'a>(fields: &[(Cow<'_, str>, &'a str)], name: &str) -> Option<&'a str> {
    fields.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| *raw)
}

/// Whole milliseconds of a number; a string is not a number even if it looks like one.
fn time_ms(node: &Node<'_>) -> Option<i64> {
    let Node::Number(digits) = node else { return None };
    let value = digits.parse::<f64>().ok()?.trunc();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be far inside the range of i64"
    )]
    (value.abs() <= TIME_MS_MAX).then_some(value as i64)
}

#[cfg(test)]
mod tests;
