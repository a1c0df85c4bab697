//! A stream that is deleted while it is written to.

use stentor_cluster::{Appended, Log, LogError, PartitionLog};
use stentor_testkit::PATIENCE;
use stentor_types::{Partition, Sequence};

use crate::harness::{Server, events, put, record, session};

#[tokio::test]
async fn f20_a_deleted_stream_is_made_anew_as_another_log_for_all_who_write_to_it() {
    let server = Server::start().await;
    let settings = server.settings();
    let (log, other) = (server.open(settings.clone()).await, server.open(settings.clone()).await);
    let mut head = put(&log, record(&session(1), None, 1)).await;
    let incarnation = log.incarnation();
    let partition = Partition::all().next().unwrap();
    log.set_cursor(partition, Sequence(1)).await.unwrap();
    let jetstream = server.connection.jetstream();
    jetstream.delete_stream(settings.stream_name()).await.unwrap();

    // Whatever is tried: nothing is taken for written, and in the end the log is there again.
    let begun = std::time::Instant::now();
    let judged = loop {
        match log.append(vec![record(&session(1), Some(head), 2)]).await {
            Ok(judged) => break judged,
            Err(LogError::Unavailable(_)) => assert!(begun.elapsed() < PATIENCE, "never again"),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(judged, [Appended::Conflict { actual: None }], "what it follows is gone");
    assert_ne!(log.incarnation(), incarnation);
    assert_eq!(log.cursor(partition).await.unwrap(), None, "the history has nothing of it");
    let old = head;
    head = put(&log, record(&session(1), None, 2)).await;
    assert!(head > Sequence(old.0 + 1_000_000), "no place is ever taken twice: {old}, {head}");

    // Somebody who has not noticed is told by the first refusal, and does not take the one for the other.
    assert_eq!(other.incarnation(), incarnation);
    let late = other.append(vec![record(&session(1), Some(old), 9)]).await.unwrap();
    assert_eq!(late, [Appended::Conflict { actual: Some(head) }]);
    let late = other.append(vec![record(&session(2), Some(old), 9)]).await.unwrap();
    assert_eq!(late, [Appended::Conflict { actual: None }]);
    assert_eq!(other.incarnation(), log.incarnation());
    assert_eq!(events(&other, &session(1)).await, [2]);
}
