//! Erasing a session, and the way to it from its visitor's directory.

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::{AppId, SessionId, Visitor};
use stentor_wire::{ERASING, pb, pb::input_reply};
use tokio::sync::oneshot;

use super::Dispatcher;
use crate::{
    actor::{Command, Trouble},
    actors::Key,
    request,
};

/// The answer to somebody who may not.
pub(super) const fn forbidden() -> pb::EraseReply {
    pb::EraseReply { kind: Some(pb::erase_reply::Kind::Forbidden(true)) }
}

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Dispatcher<L, S, B> {
    /// Whether a program may that shows this token. A gateway has looked at it too; but somebody may have broken into
    /// one, and what it says is not enough for this.
    pub(super) fn lets_erase(&self, app: &AppId, token: &str) -> bool {
        let apps = self.actors.shared().apps.borrow();
        apps.get(app.as_str()).is_some_and(|app| app.lets_erase(token))
    }

    /// The directory first: the session itself tells no longer whose it was, once it is erased.
    pub(super) async fn erase(&self, key: Key) -> pb::EraseReply {
        if self.actors.shared().min_logic() < ERASING {
            let kind = Some(pb::erase_reply::Kind::NeedsVersion(ERASING));
            return pb::EraseReply { kind };
        }
        let later = |trouble| {
            let (answer, mut answered) = oneshot::channel();
            request::answer_trouble(Command::Erase { answer }, trouble);
            answered.try_recv().unwrap_or_default()
        };
        let (answer, answered) = oneshot::channel();
        let sent = self.actors.send(&key, Command::Whose { answer });
        let Some(visitor) = (if sent.is_ok() { answered.await.ok() } else { None }) else {
            return later(Trouble::TryAgain);
        };
        if let Some(user) = visitor {
            let visitor = Visitor { user, placement: key.session.key() };
            if let Err(trouble) = self.directories.leave(&key.app, visitor, key.session).await {
                return later(trouble);
            }
        }
        let (answer, answered) = oneshot::channel();
        match self.actors.send(&key, Command::Erase { answer }) {
            Ok(()) => answered.await.unwrap_or_else(|_| later(Trouble::TryAgain)),
            Err(_) => later(Trouble::TryAgain),
        }
    }

    /// A directory that is older than the erasure of a session leads to it: after a restore, say. Whoever came by it
    /// comes again, and then to a new one.
    pub(super) async fn mislead_nobody(
        &self,
        app: &AppId,
        visitor: Visitor,
        led: &[(usize, SessionId)],
        results: &mut [pb::InputReply],
    ) {
        let erased = i32::from(pb::RejectCode::Erased);
        for (place, session) in led {
            let Some(result) = results.get_mut(*place) else { continue };
            if result.kind != Some(input_reply::Kind::Rejected(erased)) {
                continue;
            }
            if self.directories.leave(app, visitor, *session).await.is_ok() {
                *result = request::trouble_reply(Trouble::Moved);
            }
        }
    }
}
