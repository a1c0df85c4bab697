//! Writing a batch of records, each judged on its own.
//!
//! The server judges a batch as a whole: it stores all of it or nothing, and does not say which of its
//! records was wrong. So a refused batch is offered again by halves, until the wrong one stands alone
//! and all others are stored.

use std::{collections::HashSet, time::Duration};

use futures_util::future::{try_join, try_join_all};
use stentor_cluster::{Append, Appended, Entity, LogError, TooLarge};
use tokio::time::Instant;

use super::{
    NatsLog,
    codes::RefusalKind,
    known::At,
    publish::{Item, Outcome},
    trouble::Trouble,
};

/// Records in one batch.
const BATCH_RECORDS: usize = 400;
/// Messages in one batch, effects among them. The server allows 1,000.
const BATCH_MESSAGES: usize = 900;
/// Bytes in one batch, unless one record and its effects are larger.
const BATCH_BYTES: usize = 4 << 20;
/// The largest message. The server closes the connection of whoever sends more than 1 MiB.
const MESSAGE_BYTES: usize = 768 << 10;
/// Records that go alone, at the same time; and heads read at the same time.
const AT_ONCE: usize = 16;
/// So few records without effects go each alone to a stream of one replica: there the server keeps every batch in a
/// folder of its own until it is whole, whose files cost it as much as the syncs of about so many messages.
const APART_MAX: usize = 16;
/// The first pause before a refused write is tried again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What the record with this number in the caller's batch got.
type Verdict = (usize, Appended);

// === impl NatsLog ===

impl NatsLog {
    /// Writes a batch.
    ///
    /// Any trouble makes the outcome of the whole call unknown, also of what was stored before it: the
    /// caller finds its own record at the head when it tries again.
    pub(super) async fn write(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        let begun = Instant::now();
        let mut entities = HashSet::new();
        let (mut verdicts, mut second, mut items) = (Vec::new(), Vec::new(), Vec::new());
        for (index, append) in batch.into_iter().enumerate() {
            if !entities.insert(append.entity.clone()) {
                second.push((index, append.entity));
                continue;
            }
            let item = Item::new(index, append);
            match too_large(&item) {
                Some(too_large) => verdicts.push((index, Appended::TooLarge(too_large))),
                None => items.push(item),
            }
        }
        let items = self.with_snapshots(items, &mut verdicts).await?;
        let now = std::time::Instant::now();
        let (mut alone, mut together): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| self.contested.is_alone(&item.entity, now));
        if self.settings.replicas == 1 && are_few(&together) {
            alone.append(&mut together);
        }
        let (one, other) =
            try_join(self.write_together(together, begun), self.write_alone(alone, begun)).await?;
        verdicts.extend(one.into_iter().chain(other));
        for (index, entity) in second {
            let actual = self.newest(&entity).await?.map(|newest| newest.sequence);
            verdicts.push((index, Appended::Conflict { actual }));
        }
        verdicts.sort_unstable_by_key(|(index, _)| *index);
        Ok(verdicts.into_iter().map(|(_, appended)| appended).collect())
    }

    /// Finds for each record where the newest snapshot before it lies. Records whose expectation is
    /// not the head get their verdict here, as nothing could be said of their snapshot.
    async fn with_snapshots(
        &self,
        items: Vec<Item>,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<Vec<Item>, LogError> {
        let (mut ready, mut open) = (Vec::new(), Vec::new());
        for mut item in items {
            let known = self.known.get(&item.entity);
            let known = known.filter(|at| Some(at.head) == item.expected);
            if item.expected.is_none() || item.header.snapshot {
                ready.push(item);
            } else if let Some(at) = known {
                item.before = at.snapshot;
                ready.push(item);
            } else {
                open.push(item);
            }
        }
        for some in open.chunks(AT_ONCE) {
            let heads = some.iter().map(|item| self.newest_or_damage(&item.entity));
            let heads = try_join_all(heads).await?;
            for (item, head) in some.iter().zip(heads) {
                let mut item = item.clone();
                match head {
                    Err(damaged) => verdicts.push((item.index, damaged)),
                    Ok(Some(at)) if Some(at.head) == item.expected => {
                        item.before = at.snapshot;
                        ready.push(item);
                    }
                    Ok(at) => {
                        self.metrics.conflicts.inc();
                        let actual = at.map(|at| at.head);
                        self.check_log().await?;
                        verdicts.push((item.index, Appended::Conflict { actual }));
                    }
                }
            }
        }
        Ok(ready)
    }

    async fn newest_or_damage(
        &self,
        entity: &Entity,
    ) -> Result<Result<Option<At>, Appended>, LogError> {
        match self.newest(entity).await {
            Ok(newest) => Ok(Ok(newest.map(|newest| newest.at()))),
            Err(LogError::Corrupt { .. }) => Ok(Err(Appended::Damaged)),
            Err(error) => Err(error),
        }
    }

    /// Each in a write of its own, so that it is refused for no other.
    async fn write_alone(
        &self,
        items: Vec<Item>,
        begun: Instant,
    ) -> Result<Vec<Verdict>, LogError> {
        let mut verdicts = Vec::new();
        let mut left = items;
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(AT_ONCE));
            let some = std::mem::replace(&mut left, rest);
            let writes = some.into_iter().map(|item| self.write_together(vec![item], begun));
            verdicts.extend(try_join_all(writes).await?.into_iter().flatten());
        }
        Ok(verdicts)
    }

    async fn write_together(
        &self,
        items: Vec<Item>,
        begun: Instant,
    ) -> Result<Vec<Verdict>, LogError> {
        let mut parts = split(items);
        parts.reverse();
        let mut verdicts = Vec::new();
        while let Some(mut part) = parts.pop() {
            if let Some(places) = self.publish_until(&part, begun).await? {
                for (item, head) in part.into_iter().zip(places) {
                    let snapshot = if item.header.snapshot { Some(head) } else { item.before };
                    self.contested.written(&item.entity, std::time::Instant::now());
                    self.known.put(item.entity, At { head, snapshot });
                    verdicts.push((item.index, Appended::Stored(head)));
                }
            } else if part.len() > 1 {
                self.metrics.halvings.inc();
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
            } else if let Some(item) = part.pop() {
                self.metrics.conflicts.inc();
                self.contested.refused(&item.entity, std::time::Instant::now());
                match self.newest_or_damage(&item.entity).await? {
                    Err(damaged) => verdicts.push((item.index, damaged)),
                    Ok(at) if at.map(|at| at.head) == item.expected => {
                        // An earlier write of the entity, whose outcome we do not know, is still on
                        // its way through the replicas; or the leader has just changed.
                        if begun.elapsed() >= self.settings.retry_for {
                            return Err(Trouble::Late.into());
                        }
                        tokio::time::sleep(crate::chance::less_up_to_half(PAUSE)).await;
                        parts.push(vec![item]);
                    }
                    Ok(at) => {
                        let actual = at.map(|at| at.head);
                        self.check_log().await?;
                        verdicts.push((item.index, Appended::Conflict { actual }));
                    }
                }
            }
        }
        Ok(verdicts)
    }

    /// Writes until it is judged: the records' places, or nothing if there is a conflict.
    async fn publish_until(
        &self,
        items: &[Item],
        begun: Instant,
    ) -> Result<Option<Vec<stentor_types::Sequence>>, Trouble> {
        let mut pause = PAUSE;
        loop {
            let (trouble, patience) = if self.connection.is_up() {
                match self.publish(items).await {
                    Outcome::Stored(places) => return Ok(Some(places)),
                    Outcome::Unknown(trouble) => {
                        self.metrics.unknown.inc();
                        return Err(trouble);
                    }
                    Outcome::Refused(refusal) => match refusal.kind {
                        RefusalKind::Conflict => return Ok(None),
                        RefusalKind::Full => {
                            self.metrics.full.inc();
                            (Trouble::Refused(refusal), self.settings.full_for)
                        }
                        RefusalKind::Later => {
                            self.metrics.later.inc();
                            if refusal.is_nobody() {
                                self.look_for_the_stream().await;
                            }
                            (Trouble::Refused(refusal), self.settings.retry_for)
                        }
                    },
                }
            } else {
                (Trouble::Down, self.settings.retry_for)
            };
            let wait = crate::chance::less_up_to_half(pause);
            if begun.elapsed() + wait > patience {
                return Err(trouble);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Why a record cannot be sent at all.
fn too_large(item: &Item) -> Option<TooLarge> {
    let (bytes, messages) = (item.largest(), item.messages());
    if bytes > MESSAGE_BYTES {
        Some(TooLarge::Bytes { bytes, max: MESSAGE_BYTES })
    } else if messages > BATCH_MESSAGES {
        Some(TooLarge::Messages { messages, max: BATCH_MESSAGES })
    } else {
        None
    }
}

/// Whether a batch of its own is not worth its while for them.
fn are_few(items: &[Item]) -> bool {
    items.len() <= APART_MAX && items.iter().all(|item| item.messages() == 1)
}

/// Parts that fit into one batch each.
fn split(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut parts: Vec<Vec<Item>> = Vec::new();
    let (mut messages, mut bytes) = (0, 0);
    for item in items {
        let (its_messages, its_bytes) = (item.messages(), item.bytes());
        match parts.last_mut() {
            Some(part)
                if part.len() < BATCH_RECORDS
                    && messages + its_messages <= BATCH_MESSAGES
                    && bytes + its_bytes <= BATCH_BYTES =>
            {
                part.push(item);
                (messages, bytes) = (messages + its_messages, bytes + its_bytes);
            }
            _ => {
                parts.push(vec![item]);
                (messages, bytes) = (its_messages, its_bytes);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use stentor_cluster::{EntityKind, Header};
    use stentor_types::{AppId, PlacementKey, SessionId};

    use super::*;

    fn items(count: usize, effects: usize, bytes: usize) -> Vec<Item> {
        let item = |index| {
            let session = SessionId::new(PlacementKey(index as u64), 0);
            let app = AppId::try_new("a").unwrap();
            let append = Append {
                entity: Entity { app, kind: EntityKind::Session(session) },
                expected: None,
                header: Header::default(),
                record: vec![0; bytes].into(),
                effects: vec![bytes::Bytes::new(); effects],
            };
            Item::new(index, append)
        };
        (0..count).map(item).collect()
    }

    #[test]
    fn a_batch_ends_at_its_limits_and_keeps_order() {
        let sizes = |items| split(items).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(items(0, 0, 0)), [0_usize; 0]);
        assert_eq!(sizes(items(801, 0, 10)), [400, 400, 1]);
        assert_eq!(sizes(items(500, 2, 10)), [300, 200]);
        assert_eq!(sizes(items(3, 899, 10)), [1, 1, 1]);
        assert_eq!(sizes(items(9, 0, 1 << 20)), [3, 3, 3]);
        assert_eq!(sizes(items(2, 0, 5 << 20)), [1, 1]);
        let order: Vec<_> = split(items(801, 1, 0)).into_iter().flatten().collect();
        assert!(order.iter().enumerate().all(|(place, item)| item.index == place));
    }
}
