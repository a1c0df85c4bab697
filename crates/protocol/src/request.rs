//! What a visitor says to the bot: a Stentor Request, rebuilt field by field.
//!
//! Nothing of the client's body is passed on because it was there; a field is taken because a list names
//! it. Identity (`userId`, `sessionId`, `platform`, `channel`, `userProfile.id`) comes from the
//! connection. Two bodies result: one for the bot, with the visitor's tokens, and one for the record,
//! which other people will see and which carries neither tokens nor real ids.

mod fields;
mod hand_back;
mod readable;
mod record;

use std::borrow::Cow;

use bytes::Bytes;

use crate::json::{FRAME_BYTES_MAX, Node, Object, ShapeError, check_shape_within, parse};

pub use self::{
    hand_back::{HandBackLine, with_hand_back},
    readable::{readable_text, relay_body},
};

/// Longest type name of a custom request, in bytes.
pub const TYPE_BYTES_MAX: usize = 64;
/// Longest intent id, in bytes.
pub const INTENT_ID_BYTES_MAX: usize = 256;
/// Longest access token, in bytes.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest token of a list item, in bytes.
pub const OPTION_TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Who really speaks, as the connection proved it.
#[derive(Clone, Copy)]
pub struct RequestIdentity<'a> {
    /// The id under which the bot knows the visitor.
    pub user_id: &'a str,
    pub session_id: &'a str,
}

/// What kind of Request it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    Launch,
    Intent,
    OptionSelect,
    PermissionGrant,
    /// A type of the operator's own making: `[A-Z0-9_]{1,64}`.
    Custom(String),
}

/// A Request fit to be sent on. `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct VisitorRequest {
    pub kind: RequestKind,
    /// `rawQuery`: what was typed or the label that was pressed.
    pub text: Option<String>,
    /// A launch that greets, as opposed to one from a multi-select.
    pub is_greeting: bool,
    /// For the bot only: holds the visitor's tokens and ids.
    pub for_bot: Bytes,
    /// For events and other people: no tokens, no `userId`, no `sessionId`.
    pub for_record: Bytes,
    /// Words for people when there is no `rawQuery`.
    pub(crate) label: String,
}

/// Why a body is no Request. Every message names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("data refused by its shape")]
    Shape(#[from] ShapeError),
    #[error("data is not a JSON object")]
    NotAnObject,
    #[error("data.{field} is missing")]
    Missing { field: &'static str },
    #[error("data.{field} is not {expected}")]
    WrongType { field: &'static str, expected: &'static str },
    #[error("data.{field} exceeds the limit of {max_bytes} bytes")]
    TooLong { field: &'static str, max_bytes: usize },
    #[error("data.type is not one that a visitor may send")]
    TypeNotAllowed,
}

/// Rebuilds the `data` of a `new message`. The same input always gives the same bytes.
pub fn rebuild(data: &[u8], identity: RequestIdentity<'_>) -> Result<VisitorRequest, RequestError> {
    let text = check_shape_within(data, FRAME_BYTES_MAX)?;
    let (root, _) = parse(text).map_err(|_| RequestError::NotAnObject)?;
    let Node::Object(mut given) = root else { return Err(RequestError::NotAnObject) };
    // The model's optional fields may come as null; that is the same as not there.
    given.retain(|_, value| !value.is_null());

    let kind = RequestKind::from_type(fields::required_str(&given, "type", TYPE_BYTES_MAX)?)?;
    let mut bot = Object::new();
    bot.set("type", kind.type_name().to_owned());
    bot.set("userId", identity.user_id.to_owned());
    bot.set("sessionId", identity.session_id.to_owned());
    bot.set(
        "isNewSession",
        fields::optional_bool(&given, "isNewSession")?.unwrap_or(kind == RequestKind::Launch),
    );
    let intent_id = fields::optional_str(&given, "intentId", INTENT_ID_BYTES_MAX)?;
    bot.set("intentId", intent_id.unwrap_or(kind.default_intent()).to_owned());
    bot.set("platform", "stentor-platform");
    bot.set("channel", "widget");
    fields::copy_common(&given, &mut bot)?;
    fields::copy_of_kind(&kind, &given, &mut bot, identity)?;

    let text = bot.str("rawQuery").map(str::to_owned);
    let label = readable::label(&kind, &bot);
    Ok(VisitorRequest {
        is_greeting: kind == RequestKind::Launch && is_greeting(&bot),
        for_bot: bot.to_bytes(),
        for_record: record::without_secrets(bot, &given, identity).to_bytes(),
        kind,
        text,
        label,
    })
}

fn is_greeting(request: &Object<'_>) -> bool {
    let attributes = request.get("attributes").and_then(Node::as_object);
    attributes
        .and_then(|attributes| attributes.get("isGreeting"))
        .and_then(Node::as_bool)
        .unwrap_or_default()
}

// === impl RequestKind ===

impl RequestKind {
    /// The value of `type` on the wire.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Launch => "LAUNCH_REQUEST",
            Self::Intent => "INTENT_REQUEST",
            Self::OptionSelect => "OPTION_SELECT_REQUEST",
            Self::PermissionGrant => "PERMISSION_GRANT",
            Self::Custom(name) => name,
        }
    }

    fn from_type(name: &str) -> Result<Self, RequestError> {
        Ok(match name {
            "LAUNCH_REQUEST" => Self::Launch,
            "INTENT_REQUEST" => Self::Intent,
            "OPTION_SELECT_REQUEST" => Self::OptionSelect,
            "PERMISSION_GRANT" => Self::PermissionGrant,
            _ if !is_custom_type(name) || is_reserved(name) => {
                return Err(RequestError::TypeNotAllowed);
            }
            _ => Self::Custom(name.to_owned()),
        })
    }

    fn default_intent(&self) -> &str {
        match self {
            Self::Launch => "LaunchRequest",
            Self::Intent => NLU_PLACEHOLDER,
            Self::OptionSelect => "OptionSelect",
            Self::PermissionGrant => "PermissionGrant",
            Self::Custom(name) => name,
        }
    }
}

/// The intent that makes the bot ask its language understanding about `rawQuery`.
const NLU_PLACEHOLDER: &str = "NLU_RESULT_PLACEHOLDER";

fn is_custom_type(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
}

/// Types by which platforms, not people, tell a bot what happened: a browser has no say in them.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "SESSION_ENDED_REQUEST"
            | "EVENT_REQUEST"
            | "SIGN_IN_REQUEST"
            | "NOTIFICATION_PERMISSION_REQUEST_TYPE"
    ) || name.starts_with("TRANSACTION_")
}

// === impl VisitorRequest ===

impl std::fmt::Debug for VisitorRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisitorRequest")
            .field("kind", &self.kind)
            .field("is_greeting", &self.is_greeting)
            .field("for_bot_bytes", &self.for_bot.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RequestIdentity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestIdentity").finish_non_exhaustive()
    }
}

/// Owned name for a field whose place in the output does not depend on the input.
fn name(field: &'static str) -> Cow<'static, str> {
    Cow::Borrowed(field)
}

#[cfg(test)]
mod tests;
