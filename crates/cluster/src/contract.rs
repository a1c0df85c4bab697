//! The contract of the log: what every implementation has to do, one function per rule.
//!
//! [`all`] gives each rule a log of its own. A rule that is broken panics with its name in the stack and
//! what it saw in the message: this module is for tests.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a contract is a test: it panics where an implementation breaks it"
)]

mod reading;
mod trimming;
mod writing;

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use stentor_types::{
    AppId, EventNumber, Partition, PlacementKey, Sequence, SessionId, Timestamp, UserKey,
};

pub use self::{reading::*, trimming::*, writing::*};
use crate::log::{Append, Appended, Entity, EntityKind, Header, Log};

/// A rule, and the log to try it on.
type Rule<L> = for<'a> fn(&'a L) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs every rule, each on a log that `make` has made: empty, and used by nobody else.
pub async fn all<L: Log>(make: impl AsyncFn() -> L) {
    // One future at a time: those of all rules together are larger than the stack of a test's thread.
    let rules: &[Rule<L>] = &[
        |log| Box::pin(an_append_is_read_back_with_its_header(log)),
        |log| Box::pin(a_stale_expectation_conflicts_and_writes_nothing(log)),
        |log| Box::pin(an_expectation_of_nothing_conflicts_with_something(log)),
        |log| Box::pin(an_expectation_of_something_conflicts_with_nothing(log)),
        |log| Box::pin(each_append_of_a_batch_is_judged_alone(log)),
        |log| Box::pin(the_second_append_of_an_entity_in_a_batch_conflicts(log)),
        |log| Box::pin(of_many_rivals_one_wins(log)),
        |log| Box::pin(sequences_of_an_entity_increase(log)),
        |log| Box::pin(an_empty_batch_is_an_answer(log)),
        |log| Box::pin(a_large_record_is_kept_whole(log)),
        |log| Box::pin(the_head_is_the_newest_record(log)),
        |log| Box::pin(the_head_names_the_newest_snapshot(log)),
        |log| Box::pin(a_read_begins_where_it_is_told(log)),
        |log| Box::pin(a_read_ends_near_its_limit_but_gives_one_record(log)),
        |log| Box::pin(a_tail_holds_at_least_the_events_asked_for(log)),
        |log| Box::pin(a_tail_of_records_without_events_is_everything(log)),
        |log| Box::pin(heads_are_ordered_and_paged(log)),
        |log| Box::pin(heads_are_of_one_partition(log)),
        |log| Box::pin(apps_do_not_mix(log)),
        |log| Box::pin(directories_and_sessions_do_not_mix(log)),
        |log| Box::pin(a_trim_keeps_the_newest_snapshot_and_what_follows(log)),
        |log| Box::pin(a_trim_without_a_snapshot_keeps_everything(log)),
        |log| Box::pin(a_trim_keeps_what_is_not_before(log)),
        |log| Box::pin(a_whole_trim_removes_the_entity(log)),
        |log| Box::pin(a_whole_trim_spares_what_is_newer(log)),
        |log| Box::pin(a_whole_trim_never_hides_an_append_beside_it(log)),
        |log| Box::pin(an_entity_may_begin_again_after_a_whole_trim(log)),
        |log| Box::pin(a_trim_of_nothing_removes_nothing(log)),
    ];
    for rule in rules {
        rule(&make().await).await;
    }
    Box::pin(the_incarnation_is_stable_and_its_own(&make().await, &make().await)).await;
}

/// A session with a number for a name; its partition is `number % 64`.
pub(crate) fn session(number: u64) -> Entity {
    session_of("contract", number)
}

pub(crate) fn session_of(app: &str, number: u64) -> Entity {
    let app = AppId::try_new(app).expect("the name of an app");
    let id = SessionId::new(PlacementKey(number), u128::from(number));
    Entity { app, kind: EntityKind::Session(id) }
}

pub(crate) fn directory(number: u64) -> Entity {
    let app = AppId::try_new("contract").expect("the name of an app");
    let mut user = [0; 16];
    user[..8].copy_from_slice(&number.to_be_bytes());
    Entity { app, kind: EntityKind::Directory(PlacementKey(number), UserKey(user)) }
}

/// One event per record, so that event `n` is in the `n`th.
pub(crate) fn record(entity: &Entity, expected: Option<Sequence>, n: u64) -> Append {
    let header = Header {
        first: EventNumber(n),
        last: EventNumber(n),
        at: Timestamp(1_000 + n),
        ..Header::default()
    };
    let record = Bytes::from(format!("record {n}"));
    Append { entity: entity.clone(), expected, header, record, effects: Vec::new() }
}

pub(crate) fn snapshot(entity: &Entity, expected: Option<Sequence>, n: u64) -> Append {
    let mut append = record(entity, expected, n);
    append.header.snapshot = true;
    append
}

/// Appends one record that must be taken.
pub(crate) async fn put(log: &impl Log, append: Append) -> Sequence {
    let judged = log.append(vec![append]).await.expect("append");
    let [Appended::Stored(sequence)] = judged[..] else {
        unreachable!("not stored: {judged:?}");
    };
    sequence
}

/// Appends records 1 to `count`; those in `snapshots` hold one. Returns their sequences.
pub(crate) async fn fill(
    log: &impl Log,
    entity: &Entity,
    count: u64,
    snapshots: &[u64],
) -> Vec<Sequence> {
    let mut sequences = Vec::new();
    for n in 1..=count {
        let expected = sequences.last().copied();
        let mut append = record(entity, expected, n);
        append.header.snapshot = snapshots.contains(&n);
        sequences.push(put(log, append).await);
    }
    sequences
}

/// Longer than any replica lags behind.
const LAG_MAX: Duration = Duration::from_secs(10);

/// Waits until the records that are left are those with these event numbers. A read may be answered by a replica that
/// has not trimmed yet: whoever loads a session goes by its head, and is not led astray by more before it.
pub(crate) async fn is_left(log: &impl Log, entity: &Entity, expected: &[u64]) {
    let until = Instant::now() + LAG_MAX;
    let mut seen = left(log, entity).await;
    while seen != expected && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
        seen = left(log, entity).await;
    }
    assert_eq!(seen, expected);
}

/// The event numbers of all records that are left.
pub(crate) async fn left(log: &impl Log, entity: &Entity) -> Vec<u64> {
    let records = log.read(entity, Sequence(0), usize::MAX).await.expect("read");
    records.iter().map(|record| record.header.last.0).collect()
}

pub(crate) fn partition(entity: &Entity) -> Partition {
    entity.partition()
}
