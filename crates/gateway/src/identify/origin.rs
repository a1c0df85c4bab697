//! The page that opens a socket.

use stentor_apps::App;

/// The origin of a handshake, and whether its peer is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    value: Value,
    local_peer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Missing,
    Given(Box<str>),
    /// More than one, or no text.
    Broken,
}

// === impl Origin ===

impl Origin {
    pub(crate) fn read(headers: &http::HeaderMap, local_peer: bool) -> Self {
        let mut given = headers.get_all(http::header::ORIGIN).iter();
        let value = match (given.next(), given.next()) {
            (None, _) => Value::Missing,
            (Some(one), None) => one.to_str().map_or(Value::Broken, |one| Value::Given(one.into())),
            (Some(_), Some(_)) => Value::Broken,
        };
        Self { value, local_peer }
    }

    /// There is none: a program, not a page.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self.value, Value::Missing)
    }

    /// Whether the page came from this router itself, going by the host that it was asked for.
    pub(crate) fn is_own(&self, headers: &http::HeaderMap, encrypted: bool) -> bool {
        let mut hosts = headers.get_all(http::header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next())
        else {
            return false;
        };
        let Value::Given(origin) = &self.value else { return false };
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        scheme == if encrypted { "https" } else { "http" } && authority.eq_ignore_ascii_case(host)
    }

    /// Whether an app allows it. With `dev`, peers on this machine may omit it, and any page on this
    /// machine is allowed.
    pub(crate) fn fits(&self, app: &App, dev: bool) -> bool {
        match &self.value {
            Value::Missing => dev && self.local_peer,
            Value::Given(origin) => app.allows(origin) || (dev && is_loopback(origin)),
            Value::Broken => false,
        }
    }
}

/// `http` or `https`, a loopback host, and perhaps a port.
fn is_loopback(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    if !matches!(scheme, "http" | "https") {
        return false;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
            None => return false,
        },
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let host_fits = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host_fits && (port.is_empty() || port.parse::<u16>().is_ok())
}
