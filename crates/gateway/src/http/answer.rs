//! How answers look: types, caching, security.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{Answer, body::AnswerBody};

/// Our pages load nothing from elsewhere and run no inline scripts. Sockets may go anywhere: the public
/// URL may be another host. The widget's own styles are inline, its pictures and fonts may be remote.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
     img-src * data:; font-src * data:; style-src 'self' 'unsafe-inline'; object-src 'none'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Asked for again every time, and not sent again if it is the same.
const REVALIDATE: &str = "no-cache";
/// The widget's files change with a new version only.
pub(super) const AN_HOUR: &str = "public, max-age=3600";
/// Settings should be in force soon.
pub(super) const A_MINUTE: &str = "public, max-age=60";

/// A body that is there already.
pub(super) fn body(content: impl Into<Bytes>) -> AnswerBody {
    Either::Left(Full::new(content.into()))
}

/// Nothing but a status.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(body(Bytes::new()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    harden(&mut answer);
    answer
}

/// A JSON value.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = body(value.to_string());
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Something is not possible: a code for programs, and what to do about it.
pub(super) fn problem(status: StatusCode, code: &str, text: &str) -> Answer {
    json(status, &json!({ "code": code, "text": text }))
}

/// A short text for people.
pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(body(text));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    harden(&mut answer);
    answer
}

/// There is nothing under this path of an API.
pub(super) fn no_route() -> Answer {
    let text = "there is no such path; `/api/v1/openapi.json` lists them";
    problem(StatusCode::NOT_FOUND, "noRoute", text)
}

/// Another method is meant, for programs.
pub(super) fn no_method(allowed: &'static str) -> Answer {
    let text = format!("send {allowed}; nothing else is done under this path");
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "noMethod", &text);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Another method is meant, for people.
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "Something else than this is done here; see `Allow`.\n",
    );
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// One of our own pages.
pub(super) fn page<T>(request: &Request<T>, content: &'static str) -> Answer {
    if content.is_empty() {
        return text(StatusCode::NOT_FOUND, "There is nothing here.\n");
    }
    own_file(request, "text/html; charset=utf-8", content)
}

/// A file of our own.
pub(super) fn own_file<T>(
    request: &Request<T>,
    kind: &'static str,
    content: &'static str,
) -> Answer {
    let mut answer = file(request, kind, REVALIDATE, Bytes::from_static(content.as_bytes()));
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    let frames = HeaderValue::from_static("DENY");
    answer.headers_mut().insert(header::X_FRAME_OPTIONS, frames);
    answer
}

/// A file; or nothing, if the browser has the same already.
pub(super) fn file<T>(
    request: &Request<T>,
    kind: &'static str,
    caching: &'static str,
    content: Bytes,
) -> Answer {
    let tag = format!("\"{:016x}\"", xxh3_64(&content));
    let known = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*");
    let mut answer = if known {
        let mut answer = Response::new(body(Bytes::new()));
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        Response::new(body(content))
    };
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        fields.insert(header::ETAG, tag);
    }
    harden(&mut answer);
    answer
}

/// The same for HEAD: with the length of what GET would bring.
pub(super) fn without_body(answer: Answer) -> Answer {
    let (mut parts, whole) = answer.into_parts();
    let length = hyper::body::Body::size_hint(&whole).exact();
    if let Some(length) = length.filter(|_| parts.status != StatusCode::NOT_MODIFIED) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, body(Bytes::new()))
}

fn harden(answer: &mut Answer) {
    let fields = answer.headers_mut();
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
