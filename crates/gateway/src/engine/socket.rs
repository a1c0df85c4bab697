//! The loop of one socket. A hand-written future: its size is what every idle socket costs.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, Stream};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Bytes, Error, Message,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use super::{
    CLOSE_WAIT, MESSAGE_BYTES_MAX, MISSES_MAX, READ_BUFFER_BYTES, STALL_MAX, WRITE_BUFFER_BYTES,
    handler::{Closing, Frames, Handler},
    meter::Metered,
    slot::Slot,
};
use crate::metrics::{CloseReason, Metrics};

/// What the library may keep for a peer that does not read. Only reached by one huge frame: nothing is
/// added while something waits.
const WRITE_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rounds before other tasks get their turn.
const ROUNDS_MAX: usize = 64;
/// What is read and thrown away after a violation, so that the peer gets to see our Close.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// One socket and what stands behind it.
#[derive(Debug)]
pub struct Socket<S, H: Handler> {
    ws: Option<WebSocketStream<Metered<S>>>,
    handler: H,
    slot: Arc<Slot<H::Delivery>>,
    metrics: Arc<Metrics>,
    frames: Frames,
    /// One at a time: how long the peer may take nothing, or we wait for its Close.
    timer: Option<Pin<Box<Sleep>>>,
    phase: Phase,
    reason: CloseReason,
    misses: u8,
    /// Messages have come or gone since the buffers were new.
    used: bool,
    /// All that came has been read, all that was to be written has left.
    quiet: bool,
    /// Something was left for it when the task was woken.
    delivered: bool,
    /// The library has taken something that has not been flushed since.
    unflushed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our Close is on its way; the peer's is awaited, and what it still says is heard.
    Closing,
    /// After a violation: our Close is on its way, and nothing the peer says is heard.
    Lingering,
    /// The socket is gone.
    Finishing,
}

/// Whether to go on, or what ended it.
enum Turn {
    Again,
    Wait,
    Gone(CloseReason),
    Violation(Closing),
}

// === impl Socket ===

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static, H: Handler> Socket<S, H> {
    /// A socket after the handshake. `early` was read together with the request.
    pub async fn new(
        stream: S,
        early: &[u8],
        handler: H,
        slot: Arc<Slot<H::Delivery>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let stream = Metered::new(stream, early);
        let ws = if early.is_empty() {
            WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await
        } else {
            // A copy: the buffer it came in is 8 KiB, and would be kept for ever.
            let early = early.to_vec();
            WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config())).await
        };
        Self {
            ws: Some(ws),
            handler,
            slot,
            metrics,
            frames: Frames::default(),
            timer: None,
            phase: Phase::Open,
            reason: CloseReason::Peer,
            misses: 0,
            used: false,
            quiet: false,
            delivered: false,
            unflushed: false,
        }
    }

    fn poll_socket(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.obey(context);
        // Whether there is nothing to read: the task is woken when there is.
        let mut all_read = false;
        for _ in 0..ROUNDS_MAX {
            let turn = match self.phase {
                Phase::Open | Phase::Closing => self.turn(context, &mut all_read),
                Phase::Lingering => self.linger(context),
                Phase::Finishing => return Poll::Ready(()),
            };
            match turn {
                Turn::Again => {}
                Turn::Wait => return Poll::Pending,
                // Whoever hangs up after our Close was closed by us.
                Turn::Gone(_) if self.phase != Phase::Open => self.end(self.reason),
                Turn::Gone(reason) => self.end(reason),
                Turn::Violation(closing) => {
                    self.begin_close(closing);
                    self.phase = Phase::Lingering;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what others have ordered.
    fn obey(&mut self, context: &mut Context<'_>) {
        let orders = self.slot.orders(context);
        self.delivered = orders.delivered;
        if self.phase != Phase::Open {
            return;
        }
        if let Some(turn) = orders.turn {
            self.handler.catch_up(turn);
        }
        if orders.overflowed {
            self.metrics.outbox_dropped();
            self.slot.recover();
            if let Err(closing) = self.handler.lost_deliveries() {
                self.begin_close(closing);
            }
        } else if let Some(closing) = orders.closing {
            self.begin_close(closing);
        } else if orders.ping_due {
            self.tidy(context);
            self.ping();
            self.handler.pinged(&mut self.frames);
        }
    }

    /// Gives grown buffers back. The library never does: its read buffer doubles now and then, its write
    /// buffer stays as large as it ever was. Only where neither holds anything.
    fn tidy(&mut self, context: &mut Context<'_>) {
        let at_rest = self.used && self.quiet && self.timer.is_none();
        if at_rest {
            self.slot.tidy();
        }
        let Some(ws) = self.ws.take_if(|ws| at_rest && ws.get_mut().is_between_messages()) else {
            return;
        };
        let made =
            pin!(WebSocketStream::from_raw_socket(ws.into_inner(), Role::Server, Some(config())));
        match made.poll(context) {
            Poll::Ready(ws) => self.ws = Some(ws),
            // There is no handshake to wait for.
            Poll::Pending => self.end(CloseReason::Lost),
        }
        self.used = false;
    }

    fn ping(&mut self) {
        let Some(ws) = &mut self.ws else { return };
        // Whoever is not listened to cannot be heard.
        let listens = self.handler.takes_messages() && !self.frames.are_too_many();
        let heard = ws.get_mut().take_heard() || !listens;
        self.misses = if heard { 0 } else { self.misses.saturating_add(1) };
        if self.misses >= MISSES_MAX {
            self.end(CloseReason::Silent);
            return;
        }
        // What waits already will be followed by an error or an answer; a ping adds nothing to it.
        let _ = Pin::new(ws).start_send(Message::Ping(Bytes::new()));
        self.unflushed = true;
    }

    fn turn(&mut self, context: &mut Context<'_>, all_read: &mut bool) -> Turn {
        let mut again = false;
        if self.phase == Phase::Closing {
            // Nothing is written after our Close.
            self.frames = Frames::default();
        }
        let is_full = self.frames.are_too_many();
        if !*all_read && !is_full && self.handler.takes_messages() {
            match self.read(context) {
                Turn::Again => again = true,
                Turn::Wait => *all_read = true,
                gone => return gone,
            }
        }
        // Deliveries first: one may make the handler begin to wait for something, and it is asked only once then.
        if std::mem::take(&mut self.delivered)
            && let gone @ (Turn::Gone(_) | Turn::Violation(_)) = self.write(context)
        {
            return gone;
        }
        if let Poll::Ready(closing) = self.handler.poll_work(context, &mut self.frames) {
            self.begin_close(closing);
        }
        match self.write(context) {
            Turn::Again => again = true,
            Turn::Wait => {}
            gone => return gone,
        }
        // What has come meanwhile wakes nobody.
        again |= is_full && !self.frames.are_too_many();
        self.used |= again;
        // What is on its way out has a timer.
        self.quiet = *all_read && !again && self.timer.is_none();
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            let reason = if self.phase == Phase::Open { CloseReason::Stalled } else { self.reason };
            return Turn::Gone(reason);
        }
        if again { Turn::Again } else { Turn::Wait }
    }

    /// Reads one message.
    fn read(&mut self, context: &mut Context<'_>) -> Turn {
        let Some(ws) = &mut self.ws else { return Turn::Gone(self.reason) };
        let Poll::Ready(message) = Pin::new(&mut *ws).poll_next(context) else { return Turn::Wait };
        // The library may have an answer to it: a pong, a Close.
        self.unflushed = true;
        let taken = match message {
            None => return Turn::Gone(self.reason),
            Some(Ok(Message::Text(text))) => {
                self.metrics.frame_in();
                self.handler.text(text, &mut self.frames)
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.metrics.frame_in();
                self.handler.binary(bytes, &mut self.frames)
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) if ws.get_mut().is_storm() => return Turn::Violation(Closing::FRAGMENTS),
            Some(Err(Error::Capacity(_))) => return Turn::Violation(Closing::TOO_BIG),
            Some(Err(Error::Utf8(_))) => return Turn::Violation(Closing::NOT_UTF8),
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                return Turn::Gone(CloseReason::Lost);
            }
            Some(Err(Error::Protocol(_))) => return Turn::Violation(Closing::PROTOCOL),
            Some(Err(_)) => return Turn::Gone(CloseReason::Lost),
        };
        if let Err(closing) = taken {
            self.begin_close(closing);
        }
        Turn::Again
    }

    /// Writes what there is, as far as the peer takes it. `Again`: the handler has been given something to write.
    fn write(&mut self, context: &mut Context<'_>) -> Turn {
        let mut again = false;
        while self.phase == Phase::Open {
            let Some(ws) = &mut self.ws else { return Turn::Gone(self.reason) };
            let mut ws = Pin::new(ws);
            match ws.as_mut().poll_ready(context) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Turn::Gone(CloseReason::Lost),
                Poll::Ready(Ok(())) => {}
            }
            if let Some(frame) = self.frames.pop() {
                self.metrics.frame_out(frame.1.len());
                self.used = true;
                self.unflushed = true;
                if ws.start_send(message(frame)).is_err() {
                    return Turn::Gone(CloseReason::Lost);
                }
                continue;
            }
            if let Err(closing) = self.handler.refill(context, &mut self.frames) {
                self.begin_close(closing);
            }
            if !self.frames.is_empty() {
                // It may have begun to wait for something.
                again = true;
                continue;
            }
            if self.phase != Phase::Open || !self.handler.takes_deliveries() {
                break;
            }
            let Some(delivery) = self.slot.pop() else { break };
            again = true;
            if let Err(closing) = self.handler.deliver(delivery, &mut self.frames) {
                self.begin_close(closing);
            }
        }
        if !self.unflushed {
            return if again { Turn::Again } else { Turn::Wait };
        }
        let Some(ws) = &mut self.ws else { return Turn::Gone(self.reason) };
        let flushed = Pin::new(&mut *ws).poll_flush(context);
        self.unflushed = flushed.is_pending();
        let moved = ws.get_mut().take_moved();
        match flushed {
            Poll::Ready(Err(_)) => return Turn::Gone(CloseReason::Lost),
            Poll::Ready(Ok(())) if self.phase == Phase::Open => self.timer = None,
            // A slow peer is not a dead one.
            Poll::Pending if self.timer.is_none() || moved && self.phase == Phase::Open => {
                self.arm(STALL_MAX);
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if again { Turn::Again } else { Turn::Wait }
    }

    /// Sends our Close after what is ready to be written.
    fn begin_close(&mut self, closing: Closing) {
        if self.phase != Phase::Open {
            return;
        }
        self.handler.farewell(&closing, &mut self.frames);
        self.phase = Phase::Closing;
        self.reason = closing.reason;
        self.arm(CLOSE_WAIT);
        let Some(ws) = &mut self.ws else { return };
        let mut ws = Pin::new(ws);
        while let Some(frame) = self.frames.pop() {
            if ws.as_mut().start_send(message(frame)).is_err() {
                break;
            }
        }
        self.unflushed = true;
        let close = CloseFrame { code: closing.code, reason: closing.text.into() };
        // If it cannot be sent any more, reading says so.
        let _ = ws.start_send(Message::Close(Some(close)));
    }

    /// Sees our Close off and waits until the peer hangs up: hanging up at once would make the network
    /// throw away what the peer has not read yet.
    fn linger(&mut self, context: &mut Context<'_>) -> Turn {
        let Some(ws) = &mut self.ws else { return Turn::Gone(self.reason) };
        if Pin::new(&mut *ws).poll_flush(context).is_ready() {
            let mut stream = Pin::new(ws.get_mut().get_mut());
            if let Poll::Ready(Err(_)) = stream.as_mut().poll_shutdown(context) {
                return Turn::Gone(self.reason);
            }
            let mut rubbish = [0; 1024];
            for _ in 0..LINGER_BYTES_MAX / rubbish.len() {
                let mut buffer = ReadBuf::new(&mut rubbish);
                match stream.as_mut().poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(_) => return Turn::Gone(self.reason),
                    Poll::Pending => break,
                }
            }
        }
        let waiting = self.timer.as_mut().map(|timer| timer.as_mut().poll(context));
        if waiting == Some(Poll::Pending) { Turn::Wait } else { Turn::Gone(self.reason) }
    }

    fn end(&mut self, reason: CloseReason) {
        self.reason = reason;
        self.phase = Phase::Finishing;
        self.timer = None;
        self.ws = None;
        self.frames = Frames::default();
        self.slot.shut();
    }

    fn arm(&mut self, after: Duration) {
        self.timer = Some(Box::pin(tokio::time::sleep(after)));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static, H: Handler> Future for Socket<S, H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        ready!(this.poll_socket(context));
        ready!(this.handler.poll_finish(context));
        this.handler.ended(this.reason);
        Poll::Ready(())
    }
}

// === impl Closing ===

impl Closing {
    /// Too far behind. The code makes clients come back; a widget always does.
    pub const OVERFLOW: Self =
        Self { code: CloseCode::Again, text: "too slow; come back", reason: CloseReason::Overflow };
    /// The process goes away.
    pub const DRAIN: Self = Self {
        code: CloseCode::Restart,
        text: "restarting; come back",
        reason: CloseReason::Drain,
    };
    /// The process cannot reach the owners of sessions; another one may.
    pub const CUT_OFF: Self = Self {
        code: CloseCode::Restart,
        text: "cut off from the cluster; come back",
        reason: CloseReason::CutOff,
    };
    const FRAGMENTS: Self = Self {
        code: CloseCode::Size,
        text: "message in more than 64 pieces",
        reason: CloseReason::TooBig,
    };
    const TOO_BIG: Self = Self {
        code: CloseCode::Size,
        text: "message larger than 262144 bytes",
        reason: CloseReason::TooBig,
    };
    const NOT_UTF8: Self =
        Self { code: CloseCode::Invalid, text: "text is not UTF-8", reason: CloseReason::Protocol };
    const PROTOCOL: Self = Self {
        code: CloseCode::Protocol,
        text: "violates the WebSocket protocol",
        reason: CloseReason::Protocol,
    };
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// A frame as it is: text is known to be UTF-8 and not looked at again.
fn message((kind, frame): (Data, Bytes)) -> Message {
    Message::Frame(Frame::message(frame, OpCode::Data(kind), true))
}

/// Whether a request asks for a WebSocket at all.
#[must_use]
pub fn wanted_upgrade<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), &header::UPGRADE, "websocket")
}

/// The value of `Sec-WebSocket-Accept` for a request; nothing if it is no proper handshake.
#[must_use]
pub fn accept_key<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes();
    let proper = request.method() == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        // 16 bytes in base64.
        && key.len() == 24
        && key.ends_with(b"==");
    if proper { HeaderValue::try_from(derive_accept_key(key)).ok() } else { None }
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
