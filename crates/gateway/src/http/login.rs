//! Logging in and out, for pages of the router itself.

use std::{net::IpAddr, sync::Arc};

use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use stentor_cluster::Ingress;

use super::{Answer, answer, body};
use crate::{
    identify::{LoginError, Logins, Origin, is_encrypted, login_cookie},
    metrics::Refusal,
    shared::Shared,
};

/// Longer bodies hold no code.
const BODY_BYTES_MAX: usize = 8 * 1024;

#[derive(Deserialize)]
struct Code {
    code: String,
}

/// Spends a code for a cookie.
pub(super) async fn login<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Answer {
    let encrypted = is_encrypted(peer, request.headers(), &shared.config.trusted_proxies);
    if !is_own(&request, peer, encrypted) {
        return not_own();
    }
    let body = match body::read(request, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let Ok(Code { code }) = serde_json::from_slice(&body) else {
        let text = "code: missing; send {\"code\": \"…\"}";
        return answer::problem(StatusCode::BAD_REQUEST, "malformed", text);
    };
    let logins = &shared.logins;
    let spent = logins.spend(&*shared.bus, &shared.apps(), &code).await;
    let cookie = spent.and_then(|claims| logins.cookie(&claims, encrypted));
    match cookie {
        Ok(cookie) => {
            let mut answer = answer::empty(StatusCode::NO_CONTENT);
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
            answer
        }
        Err(error) => {
            shared.metrics.refused(Refusal::Token);
            answer::problem(StatusCode::UNAUTHORIZED, name(&error), &error.to_string())
        }
    }
}

/// Who is logged in.
pub(super) fn me<B, T>(shared: &Arc<Shared<B>>, request: &Request<T>) -> Answer {
    let cookie = login_cookie(request.headers());
    let claims = cookie.as_ref().and_then(|cookie| shared.logins.claims(cookie));
    let app = claims.as_ref().and_then(|claims| shared.apps().get(&claims.aud).cloned());
    let held = app
        .zip(cookie)
        .is_some_and(|(app, cookie)| shared.logins.principal(&app, &cookie).is_some());
    match claims {
        Some(claims) if held => answer::json(
            StatusCode::OK,
            &json!({
                "app": claims.aud,
                "role": claims.role,
                "subject": claims.sub,
                "name": claims.name,
                "expires": claims.exp,
            }),
        ),
        _ => answer::problem(StatusCode::UNAUTHORIZED, "unauthorised", "nobody is logged in here"),
    }
}

/// Forgets the cookie.
pub(super) fn logout<T>(request: &Request<T>, peer: IpAddr, trusted: &[ipnet::IpNet]) -> Answer {
    if !is_own(request, peer, is_encrypted(peer, request.headers(), trusted)) {
        return not_own();
    }
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    answer.headers_mut().insert(header::SET_COOKIE, Logins::no_cookie());
    answer
}

/// Other people's pages may neither log anybody in nor out. A program has no cookies to lose.
fn is_own<T>(request: &Request<T>, peer: IpAddr, encrypted: bool) -> bool {
    let origin = Origin::read(request.headers(), peer.is_loopback());
    origin.is_missing() || origin.is_own(request.headers(), encrypted)
}

fn not_own() -> Answer {
    let text = "only pages of the router itself may do this";
    answer::problem(StatusCode::FORBIDDEN, "forbidden", text)
}

const fn name(error: &LoginError) -> &'static str {
    match error {
        LoginError::Off => "off",
        LoginError::Spent => "spent",
        LoginError::Expired => "expired",
        LoginError::Stale => "stale",
        LoginError::NoApp => "noApp",
        LoginError::Forged(_) => "forged",
        LoginError::Busy => "busy",
    }
}
