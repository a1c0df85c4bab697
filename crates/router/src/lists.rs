//! The lists of sessions: what actors say about theirs is gathered, kept in the store and told to gateways.
//!
//! Whatever is lost between a commit and the store is made good when the session is taken up again: startup
//! wakes every session that was written to shortly before the end, and it is told anew.
//!
//! What gateways are told is counted, and for some time it is repeated how far: one that lacks a number has
//! missed something, whether the bus lost it, it found no place, or the gateway was not known then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{Effects, Fanout, Log, Ownership, PublishOutcome};
use stentor_store::{Listing, Store, StoreError};
use stentor_types::{AppId, EventNumber, SessionId, Timestamp};
use stentor_wire::{DecodeError, pb, session_id, session_to_bytes};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    Shared,
    actors::Key,
    history::HistoryError,
    searching::{self, Fit, Wanted},
};

/// How often changes are written and told. Startup looks back much further than that.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Every so many of these it is repeated how much was told: what was lost is noticed within two seconds.
const REPEAT_EVERY: u32 = 4;
/// How often it is repeated: within ten seconds, like the heads of sessions.
const REPEATS: u32 = 5;
/// Sessions in one message to a gateway.
const TOGETHER_MAX: usize = 64;
/// Sessions read at a time.
const PAGE: usize = 200;
/// Sessions looked at for one answer. What is not found by then is looked for with the next request.
const SCAN_MAX: usize = 2_000;
/// Sessions of them whose messages are read, because the list itself does not say whether they fit.
const READ_MAX: usize = 200;
/// Places that wait for a store that is down: some 50 MB. Overflow: a place is not written, and the lists show its
/// session as it was until it is used, or loaded, again.
const WAITING_MAX: usize = 100_000;
/// Sessions in one answer.
const ITEMS_MAX: usize = 100;

/// Changes that are on their way: at most one per session, and [`WAITING_MAX`] that could not be written.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    changed: Mutex<HashMap<Key, Change>>,
    told: Mutex<Told>,
    /// One flush at a time: a place must not be overtaken by an older one.
    flushing: tokio::sync::Mutex<()>,
}

/// How much gateways have been told.
#[derive(Debug, Default)]
struct Told {
    /// How many messages there have been.
    number: u64,
    /// How often that is still to be repeated.
    repeats: u32,
}

/// What lists show of a session from now on.
#[derive(Debug)]
struct Change {
    at: Timestamp,
    listed: pb::Listed,
    /// Gateways know of it; the store does not.
    told: bool,
}

// === impl Lists ===

impl Lists {
    /// What lists show of a session has changed, at that time.
    pub(crate) fn change(&self, key: Key, at: Timestamp, listed: pb::Listed) {
        let change = Change { at, listed, told: false };
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(key, change);
    }

    /// Puts back what could not be written, unless something newer has come, or too much waits.
    fn put_back(&self, key: Key, at: Timestamp, listed: pb::Listed) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.len() >= WAITING_MAX {
            return;
        }
        changed.entry(key).or_insert(Change { at, listed, told: true });
    }
}

/// Writes and tells until told to stop.
pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    shared: std::sync::Arc<Shared<L, S, B>>,
    stop: CancellationToken,
) {
    let mut turns = (1..=REPEAT_EVERY).cycle();
    loop {
        tokio::select! {
            () = tokio::time::sleep(FLUSH_EVERY) => flush(&shared).await,
            () = stop.cancelled() => return,
        }
        if turns.next() == Some(REPEAT_EVERY) {
            repeat(&shared);
        }
    }
}

/// Writes and tells what has changed.
pub(crate) async fn flush<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    shared: &Shared<L, S, B>,
) {
    let lists = &shared.lists;
    let _one_at_a_time = lists.flushing.lock().await;
    let changed =
        std::mem::take(&mut *lists.changed.lock().unwrap_or_else(PoisonError::into_inner));
    let mut tasks = tokio::task::JoinSet::new();
    let mut told: HashMap<AppId, Vec<pb::Listed>> = HashMap::new();
    let mut failed = None;
    let down = shared.keeping.store_is_down();
    for (key, Change { at, listed, told: known }) in changed {
        if !known {
            told.entry(key.app.clone()).or_default().push(listed.clone());
        }
        if down {
            lists.put_back(key, at, listed);
            continue;
        }
        if tasks.len() >= TOGETHER_MAX {
            settle(lists, tasks.join_next().await, &mut failed);
        }
        let store = std::sync::Arc::clone(&shared.store);
        tasks.spawn(async move {
            let bytes = listed.encode_to_vec().into();
            let written = store.put_listing(&key.app, key.session, at, bytes).await;
            written.err().map(|cause| (key, at, listed, cause))
        });
    }
    while let Some(written) = tasks.join_next().await {
        settle(lists, Some(written), &mut failed);
    }
    if let Some(cause) = failed {
        warn!(cause = crate::metrics::chain(&cause), "places in lists could not be written yet");
    }
    for (app, listed) in told {
        for listed in listed.chunks(TOGETHER_MAX) {
            tell(shared, &app, listed);
        }
    }
}

type Unwritten = Option<(Key, Timestamp, pb::Listed, StoreError)>;

fn settle(
    lists: &Lists,
    written: Option<Result<Unwritten, tokio::task::JoinError>>,
    failed: &mut Option<StoreError>,
) {
    if let Some(Ok(Some((key, at, listed, cause)))) = written {
        lists.put_back(key, at, listed);
        *failed = Some(cause);
    }
}

/// Tells every gateway that is known.
fn tell<L, S, B: Fanout>(shared: &Shared<L, S, B>, app: &AppId, listed: &[pb::Listed]) {
    let mut told = shared.lists.told.lock().unwrap_or_else(PoisonError::into_inner);
    told.number += 1;
    let message = pb::Fanout {
        app: app.as_str().to_owned(),
        listed: listed.to_vec(),
        listed_by: shared.writer,
        listed_number: told.number,
        ..Default::default()
    };
    let all_have_it = publish(shared, &message);
    told.repeats = if B::LOSSY { REPEATS } else { u32::from(!all_have_it) };
}

/// Repeats how much was told, as long as somebody may not know.
fn repeat<L, S, B: Fanout>(shared: &Shared<L, S, B>) {
    let mut told = shared.lists.told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.repeats == 0 {
        return;
    }
    let (listed_by, listed_number) = (shared.writer, told.number);
    let message = pb::Fanout { listed_by, listed_number, ..Default::default() };
    if publish(shared, &message) {
        told.repeats -= 1;
    }
}

/// False if a gateway had no room.
fn publish<L, S, B: Fanout>(shared: &Shared<L, S, B>, message: &pb::Fanout) -> bool {
    let message = Bytes::from(message.encode_to_vec());
    let mut all_have_it = true;
    for gateway in shared.bus.gateways() {
        all_have_it &= shared.bus.publish(gateway, message.clone()) != PublishOutcome::Full;
    }
    all_have_it
}

/// Answers a request for a list.
pub(crate) async fn list<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    shared: &Arc<Shared<L, S, B>>,
    app: &AppId,
    request: &pb::ListRequest,
) -> Result<pb::ListReply, DecodeError> {
    flush(shared).await;
    let mut after = read_cursor(&request.after)?;
    let limit = usize::try_from(request.limit).unwrap_or(ITEMS_MAX);
    let limit = if limit == 0 { ITEMS_MAX } else { limit.min(ITEMS_MAX) };
    let wanted = Wanted::new(app, request);
    let (mut items, mut seen, mut read) = (Vec::new(), 0, 0);
    loop {
        let Some(page) = readable(app, shared.store.listings(app, after, PAGE).await) else {
            return Ok(pb::ListReply { try_again: true, ..Default::default() });
        };
        let last_page = page.len() < PAGE;
        for listings in page.chunks(searching::TOGETHER_MAX) {
            let Some(found) = readable(app, look(shared, app, &wanted, listings).await) else {
                return Ok(pb::ListReply { try_again: true, ..Default::default() });
            };
            seen += listings.len();
            read += found.iter().filter(|found| found.was_read).count();
            for (listing, found) in listings.iter().zip(found) {
                after = Some((listing.at, listing.session));
                items.extend(found.listed);
                if items.len() >= limit {
                    return Ok(pb::ListReply {
                        items,
                        next: write_cursor(after),
                        try_again: false,
                    });
                }
            }
            if read >= READ_MAX || seen >= SCAN_MAX {
                return Ok(pb::ListReply { items, next: write_cursor(after), try_again: false });
            }
        }
        if last_page {
            return Ok(pb::ListReply { items, ..Default::default() });
        }
    }
}

/// What became of one session of those that may be listed.
struct Found {
    /// It is to be shown.
    listed: Option<pb::Listed>,
    /// What was said in it had to be read.
    was_read: bool,
}

/// Which of some sessions are to be shown.
async fn look<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    shared: &Arc<Shared<L, S, B>>,
    app: &AppId,
    wanted: &Wanted<'_>,
    listings: &[Listing],
) -> Result<Vec<Found>, HistoryError> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    let mut sessions = Vec::new();
    for (place, listing) in listings.iter().enumerate() {
        let listed = pb::Listed::decode(listing.listing.clone()).ok();
        let fit = listed.as_ref().map_or(Fit::No, |listed| wanted.fits(listed));
        let was_read = matches!(fit, Fit::If(_));
        if let (Fit::If(words), Some(listed)) = (&fit, &listed) {
            open.push((place, words.clone()));
            sessions.push((listing.session, EventNumber(listed.n)));
        }
        found.push(Found { listed: listed.filter(|_| !matches!(fit, Fit::No)), was_read });
    }
    let said = searching::said(shared, app, &sessions).await?;
    for ((place, words), said) in open.into_iter().zip(said) {
        if let Some(found) = found.get_mut(place).filter(|_| !wanted.are_in(&words, &said)) {
            found.listed = None;
        }
    }
    Ok(found)
}

fn readable<T, E: std::error::Error>(app: &AppId, read: Result<T, E>) -> Option<T> {
    read.inspect_err(|cause| {
        warn!(%app, cause = crate::metrics::chain(cause), "a list could not be read");
    })
    .ok()
}

fn write_cursor(place: Option<(Timestamp, SessionId)>) -> Bytes {
    let Some((at, session)) = place else { return Bytes::new() };
    [&at.0.to_be_bytes()[..], &session_to_bytes(session)].concat().into()
}

fn read_cursor(bytes: &[u8]) -> Result<Option<(Timestamp, SessionId)>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (at, session) = bytes.split_first_chunk::<8>().ok_or(DecodeError::Field("after"))?;
    let session = session_id(session).map_err(|_| DecodeError::Field("after"))?;
    Ok(Some((Timestamp(u64::from_be_bytes(*at)), session)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let place = (Timestamp(7), SessionId::new(stentor_types::PlacementKey(1), 2));
        assert_eq!(read_cursor(&write_cursor(Some(place))).unwrap(), Some(place));
        assert_eq!(read_cursor(&write_cursor(None)).unwrap(), None);
        assert!(read_cursor(b"nonsense").is_err());
        assert!(read_cursor(b"x").is_err());
    }

    #[test]
    fn i15_what_waits_for_a_store_that_is_down_is_bounded() {
        let lists = Lists::default();
        let app = AppId::try_new("demo").unwrap();
        for number in 0..WAITING_MAX as u64 + 10 {
            let session = SessionId::new(stentor_types::PlacementKey(number), 0);
            let key = Key { app: app.clone(), session };
            lists.put_back(key, Timestamp(1), pb::Listed::default());
        }
        assert_eq!(lists.changed.lock().unwrap().len(), WAITING_MAX);
    }
}
