//! What a bot answers: told apart by content, and repaired so that no widget can be hurt by it.
//!
//! Some values crash the published widget for good (it stores them and crashes again on every load). The
//! smallest bad part is removed, the text stays, everything not understood is passed on as it came; an
//! answer that needs no repair keeps its very bytes. What was done is reported by field pattern, never
//! with content.

mod context;
mod displays;
mod html;
mod removed;
mod speech;
mod system;
mod text;

use bytes::Bytes;

use crate::json::{Node, Object, ShapeError, check_shape_within, parse};

use self::removed::Repairs;
pub use self::removed::{Removed, Why};
pub use self::text::response_text;

/// Largest answer that is looked at, in bytes. Repair only shrinks in practice, so four times the result is generous.
pub const BOT_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Largest answer that is passed on, in bytes: a commit record of 512 KiB must hold it with its envelope, and before
/// that a request of 256 KiB with its own.
pub const RESPONSE_BYTES_MAX: usize = 255 * 1024;

/// What an HTTP body of a bot was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BotAnswer {
    /// A Response, harmless now. An apology (`tag: "TROUBLE_WITH_REQUEST"`) is one, too.
    Reply(NormalisedResponse),
    /// The bot took the Request and has nothing to say: no body, `{}`, `{"status":"complete"}`.
    Empty,
    /// The attempt failed.
    NotAResponse(NotAResponse),
}

/// Why a body is no Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotAResponse {
    #[error("the bot answered HTML")]
    Html,
    #[error("the bot's answer is not JSON")]
    NotJson,
    #[error("the bot's answer is not a JSON object")]
    NotAnObject,
    #[error("the bot's answer has no field of a Response")]
    NoResponseField,
    #[error("the bot's answer nests deeper than {} levels", crate::DEPTH_MAX)]
    TooDeep,
    #[error("the bot's answer exceeds {RESPONSE_BYTES_MAX} bytes")]
    TooLarge,
}

/// A Response that any widget survives.
#[derive(Clone, PartialEq, Eq)]
pub struct NormalisedResponse {
    /// JSON object; the bot's own bytes when nothing had to be repaired.
    pub body: Bytes,
    /// What was repaired; names from our own code only, at most one entry per field pattern and reason.
    pub removed: Vec<Removed>,
    /// `system` as the bot sent it, also when it was taken out of `body` (e.g. `TRANSFER_CALL`).
    pub system: Option<String>,
    /// The bot asks for a person.
    pub handoff: bool,
    /// Something of it is visible; an answer without content must not be shown (blank row).
    pub has_content: bool,
}

/// Fields of the Response model. A JSON object with none of them is some other server's answer.
const RESPONSE_FIELDS: [&str; 13] = [
    "outputSpeech",
    "reprompt",
    "displays",
    "context",
    "system",
    "data",
    "media",
    "name",
    "tag",
    "segments",
    "actions",
    "conditions",
    "channel",
];

/// Tells what a bot's body is, whatever its status said, and makes a Response harmless. Idempotent.
pub fn normalise(content_type: Option<&str>, body: &[u8]) -> BotAnswer {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if body.is_empty() {
        return BotAnswer::Empty;
    }
    let text = match check_shape_within(body, BOT_BODY_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return BotAnswer::NotAResponse(not_json(error, content_type, body)),
    };
    let Ok((root, rewritten)) = parse(text) else {
        return BotAnswer::NotAResponse(if is_html(content_type, body) {
            NotAResponse::Html
        } else {
            NotAResponse::NotJson
        });
    };
    let Node::Object(mut response) = root else {
        return BotAnswer::NotAResponse(NotAResponse::NotAnObject);
    };
    if !RESPONSE_FIELDS.iter().any(|field| response.get(field).is_some()) {
        let is_done = response.is_empty() || response.str("status") == Some("complete");
        return if is_done {
            BotAnswer::Empty
        } else {
            BotAnswer::NotAResponse(NotAResponse::NoResponseField)
        };
    }

    let mut repairs = Repairs::new(rewritten);
    let system = response.str("system").map(str::to_owned);
    repair(&mut response, &mut repairs);
    let has_content = has_content(&response);
    let (changed, removed) = repairs.finish();
    let body = if changed { response.to_bytes() } else { Bytes::copy_from_slice(body) };
    if body.len() > RESPONSE_BYTES_MAX {
        return BotAnswer::NotAResponse(NotAResponse::TooLarge);
    }
    BotAnswer::Reply(NormalisedResponse {
        body,
        removed,
        handoff: system.as_deref() == Some("HANDOFF"),
        system,
        has_content,
    })
}

fn repair(response: &mut Object<'_>, repairs: &mut Repairs) {
    speech::repair_field(response, "outputSpeech", repairs);
    speech::repair_field(response, "reprompt", repairs);
    displays::repair(response, repairs);
    context::repair(response, repairs);
    system::repair(response, repairs);
}

fn has_content(response: &Object<'_>) -> bool {
    speech::is_visible(response.get("outputSpeech"))
        || displays::is_visible(response.get("displays"))
        || response.str("system").is_some_and(|system| system.starts_with("PERMISSION_"))
}

fn not_json(error: ShapeError, content_type: Option<&str>, body: &[u8]) -> NotAResponse {
    match error {
        ShapeError::TooLarge { .. } => NotAResponse::TooLarge,
        _ if is_html(content_type, body) => NotAResponse::Html,
        ShapeError::TooDeep { .. } => NotAResponse::TooDeep,
        ShapeError::NotUtf8 { .. } => NotAResponse::NotJson,
    }
}

fn is_html(content_type: Option<&str>, body: &[u8]) -> bool {
    content_type.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
        || body.starts_with(b"<")
}

impl std::fmt::Debug for NormalisedResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NormalisedResponse")
            .field("body_bytes", &self.body.len())
            .field("removed", &self.removed)
            .field("system", &self.system)
            .field("has_content", &self.has_content)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;
