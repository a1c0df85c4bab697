//! Partitions in the order of their sequences, cursors, and forgetting by age.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stentor_cluster::{Append, Log, PartitionLog};
use stentor_types::{Partition, Sequence, Timestamp};

use crate::harness::{Server, events, put, record, session, with_effects};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}

#[tokio::test]
async fn a_scan_gives_each_record_of_a_partition_once_and_passes_by_all_others() {
    let server = Server::start().await;
    let log = server.log().await;
    let of_five = [session(5), session(69), session(133)];
    let mut heads = [None; 3];
    let mut written = Vec::new();
    for n in 1..=200 {
        for (entity, head) in of_five.iter().zip(&mut heads) {
            let append = with_effects(record(entity, *head, n), 1);
            *head = Some(put(&log, append).await);
            written.push((entity.clone(), head.unwrap(), n));
        }
    }
    let last = put(&log, record(&session(6), None, 1)).await;
    for bytes_max in [1, 1_000, usize::MAX] {
        let (mut next, mut found, mut pages) = (Sequence(0), Vec::new(), 0);
        loop {
            let scan = log.scan(session(5).partition(), next, bytes_max).await.unwrap();
            assert!(scan.end || scan.next > next, "it does not get on");
            pages += 1;
            next = scan.next;
            let records = scan.records.into_iter();
            found.extend(
                records.map(|(entity, record)| (entity, record.sequence, record.header.last.0)),
            );
            if scan.end {
                break;
            }
        }
        assert_eq!(found, written, "pages of {bytes_max} bytes");
        assert_eq!(next, Sequence(last.0 + 1), "what others wrote holds up the cursor");
        assert!(bytes_max > 1 || pages >= 600, "{pages} pages");
    }
    let empty = log.scan(session(7).partition(), Sequence(0), 1_000).await.unwrap();
    assert_eq!((empty.records.len(), empty.end, empty.next.0), (0, true, last.0 + 1));
}

#[tokio::test]
async fn a_cursor_never_goes_back_and_outlives_the_server() {
    let mut server = Server::start().await;
    let log = server.log().await;
    let partition = session(1).partition();
    assert_eq!(log.cursor(partition).await.unwrap(), None);
    for (moved, then) in [(5, 5), (3, 5), (9, 9), (0, 9)] {
        log.set_cursor(partition, Sequence(moved)).await.unwrap();
        assert_eq!(log.cursor(partition).await.unwrap(), Some(Sequence(then)));
    }
    let move_to = async |cursor| log.set_cursor(partition, Sequence(cursor)).await.unwrap();
    tokio::join!(move_to(20), move_to(40), move_to(30), move_to(10));
    assert_eq!(log.cursor(partition).await.unwrap(), Some(Sequence(40)));
    assert_eq!(log.cursor(Partition::all().last().unwrap()).await.unwrap(), None);
    server.nats.kill(0).unwrap();
    server.nats.start_again(0).await.unwrap();
    let connection = crate::harness::connect(&server.nats).await;
    let settings = stentor_cluster_nats::LogSettings { group: log.group(), ..server.settings() };
    let metrics = crate::harness::metrics().1;
    let log = stentor_cluster_nats::NatsLog::open(&connection, settings, metrics).await.unwrap();
    assert_eq!(log.cursor(partition).await.unwrap(), Some(Sequence(40)));
}

#[tokio::test]
async fn a_purge_removes_what_is_both_old_and_copied() {
    let server = Server::start().await;
    let log = server.log().await;
    assert_eq!(log.purge(now(), Sequence(u64::MAX)).await.unwrap(), 0);
    let (one, two) = (session(1), session(2));
    let mut sequences = Vec::new();
    for n in 1..=10 {
        sequences.push(put(&log, record(&one, sequences.last().copied(), n)).await);
    }
    let between = now();
    // The broker's clock must pass the time before the next record is stamped.
    while now().0 < between.0 + 2_000 {
        tokio::task::yield_now().await;
    }
    let late = put(&log, record(&two, None, 1)).await;
    assert_eq!(log.first().await.unwrap(), sequences[0]);
    // Old, but not copied.
    assert_eq!(log.purge(between, sequences[0]).await.unwrap(), 0);
    assert_eq!(log.purge(between, sequences[4]).await.unwrap(), 4);
    assert_eq!(log.first().await.unwrap(), sequences[4]);
    assert_eq!(events(&log, &one).await, [5, 6, 7, 8, 9, 10]);
    // Copied, but not old.
    let hour_ago = Timestamp(now().0 - 3_600_000_000);
    assert_eq!(log.purge(hour_ago, Sequence(u64::MAX)).await.unwrap(), 0);
    assert_eq!(log.purge(between, Sequence(u64::MAX)).await.unwrap(), 6);
    assert_eq!(log.first().await.unwrap(), late);
    assert_eq!(events(&log, &one).await, [0_u64; 0]);
    assert_eq!(events(&log, &two).await, [1]);
    // Everything.
    assert_eq!(log.purge(Timestamp(now().0 + 60_000_000), Sequence(u64::MAX)).await.unwrap(), 1);
    assert_eq!(log.first().await.unwrap(), Sequence(late.0 + 1));
}

#[tokio::test]
async fn a_snapshot_that_was_purged_is_no_longer_named() {
    let server = Server::start().await;
    let log = server.log().await;
    let entity = session(1);
    let mut append = record(&entity, None, 1);
    append.header.snapshot = true;
    let one = put(&log, append).await;
    let two = put(&log, record(&entity, Some(one), 2)).await;
    let head = async || log.head(&entity).await.unwrap().unwrap();
    assert_eq!(head().await.snapshot, Some(one));
    log.purge(Timestamp(now().0 + 60_000_000), two).await.unwrap();
    assert_eq!((head().await.sequence, head().await.snapshot), (two, None));
    let heads = log.heads(entity.partition(), None, 10).await.unwrap();
    assert_eq!(heads, [(entity.clone(), head().await)]);
}

#[tokio::test]
async fn a_whole_partition_is_known_quickly() {
    let server = Server::start().await;
    let log = server.log().await;
    let batch = |from: u64| -> Vec<Append> {
        (from..from + 400).map(|number| record(&session(number * 64), None, 1)).collect()
    };
    for from in 0..10 {
        log.append(batch(from * 400)).await.unwrap();
    }
    let begun = std::time::Instant::now();
    let partition = session(0).partition();
    let (mut after, mut found) = (None, 0);
    loop {
        let page = log.heads(partition, after, 100).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        found += page.len();
    }
    assert_eq!(found, 4_000);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn f20_a_cursor_does_not_outlive_its_log() {
    let server = Server::start().await;
    let settings = server.settings();
    let log = server.open(settings.clone()).await;
    let partition = session(1).partition();
    log.set_cursor(partition, Sequence(7)).await.unwrap();
    server.connection.jetstream().delete_stream(settings.stream_name()).await.unwrap();
    let again = server.open(settings).await;
    assert_ne!(again.incarnation(), log.incarnation());
    assert_eq!(again.cursor(partition).await.unwrap(), None);
}
