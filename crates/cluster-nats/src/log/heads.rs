//! The heads of a whole partition, by one consumer over its subjects.
//!
//! Session by session would take the server minutes: it looks through whole blocks for each. The
//! consumer gives the last message of every subject, without payloads, in one go.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::jetstream::consumer::DeliverPolicy;
use stentor_cluster::{Entity, Head, LogError};
use stentor_types::Partition;

use super::{NatsLog, delivery::Delivered, headers::Marked};
use crate::subjects;

/// How long the pages of a scan are served from it.
const PAGES_FOR: Duration = Duration::from_secs(60);
/// Scans whose later pages are kept, some MB each. Overflow: the oldest is dropped, and whoever still
/// pages through it causes a new one.
const SCANS_MAX: usize = 4;

/// Scans whose later pages may still be asked for.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    kept: Mutex<HashMap<Partition, (Instant, Heads)>>,
}

/// All heads of a partition, ordered.
type Heads = Arc<BTreeMap<Entity, Head>>;

// === impl Scans ===

impl Scans {
    fn get(&self, partition: Partition, now: Instant) -> Option<Heads> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, heads) = kept.get(&partition)?;
        (now.duration_since(*at) < PAGES_FOR).then(|| Arc::clone(heads))
    }

    fn keep(&self, partition: Partition, heads: Heads, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now.duration_since(*at) < PAGES_FOR);
        if kept.len() >= SCANS_MAX {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(oldest, _)| *oldest);
            if let Some(oldest) = oldest {
                kept.remove(&oldest);
            }
        }
        kept.insert(partition, (now, heads));
    }

    /// Another log begins.
    pub(crate) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn drop(&self, partition: Partition) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }
}

// === impl NatsLog ===

impl NatsLog {
    /// A page of heads. The first page begins a new scan; a snapshot named in it may have been removed
    /// with the whole of its entity, which [`stentor_cluster::Log::head`] would notice.
    pub(super) async fn page_of_heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        let now = Instant::now();
        let kept = if after.is_some() { self.scans.get(partition, now) } else { None };
        let heads = match kept {
            Some(heads) => heads,
            None => {
                let heads = Arc::new(self.scan_heads(partition).await?);
                self.scans.keep(partition, Arc::clone(&heads), now);
                heads
            }
        };
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let later = heads.range((from, std::ops::Bound::Unbounded));
        let page: Vec<_> =
            later.take(limit).map(|(entity, head)| (entity.clone(), *head)).collect();
        let at_end = page.last().map(|(entity, _)| entity) == heads.keys().next_back();
        if page.is_empty() || at_end {
            self.scans.drop(partition);
        }
        Ok(page)
    }

    async fn scan_heads(&self, partition: Partition) -> Result<BTreeMap<Entity, Head>, LogError> {
        let first = self.info().await?.first_sequence;
        let group = self.settings.group;
        let filter = subjects::records_of(group, partition);
        let mut delivery = self.deliver(filter, DeliverPolicy::LastPerSubject).await?;
        let mut heads = BTreeMap::new();
        while let Some(Delivered { sequence, message }) = self.next_delivered(&mut delivery).await?
        {
            let headers = message.headers.clone().unwrap_or_default();
            let entity = subjects::parse_entity(group, message.subject.as_str());
            match (entity, Marked::read(&headers)) {
                (Some(entity), Ok(marked)) => {
                    let snapshot = marked.snapshot_at(sequence).filter(|at| at.0 >= first);
                    heads.insert(entity, Head { sequence, header: marked.header, snapshot });
                }
                (entity, _) => {
                    // Whoever reads it will be told; all others go on.
                    tracing::error!(subject = %message.subject, %sequence, known = entity.is_some(), "a message in the log is no record");
                }
            }
        }
        Ok(heads)
    }
}
