//! A connection whose app and user are known: its frames in, its session's events out.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use stentor_cluster::Ingress;
use stentor_protocol::{ClientEvent, ClientFrame, outgoing};
use stentor_types::{AppId, GatewayId, Role, SessionId, UserKey, Visitor};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    identity::Identity,
    inbound::{Greeting, Inbound, Queue},
    shown::{self, Missing, Shown},
};
use crate::{
    asking::Asking,
    batch::Batch,
    engine::{Closing, Frames, Turn},
    metrics::{CloseReason, Refusal},
    shared::{self, Shared},
};

/// A connection that said nothing is shown its visitor's latest session after this long. Long enough
/// for the `user joined` of a page that was just loaded: it comes after one second, and may name
/// another session.
pub(super) const BARE_AFTER: Duration = Duration::from_millis(1_500);
/// Between two texts that tell the same visitor that something was refused.
const REFUSAL_EVERY: Duration = Duration::from_secs(10);

/// A connection whose app and user are known.
#[derive(Debug)]
pub(crate) struct Member<B> {
    pub(super) shared: Arc<Shared<B>>,
    pub(super) number: u64,
    /// The gateway's name under which everything is asked. Follows the gateway's own when nothing is in doubt.
    pub(super) name: GatewayId,
    pub(super) app: AppId,
    pub(super) identity: Identity,
    /// The name of the attached session in the widget's words, once it is known.
    pub(super) claimed: Option<Box<str>>,
    pub(super) shown: Option<Shown>,
    /// The session has forgotten the connection.
    pub(super) forgotten: bool,
    /// The session knows the connection under the gateway's former name.
    pub(super) renamed: bool,
    /// How many of the first messages may have been taken without an answer: under another name they would
    /// be taken again.
    pub(super) in_doubt: usize,
    /// Fan-out may have been missed, and nobody has looked yet.
    pub(super) unsure: bool,
    /// The events that are being fetched are not known to be there.
    pub(super) looking: bool,
    pub(super) turn: Option<Turn>,
    /// Counter of the last message that was taken, or refused for good.
    pub(super) taken: u64,
    pub(super) queue: Queue,
    pub(super) asking: Option<Box<(Asking<B>, Asked)>>,
    pub(super) fetching: Option<Box<Asking<B>>>,
    /// Fetches and attachments in a row that brought nothing.
    pub(super) futile: u8,
    pub(super) bare: Option<Pin<Box<Sleep>>>,
    /// When the token or the login expires.
    expiry: Option<Pin<Box<Sleep>>>,
    pub(super) refused_at: Option<Instant>,
    /// The widget was told that nothing works.
    pub(super) covered: bool,
    /// The socket is gone.
    pub(super) leaving: bool,
}

/// What is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// For a place in a session. Only what a frame or the opening of the socket wanted is shown.
    Attach { aloud: bool },
    /// For its place in the same session, under the gateway's new name.
    Return,
    /// To take the first messages.
    Says,
    /// To let an agent step in or out.
    Control,
    /// To forget the connection.
    Leave,
}

// === impl Member ===

impl<B: Ingress> Member<B> {
    /// `bare_after`: how long to wait for a frame before the visitor's latest session is shown.
    pub(super) fn new(
        shared: Arc<Shared<B>>,
        number: u64,
        app: AppId,
        identity: Identity,
        bare_after: Option<Duration>,
    ) -> Self {
        let bare = bare_after.map(|after| Box::pin(tokio::time::sleep(after)));
        let name = shared.gateway();
        let expiry = identity.principal.as_ref().and_then(|principal| principal.expiry());
        Self {
            shared,
            number,
            name,
            app,
            identity,
            claimed: None,
            shown: None,
            forgotten: false,
            renamed: false,
            in_doubt: 0,
            unsure: false,
            looking: false,
            turn: None,
            taken: 0,
            queue: Queue::default(),
            asking: None,
            fetching: None,
            futile: 0,
            bare,
            expiry,
            refused_at: None,
            covered: false,
            leaving: false,
        }
    }

    /// Who looks, and as what.
    pub(super) const fn viewer(&self) -> (UserKey, Role) {
        let role = if self.identity.agent.is_some() { Role::Agent } else { Role::Visitor };
        (self.identity.visitor.user, role)
    }

    pub(super) fn visitor(&self) -> Visitor {
        self.identity.visitor
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app
    }

    pub(super) fn takes_messages(&self) -> bool {
        self.queue.has_room()
    }

    pub(super) fn takes_deliveries(&self) -> bool {
        self.fetching.is_none()
            && !(self.is_attaching() || self.wants_attachment())
            && !self.shown.as_ref().is_some_and(Shown::has_backlog)
    }

    /// A frame that is sound in itself.
    pub(super) fn frame(&mut self, frame: &ClientFrame<'_>, frames: &mut Frames) {
        let greeting = Greeting {
            claimed: frame.claimed_session.as_deref().unwrap_or_default().into(),
            name: frame.sender.display_name.as_deref().map(Into::into),
            client_time: frame.time_ms,
            at: shared::now(),
        };
        match (frame.event, frame.data) {
            (ClientEvent::UserJoined, _) if self.identity.agent.is_some() => {
                // A page that was just loaded shows that nobody has joined: it must be true.
                let (claimed, at) = (greeting.claimed.clone(), greeting.at);
                let again = Greeting { claimed, name: None, client_time: None, at };
                self.queue.push(Inbound::Join(greeting));
                self.queue.push(Inbound::Control(again, false));
            }
            (ClientEvent::UserJoined, _) => self.queue.push(Inbound::Join(greeting)),
            (ClientEvent::NewMessage, Some(data)) => {
                // A copy: a part of the socket's read buffer would make it grow for good.
                self.queue.push(Inbound::Say(greeting, Bytes::copy_from_slice(data)));
            }
            (ClientEvent::NewMessage, None) => self.refuse(Refusal::Body, frames),
            (ClientEvent::BargeIn | ClientEvent::BargeOut, _) if self.identity.agent.is_none() => {
                self.refuse(Refusal::Admin, frames);
            }
            (ClientEvent::BargeIn, _) => self.queue.push(Inbound::Control(greeting, true)),
            (ClientEvent::BargeOut, _) => self.queue.push(Inbound::Control(greeting, false)),
        }
        self.bare = None;
    }

    /// Tells the visitor, in the bot's voice and not too often, that something was not taken.
    pub(super) fn refuse(&mut self, refusal: Refusal, frames: &mut Frames) {
        self.shared.metrics.refused(refusal);
        let told = self.refused_at.is_some_and(|at| at.elapsed() < REFUSAL_EVERY);
        let Some(app) = self.shared.app(&self.app).filter(|_| !told && !self.leaving) else {
            return;
        };
        self.refused_at = Some(Instant::now());
        let text = match refusal {
            Refusal::TooLong => &app.texts.too_long,
            Refusal::TooFast => &app.texts.too_fast,
            _ => &app.texts.refused,
        };
        let now_ms = shared::now_ms();
        let stamp = match &mut self.shown {
            Some(shown) => shown.notice_ms(now_ms),
            None => shown::odd_above(i64::MIN, now_ms),
        };
        frames.push(outgoing::new_message_text(shown::bot(&app), text, stamp));
    }

    pub(super) fn poll_work(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Poll<Closing> {
        if let Some(bare) = &mut self.bare
            && bare.as_mut().poll(context).is_ready()
        {
            self.bare = None;
            self.queue.push(Inbound::Bare { at: shared::now() });
        }
        if let Some(closing) = self.not_vouched_for(context).filter(|_| !self.leaving) {
            return Poll::Ready(closing);
        }
        let polled = self.poll_asking(context, frames).and_then(|()| self.poll_fetch(context));
        self.end_turn();
        match polled {
            Ok(()) => Poll::Pending,
            Err(closing) => Poll::Ready(closing),
        }
    }

    fn poll_asking(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        loop {
            if self.asking.is_none() {
                self.ask(frames);
            }
            let Some(asking) = &mut self.asking else { return Ok(()) };
            let Poll::Ready(answer) = asking.0.poll(context, &self.shared.metrics) else {
                if asking.0.is_late() && !self.covered {
                    self.covered = true;
                    frames.push(outgoing::disconnect(shared::now_ms()));
                }
                return Ok(());
            };
            let asked = asking.1;
            self.asking = None;
            if std::mem::take(&mut self.covered) {
                frames.push(outgoing::reconnect(shared::now_ms()));
                frames.push(outgoing::account_status(shared::now_ms()));
            }
            self.answered(asked, answer, frames)?;
        }
    }

    /// Whoever vouched for them does so no longer.
    fn not_vouched_for(&mut self, context: &mut Context<'_>) -> Option<Closing> {
        let principal = self.identity.principal.as_ref()?;
        let app = self.shared.app(&self.app);
        let expired =
            self.expiry.as_mut().is_some_and(|expiry| expiry.as_mut().poll(context).is_ready());
        (expired || !app.is_some_and(|app| principal.holds(&app))).then_some(UNVOUCHED)
    }

    pub(super) fn refill(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        if self.fetching.is_some() {
            return Ok(());
        }
        let viewer = self.viewer();
        let Some(shown) = self.shown.as_mut().filter(|shown| shown.has_backlog()) else {
            return Ok(());
        };
        let Some(app) = self.shared.app(&self.app) else { return Err(GONE) };
        let missing = shown.refill(viewer, &app, frames);
        self.fetch(missing)?;
        if self.fetching.is_some() {
            context.waker().wake_by_ref();
        }
        self.end_turn();
        Ok(())
    }

    pub(super) fn deliver(
        &mut self,
        batch: Arc<Batch>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let viewer = self.viewer();
        let Some(shown) = &mut self.shown else { return Ok(()) };
        let Some(app) = self.shared.app(&self.app) else { return Err(GONE) };
        if batch.session != shown.session {
            self.leave_stray(batch.session);
            return Ok(());
        }
        let missing = shown.show(&batch, viewer, &app, frames);
        if missing != Missing::Nothing && missing != Missing::Erased {
            shown.put_back([batch]);
        }
        self.fetch(missing)
    }

    /// Another session tells this connection something: it was left, or attached to without its knowledge,
    /// by an attachment that was not answered. In order with what else is asked, so that it can be
    /// attached to again.
    fn leave_stray(&mut self, session: SessionId) {
        let known = self
            .queue
            .iter()
            .any(|item| matches!(item, Inbound::Leave { session: other, .. } if *other == session));
        let leaving = matches!(self.asking.as_deref(), Some((_, Asked::Leave)));
        if !known && !leaving && !self.leaving {
            self.queue.push(Inbound::Leave { session, at: shared::now() });
        }
    }

    /// The socket is gone: what was read from it is still committed, then the session is told.
    pub(super) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut unseen = Frames::default();
        if !self.leaving {
            self.leaving = true;
            self.bare = None;
            self.fetching = None;
            self.turn = None;
        }
        loop {
            if self.poll_work(context, &mut unseen).is_ready() {
                // It would have been closed; it is. What led to that is not tried again.
                self.queue.pop();
                continue;
            }
            if let Some(asking) = &self.asking {
                return if asking.0.is_hopeless() { Poll::Ready(()) } else { Poll::Pending };
            }
            if !self.queue.is_empty() {
                continue;
            }
            let Some(session) = self.shown.as_ref().map(|shown| shown.session) else {
                return Poll::Ready(());
            };
            self.queue.push(Inbound::Leave { session, at: shared::now() });
        }
    }

    /// An attachment is asked for.
    pub(super) fn is_attaching(&self) -> bool {
        matches!(self.asking.as_deref(), Some((_, Asked::Attach { .. } | Asked::Return)))
    }

    /// Whether the next thing to be asked is an attachment.
    fn wants_attachment(&self) -> bool {
        match self.queue.first() {
            Some(Inbound::Join(_) | Inbound::Bare { .. }) => true,
            Some(Inbound::Say(greeting, _) | Inbound::Control(greeting, _)) => {
                !self.is_in(greeting)
            }
            Some(Inbound::Leave { .. }) | None => false,
        }
    }

    pub(super) fn is_in(&self, greeting: &Greeting) -> bool {
        // An agent's page is about one session.
        let same = self.identity.agent.is_some_and(|agent| agent.session.is_some())
            || self.claimed.as_deref() == Some(&*greeting.claimed);
        self.shown.is_some() && !self.forgotten && same
    }
}

/// Fetches and attachments in a row that brought nothing before the connection is given up.
pub(super) const FUTILE_MAX: u8 = 3;

/// The app was taken away while the socket was open.
pub(super) const GONE: Closing = Closing {
    code: CloseCode::Policy,
    text: "this app is not served here any more",
    reason: CloseReason::Refused,
};

/// The token or the login is over.
const UNVOUCHED: Closing = Closing {
    code: CloseCode::Policy,
    text: "the token has expired or was revoked",
    reason: CloseReason::Refused,
};

/// What the widget shows is erased: it comes back, and to another session.
pub(super) const ERASED: Closing = Closing {
    code: CloseCode::Restart,
    text: "this conversation was erased; come back for a new one",
    reason: CloseReason::Stale,
};

/// Only a new attachment helps; the widget comes back by itself.
pub(super) const STALE: Closing = Closing {
    code: CloseCode::Restart,
    text: "out of date; come back",
    reason: CloseReason::Stale,
};
