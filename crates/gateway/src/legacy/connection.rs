//! A legacy connection from open to close: a stranger until its app is known, then a member; or refused.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use stentor_cluster::Ingress;
use stentor_protocol::{
    ClientFrame, ConnectReason, FrameError, ShapeError, app_id_from_path, outgoing,
};
use stentor_types::{AppId, SessionId};
use tokio_tungstenite::tungstenite::{Utf8Bytes, protocol::frame::coding::CloseCode};
use tracing::debug;

use super::{
    identity::Identity,
    member::{BARE_AFTER, Member},
};
use crate::{
    batch::Batch,
    engine::{Closing, Frames, Handler, Turn},
    identify::{Claim, Origin, Principal},
    limits::AddressPlace,
    metrics::{CloseReason, Refusal},
    shared::{self, Shared},
};

/// The code makes clients come back later.
const CROWDED: Closing = Closing {
    code: CloseCode::Again,
    text: "too many connections of this user; come back later",
    reason: CloseReason::Refused,
};
/// Frames that make no sense before the connection is closed.
const NONSENSE_MAX: u8 = 32;
/// What an agent's widget shows.
const NOT_AN_AGENT: &str = "You are not signed in as an agent.";
const NOT_BELIEVED: &str = "The token in the server URL is not valid (any more).";
const NO_SUCH_APP: &str = "There is no such app, or it does not allow this page.";

/// What stands behind a published widget's socket.
#[derive(Debug)]
pub(crate) struct Connection<B: Ingress> {
    shared: Arc<Shared<B>>,
    number: u64,
    life: Life<B>,
    address: Option<AddressPlace>,
    nonsense: u8,
    greeted: bool,
    /// A frame has come.
    spoke: bool,
}

/// Who comes, as far as the handshake told.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) claim: Claim,
    pub(crate) origin: Origin,
    /// Known from the URL or the origin.
    pub(crate) app: Option<AppId>,
    pub(crate) is_admin: bool,
    /// The session that an agent's page is about.
    pub(crate) session: Option<SessionId>,
    /// By which the operator vouches for them.
    pub(crate) token: Option<Box<str>>,
    pub(crate) reason: ConnectReason,
    pub(crate) address: AddressPlace,
    /// The login cookie, if a page of our own has sent it.
    pub(crate) login: Option<Box<str>>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are members; a box would cost each of them"
)]
enum Life<B> {
    /// Its app is not known yet.
    Stranger(Box<Unknown>),
    Member(Member<B>),
    /// It may not be here; it is told so, and not served.
    Refused(&'static str),
    /// Its user has too many connections already; it may come back.
    Crowded,
}

/// What somebody has to show for themselves.
#[derive(Debug)]
struct Unknown {
    claim: Claim,
    origin: Origin,
    is_admin: bool,
    session: Option<SessionId>,
    token: Option<Box<str>>,
    login: Option<Box<str>>,
}

// === impl Connection ===

impl<B: Ingress> Connection<B> {
    pub(crate) fn new(shared: Arc<Shared<B>>, number: u64, stranger: Stranger) -> Self {
        let Stranger { claim, origin, app, is_admin, session, token, reason, address, login } =
            stranger;
        let unknown = Unknown { claim, origin, is_admin, session, token, login };
        let bare_after = match reason {
            ConnectReason::Wakeup => Duration::ZERO,
            ConnectReason::EmitNoWs | ConnectReason::Other => BARE_AFTER,
        };
        let mut connection = Self {
            shared,
            number,
            life: Life::Refused(NO_SUCH_APP),
            address: Some(address),
            nonsense: 0,
            greeted: false,
            spoke: false,
        };
        connection.life = match app {
            Some(app) => connection.join(app, &unknown, Some(bare_after)),
            // Nobody becomes an agent by saying so.
            None if unknown.is_admin && !unknown.shows_something() => {
                connection.refused(Refusal::Admin, NOT_AN_AGENT)
            }
            None => Life::Stranger(Box::new(unknown)),
        };
        connection
    }

    fn refused(&self, refusal: Refusal, why: &'static str) -> Life<B> {
        self.shared.metrics.refused(refusal);
        Life::Refused(why)
    }

    fn join(&self, app: AppId, unknown: &Unknown, bare_after: Option<Duration>) -> Life<B> {
        let Some(served) = self.shared.app(&app) else {
            return self.refused(Refusal::App, NO_SUCH_APP);
        };
        let cookie = unknown.login.as_deref().filter(|_| unknown.is_admin);
        let known = match (&unknown.token, cookie) {
            (Some(token), _) => match Principal::vouched(&served, token) {
                Ok(principal) => Some(principal),
                Err(_) => return self.refused(Refusal::Token, NOT_BELIEVED),
            },
            (None, Some(cookie)) => self.shared.logins.principal(&served, cookie),
            (None, None) => None,
        };
        let identity = match known {
            Some(principal) if unknown.is_admin && principal.is_staff() => {
                Identity::agent(principal, &unknown.claim, unknown.session)
            }
            _ if unknown.is_admin => return self.refused(Refusal::Admin, NOT_AN_AGENT),
            Some(principal) => Identity::vouched(principal),
            None => unknown.claim.identity(&app),
        };
        if !self.shared.limiter.enter(identity.visitor.user, served.limits.connections_per_user) {
            self.shared.metrics.refused(Refusal::UserConnections);
            return Life::Crowded;
        }
        Life::Member(Member::new(Arc::clone(&self.shared), self.number, app, identity, bare_after))
    }

    /// The first frame of a connection whose URL does not name the app.
    fn identify(&mut self, frame: &ClientFrame<'_>) -> Option<Life<B>> {
        let Life::Stranger(unknown) = &self.life else { return None };
        let apps = self.shared.apps();
        let own = unknown.login.is_some();
        let app = app_id_from_path(&frame.sender.path)
            .and_then(|name| apps.get(name))
            .filter(|app| own || unknown.origin.fits(app, self.shared.config.dev));
        Some(match app {
            _ if frame.sender.is_admin && !unknown.is_admin => {
                self.refused(Refusal::Admin, NOT_AN_AGENT)
            }
            Some(app) => self.join(app.id.clone(), unknown, None),
            None => self.refused(Refusal::App, NO_SUCH_APP),
        })
    }

    fn nonsense(&mut self) -> Result<(), Closing> {
        self.shared.metrics.refused(Refusal::Frame);
        self.nonsense = self.nonsense.saturating_add(1);
        if self.nonsense < NONSENSE_MAX {
            return Ok(());
        }
        Err(Closing {
            code: CloseCode::Policy,
            text: "too many frames that make no sense",
            reason: CloseReason::Refused,
        })
    }

    fn too_long(&mut self, frames: &mut Frames) -> Result<(), Closing> {
        match &mut self.life {
            Life::Member(member) => {
                member.refuse(Refusal::TooLong, frames);
                Ok(())
            }
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => self.nonsense(),
        }
    }

    fn is_too_fast(&self) -> bool {
        let address = self.address.as_ref().and_then(AddressPlace::address);
        let Life::Member(member) = &self.life else {
            return !self.shared.limiter.address_may_speak(address);
        };
        let Some(app) = self.shared.app(member.app()) else { return false };
        let fits = self.shared.limiter.address_may_speak(address)
            && self.shared.limiter.may_speak(member.visitor().user, &app.limits);
        !fits
    }

    fn bytes_max(&self) -> usize {
        let Life::Member(member) = &self.life else { return usize::MAX };
        self.shared.app(member.app()).map_or(usize::MAX, |app| app.limits.message_bytes)
    }

    fn leave(&mut self) {
        if let Life::Member(member) = &self.life {
            self.shared.limiter.leave(member.visitor().user);
        }
    }
}

// === impl Unknown ===

impl Unknown {
    const fn shows_something(&self) -> bool {
        self.token.is_some() || self.login.is_some()
    }
}

impl<B: Ingress> Handler for Connection<B> {
    type Delivery = Arc<Batch>;

    fn text(&mut self, message: Utf8Bytes, frames: &mut Frames) -> Result<(), Closing> {
        if matches!(self.life, Life::Refused(_)) {
            return self.nonsense();
        }
        let text = Bytes::from(message);
        if text.len() > self.bytes_max() {
            return self.too_long(frames);
        }
        // The first frame is the limit of connections' business: all tabs of a browser may come back at once.
        if std::mem::replace(&mut self.spoke, true) && self.is_too_fast() {
            match &mut self.life {
                Life::Member(member) => member.refuse(Refusal::TooFast, frames),
                Life::Stranger(_) | Life::Refused(_) | Life::Crowded => {
                    self.shared.metrics.refused(Refusal::TooFast);
                }
            }
            return Ok(());
        }
        let frame = match ClientFrame::parse(&text) {
            Ok(frame) => frame,
            Err(FrameError::Shape(ShapeError::TooLarge { .. })) => return self.too_long(frames),
            Err(_) => return self.nonsense(),
        };
        if let Some(life) = self.identify(&frame) {
            self.life = life;
            if let Life::Refused(why) = self.life {
                frames.push(refusal(why));
            }
        }
        if let Life::Member(member) = &mut self.life {
            member.frame(&frame, frames);
        }
        Ok(())
    }

    fn binary(&mut self, _message: Bytes, _frames: &mut Frames) -> Result<(), Closing> {
        self.nonsense()
    }

    fn takes_messages(&self) -> bool {
        match &self.life {
            Life::Member(member) => member.takes_messages(),
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => true,
        }
    }

    fn poll_work(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<Closing> {
        let greeted = std::mem::replace(&mut self.greeted, true);
        match &mut self.life {
            Life::Crowded => return Poll::Ready(CROWDED),
            Life::Refused(why) if !greeted => frames.push(refusal(why)),
            // A widget whose `user joined` was lost sends nothing until it sees this.
            Life::Stranger(_) | Life::Member(_) if !greeted => {
                frames.push(outgoing::connection_update(true, None, shared::now_ms()));
            }
            _ => {}
        }
        match &mut self.life {
            Life::Member(member) => member.poll_work(context, frames),
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => Poll::Pending,
        }
    }

    fn takes_deliveries(&self) -> bool {
        match &self.life {
            Life::Member(member) => member.takes_deliveries(),
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => true,
        }
    }

    fn deliver(&mut self, batch: Arc<Batch>, frames: &mut Frames) -> Result<(), Closing> {
        match &mut self.life {
            Life::Member(member) => member.deliver(batch, frames),
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => Ok(()),
        }
    }

    fn refill(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Result<(), Closing> {
        match &mut self.life {
            Life::Member(member) => member.refill(context, frames),
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => Ok(()),
        }
    }

    fn catch_up(&mut self, turn: Turn) {
        if let Life::Member(member) = &mut self.life {
            member.catch_up(turn);
        }
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.address = None;
        match &mut self.life {
            Life::Member(member) => member.poll_finish(context),
            Life::Stranger(_) | Life::Refused(_) | Life::Crowded => Poll::Ready(()),
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
        self.leave();
    }
}

fn refusal(why: &'static str) -> Bytes {
    outgoing::connection_update(false, Some(why), shared::now_ms())
}
