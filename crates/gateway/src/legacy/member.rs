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
use stentor_protocol::{ClientEvent, ClientFrame, RequestIdentity, outgoing, rebuild};
use stentor_types::{AppId, ConnectionId, EventNumber, SessionId, Visitor};
use stentor_wire::{
    connection_to_pb, pb,
    pb::{connection_input, input_reply},
    session_to_bytes, user_to_bytes,
};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    asking::{Answer, Asking},
    batch::Batch,
    inbound::{Greeting, Inbound, Queue},
    shown::{self, Missing, Shown},
};
use crate::{
    engine::{Closing, Frames},
    metrics::{CloseReason, Refusal},
    shared::{self, Shared},
};

/// A connection that said nothing is shown its visitor's latest session after this long. Long enough
/// for the `user joined` of a page that was just loaded: it comes after one second, and may name
/// another session.
pub(super) const BARE_AFTER: Duration = Duration::from_millis(1_500);
/// Between two texts that tell the same visitor that something was refused.
const REFUSAL_EVERY: Duration = Duration::from_secs(10);
/// Messages in one request.
const SAYS_MAX: usize = 64;
/// Their bytes.
const SAYS_BYTES_MAX: usize = 256 * 1024;
/// Fetches in a row that brought nothing before the connection is given up.
const FETCHES_MAX: u8 = 3;

/// Who a connection belongs to.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) visitor: Visitor,
    /// The id under which the bot knows them. A secret.
    pub(crate) bot_user: Box<str>,
}

/// A connection whose app and user are known.
#[derive(Debug)]
pub(crate) struct Member<B> {
    shared: Arc<Shared<B>>,
    number: u64,
    app: AppId,
    identity: Identity,
    /// The name of the attached session in the widget's words, once it is known.
    claimed: Option<Box<str>>,
    shown: Option<Shown>,
    /// The session has forgotten the connection.
    forgotten: bool,
    /// Counter of the last message that was taken, or refused for good.
    taken: u64,
    queue: Queue,
    asking: Option<Box<(Asking<B>, Asked)>>,
    fetching: Option<Box<Asking<B>>>,
    /// Fetches in a row that brought nothing.
    futile: u8,
    bare: Option<Pin<Box<Sleep>>>,
    refused_at: Option<Instant>,
    /// The widget was told that nothing works.
    covered: bool,
    /// The socket is gone.
    leaving: bool,
}

/// What is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// For a place in a session. Only what a frame or the opening of the socket wanted is shown.
    Attach { aloud: bool },
    /// To take the first messages.
    Says,
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
        Self {
            shared,
            number,
            app,
            identity,
            claimed: None,
            shown: None,
            forgotten: false,
            taken: 0,
            queue: Queue::default(),
            asking: None,
            fetching: None,
            futile: 0,
            bare,
            refused_at: None,
            covered: false,
            leaving: false,
        }
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
        let attaching = matches!(self.asking.as_deref(), Some((_, Asked::Attach { .. })));
        self.fetching.is_none()
            && !(attaching || self.wants_attachment())
            && !self.shown.as_ref().is_some_and(Shown::has_backlog)
    }

    /// A frame that is sound in itself.
    pub(super) fn frame(&mut self, frame: &ClientFrame<'_>, text: &Bytes, frames: &mut Frames) {
        let greeting = Greeting {
            claimed: frame.claimed_session.as_deref().unwrap_or_default().into(),
            name: frame.sender.display_name.as_deref().map(Into::into),
            client_time: frame.time_ms,
            at: shared::now(),
        };
        match (frame.event, frame.data) {
            (ClientEvent::UserJoined, _) => self.queue.push(Inbound::Join(greeting)),
            (ClientEvent::NewMessage, Some(data)) => {
                self.queue.push(Inbound::Say(greeting, text.slice_ref(data)));
            }
            (ClientEvent::NewMessage, None) => self.refuse(Refusal::Body, frames),
            (ClientEvent::BargeIn | ClientEvent::BargeOut, _) => {
                self.refuse(Refusal::Admin, frames);
            }
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
        if let Err(closing) = self.poll_fetch(context) {
            return Poll::Ready(closing);
        }
        loop {
            if self.asking.is_none() {
                self.ask(frames);
            }
            let Some(asking) = &mut self.asking else { return Poll::Pending };
            let Poll::Ready(answer) = asking.0.poll(context, &self.shared.metrics) else {
                if asking.0.is_late() && !self.covered {
                    self.covered = true;
                    frames.push(outgoing::disconnect(shared::now_ms()));
                }
                return Poll::Pending;
            };
            let asked = asking.1;
            self.asking = None;
            if std::mem::take(&mut self.covered) {
                frames.push(outgoing::reconnect(shared::now_ms()));
                frames.push(outgoing::account_status(shared::now_ms()));
            }
            if let Err(closing) = self.answered(asked, answer, frames) {
                return Poll::Ready(closing);
            }
        }
    }

    pub(super) fn refill(&mut self, frames: &mut Frames) -> Result<(), Closing> {
        if self.fetching.is_some() {
            return Ok(());
        }
        let user = self.identity.visitor.user;
        let Some(shown) = self.shown.as_mut().filter(|shown| shown.has_backlog()) else {
            return Ok(());
        };
        let Some(app) = self.shared.app(&self.app) else { return Err(GONE) };
        let missing = shown.refill(user, &app, frames);
        self.fetch(missing)
    }

    pub(super) fn deliver(
        &mut self,
        batch: Arc<Batch>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let user = self.identity.visitor.user;
        let Some(shown) = &mut self.shown else { return Ok(()) };
        let Some(app) = self.shared.app(&self.app) else { return Err(GONE) };
        let missing = shown.show(&batch, user, &app, frames);
        if missing != Missing::Nothing {
            shown.put_back([batch]);
        }
        self.fetch(missing)
    }

    /// The socket is gone: what was read from it is still committed, then the session is told.
    pub(super) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut unseen = Frames::default();
        if !self.leaving {
            self.leaving = true;
            self.bare = None;
            self.fetching = None;
        }
        loop {
            if self.poll_work(context, &mut unseen).is_ready() {
                // It would have been closed; it is. What led to that is not tried again.
                self.queue.pop();
                continue;
            }
            if let Some(asking) = &self.asking {
                return if asking.0.is_late() { Poll::Ready(()) } else { Poll::Pending };
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

    /// Whether the next thing to be asked is an attachment.
    fn wants_attachment(&self) -> bool {
        match self.queue.first() {
            Some(Inbound::Join(_) | Inbound::Bare { .. }) => true,
            Some(Inbound::Say(greeting, _)) => !self.is_in(greeting),
            Some(Inbound::Leave { .. }) | None => false,
        }
    }

    fn is_in(&self, greeting: &Greeting) -> bool {
        self.shown.is_some()
            && !self.forgotten
            && self.claimed.as_deref() == Some(&*greeting.claimed)
    }

    /// Asks for what comes first in the queue.
    fn ask(&mut self, frames: &mut Frames) {
        loop {
            let (inputs, asked) = match self.queue.first() {
                None => return,
                Some(Inbound::Bare { at }) => {
                    let attach = pb::AttachInput { counter: self.taken, ..Default::default() };
                    let kind = connection_input::Kind::Attach(attach);
                    (vec![input(at.0, kind)], Asked::Attach { aloud: true })
                }
                Some(Inbound::Join(greeting)) => {
                    (vec![self.attach_input(greeting)], Asked::Attach { aloud: true })
                }
                Some(Inbound::Say(greeting, _)) if !self.is_in(greeting) => {
                    (vec![self.attach_input(greeting)], Asked::Attach { aloud: false })
                }
                Some(Inbound::Say(..)) => (self.say_inputs(frames), Asked::Says),
                Some(Inbound::Leave { session, at }) => {
                    let last = self.shown.as_ref().filter(|shown| shown.session == *session);
                    let detach = pb::DetachInput {
                        session: session_to_bytes(*session),
                        delivered: last.map(|shown| shown.last.0),
                    };
                    let kind = connection_input::Kind::Detach(detach);
                    (vec![input(at.0, kind)], Asked::Leave)
                }
            };
            if inputs.is_empty() {
                continue;
            }
            let request = self.request(inputs);
            self.asking = Some(Box::new((self.asking(&request), asked)));
            return;
        }
    }

    fn attach_input(&self, greeting: &Greeting) -> pb::ConnectionInput {
        let attach = pb::AttachInput {
            claimed: Some(greeting.claimed.to_string()),
            display_name: greeting.name.as_deref().map(str::to_owned),
            client_time: greeting.client_time,
            counter: self.taken,
        };
        input(greeting.at.0, connection_input::Kind::Attach(attach))
    }

    /// The first messages, up to one for another session. Those whose body makes no sense are refused
    /// here and get no number.
    fn say_inputs(&mut self, frames: &mut Frames) -> Vec<pb::ConnectionInput> {
        let Some(session) = self.shown.as_ref().map(|shown| shown.session) else {
            return Vec::new();
        };
        let session_text = session.to_string();
        let mut inputs = Vec::new();
        let mut bytes = 0_usize;
        let mut bad = false;
        for item in self.queue.iter().take(SAYS_MAX) {
            let Inbound::Say(greeting, data) = item else { break };
            bytes = bytes.saturating_add(data.len());
            if !self.is_in(greeting) || (bytes > SAYS_BYTES_MAX && !inputs.is_empty()) {
                break;
            }
            let identity =
                RequestIdentity { user_id: &self.identity.bot_user, session_id: &session_text };
            let Ok(request) = rebuild(data, identity) else {
                bad = inputs.is_empty();
                break;
            };
            let counter = u64::try_from(inputs.len()).unwrap_or(u64::MAX).saturating_add(1);
            let say = pb::SayInput {
                session: session_to_bytes(session),
                counter: self.taken.saturating_add(counter),
                client_time: greeting.client_time,
                greeting: request.is_greeting,
                text: request.text,
                body: request.for_record,
                request: request.for_bot,
            };
            inputs.push(input(greeting.at.0, connection_input::Kind::Say(say)));
        }
        if bad {
            self.queue.pop();
            self.refuse(Refusal::Body, frames);
        }
        inputs
    }

    fn request(&self, inputs: Vec<pb::ConnectionInput>) -> pb::Request {
        let connection = ConnectionId { gateway: self.shared.config.gateway, number: self.number };
        let Visitor { user, placement } = self.identity.visitor;
        let request = pb::ConnectionRequest {
            connection: Some(connection_to_pb(connection)),
            user: user_to_bytes(user),
            placement: placement.0,
            role: pb::Role::Visitor.into(),
            inputs,
        };
        let kind = Some(pb::request::Kind::Connection(request));
        pb::Request { app: self.app.as_str().to_owned(), kind }
    }

    fn asking(&self, request: &pb::Request) -> Asking<B> {
        let partition = self.identity.visitor.placement.partition();
        Asking::new(Arc::clone(&self.shared.bus), partition, request, self.number)
    }

    fn answered(
        &mut self,
        asked: Asked,
        answer: Answer,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let results = match answer {
            Answer::Inputs(results) => results,
            // Asking again would be answered the same.
            Answer::Malformed | Answer::Events(_) => {
                self.queue.pop();
                self.refuse(Refusal::Message, frames);
                return Ok(());
            }
        };
        let kinds = results.into_iter().map(|result| result.kind);
        match asked {
            Asked::Attach { aloud } => {
                let kind = kinds.into_iter().next().flatten();
                self.attach_answered(aloud, kind, frames)
            }
            Asked::Says => {
                for kind in kinds {
                    if !self.say_answered(kind, frames) {
                        break;
                    }
                }
                Ok(())
            }
            Asked::Leave => {
                if let Some(Inbound::Leave { session, .. }) = self.queue.pop() {
                    self.shown.take_if(|shown| shown.session == session);
                }
                Ok(())
            }
        }
    }

    fn attach_answered(
        &mut self,
        aloud: bool,
        kind: Option<input_reply::Kind>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let (claimed, is_bare) = match self.queue.first() {
            Some(Inbound::Join(greeting) | Inbound::Say(greeting, _)) => {
                (Some(greeting.claimed.clone()), false)
            }
            _ => (None, true),
        };
        match kind {
            Some(input_reply::Kind::Attached(reply)) => {
                let Ok(session) = stentor_wire::session_id(&reply.session) else {
                    return Err(STALE);
                };
                if aloud {
                    self.queue.pop();
                }
                if is_bare && !self.queue.is_empty() {
                    // A frame came after all. It may name another session, so nothing of this one is
                    // shown.
                    self.queue.push_first(Inbound::Leave { session, at: shared::now() });
                    return Ok(());
                }
                self.claimed = claimed;
                self.forgotten = false;
                self.attached(session, reply, aloud, frames)
            }
            Some(input_reply::Kind::NoSession(_)) => {
                self.queue.pop();
                Ok(())
            }
            Some(input_reply::Kind::Rejected(code))
                if code == i32::from(pb::RejectCode::TooManyConnections) =>
            {
                self.shared.metrics.refused(Refusal::UserConnections);
                Err(Closing {
                    code: CloseCode::Again,
                    text: "too many connections in this session",
                    reason: CloseReason::Refused,
                })
            }
            _ => {
                self.queue.pop();
                self.refuse(Refusal::Message, frames);
                Ok(())
            }
        }
    }

    fn attached(
        &mut self,
        session: SessionId,
        reply: pb::AttachedReply,
        aloud: bool,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let Some(app) = self.shared.app(&self.app) else { return Err(GONE) };
        let before = self.shown.take();
        let (same, other) = match before {
            Some(shown) if shown.session == session => {
                (Some(shown).filter(|shown| shown.epoch.0 == reply.epoch), None)
            }
            other => (None, other),
        };
        if let Some(other) = other {
            self.queue.push_first(Inbound::Leave { session: other.session, at: shared::now() });
        }
        self.futile = 0;
        self.shown = match same {
            Some(mut same) if !aloud => {
                same.attached_again(&reply);
                Some(same)
            }
            before => {
                let user = self.identity.visitor.user;
                let shown = Shown::attached(reply, before, user, &app, frames);
                Some(shown.map_err(|_| STALE)?)
            }
        };
        Ok(())
    }

    /// What became of the first message in the queue. False: it stays there.
    fn say_answered(&mut self, kind: Option<input_reply::Kind>, frames: &mut Frames) -> bool {
        use input_reply::Kind;
        match kind {
            Some(Kind::Committed(_) | Kind::Duplicate(_)) => {}
            Some(Kind::AttachFirst(_) | Kind::Gap(_)) => {
                self.forgotten = true;
                return false;
            }
            Some(Kind::TryAgainMs(_)) => return false,
            _ => self.refuse(Refusal::Message, frames),
        }
        self.taken = self.taken.saturating_add(1);
        self.queue.pop();
        true
    }

    /// Asks for events that were missed.
    fn fetch(&mut self, missing: Missing) -> Result<(), Closing> {
        let (from, to) = match missing {
            Missing::Nothing => return Ok(()),
            Missing::Everything => return Err(STALE),
            Missing::Events(from, to) => (from, to),
        };
        let Some(shown) = &self.shown else { return Ok(()) };
        let fetch =
            pb::FetchRequest { session: session_to_bytes(shown.session), from: from.0, to: to.0 };
        let kind = Some(pb::request::Kind::Fetch(fetch));
        let request = pb::Request { app: self.app.as_str().to_owned(), kind };
        self.shared.metrics.fetched();
        self.fetching = Some(Box::new(self.asking(&request)));
        Ok(())
    }

    fn poll_fetch(&mut self, context: &mut Context<'_>) -> Result<(), Closing> {
        let Some(fetching) = &mut self.fetching else { return Ok(()) };
        let Poll::Ready(answer) = fetching.poll(context, &self.shared.metrics) else {
            return Ok(());
        };
        self.fetching = None;
        let (Some(shown), Answer::Events(reply)) = (&mut self.shown, answer) else {
            return Ok(());
        };
        let epoch = stentor_types::Epoch(reply.epoch);
        let Ok(batch) = Batch::new(shown.session, epoch, EventNumber::NONE, &reply.events) else {
            return Err(STALE);
        };
        let helps = batch.events.first().is_some_and(|first| first.n <= shown.last.next())
            && batch.events.last().is_some_and(|last| last.n > shown.last);
        self.futile = if helps { 0 } else { self.futile.saturating_add(1) };
        if self.futile >= FETCHES_MAX {
            return Err(STALE);
        }
        shown.put_first(batch);
        Ok(())
    }
}

/// The app was taken away while the socket was open.
const GONE: Closing = Closing {
    code: CloseCode::Policy,
    text: "this app is not served here any more",
    reason: CloseReason::Refused,
};

/// Only a new attachment helps; the widget comes back by itself.
const STALE: Closing = Closing {
    code: CloseCode::Restart,
    text: "out of date; come back",
    reason: CloseReason::Stale,
};

fn input(received_at: u64, kind: connection_input::Kind) -> pb::ConnectionInput {
    pb::ConnectionInput { received_at, kind: Some(kind) }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").finish_non_exhaustive()
    }
}
