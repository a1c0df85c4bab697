//! The second dialect without a WebSocket: frames come with a request, answers and events go as a body.
//!
//! A stream is a connection that only listens after its first frames. An exchange is a short one: it ends when
//! every frame has its answer. Both are connections like any other, so whatever is promised to a socket is
//! promised to them, over any gateway.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde_json::json;
use stentor_cluster::Ingress;
use tokio::{
    sync::{mpsc, oneshot},
    time::Sleep,
};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::PollSender;

use super::Connection;
use crate::{
    batch::Batch,
    engine::{Closing, Frames, Handler, Slot},
    metrics::CloseReason,
    shared::Shared,
};

/// A stream whose peer takes nothing for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long an exchange may take. What has no answer by then is sent again by the client.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// Frames of an exchange that say what happens to others, which the stream tells.
const LEFT_OUT: [&[u8]; 4] =
    [b"{\"t\":\"event\"", b"{\"t\":\"typing\"", b"{\"t\":\"beat\"", b"{\"t\":\"listChanged\""];

/// How an exchange ended: the answers, and why the connection would have been closed.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) answers: Bytes,
    pub(crate) closing: Option<Closing>,
}

/// A connection without a WebSocket; to be polled by a task of its own until it ends.
#[derive(Debug)]
pub(crate) struct Line<B: Ingress> {
    shared: Arc<Shared<B>>,
    handler: Connection<B>,
    slot: Arc<Slot<Arc<Batch>>>,
    incoming: VecDeque<Utf8Bytes>,
    frames: Frames,
    out: Out,
    timer: Option<Pin<Box<Sleep>>>,
    closing: Option<Closing>,
    ended: Option<CloseReason>,
}

enum Out {
    Stream { pieces: PollSender<Bytes>, gone: Pin<Box<dyn Future<Output = ()> + Send>> },
    Exchange { answers: BytesMut, done: Option<oneshot::Sender<Exchanged>> },
}

impl<B: Ingress> Line<B> {
    /// A stream of events, `pieces` of a body.
    pub(crate) fn stream(
        shared: Arc<Shared<B>>,
        handler: Connection<B>,
        slot: Arc<Slot<Arc<Batch>>>,
        incoming: VecDeque<Utf8Bytes>,
        pieces: mpsc::Sender<Bytes>,
    ) -> Self {
        let watched = pieces.clone();
        let gone = Box::pin(async move { watched.closed().await });
        let out = Out::Stream { pieces: PollSender::new(pieces), gone };
        Self::new(shared, handler, slot, incoming, out)
    }

    /// Answers to some frames.
    pub(crate) fn exchange(
        shared: Arc<Shared<B>>,
        handler: Connection<B>,
        slot: Arc<Slot<Arc<Batch>>>,
        incoming: VecDeque<Utf8Bytes>,
        done: oneshot::Sender<Exchanged>,
    ) -> Self {
        let out = Out::Exchange { answers: BytesMut::new(), done: Some(done) };
        let mut line = Self::new(shared, handler, slot, incoming, out);
        line.timer = Some(Box::pin(tokio::time::sleep(EXCHANGE_MAX)));
        line
    }

    fn new(
        shared: Arc<Shared<B>>,
        handler: Connection<B>,
        slot: Arc<Slot<Arc<Batch>>>,
        incoming: VecDeque<Utf8Bytes>,
        out: Out,
    ) -> Self {
        let frames = Frames::default();
        Self {
            shared,
            handler,
            slot,
            incoming,
            frames,
            out,
            timer: None,
            closing: None,
            ended: None,
        }
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<CloseReason> {
        self.obey(context);
        if let Out::Stream { gone, .. } = &mut self.out
            && gone.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(CloseReason::Peer);
        }
        loop {
            let mut again = self.listen();
            if self.closing.is_none()
                && let Poll::Ready(closing) = self.handler.poll_work(context, &mut self.frames)
            {
                self.close(closing);
            }
            again |= self.pull(context);
            match self.write(context) {
                Poll::Ready(Ok(wrote)) => again |= wrote,
                Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                Poll::Pending => {
                    let late = self.timer.as_mut().map(|timer| timer.as_mut().poll(context));
                    return match late {
                        Some(Poll::Ready(())) => Poll::Ready(CloseReason::Stalled),
                        _ => Poll::Pending,
                    };
                }
            }
            if let Some(closing) = &self.closing {
                if self.frames.is_empty() {
                    return Poll::Ready(closing.reason);
                }
            } else if self.is_done(context) {
                return Poll::Ready(CloseReason::Peer);
            }
            if !again {
                return Poll::Pending;
            }
        }
    }

    /// Does what others have ordered.
    fn obey(&mut self, context: &Context<'_>) {
        let orders = self.slot.orders(context);
        if self.closing.is_some() {
            return;
        }
        if let Some(turn) = orders.turn {
            self.handler.catch_up(turn);
        }
        if orders.overflowed {
            self.shared.metrics.outbox_dropped();
            self.slot.recover();
            if let Err(closing) = self.handler.lost_deliveries() {
                self.close(closing);
            }
        } else if let Some(closing) = orders.closing {
            self.close(closing);
        } else if orders.ping_due {
            self.handler.pinged(&mut self.frames);
        }
    }

    /// Hands the frames that came to the handler. In an exchange each waits for the answer to the one before:
    /// a session must be open before something is said in it.
    fn listen(&mut self) -> bool {
        let mut heard = false;
        while self.closing.is_none() && self.handler.takes_messages() {
            if matches!(self.out, Out::Exchange { .. }) && !self.handler.is_quiet() {
                break;
            }
            let Some(frame) = self.incoming.pop_front() else { break };
            self.shared.metrics.frame_in();
            if let Err(closing) = self.handler.text(frame, &mut self.frames) {
                self.close(closing);
            }
            heard = true;
        }
        heard
    }

    /// Asks for what is to be written next, if there is nothing.
    fn pull(&mut self, context: &mut Context<'_>) -> bool {
        if self.closing.is_some() || !self.frames.is_empty() {
            return false;
        }
        if let Err(closing) = self.handler.refill(context, &mut self.frames) {
            self.close(closing);
        }
        if !self.frames.is_empty() || self.closing.is_some() {
            return true;
        }
        let Some(delivery) = self.slot.pop() else { return false };
        if let Err(closing) = self.handler.deliver(delivery, &mut self.frames) {
            self.close(closing);
        }
        true
    }

    /// Writes what there is. Whether it was something; pending if the peer does not take it.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, CloseReason>> {
        let mut wrote = false;
        while !self.frames.is_empty() {
            match &mut self.out {
                Out::Stream { pieces, .. } => {
                    match pieces.poll_reserve(context) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(CloseReason::Peer)),
                        Poll::Pending => {
                            self.timer
                                .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_MAX)));
                            return Poll::Pending;
                        }
                    }
                    self.timer = None;
                    let Some((_, frame)) = self.frames.pop() else { break };
                    self.shared.metrics.frame_out(frame.len());
                    if pieces.send_item(event(&frame)).is_err() {
                        return Poll::Ready(Err(CloseReason::Peer));
                    }
                }
                Out::Exchange { answers, .. } => {
                    let Some((_, frame)) = self.frames.pop() else { break };
                    if !LEFT_OUT.iter().any(|kind| frame.starts_with(kind)) {
                        self.shared.metrics.frame_out(frame.len());
                        answers.extend_from_slice(&frame);
                        answers.extend_from_slice(b"\n");
                    }
                }
            }
            wrote = true;
        }
        Poll::Ready(Ok(wrote))
    }

    /// Whether an exchange is over: everything is answered, or it has taken long enough.
    fn is_done(&mut self, context: &mut Context<'_>) -> bool {
        if matches!(self.out, Out::Stream { .. }) {
            return false;
        }
        let late = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        late || (self.incoming.is_empty() && self.frames.is_empty() && self.handler.is_quiet())
    }

    fn close(&mut self, closing: Closing) {
        self.handler.farewell(&closing, &mut self.frames);
        self.closing.get_or_insert(closing);
    }

    /// The last thing that the peer is told.
    fn tell_end(&mut self) {
        match &mut self.out {
            Out::Stream { pieces, .. } => {
                if let (Some(closing), Some(sender)) = (&self.closing, pieces.get_ref()) {
                    let code = u16::from(closing.code);
                    let told = json!({ "code": code, "reason": closing.text });
                    // If there is no room it looks as if the network had broken, which is nearly as good.
                    let _ = sender.try_send(format!("event: close\ndata: {told}\n\n").into());
                }
                pieces.close();
                // Holds a sender, too: the body ends when the last one goes.
                if let Out::Stream { gone, .. } = &mut self.out {
                    *gone = Box::pin(std::future::pending());
                }
            }
            Out::Exchange { answers, done } => {
                let answers = std::mem::take(answers).freeze();
                if let Some(done) = done.take() {
                    let _ = done.send(Exchanged { answers, closing: self.closing });
                }
            }
        }
        self.slot.shut();
    }
}

impl<B: Ingress> Future for Line<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let reason = match this.ended {
            Some(reason) => reason,
            None => {
                let reason = ready!(this.poll_open(context));
                this.ended = Some(reason);
                this.tell_end();
                reason
            }
        };
        ready!(this.handler.poll_finish(context));
        this.handler.ended(reason);
        Poll::Ready(())
    }
}

/// A frame as a server-sent event. Frames have no line breaks.
fn event(frame: &[u8]) -> Bytes {
    [b"data: ", frame, b"\n\n"].concat().into()
}

impl std::fmt::Debug for Out {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Stream { .. } => "Stream",
            Self::Exchange { .. } => "Exchange",
        })
    }
}
