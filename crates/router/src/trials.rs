//! Inputs that routers may have been lost over: tried one at a time.
//!
//! A gateway says how many owners that had an input were gone before they answered. One is ordinary: everything
//! that was under way then has outlived one, and none of it is to blame as a rule. Before an input that has
//! outlived more is decided about, it is written down where the next owner finds it, and taken off again
//! afterwards. An owner refuses what it finds there from another's life: it was being tried when that life ended.
//! One at a time in the whole router, not in a partition: what is tried beside the input that ends the router would
//! be refused with it. Nothing of this is on the way of an ordinary input, beyond one look per partition after it
//! was taken.
//!
//! Overflow: of more than [`TRIALS_MAX`] the oldest is forgotten, and would be tried again.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use stentor_cluster::Ownership;
use stentor_types::{AppId, PARTITIONS, Partition, Timestamp};
use stentor_wire::pb;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tracing::warn;

/// Owners that an input has outlived when it is suspected. A router that is lost leaves behind as many inputs as
/// there are conversations in a few seconds; to write each of them down costs two synced writes of the broker.
pub(crate) const SUSPECTED_FROM: u32 = 2;
/// Inputs written down per partition. One is tried at a time; the others are those of lost owners.
const TRIALS_MAX: usize = 64;
/// How long what an owner was lost over is refused. Whoever sent it has given up long before.
const REFUSED_FOR: Duration = Duration::from_secs(3_600);
/// How long the list may take to be read or written.
const PATIENCE: Duration = Duration::from_secs(1);
/// Before it is read again when that failed: not everybody who asks is to wait for it.
const AGAIN: Duration = Duration::from_secs(3);

/// An input, told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// What may be done about an input.
pub(crate) enum Verdict {
    /// Decide about it.
    Run,
    /// Decide about it; nothing else that is suspicious is decided about meanwhile.
    RunAlone(Trial),
    /// An owner was lost over it. `again`: this router has refused it before.
    Refuse { again: bool },
    /// It could not be written down.
    NotNow,
}

/// The right to try one input. To be given back by [`Trials::finish`].
pub(crate) struct Trial {
    partition: Partition,
    mark: Mark,
    _alone: OwnedMutexGuard<()>,
}

/// The inputs on trial.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    slots: Slots,
    /// Held by the one input that is tried.
    alone: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Slots(Vec<Slot>);

#[derive(Debug, Default)]
struct Slot {
    /// Nothing was found in it since it was taken: no ordinary input need look.
    clear: AtomicBool,
    /// How often the partition was taken.
    taken: AtomicU64,
    list: Mutex<List>,
}

/// What is written down.
#[derive(Debug, Default)]
struct List {
    /// For which taking it was read; 0 = never.
    read_for: u64,
    /// It could not be read, and is not asked for before this.
    not_before: Option<Instant>,
    entries: Vec<Entry>,
    /// What this router has refused, the latest last.
    refused: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    mark: Mark,
    /// The life that tries it, or tried it.
    life: u64,
    at: Timestamp,
}

// === impl Mark ===

impl Mark {
    /// The same for an input that is sent again: a message by its number, whenever it comes; anything else only
    /// if it is the very same request.
    pub(crate) fn of(app: &AppId, user: &[u8], input: &pb::ConnectionInput) -> Self {
        let mut hash = Sha256::new();
        hash.update(app.as_str());
        hash.update([0]);
        hash.update(user);
        match &input.kind {
            Some(pb::connection_input::Kind::Say(_)) => {
                let timeless = pb::ConnectionInput { received_at: 0, kind: input.kind.clone() };
                hash.update(timeless.encode_to_vec());
            }
            _ => hash.update(input.encode_to_vec()),
        }
        let digest = hash.finalize();
        Self(digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }
}

// === impl Trials ===

impl Trials {
    /// The partition was taken: another owner may have left something.
    pub(crate) fn take(&self, partition: Partition) {
        if let Some(slot) = self.slots.of(partition) {
            slot.clear.store(false, Ordering::SeqCst);
            slot.taken.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether ordinary inputs of the partition may be decided about without asking for each.
    pub(crate) async fn is_clear<B: Ownership>(
        &self,
        bus: &B,
        me: (u64, Timestamp),
        partition: Partition,
    ) -> bool {
        let Some(slot) = self.slots.of(partition) else { return false };
        if slot.clear.load(Ordering::SeqCst) {
            return true;
        }
        let _ = slot.read(bus, partition, me).await;
        slot.clear.load(Ordering::SeqCst)
    }

    /// What may be done about an input that so many owners did not outlive. `life` is this router's.
    pub(crate) async fn begin<B: Ownership>(
        &self,
        bus: &B,
        (life, now): (u64, Timestamp),
        partition: Partition,
        mark: Mark,
        deaths: u32,
    ) -> Verdict {
        let Some(slot) = self.slots.of(partition) else { return Verdict::NotNow };
        if deaths < SUSPECTED_FROM {
            // An input that nobody suspects does not wait for those that somebody does.
            return match slot.read(bus, partition, (life, now)).await {
                Ok(mut list) if list.refuses(mark, life) => list.refuse(mark),
                // It is no worse off than if nothing were written down.
                Ok(_) | Err(()) => Verdict::Run,
            };
        }
        let alone = Arc::clone(&self.alone).lock_owned().await;
        let Ok(mut list) = slot.read(bus, partition, (life, now)).await else {
            return Verdict::NotNow;
        };
        if list.refuses(mark, life) {
            return list.refuse(mark);
        }
        list.entries.push(Entry { mark, life, at: now });
        let surplus = list.entries.len().saturating_sub(TRIALS_MAX);
        list.entries.drain(..surplus);
        if list.write(bus, partition).await.is_err() {
            list.remove(mark, life);
            return Verdict::NotNow;
        }
        Verdict::RunAlone(Trial { partition, mark, _alone: alone })
    }

    /// The input was decided about. It is taken off the list before the next one is tried.
    pub(crate) async fn finish<B: Ownership>(&self, bus: &B, life: u64, trial: Trial) {
        let Some(slot) = self.slots.of(trial.partition) else { return };
        let mut list = slot.list.lock().await;
        list.remove(trial.mark, life);
        // If it stays, it is taken off with the next one; and what was answered is not asked again.
        let _ = list.write(bus, trial.partition).await;
    }
}

// === impl Slot ===

impl Slot {
    /// The list as the owner before has left it, read once after the partition was taken.
    async fn read<B: Ownership>(
        &self,
        bus: &B,
        partition: Partition,
        (life, now): (u64, Timestamp),
    ) -> Result<tokio::sync::MutexGuard<'_, List>, ()> {
        let mut list = self.list.lock().await;
        let taken = self.taken.load(Ordering::SeqCst);
        if list.read_for == taken {
            return Ok(list);
        }
        if list.not_before.is_some_and(|at| at > Instant::now()) {
            return Err(());
        }
        list.not_before = Some(Instant::now() + AGAIN);
        let read = tokio::time::timeout(PATIENCE, bus.trying(partition)).await;
        let text = match read {
            Ok(Ok(text)) => text.unwrap_or_default(),
            Ok(Err(cause)) => {
                warn!(%partition, %cause, "what the owner before was trying cannot be read");
                return Err(());
            }
            Err(_) => {
                warn!(%partition, "what the owner before was trying is not told in time");
                return Err(());
            }
        };
        list.entries = decode(&text);
        // Its own are from before it lost the partition and got it back: it lives.
        list.entries.retain(|entry| entry.life != life && now.since(entry.at) < REFUSED_FOR);
        list.read_for = taken;
        list.not_before = None;
        if !list.entries.is_empty() {
            warn!(%partition, inputs = list.entries.len(), "an owner was lost while it tried inputs; they are refused");
        } else if self.taken.load(Ordering::SeqCst) == taken {
            self.clear.store(true, Ordering::SeqCst);
        }
        Ok(list)
    }
}

// === impl List ===

impl List {
    fn refuses(&self, mark: Mark, life: u64) -> bool {
        self.entries.iter().any(|entry| entry.mark == mark && entry.life != life)
    }

    fn refuse(&mut self, mark: Mark) -> Verdict {
        let again = self.refused.contains(&mark);
        if !again {
            self.refused.push(mark);
            let surplus = self.refused.len().saturating_sub(TRIALS_MAX);
            self.refused.drain(..surplus);
        }
        Verdict::Refuse { again }
    }

    fn remove(&mut self, mark: Mark, life: u64) {
        self.entries.retain(|entry| entry.mark != mark || entry.life != life);
    }

    async fn write<B: Ownership>(&self, bus: &B, partition: Partition) -> Result<(), ()> {
        let writing = bus.set_trying(partition, encode(&self.entries));
        match tokio::time::timeout(PATIENCE, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => {
                warn!(%partition, %cause, "what is being tried cannot be written down");
                Err(())
            }
            Err(_) => Err(()),
        }
    }
}

// === impl Slots ===

impl Slots {
    fn of(&self, partition: Partition) -> Option<&Slot> {
        self.0.get(usize::from(partition.number()))
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self((0..PARTITIONS).map(|_| Slot::default()).collect())
    }
}

/// A line each: the mark, the life, the time.
fn encode(entries: &[Entry]) -> Bytes {
    let mut text = String::new();
    for Entry { mark, life, at } in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:016x} {life:016x} {}", mark.0, at.0);
    }
    text.into()
}

/// Lines that cannot be read are of a later version, and not ours to judge.
fn decode(text: &[u8]) -> Vec<Entry> {
    let text = String::from_utf8_lossy(text);
    let entry = |line: &str| {
        let mut words = line.split(' ');
        let mark = Mark(u64::from_str_radix(words.next()?, 16).ok()?);
        let life = u64::from_str_radix(words.next()?, 16).ok()?;
        Some(Entry { mark, life, at: Timestamp(words.next()?.parse().ok()?) })
    };
    text.lines().filter_map(entry).take(TRIALS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_reads_the_same() {
        let entry = |mark, life| Entry { mark: Mark(mark), life, at: Timestamp(7) };
        let entries = vec![entry(1, u64::MAX), entry(u64::MAX, 0)];
        assert_eq!(decode(&encode(&entries)), entries);
        assert_eq!(decode(b"\xff\n1 2\n1 2 x\n1 2 3 later\n").len(), 1);
    }

    #[test]
    fn a_message_is_known_by_its_number_and_anything_else_by_its_request() {
        use pb::connection_input::Kind;
        let app = AppId::try_new("demo").unwrap();
        let mark = |received_at, kind| {
            Mark::of(&app, &[1; 16], &pb::ConnectionInput { received_at, kind: Some(kind) })
        };
        let say = |counter| Kind::Say(pb::SayInput { counter, ..Default::default() });
        assert_eq!(mark(1, say(1)), mark(2, say(1)));
        assert_ne!(mark(1, say(1)), mark(1, say(2)));
        let attach = || Kind::Attach(pb::AttachInput::default());
        assert_ne!(mark(1, attach()), mark(2, attach()));
        assert_eq!(mark(1, attach()), mark(1, attach()));
    }
}
