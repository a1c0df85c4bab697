//! Servers that die or freeze between a write and its answer.

use std::time::Duration;

use stentor_cluster::{Append, Appended, Log, LogError};
use stentor_cluster_nats::{LogSettings, NatsLog};
use stentor_testkit::{NatsOptions, PATIENCE};
use stentor_types::Sequence;

use crate::harness::{Server, connect, events, metrics, record, session, with_effects};

/// Writes record after record of some sessions as a router does: an unknown outcome is tried again,
/// and a conflict with one's own record is success. Ends after `rounds`; returns how often nobody
/// knew.
async fn write_chains(log: &NatsLog, rounds: u64, sessions: u64, done: impl Fn(u64)) -> u64 {
    let mut heads: Vec<Option<Sequence>> = vec![None; sessions as usize];
    let mut unknown = 0;
    for n in 1..=rounds {
        let mut left: Vec<u64> = (0..sessions).collect();
        while !left.is_empty() {
            let batch: Vec<Append> = left
                .iter()
                .map(|number| record(&session(*number), heads[*number as usize], n))
                .map(|append| with_effects(append, 1))
                .collect();
            let judged = match log.append(batch).await {
                Ok(judged) => judged,
                Err(LogError::Unavailable(_)) => {
                    unknown += 1;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let mut again = Vec::new();
            for (number, appended) in left.into_iter().zip(judged) {
                heads[number as usize] = match appended {
                    Appended::Stored(sequence) => Some(sequence),
                    Appended::Conflict { actual: Some(actual) } => {
                        own(log, number, actual, n).await;
                        Some(actual)
                    }
                    other => panic!("{number}: {other:?}"),
                };
                if heads[number as usize].is_none() {
                    again.push(number);
                }
            }
            left = again;
        }
        done(n);
    }
    unknown
}

/// The record that was in the way is the very one that was to be written.
async fn own(log: &NatsLog, number: u64, actual: Sequence, n: u64) {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match log.read(&session(number), actual, 1).await {
            Ok(records) => {
                assert_eq!(records[0].header.last.0, n, "somebody else's record");
                return;
            }
            Err(error) if tokio::time::Instant::now() > until => panic!("{error}"),
            Err(_) => {}
        }
    }
}

async fn assert_chains(log: &NatsLog, rounds: u64, sessions: u64) {
    for number in 0..sessions {
        assert_eq!(events(log, &session(number)).await, (1..=rounds).collect::<Vec<_>>());
    }
}

fn impatient(settings: LogSettings) -> LogSettings {
    let soon = Duration::from_millis(700);
    LogSettings { answer_timeout: soon, retry_for: soon, ..settings }
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_nothing_is_lost_or_doubled_when_the_server_is_killed_between_write_and_answer() {
    let mut server = Server::start().await;
    let log = server.open(impatient(server.settings())).await;
    let (rounds, sessions) = (400, 5);
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let (unknown, log) = {
        let writer = tokio::spawn(async move {
            let unknown = write_chains(&log, rounds, sessions, |n| {
                progress.send_replace(n);
            });
            (unknown.await, log)
        });
        for kill_at in [50, 150, 250] {
            seen.wait_for(|n| *n >= kill_at).await.unwrap();
            server.nats.kill(0).unwrap();
            server.nats.start_again(0).await.unwrap();
        }
        writer.await.unwrap()
    };
    assert!(unknown > 0, "no write was ever in doubt");
    assert_chains(&log, rounds, sessions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_in_doubt_and_the_next_attempt_decides() {
    let mut server = Server::start().await;
    let log = server.open(impatient(server.settings())).await;
    let entity = session(1);
    let attempt = || with_effects(record(&entity, None, 1), 1);
    server.nats.pause(0).unwrap();
    let begun = std::time::Instant::now();
    let answer = log.append(vec![attempt(), record(&session(2), None, 1)]).await;
    assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "callers wait for ever");
    server.nats.resume(0).unwrap();
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match log.append(vec![attempt()]).await {
            // The first attempt had waited in the socket, or never arrived.
            Ok(judged) => {
                assert!(
                    matches!(
                        judged[..],
                        [Appended::Stored(_) | Appended::Conflict { actual: Some(_) }]
                    ),
                    "{judged:?}"
                );
                break;
            }
            Err(error) if tokio::time::Instant::now() > until => panic!("{error}"),
            Err(_) => {}
        }
    }
    assert_eq!(events(&log, &entity).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_to_a_batch_is_not_taken_for_the_next_ones() {
    let mut server = Server::start().await;
    let log = server.open(impatient(server.settings())).await;
    let batch = |number| vec![with_effects(record(&session(number), None, 1), 1)];
    server.nats.pause(0).unwrap();
    let answer = log.append(batch(1)).await;
    assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    server.nats.resume(0).unwrap();
    // It had waited in the socket.
    let until = tokio::time::Instant::now() + PATIENCE;
    while log.head(&session(1)).await.ok().flatten().is_none() {
        assert!(tokio::time::Instant::now() < until, "the first batch has not arrived");
    }
    let judged = log.append(batch(2)).await.unwrap();
    let head = log.head(&session(2)).await.unwrap().unwrap();
    assert_eq!(judged, [Appended::Stored(head.sequence)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_nothing_is_lost_or_doubled_when_leaders_are_killed() {
    let mut server = Server::with(NatsOptions { nodes: 3, ..NatsOptions::default() }).await;
    let settings = impatient(server.settings());
    let log = server.open(settings.clone()).await;
    let (rounds, sessions) = (300, 5);
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let name = log.stream_name().to_owned();
    let writer = tokio::spawn(async move {
        write_chains(&log, rounds, sessions, |n| {
            progress.send_replace(n);
        })
        .await
    });
    for kill_at in [50, 150] {
        seen.wait_for(|n| *n >= kill_at).await.unwrap();
        let leader = server.nats.leader_of(&name).await.unwrap();
        server.nats.kill(leader).unwrap();
        seen.wait_for(|n| *n >= kill_at + 20).await.unwrap();
        server.nats.start_again(leader).await.unwrap();
        server.nats.ready().await.unwrap();
    }
    writer.await.unwrap();
    let again = connect(&server.nats).await;
    let log = NatsLog::open(&again, settings, metrics().1).await.unwrap();
    assert_chains(&log, rounds, sessions).await;
}
