//! A stream that has reached its limit.

use std::time::{Duration, Instant};

use stentor_cluster::{Append, Appended, Log, LogError};
use stentor_cluster_nats::{LogSettings, NatsLog};
use stentor_types::Sequence;

use crate::harness::{Server, count, metrics, record, session};

#[tokio::test]
async fn a_full_stream_refuses_in_bounded_time_keeps_all_and_is_healed_by_trimming() {
    let server = Server::start().await;
    let (registry, metrics) = metrics();
    let settings = LogSettings { max_bytes: 1 << 20, ..server.settings() };
    let log = NatsLog::open(&server.connection, settings, metrics).await.unwrap();
    let large =
        |number| Append { record: vec![b'x'; 100_000].into(), ..record(&session(number), None, 1) };
    let mut stored = 0;
    let refused = loop {
        let begun = Instant::now();
        match log.append(vec![large(stored)]).await {
            Ok(judged) => assert!(matches!(judged[..], [Appended::Stored(_)]), "{judged:?}"),
            Err(LogError::Unavailable(_)) => break begun.elapsed(),
            Err(error) => panic!("{error}"),
        }
        stored += 1;
    };
    assert!(stored >= 8, "{stored} records of 100,000 bytes in a MiB");
    assert!(refused < Duration::from_secs(3), "callers wait {refused:?}");
    assert!(count(&registry, "stentor_log_full_total") > 0);
    let batch = || vec![large(100), large(101), large(102)];
    let answer = log.append(batch()).await;
    assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    assert_eq!(log.head(&session(100)).await.unwrap(), None, "half a batch");
    for number in 0..stored {
        assert!(log.head(&session(number)).await.unwrap().is_some(), "{number} was dropped");
    }
    for number in 0..5 {
        log.trim(&session(number), Sequence(u64::MAX), true).await.unwrap();
    }
    let judged = log.append(batch()).await.unwrap();
    assert!(judged.iter().all(|appended| matches!(appended, Appended::Stored(_))), "{judged:?}");
}
