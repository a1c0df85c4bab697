//! The records of a session that hold some of its events, out of a log that may hold very many: no more is read
//! than these, a page around them, and some single records on the way to the first.
//!
//! A log knows records by their place, not by the numbers of their events; but both grow together.

use stentor_cluster::{Entity, Log, LogError, Record};
use stentor_types::{EventNumber, Sequence};

/// Bytes read at a time: some hundred messages.
const PAGE_BYTES: usize = 256 * 1024;
/// Events before the first wanted one that are read with it, rather than look for it any longer.
const CLOSE: u64 = 32;

/// The records with events `from..=to`, in order.
///
/// # Errors
/// Any [`LogError`].
pub(super) async fn records<L: Log>(
    log: &L,
    entity: &Entity,
    from: EventNumber,
    to: EventNumber,
) -> Result<Vec<Record>, LogError> {
    let Some(head) = log.head(entity).await? else { return Ok(Vec::new()) };
    if head.header.last < from || from > to {
        return Ok(Vec::new());
    }
    // Most often what follows the newest snapshot is enough.
    let snapshot = head.snapshot.unwrap_or(Sequence(0));
    let mut page = log.read(entity, snapshot, PAGE_BYTES).await?;
    if snapshot > Sequence(0) && page.first().is_none_or(|first| begins_after(first, from)) {
        let first = first_of(log, entity, from, snapshot).await?;
        page = log.read(entity, first, PAGE_BYTES).await?;
    }
    let mut records = Vec::new();
    while let Some(last) = page.last() {
        let (seen, next) = (last.header.last, Sequence(last.sequence.0.saturating_add(1)));
        let wanted = |record: &Record| record.header.last >= from && record.header.first <= to;
        records.extend(page.into_iter().filter(wanted));
        if seen >= to {
            break;
        }
        page = log.read(entity, next, PAGE_BYTES).await?;
    }
    Ok(records)
}

/// Whether events from `from` on may stand in records before this one.
fn begins_after(record: &Record, from: EventNumber) -> bool {
    let header = &record.header;
    // One without events says which was the last before it.
    let before = if header.first == EventNumber::NONE { header.last.next() } else { header.first };
    before > from
}

/// Where to begin to read for event `from`, which stands before the record at `end`: each look halves what is left.
async fn first_of<L: Log>(
    log: &L,
    entity: &Entity,
    from: EventNumber,
    end: Sequence,
) -> Result<Sequence, LogError> {
    let (mut before, mut end) = (0, end.0);
    while end.saturating_sub(before) > 1 {
        let middle = before + (end - before) / 2;
        let found = log.read(entity, Sequence(middle), 1).await?;
        match found.first() {
            Some(record) if record.header.last < from => {
                before = record.sequence.0;
                if record.header.last.0.saturating_add(CLOSE) >= from.0 {
                    break;
                }
            }
            Some(record) if !begins_after(record, from) => return Ok(record.sequence),
            _ => end = middle,
        }
    }
    Ok(Sequence(before.saturating_add(1)))
}
