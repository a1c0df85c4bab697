//! The heads of a whole partition, by one consumer over its subjects.
//!
//! Session by session would take the server minutes: it looks through whole blocks for each. The
//! consumer gives the last message of every subject, without payloads, in one go.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::jetstream::consumer::{DeliverPolicy, push};
use futures_util::StreamExt as _;
use stentor_cluster::{Entity, Head, LogError};
use stentor_types::{Partition, Sequence};

use super::{NatsLog, headers::Marked, trouble::Trouble};
use crate::subjects;

/// How long the pages of a scan are served from it.
const PAGES_FOR: Duration = Duration::from_secs(60);
/// Scans whose later pages are kept, some MB each. Overflow: the oldest is dropped, and whoever still
/// pages through it causes a new one.
const SCANS_MAX: usize = 4;
/// Silence after which the server is asked whether anything is still to come.
const SILENCE: Duration = Duration::from_secs(1);
/// Such questions until the scan is given up.
const SILENCES_MAX: u32 = 10;

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
        let config = push::OrderedConfig {
            deliver_subject: self.connection.client().new_inbox(),
            filter_subject: subjects::records_of(self.settings.group, partition),
            deliver_policy: DeliverPolicy::LastPerSubject,
            headers_only: true,
            ..push::OrderedConfig::default()
        };
        let consumer = self.stream.create_consumer(config).await;
        let consumer = consumer.map_err(Trouble::of("asking for the heads of a partition"))?;
        let name = consumer.cached_info().name.clone();
        let found = if consumer.cached_info().num_pending == 0 {
            Ok(BTreeMap::new())
        } else {
            self.collect_heads(consumer, first).await
        };
        // Left alone it would end after half a minute; the server allows a thousand.
        let _ = self.stream.delete_consumer(&name).await;
        found
    }

    async fn collect_heads(
        &self,
        consumer: async_nats::jetstream::consumer::Consumer<push::OrderedConfig>,
        first: u64,
    ) -> Result<BTreeMap<Entity, Head>, LogError> {
        let what = "reading the heads of a partition";
        let name = consumer.cached_info().name.clone();
        let mut messages = consumer.messages().await.map_err(Trouble::of(what))?;
        let mut heads = BTreeMap::new();
        let mut silences = 0;
        loop {
            let Ok(next) = tokio::time::timeout(SILENCE, messages.next()).await else {
                // What was still to come may have been trimmed meanwhile.
                let info = self.stream.consumer_info(&name).await;
                silences += 1;
                if info.is_ok_and(|info| info.num_pending == 0) {
                    return Ok(heads);
                } else if silences > SILENCES_MAX {
                    return Err(Trouble::Late.into());
                }
                continue;
            };
            let message = next.ok_or(Trouble::Lost)?.map_err(Trouble::of(what))?;
            let info = message.info().map_err(Trouble::of(what))?;
            let (sequence, pending) = (Sequence(info.stream_sequence), info.pending);
            let headers = message.headers.clone().unwrap_or_default();
            let entity = subjects::parse_entity(self.settings.group, message.subject.as_str());
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
            if pending == 0 {
                return Ok(heads);
            }
        }
    }
}
