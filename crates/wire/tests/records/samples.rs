//! The values that the corpus holds. They never change; what is added gets a file of its own.

use bytes::Bytes;
use stentor_postoffice::{Directory, DirectoryEntry, Session, State};
use stentor_types::{
    Audience, ClientInstance, CommitId, Event, EventKind, EventNumber, Incarnation, Mid, Notice,
    RejectCode, Sequence, Stamp, Timestamp,
};
use stentor_wire::{CommitRecord, DirectoryRecord, LOGIC, encode_event, encode_snapshot};

use crate::{
    arbitrary::app,
    script::{Run, visitor},
};

/// A session in which every kind of event has happened that a session makes.
const STORY: &str = "attach a clock -60; attach x; say a1; fail; due; reply; say a2; empty; say a3; take x; \
     reply; say x1; refuse a4; detach a 9; lost; due; attach b; say b1; say b2; detach b";

fn story() -> Run {
    let mut run = Run::new();
    run.steps(STORY);
    run
}

/// The same for all that people do.
const PEOPLE: &str = "attach p; attach x; attach z; say p1; handoff; due; say p2; take x; reply; say x1; \
     send x 2; say p3; take z; release x; end z; say p4; take x; reply; dismiss x 5; note z1; say p5; detach x; \
     wait 121";

fn people_story() -> Run {
    let mut run = Run::new();
    run.steps(PEOPLE);
    run
}

/// The state at the end of that story.
pub(crate) fn people_state() -> State {
    people_story().session.state().clone()
}

fn erased_story() -> Run {
    let mut run = people_story();
    run.steps("erase");
    run
}

/// What is left of it when it was erased.
pub(crate) fn erased_state() -> State {
    erased_story().session.state().clone()
}

fn crowd_story() -> Run {
    let mut run = Run::new();
    run.steps("crowd 1; attach a; attach x; attach z; wait 1; detach x; wait 121");
    run
}

/// A session of many, when somebody has left who is not counted yet.
pub(crate) fn crowd_state() -> State {
    crowd_story().session.state().clone()
}

/// How it came to that.
pub(crate) fn crowd() -> CommitRecord {
    CommitRecord { id: CommitId(4), ..whole(&crowd_story()) }
}

/// The record that erases it.
pub(crate) fn erased() -> CommitRecord {
    let run = erased_story();
    let commit =
        stentor_postoffice::Commit { replies: Vec::new(), ..run.log.last().unwrap().clone() };
    let snapshot = Some(encode_snapshot(run.session.state()));
    let record = CommitRecord::new(app(), run.session.id(), commit);
    CommitRecord { id: CommitId(3), previous: Some(Sequence(41)), snapshot, ..record }
}

/// All that people do as one record.
pub(crate) fn people() -> CommitRecord {
    CommitRecord { id: CommitId(2), ..whole(&people_story()) }
}

/// A whole story as one record.
fn whole(run: &Run) -> CommitRecord {
    let mut commit = run.log.last().unwrap().clone();
    commit.first = run.log[0].first;
    commit.events = run.events().cloned().collect();
    commit.requests = run.log.iter().flat_map(|commit| commit.requests.clone()).collect();
    commit.effects.clear();
    commit.replies.clear();
    CommitRecord::new(app(), run.session.id(), commit)
}

/// The session at the end of the story.
pub(crate) fn session() -> Session {
    story().session
}

/// The whole story as one record, with the kinds that no session makes so far, and a snapshot.
pub(crate) fn commit() -> CommitRecord {
    let run = story();
    let mut commit = run.log.last().unwrap().clone();
    commit.first = run.log[0].first;
    commit.events = run.events().cloned().collect();
    commit.requests = run.log.iter().flat_map(|commit| commit.requests.clone()).collect();
    commit.effects.clear();
    commit.replies.clear();
    let n = commit.events.last().unwrap().n;
    let mid = Mid { client: ClientInstance(u128::MAX), counter: u64::MAX };
    let more = [
        EventKind::Notice { notice: Notice::QueueFull, text: "Später, bitte.".into() },
        EventKind::Rejected {
            mid,
            code: RejectCode::TooManyConnections,
            body: Bytes::from_static(b"{}"),
        },
        EventKind::Unknown,
    ];
    for (n, kind) in (n.0 + 1..).zip(more) {
        let stamp = Stamp(i64::try_from(n).unwrap() * 2);
        commit.events.push(Event { n: EventNumber(n), stamp, audience: Audience::All, kind });
    }
    CommitRecord {
        app: app(),
        session: run.session.id(),
        previous: Some(Sequence(41)),
        id: CommitId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        writer: 0xfeed,
        log_incarnation: Incarnation(7),
        min_logic: LOGIC,
        events: commit.events.iter().map(encode_event).collect(),
        snapshot: Some(encode_snapshot(run.session.state())),
        commit,
    }
}

/// A visitor with two sessions, one of which they never named.
pub(crate) fn directory() -> DirectoryRecord {
    let session = session().id();
    let entry = |claimed: Option<&str>, at| DirectoryEntry {
        claimed: claimed.map(str::to_owned),
        session,
        last_used: Timestamp(at),
    };
    DirectoryRecord {
        app: app(),
        user: visitor(),
        previous: None,
        id: CommitId(1),
        at: Timestamp(1_800_000_000_000_000),
        log_incarnation: Incarnation(7),
        min_logic: LOGIC,
        directory: Directory {
            entries: vec![entry(Some("stentor-widget-session-1"), 5), entry(None, 3)],
        },
    }
}
