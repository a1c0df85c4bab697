//! Batches: their limits, what happens to the innocent, and effects.

use futures_util::StreamExt as _;
use stentor_cluster::{Append, Appended, Log, TooLarge};
use stentor_cluster_nats::{NatsLog, subjects};
use stentor_types::Sequence;

use crate::harness::{Server, count, events, metrics, put, record, session, with_effects};

fn places(judged: &[Appended]) -> Vec<Sequence> {
    let place = |appended: &Appended| match appended {
        Appended::Stored(sequence) => Some(*sequence),
        _ => None,
    };
    judged.iter().filter_map(place).collect()
}

/// Each record lies where the answer says, with its own bytes.
async fn assert_stored(log: &NatsLog, batch: &[Append], judged: &[Appended]) {
    for (append, appended) in batch.iter().zip(judged) {
        let Appended::Stored(sequence) = appended else { panic!("{appended:?}") };
        let records = log.read(&append.entity, *sequence, 1).await.unwrap();
        assert_eq!((records[0].sequence, &records[0].record), (*sequence, &append.record));
    }
}

#[tokio::test]
async fn more_than_a_batch_holds_is_written_in_several() {
    let server = Server::start().await;
    let (registry, metrics) = metrics();
    let log = NatsLog::open(&server.connection, server.settings(), metrics).await.unwrap();
    let batch: Vec<_> = (0..900).map(|number| record(&session(number), None, 1)).collect();
    let judged = log.append(batch.clone()).await.unwrap();
    assert_stored(&log, &batch, &judged).await;
    assert_eq!(count(&registry, "stentor_log_batches_total"), 3, "400 records each");
    // 1,500 messages: the server refuses more than 1,000.
    let with = |number: u64| with_effects(record(&session(1_000 + number), None, 1), 4);
    let batch: Vec<_> = (0..300).map(with).collect();
    let judged = log.append(batch.clone()).await.unwrap();
    assert_stored(&log, &batch, &judged).await;
    assert_eq!(count(&registry, "stentor_log_batches_total"), 5, "900 messages each");
    // 12 MiB.
    let large = |number: u64| Append {
        record: vec![b'x'; 512 << 10].into(),
        ..record(&session(2_000 + number), None, 1)
    };
    let batch: Vec<_> = (0..24).map(large).collect();
    let judged = log.append(batch.clone()).await.unwrap();
    assert_stored(&log, &batch, &judged).await;
    assert_eq!(count(&registry, "stentor_log_batches_total"), 9, "4 MiB each");
    assert_eq!(count(&registry, "stentor_log_halvings_total"), 0);
}

#[tokio::test]
async fn a_contested_record_is_found_by_halves_and_the_innocent_are_stored() {
    let server = Server::start().await;
    let (registry, metrics) = metrics();
    let log = NatsLog::open(&server.connection, server.settings(), metrics).await.unwrap();
    let rival = server.open(log_settings(&log, &server)).await;
    let contested = [3, 177, 399];
    let mut heads: Vec<Option<Sequence>> = vec![None; 400];
    for n in 1..=3 {
        for number in contested {
            // Somebody else is quicker.
            heads[number as usize] =
                Some(put(&rival, record(&session(number), heads[number as usize], n)).await);
        }
        let batch: Vec<_> = (0..400_u64)
            .map(|number| {
                let stale = contested.contains(&number);
                let expected = if stale {
                    Some(Sequence(1)).filter(|_| n > 1)
                } else {
                    heads[number as usize]
                };
                record(&session(number), expected, n)
            })
            .map(|append| Append {
                header: stentor_cluster::Header { snapshot: true, ..append.header },
                ..append
            })
            .collect();
        let before = count(&registry, "stentor_log_halvings_total");
        let judged = log.append(batch).await.unwrap();
        for (number, appended) in judged.iter().enumerate() {
            match appended {
                Appended::Stored(sequence) if !contested.contains(&(number as u64)) => {
                    heads[number] = Some(*sequence);
                }
                Appended::Conflict { actual } if contested.contains(&(number as u64)) => {
                    assert_eq!(*actual, heads[number]);
                }
                other => panic!("round {n}, {number}: {other:?}"),
            }
        }
        assert_eq!(places(&judged).len(), 397);
        let halvings = count(&registry, "stentor_log_halvings_total") - before;
        // Whoever was refused twice no longer holds up the others.
        assert_eq!(halvings > 0, n < 3, "round {n}: {halvings} halvings");
    }
    assert_eq!(count(&registry, "stentor_log_conflicts_total"), 9);
    assert_eq!(events(&log, &session(3)).await, [1, 2, 3]);
    assert_eq!(events(&log, &session(4)).await, [1, 2, 3]);
}

#[tokio::test]
async fn cluster_3_sessions_of_a_partition_just_taken_cannot_hold_up_those_of_others() {
    let server = Server::start().await;
    let (registry, metrics) = metrics();
    let log = NatsLog::open(&server.connection, server.settings(), metrics).await.unwrap();
    let rival = server.open(log_settings(&log, &server)).await;
    // One partition was taken a moment ago, and whoever had it
    // goes on for a while.
    let taken = session(7).partition();
    log.taken(taken);
    for number in (0..400).filter(|number| session(*number).partition() == taken) {
        put(&rival, record(&session(number), None, 1)).await;
    }
    let batch: Vec<_> = (0..400).map(|number| record(&session(number), None, 1)).collect();
    let judged = log.append(batch.clone()).await.unwrap();
    let mut lost = 0;
    for (append, appended) in batch.iter().zip(&judged) {
        let is_lost = matches!(appended, Appended::Conflict { .. });
        assert_eq!(is_lost, append.entity.partition() == taken, "{}: {appended:?}", append.entity);
        lost += u64::from(is_lost);
    }
    assert!(lost >= 5, "{lost}");
    assert_eq!(count(&registry, "stentor_log_halvings_total"), 0, "nobody else was refused");
    // Once written to, a session shares batches again.
    let own = |number: u64, expected, n| record(&session(7 + 64 * number), expected, n);
    let first = log.append((20..40).map(|number| own(number, None, 1)).collect()).await.unwrap();
    let heads = places(&first);
    let before = count(&registry, "stentor_log_batches_total");
    let next = (20..40).zip(heads).map(|(number, head)| own(number, Some(head), 2)).collect();
    assert_eq!(places(&log.append(next).await.unwrap()).len(), 20);
    assert_eq!(count(&registry, "stentor_log_batches_total") - before, 1);
}

#[tokio::test]
async fn few_records_go_without_a_batch_in_their_order_and_each_is_judged_alone() {
    let server = Server::start().await;
    let (registry, metrics) = metrics();
    let log = NatsLog::open(&server.connection, server.settings(), metrics).await.unwrap();
    let taken = put(&log, record(&session(5), None, 1)).await;
    let singles = count(&registry, "stentor_log_singles_total");
    let few: Vec<_> = (0..16).map(|number| record(&session(number), None, 1)).collect();
    let judged = log.append(few).await.unwrap();
    assert_eq!(judged[5], Appended::Conflict { actual: Some(taken) });
    let stored = places(&judged);
    assert_eq!(stored.len(), 15, "nobody is refused for another");
    assert!(stored.is_sorted(), "{stored:?}");
    assert_eq!(count(&registry, "stentor_log_singles_total") - singles, 16);
    assert_eq!(count(&registry, "stentor_log_batches_total"), 0);
    assert_eq!(count(&registry, "stentor_log_halvings_total"), 0);
    // An effect is never without its record, and many share one sync.
    let with = with_effects(record(&session(20), None, 1), 1);
    log.append(vec![record(&session(21), None, 1), with]).await.unwrap();
    assert_eq!(count(&registry, "stentor_log_batches_total"), 1);
    log.append((30..47).map(|number| record(&session(number), None, 1)).collect()).await.unwrap();
    assert_eq!(count(&registry, "stentor_log_batches_total"), 2);
    assert_eq!(count(&registry, "stentor_log_singles_total") - singles, 16);
}

#[tokio::test]
async fn effects_exist_if_and_only_if_their_record_does() {
    let server = Server::start().await;
    let log = server.log().await;
    let taken = put(&log, record(&session(5), None, 1)).await;
    let batch: Vec<_> =
        (0..10).map(|number| with_effects(record(&session(number), None, 2), 3)).collect();
    let judged = log.append(batch).await.unwrap();
    assert_eq!(judged[5], Appended::Conflict { actual: Some(taken) });
    assert_eq!(places(&judged).len(), 9);
    let last = put(&log, with_effects(record(&session(11), None, 2), 1)).await;
    let mut found = effects(&server, &log).await;
    let after = found.pop().unwrap();
    assert_eq!(after.1, format!("{}: 2, effect 0", session(11)));
    assert_eq!(after.0, last.0 + 1, "an effect follows its record");
    let expected: Vec<_> = (0..10)
        .filter(|number| *number != 5)
        .flat_map(|number| {
            (0..3).map(move |place| format!("{}: 2, effect {place}", session(number)))
        })
        .collect();
    assert_eq!(found.into_iter().map(|(_, effect)| effect).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_is_too_large_is_never_sent_and_harms_nobody() {
    let server = Server::start().await;
    let log = server.log().await;
    let losses = server.connection.status().borrow().losses;
    let large = Append { record: vec![0; (768 << 10) + 1].into(), ..record(&session(1), None, 1) };
    let many = with_effects(record(&session(2), None, 1), 900);
    let judged = log.append(vec![large, record(&session(3), None, 1), many]).await.unwrap();
    let bytes = TooLarge::Bytes { bytes: (768 << 10) + 1, max: 768 << 10 };
    let messages = TooLarge::Messages { messages: 901, max: 900 };
    assert_eq!(judged[0], Appended::TooLarge(bytes));
    assert_eq!(judged[2], Appended::TooLarge(messages));
    assert!(matches!(judged[1], Appended::Stored(_)));
    assert_eq!(server.connection.status().borrow().losses, losses, "the server hung up");
    assert_eq!(effects(&server, &log).await, []);
}

#[tokio::test]
async fn whoever_expects_what_was_trimmed_is_refused_in_a_batch_too() {
    let server = Server::start().await;
    let log = server.log().await;
    let head = put(&log, record(&session(1), None, 1)).await;
    // By somebody else: this log still believes in its head.
    let other = server.open(log_settings(&log, &server)).await;
    other.trim(&session(1), Sequence(u64::MAX), true).await.unwrap();
    let zombie = with_effects(record(&session(1), Some(head), 2), 1);
    let judged = log.append(vec![zombie, record(&session(2), None, 1)]).await.unwrap();
    assert!(matches!(judged[..], [Appended::Conflict { actual: None }, Appended::Stored(_)]));
    put(&log, with_effects(record(&session(1), None, 1), 1)).await;
    assert_eq!(effects(&server, &log).await.len(), 1);
}

/// All effects that lie in the stream.
async fn effects(server: &Server, log: &NatsLog) -> Vec<(u64, String)> {
    let jetstream = server.connection.jetstream();
    let stream = jetstream.get_stream(log.stream_name()).await.unwrap();
    let app = session(0).app;
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: subjects::effects(log.group(), &app),
            ..Default::default()
        })
        .await
        .unwrap();
    let mut left = consumer.cached_info().num_pending;
    let mut messages = consumer.messages().await.unwrap();
    let mut found = Vec::new();
    while left > 0 {
        let message = messages.next().await.unwrap().unwrap();
        let sequence = message.info().unwrap().stream_sequence;
        found.push((sequence, String::from_utf8(message.payload.to_vec()).unwrap()));
        left -= 1;
    }
    found
}

fn log_settings(log: &NatsLog, server: &Server) -> stentor_cluster_nats::LogSettings {
    stentor_cluster_nats::LogSettings { group: log.group(), ..server.settings() }
}
