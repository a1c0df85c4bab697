//! Looking at a data folder as its users do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log, LogError};
use stentor_embedded::{Embedded, OpenError, Options};
use stentor_store::Store;
use stentor_types::{AppId, EventNumber, PlacementKey, Sequence, SessionId, Timestamp};
use stentor_wire::decode_commit;

/// What was acknowledged, per session.
pub(crate) type Acks = BTreeMap<SessionId, BTreeSet<u64>>;

/// What a folder gives back.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Sessions that give back all that was acknowledged, and take more.
    pub(crate) whole: usize,
    /// Sessions that say that they are damaged, and take no more.
    pub(crate) closed: Vec<String>,
    /// The database has met the damage while it merged tables, and takes nothing more from anybody.
    pub(crate) stopped: bool,
}

/// Why a session cannot be used.
enum Trouble {
    Closed(String),
    Stopped,
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        assert!(matches!(error, LogError::Fatal(_)), "{error:?}");
        Self::Stopped
    }
}

pub(crate) fn acks(text: &[u8]) -> Acks {
    let mut acks = Acks::new();
    for line in std::str::from_utf8(text).unwrap().lines() {
        let (session, n) = line.split_once(' ').unwrap();
        acks.entry(session.parse().unwrap()).or_default().insert(n.parse().unwrap());
    }
    acks
}

/// Opens a folder, reads everything that was acknowledged, and writes on. Panics over what is missing
/// without a word, and over a new session that is refused.
pub(crate) fn use_folder(folder: &Path, acks: &Acks) -> Result<Found, OpenError> {
    let embedded = opened(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut found = Found::default();
    for (session, wanted) in acks {
        match runtime.block_on(use_session(&embedded, *session, wanted)) {
            Ok(()) => found.whole += 1,
            Err(Trouble::Closed(what)) => found.closed.push(what),
            Err(Trouble::Stopped) => found.stopped = true,
        }
    }
    let app = AppId::try_new("fault").unwrap();
    let id = SessionId::new(PlacementKey(99), u128::MAX);
    let entity = Entity { app, kind: EntityKind::Session(id) };
    let Ok(judged) = runtime.block_on(embedded.append(vec![append(&entity, None)])) else {
        found.stopped = true;
        return Ok(found);
    };
    assert!(matches!(judged[..], [Appended::Stored(_)]), "a new session: {judged:?}");
    assert_eq!(runtime.block_on(embedded.read(&entity, Sequence(0), 1)).unwrap().len(), 1);
    Ok(found)
}

/// Opens a folder. A process that another test starts has all that this one has open, and locked, for a moment.
fn opened(folder: &Path) -> Result<Embedded, OpenError> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Embedded::open(folder, Options::default()) {
            Err(OpenError::InUse { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

async fn use_session(
    embedded: &Embedded,
    session: SessionId,
    wanted: &BTreeSet<u64>,
) -> Result<(), Trouble> {
    let app = AppId::try_new("fault").unwrap();
    let entity = Entity { app: app.clone(), kind: EntityKind::Session(session) };
    let mut there = BTreeSet::new();
    let (from, to) = (EventNumber(1), EventNumber(u64::MAX));
    match embedded.events(&app, session, from, to).await {
        Ok(events) => there.extend(events.into_iter().map(|event| event.n.0)),
        Err(error) => return Err(Trouble::Closed(format!("history: {error}"))),
    }
    let records = match embedded.read(&entity, Sequence(0), usize::MAX).await {
        Ok(records) => records,
        Err(error @ LogError::Corrupt { .. }) => {
            // Nothing may follow what is damaged, and nobody else is kept waiting.
            let judged = embedded.append(vec![append(&entity, None)]).await?;
            assert_eq!(judged, [Appended::Damaged]);
            return Err(Trouble::Closed(error.to_string()));
        }
        Err(error) => panic!("{session}: {error:?}"),
    };
    let mut head = None;
    for record in records {
        let commit = decode_commit(&record.record).unwrap();
        let before = head.replace(record.sequence);
        assert!(before.is_none() || commit.previous == before, "{session}: the chain is broken");
        there.extend(commit.commit.events.iter().map(|event| event.n.0));
    }
    let missing: Vec<_> = wanted.difference(&there).collect();
    assert!(missing.is_empty(), "{session}: {missing:?} are missing without a word");
    let judged = embedded.append(vec![append(&entity, head)]).await?;
    assert!(matches!(judged[..], [Appended::Stored(_)]), "{session}: {judged:?}");
    Ok(())
}

/// A record that nobody will decode.
fn append(entity: &Entity, expected: Option<Sequence>) -> Append {
    let header = Header { at: Timestamp(u64::MAX), ..Header::default() };
    Append { entity: entity.clone(), expected, header, record: "x".into(), effects: Vec::new() }
}
