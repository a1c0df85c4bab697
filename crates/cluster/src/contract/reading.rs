//! Rules of reading.

use bytes::Bytes;
use stentor_types::{EventNumber, Sequence, Timestamp};

use super::{
    directory, fill, is_left, left, partition, put, record, session, session_of, snapshot,
};
use crate::log::{Append, Header, Log};

/// Nothing for an entity that was never written.
pub async fn the_head_is_the_newest_record(log: &impl Log) {
    let entity = session(1);
    assert_eq!(log.head(&entity).await.expect("head"), None);
    let mut newest = None;
    for n in 1..=5 {
        newest = Some(put(log, record(&entity, newest, n)).await);
        let head = log.head(&entity).await.expect("head");
        assert_eq!(head.map(|head| (Some(head.sequence), head.header.last.0)), Some((newest, n)));
    }
}

/// A later record without one leaves the snapshot's place known.
pub async fn the_head_names_the_newest_snapshot(log: &impl Log) {
    let entity = session(1);
    let one = put(log, record(&entity, None, 1)).await;
    assert_eq!(log.head(&entity).await.expect("head").and_then(|head| head.snapshot), None);
    let two = put(log, snapshot(&entity, Some(one), 2)).await;
    let three = put(log, record(&entity, Some(two), 3)).await;
    let at = log.head(&entity).await.expect("head").and_then(|head| head.snapshot);
    assert_eq!(at, Some(two));
    let four = put(log, snapshot(&entity, Some(three), 4)).await;
    let at = log.head(&entity).await.expect("head").and_then(|head| head.snapshot);
    assert_eq!(at, Some(four));
}

/// From a sequence on, in order; beyond the newest there is nothing.
pub async fn a_read_begins_where_it_is_told(log: &impl Log) {
    let entity = session(1);
    is_left(log, &entity, &[]).await;
    let sequences = fill(log, &entity, 6, &[]).await;
    let records = log.read(&entity, sequences[3], usize::MAX).await.expect("read");
    let found: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(found, sequences[3..]);
    let beyond = Sequence(sequences[5].0 + 1);
    assert_eq!(log.read(&entity, beyond, usize::MAX).await.expect("read"), []);
}

/// A page is never empty while something is left: readers would never get on.
pub async fn a_read_ends_near_its_limit_but_gives_one_record(log: &impl Log) {
    let entity = session(1);
    let mut last = None;
    for n in 1..=8 {
        let append = Append { record: vec![b'x'; 10_000].into(), ..record(&entity, last, n) };
        last = Some(put(log, append).await);
    }
    assert_eq!(log.read(&entity, Sequence(0), 0).await.expect("read").len(), 1);
    assert_eq!(log.read(&entity, Sequence(0), 1).await.expect("read").len(), 1);
    let page = log.read(&entity, Sequence(0), 35_000).await.expect("read").len();
    assert!((2..=4).contains(&page), "{page} records for 35,000 bytes");
    let (mut from, mut seen) = (Sequence(0), 0);
    loop {
        let page = log.read(&entity, from, 25_000).await.expect("read");
        let Some(end) = page.last() else { break };
        seen += page.len();
        from = Sequence(end.sequence.0 + 1);
    }
    assert_eq!(seen, 8);
}

/// Records of three events each: asked for four, two come, oldest first.
pub async fn a_tail_holds_at_least_the_events_asked_for(log: &impl Log) {
    let entity = session(1);
    let mut last = None;
    for n in 0..5_u64 {
        let mut append = record(&entity, last, n);
        append.header.first = EventNumber(3 * n + 1);
        append.header.last = EventNumber(3 * n + 3);
        last = Some(put(log, append).await);
        // A record without events, as a timer makes them.
        let mut append = record(&entity, last, n);
        append.header.first = EventNumber(0);
        append.header.last = EventNumber(3 * n + 3);
        last = Some(put(log, append).await);
    }
    for (wanted, from) in [(1, 13), (3, 13), (4, 10), (6, 10), (7, 7), (15, 1), (16, 1), (1_000, 1)]
    {
        let tail = log.read_tail(&entity, wanted).await.expect("read_tail");
        let events: Vec<_> = tail.iter().filter(|record| record.header.first.0 > 0).collect();
        let first = events.first().map(|record| record.header.first.0);
        assert_eq!(first, Some(from), "the last {wanted} events");
        assert!(tail.is_sorted_by_key(|record| record.sequence), "not ordered");
        assert_eq!(tail.last().map(|record| record.sequence), last);
    }
    assert_eq!(log.read_tail(&session(2), 5).await.expect("read_tail"), []);
}

/// The events asked for never come, so the beginning ends it.
pub async fn a_tail_of_records_without_events_is_everything(log: &impl Log) {
    let entity = directory(1);
    let mut last = None;
    for n in 1..=3 {
        let header = Header { at: Timestamp(n), ..Header::default() };
        let bytes = Bytes::from(format!("{n}"));
        let append = Append { record: bytes, header, ..record(&entity, last, n) };
        last = Some(put(log, append).await);
    }
    assert_eq!(log.read_tail(&entity, 10).await.expect("read_tail").len(), 3);
}

/// Pages follow each other without gap or overlap, in the order of entities.
pub async fn heads_are_ordered_and_paged(log: &impl Log) {
    // All of partition 5.
    let mut entities: Vec<_> = (0..9).map(|number| session(5 + 64 * number)).collect();
    entities.extend((0..4).map(|number| directory(5 + 64 * number)));
    entities.push(session_of("another", 5));
    for entity in entities.iter().rev() {
        put(log, record(entity, None, 1)).await;
    }
    entities.sort();
    for limit in [1, 4, 100] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = log.heads(partition(&entities[0]), after, limit).await.expect("heads");
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page.into_iter().map(|(entity, _)| entity));
        }
        assert_eq!(found, entities, "pages of {limit}");
    }
}

/// An entity is listed in its own partition alone, with its newest head.
pub async fn heads_are_of_one_partition(log: &impl Log) {
    for number in 0..200 {
        fill(log, &session(number), 2, &[]).await;
    }
    let mut seen = 0;
    for asked in stentor_types::Partition::all() {
        for (entity, head) in log.heads(asked, None, 1_000).await.expect("heads") {
            assert_eq!(entity.partition(), asked);
            assert_eq!(Some(head), log.head(&entity).await.expect("head"));
            assert_eq!(head.header.last, EventNumber(2));
            seen += 1;
        }
    }
    assert_eq!(seen, 200);
}

/// The same session id in two apps is two entities, whatever the names begin with.
pub async fn apps_do_not_mix(log: &impl Log) {
    for (count, app) in [(1, "a"), (2, "a-b"), (3, "ab"), (4, "b")] {
        fill(log, &session_of(app, 7), count, &[]).await;
    }
    for (count, app) in [(1, "a"), (2, "a-b"), (3, "ab"), (4, "b")] {
        assert_eq!(left(log, &session_of(app, 7)).await.len(), count, "{app}");
    }
}

/// Even if their ids are the same bytes.
pub async fn directories_and_sessions_do_not_mix(log: &impl Log) {
    put(log, record(&session(3), None, 1)).await;
    assert_eq!(log.head(&directory(3)).await.expect("head"), None);
    fill(log, &directory(3), 2, &[]).await;
    is_left(log, &session(3), &[1]).await;
    is_left(log, &directory(3), &[1, 2]).await;
}
