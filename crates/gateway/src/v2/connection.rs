//! A connection of the second dialect from open to close: greeted, then a table of sessions.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use stentor_cluster::Ingress;
use stentor_protocol::v2::{
    Beat, Code, Drain, Hello, Limits, ListChanged, OPEN_MAX, RoleName, TypingNow, V2Frame, Welcome,
    encode,
};
use stentor_types::{AppId, SessionId};
use stentor_wire::pb;
use tokio::{task::JoinHandle, time::Sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::debug;

use super::{
    closing,
    jobs::Job,
    lists::Listing,
    seat::{Place, Seat, refusal},
};
use crate::{
    batch::Batch,
    engine::{Closing, Frames, Handler, Turn},
    identify::{Device, Origin, Principal, random},
    legacy::Stranger,
    limits::AddressPlace,
    metrics::{CloseReason, Refusal},
    shared::Shared,
};

/// How long a client may take to say who it is.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Frames that make no sense before the connection is closed.
const NONSENSE_MAX: u8 = 32;
/// Jobs that may wait on one socket, over all its sessions; then it is not read.
const JOBS_MAX: usize = 128;
/// Their bytes.
const JOB_BYTES_MAX: usize = 512 * 1024;
/// Clients come back spread over this after a drain.
const DRAIN_SPREAD_MS: u64 = 3_000;

/// What stands behind the socket of a client of the second dialect.
#[derive(Debug)]
pub(crate) struct Connection<B: Ingress> {
    pub(super) shared: Arc<Shared<B>>,
    pub(super) number: u64,
    stranger: Option<Box<Unknown>>,
    pub(super) principal: Option<Box<Principal>>,
    address: Option<AddressPlace>,
    pub(super) seats: Vec<Seat<B>>,
    /// Until the greeting: when it is too late. After it: when the token expires.
    timer: Option<Pin<Box<Sleep>>>,
    nonsense: u8,
    leaving: bool,
    pub(super) listings: Vec<Listing<B>>,
    /// Signs of typing on their way. Whoever leaves before they have arrived is not in the session any more.
    pub(super) signals: Vec<JoinHandle<()>>,
    pub(super) watching: bool,
    lists_missed: bool,
    turn: Option<Turn>,
}

/// Who has not said who they are.
#[derive(Debug)]
struct Unknown {
    origin: Origin,
    app: Option<AppId>,
    login: Option<Box<str>>,
}

// === impl Connection ===

impl<B: Ingress> Connection<B> {
    pub(crate) fn new(shared: Arc<Shared<B>>, number: u64, stranger: Stranger) -> Self {
        let Stranger { origin, app, address, login, .. } = stranger;
        Self {
            shared,
            number,
            stranger: Some(Box::new(Unknown { origin, app, login })),
            principal: None,
            address: Some(address),
            seats: Vec::new(),
            timer: Some(Box::pin(tokio::time::sleep(HELLO_WAIT))),
            nonsense: 0,
            leaving: false,
            listings: Vec::new(),
            signals: Vec::new(),
            watching: false,
            lists_missed: false,
            turn: None,
        }
    }

    /// The first frame.
    fn greet(&mut self, hello: &Hello, frames: &mut Frames) -> Result<(), Closing> {
        let Some(stranger) = self.stranger.take() else { return Err(closing::NO_GREETING) };
        let Unknown { origin, app, login } = *stranger;
        let apps = self.shared.apps();
        let known = app.as_ref().map(AppId::as_str);
        let differs = known.zip(hello.app.as_deref()).is_some_and(|(known, named)| known != named);
        let named = known.or(hello.app.as_deref()).filter(|_| !differs);
        let app = named.and_then(|name| apps.get(name)).ok_or_else(|| {
            self.shared.metrics.refused(Refusal::App);
            closing::NO_APP
        })?;
        let token = hello.token.as_deref();
        let device = token.and_then(Device::parse);
        let fits = origin.fits(app, self.shared.config.dev);
        let login = login.filter(|_| hello.login);
        let (principal, fresh) = match token.filter(|_| device.is_none()) {
            None if hello.login => {
                let known = login.and_then(|login| self.shared.logins.principal(app, &login));
                match known {
                    Some(principal) => (principal, None),
                    None => return Err(self.refuse(Refusal::Token, closing::NOT_LOGGED_IN)),
                }
            }
            Some(token) => match Principal::vouched(app, token) {
                // A program shows no origin; the token stands for it.
                Ok(principal) if fits || origin.is_missing() => (principal, None),
                Ok(_) => return Err(self.refuse(Refusal::Origin, closing::FORBIDDEN)),
                Err(why) => {
                    frames.push(refusal(None, None, Code::Forbidden, &why.to_string()));
                    return Err(self.refuse(Refusal::Token, closing::of(&why)));
                }
            },
            None if !fits => return Err(self.refuse(Refusal::Origin, closing::FORBIDDEN)),
            None => {
                let fresh = device.is_none().then(|| Device::new(random()));
                let device = device.or(fresh).ok_or(closing::UNAUTHORISED)?;
                (Principal::device(app.id.clone(), device), fresh)
            }
        };
        let max = principal.limits(app).connections_per_user;
        if !self.shared.limiter.enter(principal.visitor.user, max) {
            self.shared.metrics.refused(Refusal::UserConnections);
            return Err(closing::CROWDED);
        }
        frames.push(encode(&Welcome {
            app: app.id.as_str().to_owned(),
            role: principal.role,
            device: fresh.map(Device::token),
            expires: principal.expires,
            limits: Limits { message_bytes: app.limits.message_bytes, open_sessions: OPEN_MAX },
        }));
        self.timer = principal.expiry();
        self.principal = Some(Box::new(principal));
        Ok(())
    }

    /// A fresh token for the same user, before the old one expires.
    fn renew(&mut self, hello: &Hello) -> Result<(), Closing> {
        let Some(principal) = &mut self.principal else { return Err(closing::NO_GREETING) };
        let app = self.shared.app(&principal.app).ok_or(closing::GONE)?;
        let token = hello.token.as_deref().ok_or(closing::NO_GREETING)?;
        let fresh = Principal::vouched(&app, token).map_err(|why| closing::of(&why))?;
        if fresh.visitor != principal.visitor || fresh.role != principal.role {
            return Err(closing::NO_GREETING);
        }
        self.timer = fresh.expiry();
        **principal = fresh;
        Ok(())
    }

    /// Nothing is asked for, nothing is to be asked, and every `open` is answered.
    pub(super) fn is_quiet(&self) -> bool {
        let seats = self.seats.iter().all(|seat| seat.is_idle() && seat.welcome.is_none());
        seats && self.listings.is_empty() && self.signals.is_empty()
    }

    fn refuse(&self, refusal: Refusal, closing: Closing) -> Closing {
        self.shared.metrics.refused(refusal);
        closing
    }

    fn nonsense(&mut self) -> Result<(), Closing> {
        self.shared.metrics.refused(Refusal::Frame);
        self.nonsense = self.nonsense.saturating_add(1);
        if self.nonsense < NONSENSE_MAX { Ok(()) } else { Err(closing::BROKEN) }
    }

    pub(super) fn seat(&mut self, sid: &str) -> Option<&mut Seat<B>> {
        let sid: SessionId = sid.parse().ok()?;
        self.seats.iter_mut().find(|seat| seat.sid == Some(sid) && seat.open)
    }

    /// Whether the user may say something now.
    pub(super) fn may_speak(&self) -> bool {
        let address = self.address.as_ref().and_then(AddressPlace::address);
        let Some(principal) = &self.principal else { return false };
        let Some(app) = self.shared.app(&principal.app) else { return false };
        self.shared.limiter.address_may_speak(address)
            && self.shared.limiter.may_speak(principal.visitor.user, &principal.limits(&app))
    }

    /// Somebody in a session types.
    fn show_typing(&self, batch: &Batch, typing: &pb::Typing, frames: &mut Frames) {
        let here = self.shared.gateway().0;
        let own =
            typing.from.is_some_and(|from| from.gateway == here && from.number == self.number);
        let open = self.seats.iter().any(|seat| seat.sid == Some(batch.session) && seat.open);
        if own || !open {
            return;
        }
        let role = match typing.role() {
            pb::Role::Visitor => RoleName::Visitor,
            pb::Role::Agent => RoleName::Agent,
        };
        let (sid, who, on) = (batch.session.to_string(), typing.alias.clone(), typing.on);
        frames.push(encode(&TypingNow { sid, who, role, on }));
    }

    /// Another session tells this connection something: it was left, or attached to by a request that was
    /// never answered.
    fn leave_stray(&mut self, session: SessionId) {
        // The answer that would explain it may be on its way.
        let opening = self.seats.iter().any(|seat| seat.sid.is_none());
        let known = self.seats.iter().any(|seat| seat.sid == Some(session));
        if opening || known || self.leaving || self.seats.len() >= 2 * OPEN_MAX {
            return;
        }
        let client = stentor_types::ClientInstance(0);
        let mut seat = Seat::new(Some(session), None, client, self.shared.gateway());
        seat.jobs.push_back(Job::Leave { aloud: false });
        self.seats.push(seat);
    }
}

impl<B: Ingress> Handler for Connection<B> {
    type Delivery = Arc<Batch>;

    fn text(&mut self, message: Utf8Bytes, frames: &mut Frames) -> Result<(), Closing> {
        let frame = match V2Frame::parse(message.as_bytes()) {
            Ok(frame) => frame,
            Err(_) if self.principal.is_none() => return Err(closing::NO_GREETING),
            Err(error) if error.message.is_some() => {
                self.unreadable(error, frames);
                return Ok(());
            }
            Err(error) => {
                frames.push(refusal(error.reference, None, Code::Malformed, &error.text));
                return self.nonsense();
            }
        };
        match frame {
            V2Frame::Hello(hello) if self.principal.is_some() => self.renew(&hello),
            V2Frame::Hello(hello) => self.greet(&hello, frames),
            _ if self.principal.is_none() => Err(closing::NO_GREETING),
            frame => {
                self.frame(frame, frames);
                Ok(())
            }
        }
    }

    fn binary(&mut self, _message: Bytes, _frames: &mut Frames) -> Result<(), Closing> {
        self.nonsense()
    }

    fn takes_messages(&self) -> bool {
        let jobs = self.seats.iter().flat_map(|seat| &seat.jobs);
        let (count, bytes) = jobs.fold((0_usize, 0_usize), |(count, bytes), job| {
            (count.saturating_add(1), bytes.saturating_add(job.bytes()))
        });
        count < JOBS_MAX && bytes < JOB_BYTES_MAX
    }

    fn poll_work(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<Closing> {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            self.timer = None;
            let expired = self.principal.is_some();
            return Poll::Ready(if expired { closing::UNAUTHORISED } else { closing::NO_HELLO });
        }
        let Some(principal) = self.principal.take() else { return Poll::Pending };
        let closing = match self.shared.app(&principal.app) {
            None => Some(closing::GONE),
            Some(app) if !principal.holds(&app) => Some(closing::UNAUTHORISED),
            Some(_) => None,
        };
        if let Some(closing) = closing.filter(|_| !self.leaving) {
            self.principal = Some(principal);
            return Poll::Ready(closing);
        }
        let place = Place { shared: &self.shared, number: self.number, principal: &principal };
        loop {
            for seat in &mut self.seats {
                seat.poll(context, &place, frames);
            }
            self.seats.retain(|seat| !seat.over);
            // One after the other, so that a turn is one fetch at a time.
            if self.turn.is_none() || self.seats.iter().any(Seat::is_catching_up) {
                break;
            }
            match self.seats.iter_mut().find(|seat| seat.is_behind) {
                Some(seat) => seat.catch_up(self.shared.gateway()),
                None => self.turn = None,
            }
        }
        self.merge_seats();
        self.principal = Some(principal);
        if !self.leaving && self.seats.iter().any(|seat| seat.is_lost) {
            return Poll::Ready(closing::UNKNOWN);
        }
        self.poll_lists(context, frames);
        self.signals.retain_mut(|signal| Pin::new(signal).poll(context).is_pending());
        Poll::Pending
    }

    fn takes_deliveries(&self) -> bool {
        true
    }

    fn deliver(&mut self, batch: Arc<Batch>, frames: &mut Frames) -> Result<(), Closing> {
        let Some(principal) = self.principal.take() else { return Ok(()) };
        if let Some(changes) = &batch.changes {
            self.principal = Some(principal);
            self.show_changes(changes, frames);
            return Ok(());
        }
        if let Some(typing) = &batch.typing {
            self.show_typing(&batch, typing, frames);
        } else if let Some(seat) =
            self.seats.iter_mut().find(|seat| seat.sid == Some(batch.session))
        {
            let place = Place { shared: &self.shared, number: self.number, principal: &principal };
            seat.take(batch, frames);
            seat.write(&place, frames);
        } else {
            self.leave_stray(batch.session);
        }
        self.principal = Some(principal);
        Ok(())
    }

    fn refill(&mut self, _: &mut Context<'_>, frames: &mut Frames) -> Result<(), Closing> {
        let Some(principal) = &self.principal else { return Ok(()) };
        let place = Place { shared: &self.shared, number: self.number, principal };
        for seat in &mut self.seats {
            seat.write(&place, frames);
            if !frames.is_empty() {
                return Ok(());
            }
        }
        if std::mem::take(&mut self.lists_missed) {
            frames.push(encode(&ListChanged { items: Vec::new(), missed: true }));
        }
        Ok(())
    }

    fn lost_deliveries(&mut self) -> Result<(), Closing> {
        // What the log has can be read again, as fast as this client takes it.
        for shown in self.seats.iter_mut().filter_map(|seat| seat.shown.as_mut()) {
            shown.unsure();
        }
        self.lists_missed = self.watching;
        Ok(())
    }

    fn catch_up(&mut self, turn: Turn) {
        if self.leaving {
            return;
        }
        for seat in &mut self.seats {
            seat.is_behind = true;
        }
        self.lists_missed |= self.watching;
        self.turn = Some(turn);
    }

    fn pinged(&mut self, frames: &mut Frames) {
        self.seats.iter_mut().for_each(|seat| seat.jobs.shrink_to_fit());
        self.seats.shrink_to_fit();
        // Browsers see no pings.
        frames.push(encode(&Beat {}));
    }

    fn farewell(&mut self, closing: &Closing, frames: &mut Frames) {
        if matches!(closing.reason, CloseReason::Drain | CloseReason::CutOff) {
            let spread = self.number.wrapping_mul(0x9e37_79b9) % DRAIN_SPREAD_MS;
            frames.push(encode(&Drain { reconnect_in_ms: 500 + spread }));
        }
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.address = None;
        if !self.leaving {
            self.leaving = true;
            self.timer = None;
            self.turn = None;
            self.listings.clear();
            for seat in &mut self.seats {
                seat.jobs.push_back(Job::Leave { aloud: false });
            }
        }
        // What was read is still committed; what is answered goes nowhere.
        let mut unseen = Frames::default();
        if self.poll_work(context, &mut unseen).is_ready() {
            return Poll::Ready(());
        }
        if self.seats.iter().all(|seat| seat.is_idle() || seat.is_hopeless()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn ended(&mut self, reason: CloseReason) {
        self.shared.sockets.remove(self.number);
        self.shared.metrics.closed(reason);
        debug!(socket = self.number, ?reason, "socket closed");
    }
}

impl<B: Ingress> Drop for Connection<B> {
    fn drop(&mut self) {
        if let Some(principal) = &self.principal {
            self.shared.limiter.leave(principal.visitor.user);
            if self.watching {
                self.shared.watchers.remove(&principal.app, self.number);
            }
        }
    }
}
