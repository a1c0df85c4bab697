//! The address a widget dials: which app, which user, why now.
//!
//! Nothing in it is proved; `is_admin` is a wish and `user_id` a claim.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Longest path and query together, in bytes. A server URL with a signed token is below 4 KiB.
pub const URL_BYTES_MAX: usize = 16 * 1024;
/// Longest user id, in bytes. The widget makes 36; an operator may configure any string.
pub const USER_ID_BYTES_MAX: usize = 256;
/// Longest app id, in bytes, as anywhere else in the system.
pub const APP_ID_BYTES_MAX: usize = 64;
/// Longest session id, in bytes; ours are shorter.
pub const SESSION_BYTES_MAX: usize = 128;
/// Longest token, in bytes. A JWT with a dozen claims is about 1 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why the widget made this connection, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectReason {
    /// First connection of a page, or an automatic retry descending from it.
    EmitNoWs,
    /// The tab became visible again.
    Wakeup,
    /// Anything else, or nothing.
    Other,
}

/// A dialled address, taken apart. `Debug` hides the user id and the token: both are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectUrl {
    /// The path as sent, still percent-encoded; begins with `/`.
    pub path: String,
    /// Only the new form carries it; never empty.
    pub app_id: Option<String>,
    /// Never empty.
    pub user_id: Option<String>,
    /// True for the literal `true` only. A request, not a grant.
    pub is_admin: bool,
    pub reason: ConnectReason,
    /// Of an agent's page: the session that it is about. Never empty.
    pub session: Option<String>,
    /// Never empty.
    pub token: Option<String>,
}

/// Why an address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("{field} in the URL exceeds the limit of {max_bytes} bytes")]
    TooLong { field: &'static str, max_bytes: usize },
}

// === impl ConnectUrl ===

impl ConnectUrl {
    /// Takes `/path?query` apart. The query is form-encoded (`+` is a space); bytes that are not UTF-8
    /// become U+FFFD; of a repeated parameter the first counts.
    pub fn parse(path_and_query: &str) -> Result<Self, UrlError> {
        if path_and_query.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong { field: "path and query", max_bytes: URL_BYTES_MAX });
        }
        let without_fragment = path_and_query.split('#').next().unwrap_or_default();
        let (path, query) = without_fragment.split_once('?').unwrap_or((without_fragment, ""));
        let value = |name: &'static str, max_bytes: usize| match first_value(query, name) {
            Some(value) if value.len() > max_bytes => {
                Err(UrlError::TooLong { field: name, max_bytes })
            }
            other => Ok(other),
        };
        Ok(Self {
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            app_id: value("appId", APP_ID_BYTES_MAX)?,
            user_id: value("userId", USER_ID_BYTES_MAX)?,
            is_admin: first_value(query, "isAdmin").as_deref() == Some("true"),
            reason: match first_value(query, "createWsReason").as_deref() {
                Some("emitNoWs") => ConnectReason::EmitNoWs,
                Some("wakeup") => ConnectReason::Wakeup,
                _ => ConnectReason::Other,
            },
            session: value("session", SESSION_BYTES_MAX)?,
            token: value("token", TOKEN_BYTES_MAX)?,
        })
    }
}

impl fmt::Debug for ConnectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectUrl")
            .field("path", &self.path)
            .field("app_id", &self.app_id)
            .field("has_user_id", &self.user_id.is_some())
            .field("is_admin", &self.is_admin)
            .field("reason", &self.reason)
            .field("session", &self.session)
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

/// First value of a parameter; an empty one counts as absent.
fn first_value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| form_decoded(key) == name)
        .map(|(_, value)| form_decoded(value))
        .filter(|value| !value.is_empty())
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_28_the_dialled_addresses_of_both_forms() {
        let new = ConnectUrl::parse(
            "/a/b/c?appId=app-9&token=t+k%2B&userId=U+1&isAdmin=false&createWsReason=emitNoWs",
        )
        .unwrap();
        assert_eq!(
            new,
            ConnectUrl {
                path: "/a/b/c".into(),
                app_id: Some("app-9".into()),
                user_id: Some("U 1".into()),
                is_admin: false,
                reason: ConnectReason::EmitNoWs,
                session: None,
                token: Some("t k+".into()),
            }
        );
        let old = ConnectUrl::parse("/dev?userId=U&isAdmin=true&createWsReason=wakeup").unwrap();
        assert_eq!((old.app_id, old.is_admin, old.reason), (None, true, ConnectReason::Wakeup));
        let bare = ConnectUrl::parse("").unwrap();
        assert_eq!(
            (bare.path.as_str(), bare.user_id, bare.reason),
            ("/", None, ConnectReason::Other)
        );
        assert_eq!(ConnectUrl::parse("/?appId=&isAdmin=TRUE").unwrap().app_id, None);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_broken_escapes_stay() {
        let url = ConnectUrl::parse("/?userId=%ff%zz&appId=%C3%A9").unwrap();
        assert_eq!(url.user_id.as_deref(), Some("\u{fffd}%zz"));
        assert_eq!(url.app_id.as_deref(), Some("é"));
    }

    #[test]
    fn s10_long_values_are_refused_by_name() {
        let long = format!("/?userId={}", "u".repeat(257));
        assert_eq!(
            ConnectUrl::parse(&long),
            Err(UrlError::TooLong { field: "userId", max_bytes: 256 })
        );
        assert!(ConnectUrl::parse(&"/".repeat(20_000)).is_err());
    }

    #[test]
    fn debug_shows_neither_user_nor_token() {
        let url = ConnectUrl::parse("/?userId=canary1&token=canary2").unwrap();
        assert!(!format!("{url:?}").contains("canary"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(url in ".*") {
            let _ = ConnectUrl::parse(&url);
        }
    }
}
