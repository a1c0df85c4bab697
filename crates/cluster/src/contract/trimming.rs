//! Rules of trimming, and of the log as a whole.

use stentor_types::Sequence;

use super::{fill, is_left, put, record, session, snapshot};
use crate::log::{Appended, Log, TrimReport};

const LATEST: Sequence = Sequence(u64::MAX);

/// What is needed to load the entity stays, whatever is asked.
pub async fn a_trim_keeps_the_newest_snapshot_and_what_follows(log: &impl Log) {
    let (entity, other) = (session(1), session(65));
    let sequences = fill(log, &entity, 8, &[2, 5]).await;
    fill(log, &other, 3, &[2]).await;
    let report = log.trim(&entity, LATEST, false).await.expect("trim");
    assert_eq!(report, TrimReport { records: 4 });
    is_left(log, &entity, &[5, 6, 7, 8]).await;
    is_left(log, &other, &[1, 2, 3]).await;
    let head = log.head(&entity).await.expect("head");
    assert_eq!(head.and_then(|head| head.snapshot), Some(sequences[4]));
    // The chain goes on.
    put(log, record(&entity, Some(sequences[7]), 9)).await;
}

/// Nothing can be loaded without the first record.
pub async fn a_trim_without_a_snapshot_keeps_everything(log: &impl Log) {
    let entity = session(1);
    fill(log, &entity, 4, &[]).await;
    assert_eq!(log.trim(&entity, LATEST, false).await.expect("trim").records, 0);
    is_left(log, &entity, &[1, 2, 3, 4]).await;
}

/// `before` is exclusive.
pub async fn a_trim_keeps_what_is_not_before(log: &impl Log) {
    let entity = session(1);
    let sequences = fill(log, &entity, 6, &[6]).await;
    assert_eq!(log.trim(&entity, sequences[2], false).await.expect("trim").records, 2);
    is_left(log, &entity, &[3, 4, 5, 6]).await;
    assert_eq!(log.trim(&entity, sequences[2], false).await.expect("trim").records, 0);
}

/// Records, head and listing.
pub async fn a_whole_trim_removes_the_entity(log: &impl Log) {
    let (entity, other) = (session(1), session(65));
    // More than an implementation may want to remove at once.
    let mut last = None;
    for n in 1..=1_010 {
        last = Some(put(log, record(&entity, last, n)).await);
    }
    put(log, record(&other, None, 1)).await;
    assert_eq!(log.trim(&entity, LATEST, true).await.expect("trim").records, 1_010);
    assert_eq!(log.head(&entity).await.expect("head"), None);
    is_left(log, &entity, &[]).await;
    let heads = log.heads(entity.partition(), None, 10).await.expect("heads");
    assert_eq!(heads.into_iter().map(|(entity, _)| entity).collect::<Vec<_>>(), [other]);
}

/// A record that came after the decision to trim survives, and is still the head. A snapshot that went
/// is no longer named.
pub async fn a_whole_trim_spares_what_is_newer(log: &impl Log) {
    let entity = session(1);
    let sequences = fill(log, &entity, 5, &[2]).await;
    assert_eq!(log.trim(&entity, sequences[3], true).await.expect("trim").records, 3);
    is_left(log, &entity, &[4, 5]).await;
    let head = log.head(&entity).await.expect("head").expect("a head");
    assert_eq!((head.sequence, head.snapshot), (sequences[4], None));
    let judged = log.append(vec![record(&entity, None, 6)]).await.expect("append");
    assert_eq!(judged, [Appended::Conflict { actual: Some(sequences[4]) }]);
}

/// An append at the very same time is either before the trim or after it, but is never stored and then
/// unknown.
pub async fn a_whole_trim_never_hides_an_append_beside_it(log: &impl Log) {
    for number in 0..50 {
        let entity = session(number);
        let sequences = fill(log, &entity, 3, &[3]).await;
        let head = sequences[2];
        let next = Sequence(head.0 + 1);
        let (trimmed, judged) = tokio::join!(
            log.trim(&entity, next, true),
            log.append(vec![record(&entity, Some(head), 4)])
        );
        trimmed.expect("trim");
        match judged.expect("append")[0] {
            Appended::Stored(sequence) => {
                let found = log.head(&entity).await.expect("head").map(|head| head.sequence);
                assert_eq!(found, Some(sequence), "a stored record is no longer the head");
                is_left(log, &entity, &[4]).await;
            }
            Appended::Conflict { actual: None } => {
                assert_eq!(log.head(&entity).await.expect("head"), None);
            }
            other => unreachable!("{other:?}"),
        }
    }
}

/// With later sequences than it ever had.
pub async fn an_entity_may_begin_again_after_a_whole_trim(log: &impl Log) {
    let entity = session(1);
    let sequences = fill(log, &entity, 3, &[]).await;
    log.trim(&entity, LATEST, true).await.expect("trim");
    let judged = log.append(vec![record(&entity, Some(sequences[2]), 4)]).await.expect("append");
    assert_eq!(judged, [Appended::Conflict { actual: None }]);
    let again = put(log, snapshot(&entity, None, 1)).await;
    assert!(again > sequences[2], "{again} is not after {}", sequences[2]);
    is_left(log, &entity, &[1]).await;
}

/// An unknown entity is no error.
pub async fn a_trim_of_nothing_removes_nothing(log: &impl Log) {
    for whole in [false, true] {
        let report = log.trim(&session(1), LATEST, whole).await.expect("trim");
        assert_eq!(report, TrimReport::default());
    }
}

/// Two logs are never the same one.
pub async fn the_incarnation_is_stable_and_its_own(log: &impl Log, other: &impl Log) {
    let before = log.incarnation();
    put(log, record(&session(1), None, 1)).await;
    assert_eq!(log.incarnation(), before);
    assert_ne!(log.incarnation(), other.incarnation());
}
