//! The handshake of a socket: accepted, or refused with a reason that a person can read.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use stentor_protocol::{ConnectUrl, v2::SUBPROTOCOL};

use super::{Answer, answer};
use crate::{
    engine::accept_key,
    identify::{Claim, DeviceCookie, Origin, is_encrypted, login_cookie, real_address, which_app},
    legacy::Stranger,
    metrics::Refusal,
    shared::Shared,
};

/// A handshake that was accepted.
#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) stranger: Stranger,
    /// The second dialect is spoken.
    pub(super) second: bool,
}

/// A handshake that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(Refusal);

/// Decides about a handshake. Never waits: a widget whose first handshake hangs is never seen again.
pub(super) fn shake<B, T>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: &Request<T>,
) -> Result<(Answer, Welcome), Refused> {
    let key = accept_key(request).ok_or(Refused(Refusal::Handshake))?;
    let headers = request.headers();
    let second = offers(headers, SUBPROTOCOL);
    let device = DeviceCookie::read(headers);
    let stranger = stranger(shared, peer, request, device, second)?;

    let mut answer = Response::new(answer::body(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = answer.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    let encrypted = is_encrypted(peer, headers, &shared.config.trusted_proxies);
    if let Some(cookie) = device.header(encrypted) {
        fields.insert(header::SET_COOKIE, cookie);
    }
    if second {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok((answer, Welcome { stranger, second }))
}

/// Who comes, as far as a request tells; a place among the connections of its address is taken.
pub(super) fn stranger<B, T>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: &Request<T>,
    device: DeviceCookie,
    second: bool,
) -> Result<Stranger, Refused> {
    if shared.is_cut_off() {
        return Err(Refused(Refusal::CutOff));
    }
    let headers = request.headers();
    let trusted = &shared.config.trusted_proxies;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = ConnectUrl::parse(path).map_err(|_| Refused(Refusal::Handshake))?;
    let address = real_address(peer, headers, trusted);
    let origin = Origin::read(headers, address.is_loopback());
    let own = origin.is_own(headers, is_encrypted(peer, headers, trusted));
    let login = if own { login_cookie(headers) } else { None };
    let app = match which_app(&shared.config, &shared.apps(), &url, &origin) {
        // A program, not a page, or the agents' page: it has to show a token, or a cookie.
        Err(Refusal::Origin) if second && (origin.is_missing() || own) => None,
        // The page of an agent who has logged in, about one session.
        Err(Refusal::Origin) if url.is_admin && login.is_some() => {
            let apps = shared.apps();
            url.app_id.as_deref().and_then(|name| apps.get(name)).map(|app| app.id.clone())
        }
        app => app.map_err(Refused)?,
    };
    let place = shared.limiter.place(address).ok_or(Refused(Refusal::AddressConnections))?;
    Ok(Stranger {
        claim: Claim::new(url.user_id, device),
        origin,
        app,
        is_admin: url.is_admin,
        session: url.session.and_then(|session| session.parse().ok()),
        token: url.token.map(Into::into),
        reason: url.reason,
        address: place,
        login,
    })
}

/// Whether a client offers a subprotocol.
fn offers(headers: &http::HeaderMap, name: &str) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| offer.trim() == name)
}

// === impl Refused ===

impl Refused {
    pub(super) fn refusal(self) -> Refusal {
        self.0
    }

    /// The answer to a browser or a person.
    pub(super) fn answer(self) -> Answer {
        let (status, _, text) = self.told();
        self.with_fields(answer::text(status, text))
    }

    /// The same for programs.
    pub(super) fn problem(self) -> Answer {
        let (status, code, text) = self.told();
        self.with_fields(answer::problem(status, code, text.trim_end()))
    }

    const fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self.0 {
            Refusal::Origin => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "No app allows sockets from this page. Add its origin (scheme, host and port) to \
                 `origins` of the app.\n",
            ),
            Refusal::App => (
                StatusCode::NOT_FOUND,
                "noApp",
                "There is no app of this name. Check `appId` in the widget's server URL.\n",
            ),
            Refusal::CutOff => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "This gateway is cut off from the rest of the cluster. Come back: another one may not be.\n",
            ),
            Refusal::AddressConnections => (
                StatusCode::TOO_MANY_REQUESTS,
                "tooMany",
                "There are too many connections from this address.\n",
            ),
            _ => (
                StatusCode::UPGRADE_REQUIRED,
                "malformed",
                "This is not a WebSocket handshake of version 13 with a URL below 8 KiB.\n",
            ),
        }
    }

    fn with_fields(self, mut answer: Answer) -> Answer {
        let (name, value) = match self.0 {
            Refusal::Origin | Refusal::App => return answer,
            Refusal::AddressConnections | Refusal::CutOff => (header::RETRY_AFTER, "5"),
            _ => (header::SEC_WEBSOCKET_VERSION, "13"),
        };
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
        answer
    }
}
