#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use stentor_postoffice::Commit;
use stentor_types::{Audience, Event, EventKind, PlacementKey, Stamp};
use stentor_wire::encode_commit;

use super::*;

fn session() -> SessionId {
    SessionId::new(PlacementKey(1), 2)
}

fn entity() -> Entity {
    Entity { app: AppId::try_new("demo").unwrap(), kind: EntityKind::Session(session()) }
}

/// `count` events from `first` on; sequence and time are that of the record.
fn record(sequence: u64, previous: u64, epoch: u64, first: u64, count: u64) -> CommitRecord {
    let events = (first..first + count).map(|n| Event {
        n: EventNumber(n),
        stamp: Stamp(0),
        audience: Audience::All,
        kind: EventKind::TurnStarted {
            turn: EventNumber(1),
            attempt: 1,
            deadline: Timestamp(sequence),
        },
    });
    let commit = Commit {
        epoch: Epoch(epoch),
        first: EventNumber(first),
        at: Timestamp(sequence),
        events: events.collect(),
        requests: Vec::new(),
        effects: Vec::new(),
        next_deadline: None,
        replies: Vec::new(),
    };
    let mut record = CommitRecord::new(entity().app, session(), commit);
    record.previous = (previous > 0).then_some(Sequence(previous));
    record
}

fn stored(sequence: u64, record: &CommitRecord) -> Record {
    let commit = &record.commit;
    let first = if commit.is_empty() { EventNumber(0) } else { commit.first };
    let header = Header { first, last: commit.last(), at: commit.at, ..Header::default() };
    Record { sequence: Sequence(sequence), header, record: encode_commit(record) }
}

/// What is said about records of the form (sequence, previous, epoch, first, count).
fn problems(records: &[(u64, u64, u64, u64, u64)]) -> String {
    let (mut chains, mut report) = (Chains::default(), Report::default());
    for (sequence, previous, epoch, first, count) in records {
        let record = record(*sequence, *previous, *epoch, *first, *count);
        chains.record(&entity(), &stored(*sequence, &record), &mut report);
    }
    report.listed().join("; ")
}

#[test]
fn a_session_that_was_written_in_order_is_sound() {
    assert_eq!(
        problems(&[(3, 0, 1, 1, 2), (5, 3, 1, 3, 1), (9, 5, 1, 4, 0), (10, 9, 1, 4, 2)]),
        ""
    );
}

#[test]
fn what_was_trimmed_at_the_beginning_is_no_problem_of_the_log() {
    assert_eq!(problems(&[(5, 3, 1, 3, 1), (6, 5, 1, 4, 1)]), "");
}

#[test]
fn a_new_numbering_may_leave_out_what_only_the_database_has() {
    assert_eq!(problems(&[(3, 0, 1, 1, 2), (5, 3, 2, 9, 1)]), "");
    assert!(
        problems(&[(3, 0, 1, 1, 2), (5, 3, 2, 2, 1)]).contains("begins at event 2 after event 2")
    );
}

#[test]
fn every_breach_of_a_chain_is_named() {
    for (records, problem) in [
        ([(3, 0, 1, 1, 2), (5, 4, 1, 3, 1)], "names 4 as the record before it, which is 3"),
        ([(3, 0, 1, 1, 2), (5, 0, 1, 3, 1)], "names none"),
        ([(3, 0, 1, 1, 2), (5, 3, 1, 4, 1)], "begins at event 4 after event 2"),
        ([(3, 0, 2, 1, 2), (5, 3, 1, 3, 1)], "has epoch 1 after epoch 2"),
        ([(3, 0, 1, 1, 2), (2, 3, 1, 3, 1)], "is not later than the one before"),
    ] {
        let found = problems(&records);
        assert!(found.contains(problem), "{problem}: {found}");
    }
}

#[test]
fn what_is_trimmed_while_it_is_read_is_no_problem() {
    for (floor, problems) in [(6, 0), (5, 2)] {
        let (mut chains, mut report) = (Chains::default(), Report::default());
        chains.record(&entity(), &stored(3, &record(3, 0, 1, 1, 2)), &mut report);
        chains.forgotten(Sequence(floor));
        chains.record(&entity(), &stored(7, &record(7, 5, 1, 4, 1)), &mut report);
        assert_eq!(report.listed().len(), problems, "{:?}", report.listed());
    }
}

#[test]
fn damage_is_one_problem_and_what_follows_it_is_judged_again() {
    let (mut chains, mut report) = (Chains::default(), Report::default());
    let (one, two, three) = (record(3, 0, 1, 1, 2), record(5, 3, 1, 3, 1), record(7, 5, 1, 4, 1));
    chains.record(&entity(), &stored(3, &one), &mut report);
    let mut damaged = stored(5, &two);
    damaged.record = damaged.record.slice(..damaged.record.len() - 1);
    chains.record(&entity(), &damaged, &mut report);
    chains.record(&entity(), &stored(7, &three), &mut report);
    assert_eq!(report.listed().len(), 1, "{:?}", report.listed());
    let mut lies = stored(8, &record(8, 7, 1, 5, 1));
    lies.header.last = EventNumber(6);
    chains.record(&entity(), &lies, &mut report);
    assert!(report.listed()[1].contains("header disagrees"), "{:?}", report.listed());
    assert!(chains.has(session(), EventNumber(4)) && !chains.has(session(), EventNumber(3)));
}

#[test]
fn the_database_must_have_the_same_bytes() {
    let record = record(3, 0, 1, 1, 2);
    let kept = |n: u64, at: u64, event: Bytes| Kept { n: EventNumber(n), at: Timestamp(at), event };
    let said = |kept: &[Kept]| {
        let mut report = Report::default();
        compare(&record, kept, &mut report);
        report.listed().join("; ")
    };
    let (one, two) = (record.events[0].clone(), record.events[1].clone());
    assert_eq!(said(&[kept(1, 3, one.clone()), kept(2, 3, two.clone())]), "");
    assert!(said(&[kept(1, 3, one.clone())]).contains("event 2"));
    assert!(said(&[kept(1, 3, two.clone()), kept(2, 3, two.clone())]).contains("something else"));
    assert!(said(&[kept(1, 3, one.clone()), kept(2, 9, one)]).contains("later one"));
}
