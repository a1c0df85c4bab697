//! Erasing a session, in steps of which each may be the last before a crash, and all may be taken again:
//!
//! 1. the store is told, and drops what comes late from then on; whoever loads the session finishes what follows;
//! 2. the commit, by compare-and-set like any other: from then on nobody is shown anything;
//! 3. the log overwrites what was before it, the store removes what it has;
//! 4. the certificate is kept.

use bytes::Bytes;
use prost::Message as _;
use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_postoffice::State;
use stentor_store::{Erasure, Projection, SessionRow, Store};
use stentor_types::{Audience, Event, EventKind, EventNumber, Input, InputKind, Stamp};
use stentor_wire::{ERASING, encode_event, encode_snapshot_for, pb, session_to_bytes};
use tracing::{info, warn};

use super::{Actor, Command, Trouble};
use crate::{history::Recent, request};

/// Something on the way failed that may pass.
fn not_now(what: &'static str) -> impl FnOnce(&dyn std::error::Error) -> Trouble {
    move |cause| {
        warn!(
            cause = crate::metrics::chain(cause),
            "{what} failed; the session is not wholly erased yet"
        );
        Trouble::TryAgain
    }
}

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    pub(super) async fn take_erase(&mut self, command: Command) -> Result<(), Trouble> {
        let Command::Erase { answer } = command else { return Ok(()) };
        let state = self.session.state();
        let kind = if state.visitor.is_none() && !state.erased {
            pb::erase_reply::Kind::NoSession(true)
        } else {
            match self.erase().await {
                Ok(certificate) => pb::erase_reply::Kind::Certificate(certificate),
                Err(trouble) => {
                    request::answer_trouble(Command::Erase { answer }, trouble);
                    return Err(trouble);
                }
            }
        };
        // Whoever no longer waits asks again, and is told the same.
        let _ = answer.send(pb::EraseReply { kind: Some(kind) });
        Ok(())
    }

    /// Erases the session, or finishes it.
    pub(super) async fn erase(&mut self) -> Result<pb::Certificate, Trouble> {
        let shared = self.actors.shared();
        let (app, session) = (&self.key.app, self.key.session);
        if !self.session.state().erased {
            if shared.min_logic() < ERASING {
                return Err(Trouble::TryAgain);
            }
            let erasure = Erasure { at: self.session.state().last_at, certificate: Bytes::new() };
            let told = shared.store.erase(app, session, erasure).await;
            told.map_err(|cause| not_now("telling the store")(&cause))?;
            // With the state as it will be: nothing before the commit is needed any more.
            self.rests = true;
            let at = shared.clock.now();
            self.write(vec![Input { at, kind: InputKind::Erase }]).await?;
            if !self.session.state().erased {
                return Err(Trouble::TryAgain);
            }
        }
        self.finish_erasing().await
    }

    async fn finish_erasing(&self) -> Result<pb::Certificate, Trouble> {
        let shared = self.actors.shared();
        let (app, session, state) = (&self.key.app, self.key.session, self.session.state());
        let at = state.last_at;
        if let Some(head) = self.head {
            let erased = shared.log.erase(&self.key.entity(), head).await;
            erased.map_err(|cause| not_now("overwriting the log")(&cause))?;
        }
        let forgotten = shared.store.forget(app, session, at).await;
        forgotten.map_err(|cause| not_now("removing the history")(&cause))?;
        if let Some(origin) = self.origin {
            let row = SessionRow {
                epoch: origin.epoch,
                projected: state.n,
                first: EventNumber(1),
                at,
                log: origin.log,
                state: encode_snapshot_for(state, shared.min_logic()),
            };
            let left = Projection { app: app.clone(), session, events: Vec::new(), row: Some(row) };
            let written = shared.store.project(left).await;
            written.map_err(|cause| not_now("writing what is left")(&cause))?;
        }
        let known = shared.store.erasure(app, session).await;
        let known = known.map_err(|cause| not_now("reading the certificate")(&cause))?;
        let known = known.filter(|known| !known.certificate.is_empty());
        if let Some(known) = known.and_then(|known| pb::Certificate::decode(known.certificate).ok())
        {
            return Ok(known);
        }
        let gone_after = shared.store.gone_after(app);
        let certificate = pb::Certificate {
            app: app.as_str().to_owned(),
            session: session_to_bytes(session),
            epoch: state.epoch.0,
            events: state.n.0,
            hidden_at: at.0,
            gone_at: gone_after.map(|after| shared.clock.now().after(after).0),
        };
        let kept = Erasure { at, certificate: certificate.encode_to_vec().into() };
        let written = shared.store.erase(app, session, kept).await;
        written.map_err(|cause| not_now("keeping the certificate")(&cause))?;
        info!(%app, %session, events = %state.n, "session erased");
        Ok(certificate)
    }

    /// What is in memory of an erased session goes, and whoever watches lists sees that it is over.
    pub(super) fn forget(&mut self) {
        let state = self.session.state();
        (self.recent, self.last, self.listed, self.unsent) = (Recent::default(), None, None, None);
        let listed = pb::Listed {
            session: session_to_bytes(self.key.session),
            state: pb::ListedState::Ended.into(),
            at: state.last_stamp.0,
            n: state.n.0,
            ..Default::default()
        };
        self.actors.shared().lists.change(self.key.clone(), state.last_at, listed);
    }
}

/// Events `from..=to` of a session of which only their numbers are left. Stamps go up to that of the last one.
pub(super) fn erased_events(
    state: &State,
    from: EventNumber,
    to: EventNumber,
) -> Vec<(EventNumber, Bytes)> {
    let numbers = from.0.max(1)..=to.0.min(state.n.0);
    let event = |n: u64| {
        let back = i64::try_from(state.n.0.saturating_sub(n)).unwrap_or(i64::MAX);
        let stamp = Stamp(state.last_stamp.0.saturating_sub(back.saturating_mul(2)));
        let n = EventNumber(n);
        let event = Event { n, stamp, audience: Audience::All, kind: EventKind::Erased };
        (n, encode_event(&event))
    };
    numbers.map(event).collect()
}

#[cfg(test)]
mod tests {
    use stentor_types::{Epoch, Timestamp};
    use stentor_wire::decode_event;

    use super::*;

    #[test]
    fn cluster_26_of_every_event_the_number_is_left_and_stamps_increase() {
        let state = State {
            n: EventNumber(5),
            last_stamp: Stamp(100),
            last_at: Timestamp(1),
            erased: true,
            ..State::new(Epoch(1))
        };
        let events = |from, to| {
            let events = erased_events(&state, EventNumber(from), EventNumber(to));
            let events = events.iter().map(|(n, bytes)| {
                let event = decode_event(bytes).unwrap();
                assert_eq!((event.n, &event.kind), (*n, &EventKind::Erased));
                (n.0, event.stamp.0)
            });
            events.collect::<Vec<_>>()
        };
        assert_eq!(events(0, 9), [(1, 92), (2, 94), (3, 96), (4, 98), (5, 100)]);
        assert_eq!(events(4, 4), [(4, 98)]);
        assert_eq!(events(6, 9), []);
    }
}
