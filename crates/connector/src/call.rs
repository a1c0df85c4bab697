//! One HTTP call to a bot.

use std::{error::Error as _, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, header};
use stentor_apps::Bot;
use stentor_protocol::{BotAnswer, NormalisedResponse, normalise};
use stentor_types::FailureReason;
use tracing::debug;

use crate::{
    address::AddressPolicy,
    client::{self, Forbidden},
};

/// The largest answer that is read, after decompression. The protocol crate has the last word on size.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) bot: &'a Bot,
    /// The same for all attempts at one message.
    pub(crate) idempotency_key: String,
    pub(crate) attempt: u32,
    pub(crate) request: Bytes,
    pub(crate) timeout: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(NormalisedResponse),
    Empty,
    Failed(FailureReason),
}

/// Makes the call. Never longer than its time-out.
pub(crate) async fn make(client: &Client, policy: &AddressPolicy, call: Call<'_>) -> Answer {
    if client::literal(&call.bot.url).is_some_and(|address| !policy.allows(address)) {
        return Answer::Failed(FailureReason::NotAllowed);
    }
    let timeout = call.timeout;
    tokio::time::timeout(timeout, exchange(client, call))
        .await
        .unwrap_or(Answer::Failed(FailureReason::TimedOut))
}

async fn exchange(client: &Client, call: Call<'_>) -> Answer {
    let mut request = client
        .post(call.bot.url.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header("Idempotency-Key", call.idempotency_key)
        .header("Stentor-Attempt", call.attempt.to_string())
        .body(call.request);
    if let Some(key) = &call.bot.key {
        request = request.bearer_auth(key.expose());
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Answer::Failed(reason(&error)),
    };
    if !response.status().is_success() {
        debug!(status = response.status().as_u16(), "a bot answered with an error");
        return Answer::Failed(FailureReason::Status);
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let body = match read(response).await {
        Ok(body) => body,
        Err(reason) => return Answer::Failed(reason),
    };
    match normalise(kind.as_deref(), &body) {
        // Nothing of it would be visible: a widget would draw an empty row.
        BotAnswer::Reply(reply) if reply.has_content => Answer::Reply(reply),
        BotAnswer::Reply(_) | BotAnswer::Empty => Answer::Empty,
        BotAnswer::NotAResponse(why) => {
            debug!(?why, "a bot's answer is no Response");
            Answer::Failed(FailureReason::BadAnswer)
        }
    }
}

async fn read(mut response: Response) -> Result<Bytes, FailureReason> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => {
                body.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => return Err(FailureReason::BadAnswer),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(reason(&error)),
        }
    }
}

fn reason(error: &reqwest::Error) -> FailureReason {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<Forbidden>() {
            return FailureReason::NotAllowed;
        }
        cause = error.source();
    }
    if error.is_timeout() {
        FailureReason::TimedOut
    } else if error.is_body() || error.is_decode() {
        FailureReason::BadAnswer
    } else {
        FailureReason::Unreachable
    }
}
