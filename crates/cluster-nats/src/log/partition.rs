//! What concerns a partition or the whole stream: its order, its cursors, and what it forgets.

use async_nats::jetstream::{
    consumer::DeliverPolicy,
    kv::{self, Operation},
    stream::State,
};
use stentor_cluster::{LogError, Scan};
use stentor_types::{Partition, Sequence, Timestamp};

use super::{NatsLog, range::Fetched, read::Page, trouble::Trouble};
use crate::subjects;

/// How often a cursor is moved again because somebody else had moved it.
const CURSOR_TRIES: usize = 20;

// === impl NatsLog ===

impl NatsLog {
    /// The stream's state, from its leader.
    pub(super) async fn info(&self) -> Result<State, LogError> {
        let info = self.stream.get_info().await.map_err(Trouble::of("asking about the stream"))?;
        self.belongs_to(&info.config);
        Ok(info.state)
    }

    pub(super) async fn scan_partition(
        &self,
        partition: Partition,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Scan, LogError> {
        let subject = subjects::records_of(self.settings.group, partition);
        // Asked before the records: whatever comes later is not claimed to have been seen.
        let last = self.info().await?.last_sequence;
        let range = self.range(&subject, from, bytes_max).await?;
        let mut page = Page::new(bytes_max);
        let mut next = from;
        for fetched in range.messages {
            let sequence = fetched.sequence;
            if !self.take(&mut page, fetched)? {
                return Ok(Scan { records: page.records, next: sequence, end: false });
            }
            next = Sequence(sequence.0.saturating_add(1));
        }
        if range.more {
            return Ok(Scan { records: page.records, next, end: false });
        }
        // The replica that answered may lag behind: only the leader knows the end.
        let Some(fetched) = self.next_of(&subject, next).await? else {
            let next = next.max(Sequence(last.saturating_add(1)));
            return Ok(Scan { records: page.records, next, end: true });
        };
        self.metrics.behind.inc();
        let sequence = fetched.sequence;
        let taken = self.take(&mut page, fetched)?;
        let next = if taken { Sequence(sequence.0.saturating_add(1)) } else { sequence };
        Ok(Scan { records: page.records, next, end: false })
    }

    fn take(
        &self,
        page: &mut Page<(stentor_cluster::Entity, stentor_cluster::Record)>,
        fetched: Fetched,
    ) -> Result<bool, LogError> {
        let entity = subjects::parse_entity(self.settings.group, &fetched.subject);
        let Some(entity) = entity else {
            tracing::error!(subject = fetched.subject, sequence = %fetched.sequence, "a message in the log is no record");
            return Ok(true);
        };
        let record = fetched.into_record(&entity)?;
        Ok(page.push(record.record.len(), (entity, record)))
    }

    pub(super) async fn read_cursor(
        &self,
        partition: Partition,
    ) -> Result<Option<Sequence>, LogError> {
        Ok(self.cursor_entry(partition).await?.and_then(|entry| cursor_in(&entry)))
    }

    async fn cursor_entry(&self, partition: Partition) -> Result<Option<kv::Entry>, LogError> {
        let entry = self.cursors.entry(self.cursor_key(partition)).await;
        entry.map_err(Trouble::of("reading a cursor"))
    }

    /// A cursor belongs to one log: one that outlived a stream that was lost would say that the history has
    /// what it never saw.
    fn cursor_key(&self, partition: Partition) -> String {
        format!("{}.{:032x}.{partition}", self.settings.group.0, self.renewal.incarnation().0)
    }

    pub(super) async fn move_cursor(
        &self,
        partition: Partition,
        cursor: Sequence,
    ) -> Result<(), LogError> {
        let key = self.cursor_key(partition);
        for _ in 0..CURSOR_TRIES {
            let entry = self.cursor_entry(partition).await?;
            if entry.as_ref().and_then(cursor_in).is_some_and(|known| known >= cursor) {
                return Ok(());
            }
            let revision = entry.map_or(0, |entry| entry.revision);
            let written = self.cursors.update(&key, cursor.0.to_string().into(), revision).await;
            match written {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                    // Somebody else was quicker, or a replica lags behind.
                    let pause = std::time::Duration::from_millis(20);
                    tokio::time::sleep(crate::chance::less_up_to_half(pause)).await;
                }
                Err(error) => return Err(Trouble::of("moving a cursor")(error)),
            }
        }
        Err(Trouble::Late.into())
    }

    /// Ages are those of messages, by the broker's clock.
    pub(super) async fn purge_old(
        &self,
        older_than: Timestamp,
        before: Sequence,
    ) -> Result<u64, LogError> {
        let state = self.info().await?;
        let limit = match self.first_since(older_than, &state).await? {
            Some(first) => before.0.min(first),
            None => before.0.min(state.last_sequence.saturating_add(1)),
        };
        // For the server, 0 would mean everything.
        if limit <= state.first_sequence.max(1) {
            return Ok(0);
        }
        let purged = self.stream.purge().sequence(limit).await;
        Ok(purged.map_err(Trouble::of("trimming the stream"))?.purged)
    }

    /// The first message that is not older than a time; nothing if all are.
    async fn first_since(&self, time: Timestamp, state: &State) -> Result<Option<u64>, LogError> {
        let what = "looking for a time in the stream";
        let nanoseconds = i128::from(time.0) * 1_000;
        let time = async_nats::datetime::from_nanos(nanoseconds).map_err(Trouble::of(what))?;
        if state.messages == 0 || state.last_timestamp < time {
            return Ok(None);
        }
        if state.first_timestamp >= time {
            return Ok(Some(state.first_sequence));
        }
        // An effect follows its record at once, so the records alone show where a time begins.
        let filter = subjects::all_records(self.settings.group);
        let policy = DeliverPolicy::ByStartTime { start_time: time };
        let mut delivery = self.deliver(filter, policy).await?;
        Ok(self.next_delivered(&mut delivery).await?.map(|delivered| delivered.sequence.0))
    }
}

fn cursor_in(entry: &kv::Entry) -> Option<Sequence> {
    let written = entry.operation == Operation::Put;
    written.then(|| std::str::from_utf8(&entry.value).ok()?.parse().ok().map(Sequence))?
}
