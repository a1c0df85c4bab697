//! The way of the latest commits, for whoever asks why a message took its time.
//!
//! What a log does not know and no client needs: when a gateway read the first frame of a commit, when the log
//! had answered, to which gateways it went. In memory only; a router that starts anew remembers nothing.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use stentor_types::{Epoch, EventNumber, GatewayId, Input, InputKind, SessionId, Timestamp};
use stentor_wire::pb;

/// Commits that are remembered, of all sessions together; the oldest is forgotten first. About 120 bytes each,
/// half a megabyte in all; a few seconds of a router at its limit, minutes of an ordinary one.
const KEPT_MAX: usize = 4_096;
/// Commits in one answer.
const ANSWER_MAX: usize = 64;

/// The way of one commit.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) first: EventNumber,
    pub(crate) last: EventNumber,
    /// When a gateway read the first of the frames in it.
    pub(crate) received: Option<Timestamp>,
    pub(crate) decided: Timestamp,
    pub(crate) committed: Timestamp,
    pub(crate) sent: Sent,
}

/// To whom a commit was handed.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) gateways: Box<[GatewayId]>,
    /// Those of them whose queue was full.
    pub(crate) missed: u32,
}

/// The way of the latest commits.
#[derive(Debug)]
pub(crate) struct Hops {
    since: Timestamp,
    kept: Mutex<VecDeque<Hop>>,
}

// === impl Hops ===

impl Hops {
    /// `since` is now.
    pub(crate) const fn new(since: Timestamp) -> Self {
        Self { since, kept: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn note(&self, hop: Hop) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(hop);
    }

    /// What is remembered of the commit with event `n` and of those after it; of the newest ones if `n` is 0.
    pub(crate) fn explain(&self, session: SessionId, n: EventNumber) -> pb::ExplainReply {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = kept.iter().filter(|hop| hop.session == session && hop.last >= n);
        let mut commits: Vec<_> = if n == EventNumber::NONE {
            asked.rev().take(ANSWER_MAX).map(Hop::to_pb).collect()
        } else {
            asked.take(ANSWER_MAX).map(Hop::to_pb).collect()
        };
        if n == EventNumber::NONE {
            commits.reverse();
        }
        pb::ExplainReply { commits, since: self.since.0 }
    }
}

// === impl Hop ===

impl Hop {
    fn to_pb(&self) -> pb::Hops {
        pb::Hops {
            epoch: self.epoch.0,
            first: self.first.0,
            last: self.last.0,
            received: self.received.map_or(0, |at| at.0),
            decided: self.decided.0,
            committed: self.committed.0,
            gateways: self.sent.gateways.iter().map(|gateway| gateway.0).collect(),
            missed: self.sent.missed,
        }
    }
}

/// When a gateway read the first frame among these inputs; nothing if none of them came from one.
pub(crate) fn received(inputs: &[Input]) -> Option<Timestamp> {
    let frames = inputs.iter().filter(|input| match input.kind {
        InputKind::Tick
        | InputKind::Erase
        | InputKind::Outcome { .. }
        | InputKind::GatewayLost { .. } => false,
        InputKind::Attach(_)
        | InputKind::Say(_)
        | InputKind::Detach { .. }
        | InputKind::Refuse { .. }
        | InputKind::Control(_)
        | InputKind::Draft { .. }
        | InputKind::End { .. } => true,
    });
    frames.map(|input| input.at).min()
}

#[cfg(test)]
mod tests {
    use stentor_types::PlacementKey;

    use super::*;

    fn hop(session: u128, n: u64) -> Hop {
        Hop {
            session: SessionId::new(PlacementKey(1), session),
            epoch: Epoch(1),
            first: EventNumber(n),
            last: EventNumber(n),
            received: None,
            decided: Timestamp(n),
            committed: Timestamp(n + 1),
            sent: Sent::default(),
        }
    }

    fn numbers(hops: &Hops, session: u128, n: u64) -> Vec<u64> {
        let session = SessionId::new(PlacementKey(1), session);
        hops.explain(session, EventNumber(n)).commits.iter().map(|hops| hops.first).collect()
    }

    #[test]
    fn the_oldest_commit_of_all_is_forgotten_first() {
        let hops = Hops::new(Timestamp(1));
        hops.note(hop(1, 1));
        for n in 1..u64::try_from(KEPT_MAX).unwrap() {
            hops.note(hop(2, n));
        }
        assert_eq!(numbers(&hops, 1, 1), [1]);
        hops.note(hop(2, 9_999));
        assert_eq!(numbers(&hops, 1, 1), Vec::<u64>::new());
    }

    #[test]
    fn an_answer_is_about_one_session_and_short() {
        let hops = Hops::new(Timestamp(1));
        for n in 1..=200 {
            hops.note(hop(1, n));
            hops.note(hop(2, n));
        }
        assert_eq!(numbers(&hops, 1, 150), (150..=200).collect::<Vec<_>>());
        assert_eq!(numbers(&hops, 1, 2), (2..66).collect::<Vec<_>>());
        assert_eq!(numbers(&hops, 1, 0), (137..=200).collect::<Vec<_>>());
    }
}
