//! What an erased session leaves in the stream, in its files, and beside it.

use std::path::Path;

use prost::Message as _;
use stentor_cluster::{Append, EntityKind, Header, Log as _};
use stentor_cluster_nats::NatsLog;
use stentor_types::{EventNumber, Sequence, Timestamp};
use stentor_wire::{pb, session_to_bytes};

use crate::harness::{Server, events, put, record, session};

/// Stands in all that is to be erased, and in what is to stay another one.
const GONE: &str = "my deepest secret";
const STAYS: &str = "nothing to hide";

fn said(number: u64, expected: Option<Sequence>, n: u64, text: &str) -> Append {
    let entity = session(number);
    let EntityKind::Session(id) = entity.kind else { panic!("a session") };
    let effect = pb::Effect {
        app: entity.app.as_str().to_owned(),
        session: session_to_bytes(id),
        request: text.to_owned().into(),
        ..Default::default()
    };
    Append {
        effects: vec![effect.encode_to_vec().into()],
        record: text.to_owned().into(),
        ..record(&entity, expected, n)
    }
}

fn files_hold(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return files_hold(&path, text);
        }
        // Files come and go while a server runs.
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

async fn stream_holds(server: &Server, name: &str, text: &str) -> bool {
    let mut stream = server.connection.jetstream().get_stream(name).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    for sequence in state.first_sequence..=state.last_sequence {
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        if message.payload.windows(text.len()).any(|part| part == text.as_bytes()) {
            return true;
        }
    }
    false
}

async fn bury(server: &Server, log: &NatsLog, number: u64, text: &str) {
    let EntityKind::Session(id) = session(number).kind else { panic!("a session") };
    let letter = pb::DeadLetter {
        app: "test".to_owned(),
        session: Some(session_to_bytes(id)),
        body: text.to_owned().into(),
        ..Default::default()
    };
    log.bury(letter.encode_to_vec().into());
    while !stream_holds(server, "STENTOR_dead", text).await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_26_the_bytes_of_an_erased_session_are_gone_with_its_effects_and_letters() {
    let server = Server::start().await;
    let log = server.log().await;
    let mut last = (None, None);
    for n in 1..=12 {
        last.0 = Some(put(&log, said(1, last.0, n, &format!("{n} {GONE}"))).await);
        // Together more effects than are read at a time.
        let mut other = said(65, last.1, n, &format!("{n} {STAYS}"));
        other.effects = vec![other.effects[0].clone(); 50];
        last.1 = Some(put(&log, other).await);
    }
    bury(&server, &log, 1, GONE).await;
    bury(&server, &log, 65, STAYS).await;
    let (first, n) = (EventNumber(13), EventNumber(13));
    let header = Header { first, last: n, at: Timestamp(13), snapshot: true, ..Header::default() };
    let erased = Append { header, ..record(&session(1), last.0, 13) };
    let head = put(&log, erased).await;

    let name = log.stream_name().to_owned();
    assert!(stream_holds(&server, &name, GONE).await && files_hold(server.nats.folder(), GONE));
    assert_eq!(log.erase(&session(1), head).await.unwrap().records, 12);
    assert_eq!(events(&log, &session(1)).await, [13]);
    for stream in [&name, "STENTOR_dead"] {
        assert!(!stream_holds(&server, stream, GONE).await, "{stream}");
        assert!(stream_holds(&server, stream, STAYS).await, "{stream}");
    }
    assert_eq!(events(&log, &session(65)).await.len(), 12);
    assert!(!files_hold(server.nats.folder(), GONE), "only out of reach");
    assert!(files_hold(server.nats.folder(), STAYS));
    // Once more, when the records that told where to begin are gone.
    assert_eq!(log.erase(&session(1), head).await.unwrap().records, 0);
    put(&log, record(&session(1), Some(head), 14)).await;
}
