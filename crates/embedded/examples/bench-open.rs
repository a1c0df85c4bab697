//! Time and memory to open a data folder with a million events.

use std::time::Instant;

use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log};
use stentor_embedded::{Embedded, Options};
use stentor_types::{AppId, EventNumber, Partition, PlacementKey, SessionId, Timestamp};

const SESSIONS: u64 = 20_000;
/// Records of two events each.
const RECORDS: u64 = 25;

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let app = AppId::try_new("bench")?;
    let log = Embedded::open(folder.path(), Options::default())?;
    let mut heads = vec![None; usize::try_from(SESSIONS)?];
    for round in 0..RECORDS {
        for chunk in (0..SESSIONS).collect::<Vec<_>>().chunks(400) {
            let batch = chunk.iter().map(|session| {
                let id = SessionId::new(PlacementKey(*session), u128::from(*session));
                let (first, last) = (EventNumber(round * 2 + 1), EventNumber(round * 2 + 2));
                let header = Header { first, last, at: Timestamp(round + 1), ..Header::default() };
                let entity = Entity { app: app.clone(), kind: EntityKind::Session(id) };
                let expected = heads.get(usize::try_from(*session).unwrap_or(0)).copied().flatten();
                Append {
                    entity,
                    expected,
                    header,
                    record: vec![b'x'; 600].into(),
                    effects: Vec::new(),
                }
            });
            let judged = log.append(batch.collect()).await?;
            for (session, appended) in chunk.iter().zip(judged) {
                if let (Appended::Stored(sequence), Some(head)) =
                    (appended, heads.get_mut(usize::try_from(*session)?))
                {
                    *head = Some(sequence);
                }
            }
        }
    }
    drop(log);
    let before = resident();
    let begun = Instant::now();
    let log = Embedded::open(folder.path(), Options::default())?;
    let opened = begun.elapsed();
    let mut sessions = 0;
    for partition in Partition::all() {
        let mut after = None;
        loop {
            let heads = log.heads(partition, after, 1_000).await?;
            let Some((last, _)) = heads.last() else { break };
            after = Some(last.clone());
            sessions += heads.len();
        }
    }
    let scanned = begun.elapsed();
    println!("events {} in {sessions} sessions", SESSIONS * RECORDS * 2);
    println!(
        "open {:.0} ms, all heads read after {:.0} ms",
        opened.as_secs_f64() * 1e3,
        scanned.as_secs_f64() * 1e3
    );
    println!("resident memory {} MiB before, {} MiB after", before >> 10, resident() >> 10);
    Ok(())
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
