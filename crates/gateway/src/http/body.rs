//! Bodies: of requests, read whole and bounded; of answers, whole or as they come.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use super::{Answer, answer};

/// How long a peer may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// A body of an answer.
pub(super) type AnswerBody = Either<Full<Bytes>, Pieces>;

/// A body whose pieces come one after the other; it ends when nobody can send any more.
#[derive(Debug)]
pub(crate) struct Pieces(mpsc::Receiver<Bytes>);

// === impl Pieces ===

impl Pieces {
    pub(super) const fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self(pieces)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The whole body of a request; or the answer to one that is too long or too slow.
pub(super) async fn read(request: Request<Incoming>, max: usize) -> Result<Bytes, Answer> {
    let body = Limited::new(request.into_body(), max);
    match tokio::time::timeout(BODY_WAIT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(answer::problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "tooLong",
            &format!("the body is longer than {max} bytes"),
        )),
        Ok(Err(_)) => {
            Err(answer::problem(StatusCode::BAD_REQUEST, "malformed", "the body cannot be read"))
        }
        Err(_) => Err(answer::problem(
            StatusCode::REQUEST_TIMEOUT,
            "busy",
            "the body did not come within 10 seconds",
        )),
    }
}
