//! Rules of writing.

use bytes::Bytes;
use stentor_types::{EventNumber, Sequence, Timestamp};

use super::{is_left, put, record, session};
use crate::log::{Append, Appended, Header, Log};

/// Bytes and header come back as they went in.
pub async fn an_append_is_read_back_with_its_header(log: &impl Log) {
    let entity = session(1);
    let header = Header {
        first: EventNumber(3),
        last: EventNumber(9),
        at: Timestamp(77),
        next_deadline: Some(Timestamp(99)),
        attached: true,
        snapshot: true,
    };
    let bytes = Bytes::from_static(b"\x00\xff anything \x01");
    let append = Append { header, record: bytes.clone(), ..record(&entity, None, 3) };
    let sequence = put(log, append).await;
    let records = log.read(&entity, Sequence(0), usize::MAX).await.expect("read");
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].sequence, records[0].header), (sequence, header));
    assert_eq!(records[0].record, bytes);
    assert_eq!(log.head(&entity).await.expect("head").map(|head| head.header), Some(header));
    let bare = session(2);
    let header = Header::default();
    let append = Append { header, record: Bytes::new(), ..record(&bare, None, 1) };
    put(log, append).await;
    let records = log.read(&bare, Sequence(0), usize::MAX).await.expect("read");
    assert_eq!((records[0].header, records[0].record.len()), (header, 0));
}

/// Compare-and-set: whoever does not know the newest record writes nothing.
pub async fn a_stale_expectation_conflicts_and_writes_nothing(log: &impl Log) {
    let entity = session(1);
    let one = put(log, record(&entity, None, 1)).await;
    let two = put(log, record(&entity, Some(one), 2)).await;
    for stale in [one, Sequence(two.0 + 1)] {
        let judged = log.append(vec![record(&entity, Some(stale), 3)]).await.expect("append");
        assert_eq!(judged, [Appended::Conflict { actual: Some(two) }], "expected {stale}");
    }
    is_left(log, &entity, &[1, 2]).await;
}

/// "There is none" is an expectation too.
pub async fn an_expectation_of_nothing_conflicts_with_something(log: &impl Log) {
    let entity = session(1);
    let one = put(log, record(&entity, None, 1)).await;
    let judged = log.append(vec![record(&entity, None, 1)]).await.expect("append");
    assert_eq!(judged, [Appended::Conflict { actual: Some(one) }]);
}

/// A record cannot follow one that is not there.
pub async fn an_expectation_of_something_conflicts_with_nothing(log: &impl Log) {
    let entity = session(1);
    let judged = log.append(vec![record(&entity, Some(Sequence(1)), 1)]).await.expect("append");
    assert_eq!(judged, [Appended::Conflict { actual: None }]);
    is_left(log, &entity, &[]).await;
}

/// One that conflicts takes no other with it, and answers come in the order of the batch.
pub async fn each_append_of_a_batch_is_judged_alone(log: &impl Log) {
    let (one, two, three) = (session(1), session(2), session(3));
    let old = put(log, record(&two, None, 1)).await;
    let batch = vec![record(&one, None, 1), record(&two, None, 2), record(&three, None, 1)];
    let judged = log.append(batch).await.expect("append");
    assert!(matches!(judged[0], Appended::Stored(_)), "{judged:?}");
    assert_eq!(judged[1], Appended::Conflict { actual: Some(old) });
    assert!(matches!(judged[2], Appended::Stored(_)), "{judged:?}");
    is_left(log, &one, &[1]).await;
    is_left(log, &two, &[1]).await;
    is_left(log, &three, &[1]).await;
}

/// Whatever it expects: it cannot have known the first one's sequence.
pub async fn the_second_append_of_an_entity_in_a_batch_conflicts(log: &impl Log) {
    let entity = session(1);
    let batch = vec![record(&entity, None, 1), record(&entity, None, 2)];
    let judged = log.append(batch).await.expect("append");
    let Appended::Stored(one) = judged[0] else { unreachable!("{judged:?}") };
    assert_eq!(judged[1], Appended::Conflict { actual: Some(one) });
    is_left(log, &entity, &[1]).await;
}

/// Of writers that know the same head exactly one is stored.
pub async fn of_many_rivals_one_wins(log: &impl Log) {
    let entity = session(1);
    let mut head = None;
    for n in 1..=20 {
        let write = async || {
            let judged = log.append(vec![record(&entity, head, n)]).await.expect("append");
            judged[0]
        };
        let (one, two, three, four) = tokio::join!(write(), write(), write(), write());
        let all = [one, two, three, four];
        let mut stored = all.iter().filter_map(|appended| match appended {
            Appended::Stored(sequence) => Some(*sequence),
            _ => None,
        });
        head = stored.next();
        assert!(head.is_some() && stored.next().is_none(), "round {n}: {all:?}");
    }
    is_left(log, &entity, &(1..=20).collect::<Vec<_>>()).await;
}

/// The order of records is the order of their sequences.
pub async fn sequences_of_an_entity_increase(log: &impl Log) {
    let (one, two) = (session(1), session(2));
    let mut last = (None, None);
    for n in 1..=10 {
        let next = (
            Some(put(log, record(&one, last.0, n)).await),
            Some(put(log, record(&two, last.1, n)).await),
        );
        assert!(next.0 > last.0 && next.1 > last.1, "{next:?} after {last:?}");
        last = next;
    }
}

/// Nothing to write is no mistake.
pub async fn an_empty_batch_is_an_answer(log: &impl Log) {
    assert_eq!(log.append(Vec::new()).await.expect("append"), []);
}

/// The limit of a record is 512 KiB.
pub async fn a_large_record_is_kept_whole(log: &impl Log) {
    let entity = session(1);
    let bytes: Vec<u8> =
        (0..512 << 10).map(|place: u32| place.to_le_bytes()[place as usize % 3]).collect();
    let append = Append { record: bytes.clone().into(), ..record(&entity, None, 1) };
    put(log, append).await;
    let records = log.read(&entity, Sequence(0), 1).await.expect("read");
    assert!(records.len() == 1 && records[0].record == bytes, "the record differs");
}
