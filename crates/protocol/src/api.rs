//! The HTTP API for integrators: which requests there are, what they take and bring.
//!
//! The table is what the gateway routes by, and what `docs/openapi.json` is made of. Knows nothing of HTTP
//! libraries.

#[cfg(test)]
mod openapi;

use serde::{Deserialize, Serialize};
use stentor_types::{Epoch, EventNumber, SessionId, Timestamp};

use crate::v2::Item;

/// Longest text of a message, in bytes; an app may allow less.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// Events in one answer.
pub const EVENTS_MAX: u64 = 500;
/// Longest `Idempotency-Key`, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// What all paths begin with.
const SESSIONS: &str = "/api/v1/sessions";

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    List,
    Events,
    Transcript,
    Post,
    Take,
    Release,
    End,
    Erase,
}

/// One of them: method, what follows the session's path, what it does.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub call: Call,
    pub method: &'static str,
    /// Behind `/api/v1/sessions/{sid}`, empty for the session itself; nothing for the list.
    pub tail: Option<&'static str>,
    pub summary: &'static str,
}

const fn route(
    call: Call,
    method: &'static str,
    tail: Option<&'static str>,
    summary: &'static str,
) -> Route {
    Route { call, method, tail, summary }
}

/// All of them.
pub const ROUTES: &[Route] = &[
    route(Call::List, "GET", None, "Sessions of the app, the one that changed last first"),
    route(Call::Events, "GET", Some("/events"), "Events of a session, as staff see them"),
    route(
        Call::Transcript,
        "GET",
        Some("/transcript"),
        "Everything that was said, as JSON or text",
    ),
    route(Call::Post, "POST", Some("/messages"), "Says something, or writes a note for colleagues"),
    route(Call::Take, "POST", Some("/take"), "Answers the visitor instead of the bot from now on"),
    route(Call::Release, "POST", Some("/release"), "Lets the bot answer again"),
    route(
        Call::End,
        "POST",
        Some("/end"),
        "Ends a session; the visitor's next message begins it again",
    ),
    route(
        Call::Erase,
        "DELETE",
        Some(""),
        "Erases all that was said and done in a session, for good",
    ),
];

/// Why a request is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// There is no such path.
    Path,
    /// The path wants another method.
    Method(&'static str),
}

/// What a request asks for, and of which session.
///
/// # Errors
/// It asks for nothing that there is.
pub fn find<'a>(method: &str, path: &'a str) -> Result<(Call, &'a str), NoRoute> {
    let rest = path.strip_prefix(SESSIONS).ok_or(NoRoute::Path)?;
    let (session, tail) = match rest.strip_prefix('/') {
        None if rest.is_empty() => ("", None),
        None | Some("") => return Err(NoRoute::Path),
        Some(rest) => match rest.find('/') {
            Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end..)),
            None => (rest, Some("")),
        },
    };
    let route = ROUTES.iter().find(|route| route.tail == tail).ok_or(NoRoute::Path)?;
    if route.method != method {
        return Err(NoRoute::Method(route.method));
    }
    Ok((route.call, session))
}

/// A message to be posted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NewMessage {
    /// What is said.
    #[cfg_attr(test, schemars(length(min = 1, max = 65536)))]
    pub text: String,
    /// For colleagues only.
    #[serde(default)]
    pub note: bool,
}

/// How somebody is to be seen who takes over.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Taking {
    /// A name; the one in the token counts more.
    pub display_name: Option<String>,
}

/// Something is done and on disk.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Accepted {
    /// The number of the event that it became; absent if there was nothing to do, or it was long ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
}

/// Sessions.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sessions {
    pub items: Vec<Item>,
    /// What to give as `after` for more; absent: that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What is known of an erasure. It holds nothing of what was erased.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Certificate {
    pub app: String,
    pub session: String,
    pub epoch: u64,
    /// How many events there were; of each, the number is left.
    pub events: u64,
    /// Since then nobody is shown anything of it.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    pub hidden: String,
    /// By then the last byte has left the files of log and database; null if that cannot be told.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    pub gone: Option<String>,
}

/// Something is not possible.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// For programs.
    pub code: String,
    /// What to do about it, for people.
    pub text: String,
}

// === impl Certificate ===

impl Certificate {
    /// The same in words of JSON.
    #[must_use]
    pub fn new(
        (app, session): (String, SessionId),
        (epoch, events): (Epoch, EventNumber),
        hidden: Timestamp,
        gone: Option<Timestamp>,
    ) -> Self {
        Self {
            app,
            session: session.to_string(),
            epoch: epoch.0,
            events: events.0,
            hidden: hidden.utc(),
            gone: gone.map(Timestamp::utc),
        }
    }
}

impl std::fmt::Debug for NewMessage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewMessage").field("note", &self.note).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_method_and_path() {
        assert_eq!(find("GET", "/api/v1/sessions"), Ok((Call::List, "")));
        assert_eq!(find("POST", "/api/v1/sessions/a-b/end"), Ok((Call::End, "a-b")));
        assert_eq!(find("GET", "/api/v1/sessions//events"), Ok((Call::Events, "")));
        assert_eq!(find("GET", "/api/v1/sessions/a-b/end"), Err(NoRoute::Method("POST")));
        assert_eq!(find("PUT", "/api/v1/sessions"), Err(NoRoute::Method("GET")));
        assert_eq!(find("DELETE", "/api/v1/sessions/a-b"), Ok((Call::Erase, "a-b")));
        assert_eq!(find("GET", "/api/v1/sessions/a"), Err(NoRoute::Method("DELETE")));
        assert_eq!(find("DELETE", "/api/v1/sessions"), Err(NoRoute::Method("GET")));
        let none = ["/api/v1/session", "/api/v1/sessionsx", "/api/v1/sessions/", "/x"];
        for path in none.into_iter().chain(["/api/v1/sessions/a/b", "/api/v1/sessions/a/end/"]) {
            assert_eq!(find("GET", path), Err(NoRoute::Path), "{path}");
        }
    }
}
