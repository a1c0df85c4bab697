//! A small bot for the demo app. It speaks the Stentor protocol over HTTP like any other, and keeps
//! nothing.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The largest Request that it reads: that of a message of the largest size.
const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// What "slow" means.
const SLOW: Duration = Duration::from_secs(3);

/// The bot, listening.
#[derive(Debug)]
pub struct EchoBot {
    listener: TcpListener,
}

// === impl EchoBot ===

impl EchoBot {
    /// Listens on an address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where Requests are to be posted to.
    ///
    /// # Errors
    /// The socket has no address any more.
    pub fn url(&self) -> std::io::Result<String> {
        Ok(format!("http://{}/bot", self.listener.local_addr()?))
    }

    /// Answers until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service =
                    service_fn(|request| async { Ok::<_, Infallible>(serve(request).await) });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(cause) = served {
                    debug!(%cause, "a connection to the echo bot ended early");
                }
            });
        }
    }
}

async fn serve(request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return respond(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "post a Request" }));
    }
    let Ok(body) = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await else {
        return respond(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({ "error": "the Request is too large" }),
        );
    };
    let Ok(request) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return respond(StatusCode::BAD_REQUEST, &json!({ "error": "the Request is no JSON" }));
    };
    let text = request.get("rawQuery").and_then(Value::as_str).unwrap_or_default();
    match text.trim().to_lowercase().as_str() {
        "fail" => {
            return respond(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "as you asked" }));
        }
        "slow" => tokio::time::sleep(SLOW).await,
        _ => {}
    }
    respond(StatusCode::OK, &answer(&request, text))
}

/// What the bot says.
fn answer(request: &Value, text: &str) -> Value {
    match request.get("type").and_then(Value::as_str).unwrap_or_default() {
        "LAUNCH_REQUEST" => say(
            "Hello! I am the echo bot. Say something, or try one of these.",
            &["menu", "card", "slow", "fail", "handoff"],
        ),
        "OPTION_SELECT_REQUEST" => {
            let token = request.get("token").and_then(Value::as_str).unwrap_or("nothing");
            say(&format!("You chose {token}."), &[])
        }
        "PERMISSION_GRANT" => {
            let granted = request.get("granted").and_then(Value::as_bool).unwrap_or(false);
            say(if granted { "Thank you." } else { "As you wish." }, &[])
        }
        _ => answer_text(text),
    }
}

fn answer_text(text: &str) -> Value {
    match text.trim().to_lowercase().as_str() {
        "menu" => {
            let menu = json!([{ "type": "LIST", "title": "Menu", "items": [
                { "token": "soup", "title": "Soup", "description": "Hot" },
                { "token": "tea", "title": "Tea", "description": "Green" },
            ] }]);
            json!({ "outputSpeech": speech("Here is the menu.", &[]), "displays": menu })
        }
        "card" => {
            let card = json!([{ "type": "CARD", "title": "A card", "content": "With words on it.",
                "buttons": [{ "title": "menu" }] }]);
            json!({ "outputSpeech": speech("A card.", &[]), "displays": card })
        }
        "slow" => say("That took a while.", &["menu"]),
        "handoff" => json!({
            "outputSpeech": speech("I am asking for a person.", &[]),
            "system": "HANDOFF",
            "data": { "handoffTargetId": "front-desk" },
        }),
        "" => say("You said nothing, and I heard it.", &[]),
        _ => say(&format!("You said: {text}"), &[]),
    }
}

fn say(text: &str, suggestions: &[&str]) -> Value {
    json!({ "outputSpeech": speech(text, suggestions) })
}

fn speech(text: &str, suggestions: &[&str]) -> Value {
    let ssml = format!("<speak>{}</speak>", escape(text));
    if suggestions.is_empty() {
        return json!({ "displayText": text, "ssml": ssml });
    }
    json!({ "displayText": text, "ssml": ssml, "suggestions": suggestions })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
