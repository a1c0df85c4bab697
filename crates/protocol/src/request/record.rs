//! The copy of a Request that other people will see: no tokens, no real ids, no e-mail that was not typed.
//!
//! Works on names (`rwg_token`, `userId` … at any depth) and on values: a string that equals or contains
//! one of this Request's own secrets goes, whatever it is called. What the visitor typed stays as typed.

use crate::json::{Node, Object};

use super::RequestIdentity;

/// A secret shorter than this is only looked for as a whole value: "1" is in every number.
const SECRET_BYTES_MIN: usize = 12;

/// Removes what only the bot may know. `given` is the client's body: ids it claimed are somebody's, too.
pub(super) fn without_secrets<'a>(
    mut bot: Object<'a>,
    given: &Object<'a>,
    identity: RequestIdentity<'_>,
) -> Object<'a> {
    let mut secrets = vec![identity.user_id.to_owned(), identity.session_id.to_owned()];
    let claimed =
        ["userId", "sessionId", "accessToken"].into_iter().filter_map(|field| given.str(field));
    secrets.extend(claimed.map(str::to_owned));
    collect_tokens(given, &mut secrets);
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_unstable();
    secrets.dedup();

    bot.retain(|field, value| match field {
        // Typed or pressed by the visitor; the token of a list item is the bot's own word for it.
        "type" | "intentId" | "rawQuery" | "platform" | "channel" => true,
        "token" | "title" => !value.as_str().is_some_and(|text| is_secret(text, &secrets)),
        _ => keep(field, value, &secrets),
    });
    bot
}

/// Values of attributes that are tokens by name: they must not show up under another name either.
fn collect_tokens(given: &Object<'_>, secrets: &mut Vec<String>) {
    let Some(attributes) = given.get("attributes").and_then(Node::as_object) else { return };
    for (name, value) in attributes.iter() {
        if let (true, Some(text)) = (is_secret_name(name), value.as_str()) {
            secrets.push(text.to_owned());
        }
    }
}

fn keep(field: &str, value: &mut Node<'_>, secrets: &[String]) -> bool {
    if is_secret_name(field) || is_secret(field, secrets) {
        return false;
    }
    match value {
        Node::String(text) => {
            if is_address(text) {
                *text = without_query(text).into();
            }
            !is_secret(text, secrets)
        }
        Node::Number(digits) => !secrets.iter().any(|secret| secret == digits),
        Node::Array(entries) => {
            entries.retain_mut(|entry| keep("", entry, secrets));
            true
        }
        Node::Object(object) => {
            let is_profile = field == "userProfile";
            object
                .retain(|name, value| !(is_profile && name == "id") && keep(name, value, secrets));
            true
        }
        Node::Null | Node::Bool(_) => true,
    }
}

fn is_secret(text: &str, secrets: &[String]) -> bool {
    secrets.iter().any(|secret| {
        text == secret || (secret.len() >= SECRET_BYTES_MIN && text.contains(secret.as_str()))
    })
}

/// Names that hold tokens, ids or mail addresses, in any spelling.
fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "token",
        "secret",
        "password",
        "passwd",
        "apikey",
        "authorization",
        "credential",
        "cookie",
        "userid",
        "sessionid",
        "email",
    ];
    let name: String =
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    PARTS.iter().any(|part| name.contains(part))
        || matches!(name.as_str(), "jwt" | "auth" | "uid" | "sid")
}

fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
    })
}

/// A page's address without query, fragment and user info: these carry tokens and session names.
fn without_query(address: &str) -> String {
    let page = address.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = page.split_once("://") else { return page.to_owned() };
    let (host, path) =
        rest.find('/').and_then(|slash| rest.split_at_checked(slash)).unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}
