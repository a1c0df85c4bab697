//! The allow-list: which fields are taken, in which order, and of which type.

use crate::json::{FRAME_BYTES_MAX, Node, Object};

use super::{
    ACCESS_TOKEN_BYTES_MAX, NLU_PLACEHOLDER, OPTION_TOKEN_BYTES_MAX, RequestError, RequestIdentity,
    RequestKind, hand_back::HAND_BACK, name,
};

/// Fields that every kind of Request may carry beyond the identity.
pub(super) fn copy_common<'a>(
    given: &Object<'a>,
    bot: &mut Object<'a>,
) -> Result<(), RequestError> {
    copy_str(given, bot, "rawQuery", FRAME_BYTES_MAX)?;
    copy_str(given, bot, "locale", 64)?;
    copy_str(given, bot, "accessToken", ACCESS_TOKEN_BYTES_MAX)?;
    copy_object(given, bot, "attributes")?;
    if let Some(Node::Object(attributes)) = bot.get_mut("attributes") {
        // What people said while the bot was silent is the router's to tell.
        attributes.remove(HAND_BACK);
    }
    Ok(())
}

/// Fields of one kind.
pub(super) fn copy_of_kind<'a>(
    kind: &RequestKind,
    given: &Object<'a>,
    bot: &mut Object<'a>,
    identity: RequestIdentity<'_>,
) -> Result<(), RequestError> {
    match kind {
        RequestKind::Launch => Ok(()),
        RequestKind::Intent => {
            copy_object(given, bot, "slots")?;
            copy_number(given, bot, "matchConfidence")?;
            copy_array(given, bot, "activeContexts")?;
            copy_array(given, bot, "attachments")?;
            copy_object(given, bot, "data")?;
            let asks_nlu = bot.str("intentId") == Some(NLU_PLACEHOLDER);
            if asks_nlu && bot.get("rawQuery").is_none() && bot.get("attachments").is_none() {
                return Err(RequestError::Missing { field: "rawQuery" });
            }
            Ok(())
        }
        RequestKind::OptionSelect => {
            required_str(given, "token", OPTION_TOKEN_BYTES_MAX)?;
            copy_str(given, bot, "token", OPTION_TOKEN_BYTES_MAX)?;
            copy_str(given, bot, "title", OPTION_TOKEN_BYTES_MAX)?;
            copy_number(given, bot, "index")
        }
        RequestKind::PermissionGrant => {
            let granted = optional_bool(given, "granted")?
                .ok_or(RequestError::Missing { field: "granted" })?;
            bot.set(name("granted"), granted);
            copy_object(given, bot, "userProfile")?;
            own_profile(bot, identity);
            Ok(())
        }
        RequestKind::Custom(_) => {
            copy_payload(given, bot, identity);
            Ok(())
        }
    }
}

/// A custom Request is the operator's payload: everything that is not identity and not for bots' operators only.
fn copy_payload<'a>(given: &Object<'a>, bot: &mut Object<'a>, identity: RequestIdentity<'_>) {
    for (field, value) in given.iter() {
        if bot.get(field).is_none() && !NOT_FOR_VISITORS.contains(&field) {
            bot.set(field.to_owned(), value.clone());
        }
    }
    if bot.get("userProfile").is_some() {
        own_profile(bot, identity);
    }
}

/// Fields by which platforms and operators steer a bot; a browser has no say in them.
const NOT_FOR_VISITORS: [&str; 14] = [
    "anonymous",
    "apiAccess",
    "canFulfill",
    "createdTime",
    "device",
    "deviceId",
    "endpoint",
    "isAdmin",
    "isBargeIn",
    "isHealthCheck",
    "knowledgeBaseResult",
    "overrideKey",
    "requestId",
    "sender",
];

/// `userProfile.id` is an identity field like `userId`.
fn own_profile(bot: &mut Object<'_>, identity: RequestIdentity<'_>) {
    match bot.get_mut("userProfile") {
        Some(Node::Object(profile)) => {
            profile.set("id", identity.user_id.to_owned());
        }
        _ => {
            let mut profile = Object::new();
            profile.set("id", identity.user_id.to_owned());
            bot.set(name("userProfile"), profile);
        }
    }
}

pub(super) fn optional_str<'o>(
    given: &'o Object<'_>,
    field: &'static str,
    max_bytes: usize,
) -> Result<Option<&'o str>, RequestError> {
    match given.get(field) {
        None => Ok(None),
        Some(Node::String(text)) if text.len() > max_bytes => {
            Err(RequestError::TooLong { field, max_bytes })
        }
        Some(Node::String(text)) => Ok(Some(text)),
        Some(_) => Err(RequestError::WrongType { field, expected: "a string" }),
    }
}

pub(super) fn required_str<'o>(
    given: &'o Object<'_>,
    field: &'static str,
    max_bytes: usize,
) -> Result<&'o str, RequestError> {
    optional_str(given, field, max_bytes)?.ok_or(RequestError::Missing { field })
}

pub(super) fn optional_bool(
    given: &Object<'_>,
    field: &'static str,
) -> Result<Option<bool>, RequestError> {
    match given.get(field) {
        None => Ok(None),
        Some(Node::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(RequestError::WrongType { field, expected: "true or false" }),
    }
}

fn copy_str<'a>(
    given: &Object<'a>,
    bot: &mut Object<'a>,
    field: &'static str,
    max_bytes: usize,
) -> Result<(), RequestError> {
    optional_str(given, field, max_bytes)?;
    copy(given, bot, field);
    Ok(())
}

fn copy_object<'a>(
    given: &Object<'a>,
    bot: &mut Object<'a>,
    field: &'static str,
) -> Result<(), RequestError> {
    copy_if(given, bot, field, "an object", |value| matches!(value, Node::Object(_)))
}

fn copy_array<'a>(
    given: &Object<'a>,
    bot: &mut Object<'a>,
    field: &'static str,
) -> Result<(), RequestError> {
    copy_if(given, bot, field, "an array", |value| matches!(value, Node::Array(_)))
}

fn copy_number<'a>(
    given: &Object<'a>,
    bot: &mut Object<'a>,
    field: &'static str,
) -> Result<(), RequestError> {
    copy_if(given, bot, field, "a number", |value| matches!(value, Node::Number(_)))
}

fn copy_if<'a>(
    given: &Object<'a>,
    bot: &mut Object<'a>,
    field: &'static str,
    expected: &'static str,
    fits: fn(&Node<'_>) -> bool,
) -> Result<(), RequestError> {
    if given.get(field).is_some_and(|value| !fits(value)) {
        return Err(RequestError::WrongType { field, expected });
    }
    copy(given, bot, field);
    Ok(())
}

fn copy<'a>(given: &Object<'a>, bot: &mut Object<'a>, field: &'static str) {
    if let Some(value) = given.get(field) {
        bot.set(name(field), value.clone());
    }
}
