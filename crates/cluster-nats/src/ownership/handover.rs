//! Giving partitions to other routers: when they ask, and when this one leaves.
//!
//! What is open is finished first, then the record changes, and the new owner is told directly, so that
//! nobody waits for the next reading of the records. Until the new owner surely listens, the old one
//! goes on sending away whoever asks: a request that nobody hears would be missed only after seconds.

use std::time::Duration;

use async_nats::Message;
use stentor_cluster::OwnershipChange;
use stentor_types::Partition;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::{
    keeper::{Keeper, Outcome},
    plan::Slot,
    record::{Known, Record},
    records::WriteError,
    rendezvous,
};
use crate::{
    clock,
    members::{RouterId, Standing},
};

/// Partitions that a leaving router hands over at the same time. All at once would wait for each other, the last of
/// them for all; what has not begun yet is served meanwhile as ever.
const AT_ONCE: usize = 4;
/// How long a leaving router takes its time. A partition that cannot be finished must not keep the others until the
/// process is ended.
const ALL_AFTER: Duration = Duration::from_secs(2);

impl Keeper {
    /// Begins to give everything away.
    pub(super) fn drain(&mut self) {
        info!("hands over what it owns");
        self.is_draining = true;
        self.drain_began = clock::now();
        self.members.stand(Standing::Draining);
    }

    /// Gives away what is next.
    pub(super) async fn go_on_draining(&mut self) {
        let is_late = clock::now().saturating_sub(self.drain_began) > ALL_AFTER;
        let under_way = |slot: &Slot| matches!(slot, Slot::Releasing { .. } | Slot::Passing);
        let busy = self.book.slots().filter(|(_, slot)| under_way(slot)).count();
        let free = if is_late { usize::MAX } else { AT_ONCE.saturating_sub(busy) };
        for partition in self.held().into_iter().take(free) {
            self.release(partition, None).await;
        }
    }

    /// Gives everything away, to nobody if nobody else is there: no decision is better than a wrong one.
    pub(super) async fn hand_over_for_now(&mut self) {
        for partition in self.held() {
            self.release(partition, None).await;
        }
    }

    /// Gives a partition away in which something is for a later version, and does not take it again.
    pub(super) async fn leave(&mut self, partition: Partition, version: u32) {
        let needed = self.beyond.entry(partition).or_default();
        *needed = version.max(*needed);
        self.release(partition, None).await;
    }

    fn held(&self) -> Vec<Partition> {
        let slots = self.book.slots();
        let held = slots.filter(|(_, slot)| matches!(slot, Slot::Held { .. }));
        held.map(|(partition, _)| partition).collect()
    }

    /// Has the router finish a partition.
    async fn release(&mut self, partition: Partition, to: Option<RouterId>) {
        let Slot::Held { revision, term } = *self.book.slot(partition) else { return };
        self.book.set(partition, Slot::Releasing { revision, term, to });
        if let Some(serving) = self.serving.get(&partition) {
            serving.finish();
        }
        let (released, told) = oneshot::channel();
        self.tell(OwnershipChange::Release { partition, released }).await;
        let (within, metrics) = (self.timings.release_for, self.desk.metrics.clone());
        self.tasks.spawn(async move {
            let began = clock::now();
            if tokio::time::timeout(within, told).await.is_err() {
                warn!(%partition, "a partition is handed over unfinished");
            }
            let took = clock::now().saturating_sub(began);
            metrics.release_seconds.observe(took.as_secs_f64());
            Outcome::Released(partition)
        });
    }

    /// Nothing of it is open any more.
    pub(super) fn pass_on(&mut self, partition: Partition) {
        // It may have been lost meanwhile.
        let Slot::Releasing { revision, term, to } = self.book.slot(partition).clone() else {
            return;
        };
        self.holdings.clear(partition);
        if let Some(serving) = self.serving.get(&partition) {
            serving.give_up();
        }
        self.pass(partition, revision, term, to);
    }

    /// Writes the next owner's record: who asked for it, if it is still there, else the first in line;
    /// if nobody is there, it is nobody's.
    pub(super) fn pass(
        &mut self,
        partition: Partition,
        revision: u64,
        term: u64,
        to: Option<RouterId>,
    ) {
        self.book.set(partition, Slot::Passing);
        let needed = self.beyond.get(&partition).copied().unwrap_or_default();
        let needed = needed.max(self.holdings.finalized());
        let well = self.members.view().routers_for(needed, clock::now());
        let asked = to.filter(|to| well.contains(to));
        let owner = asked.or_else(|| rendezvous::first(&well, partition).cloned());
        let record = Record { owner, term: term.saturating_add(1) };
        let (records, pause) = (self.records.clone(), self.timings.try_pause);
        self.tasks.spawn(async move {
            loop {
                match records.write(partition, revision, &record).await {
                    Ok(revision) => {
                        return Outcome::Passed(partition, Some(Known { revision, record }));
                    }
                    Err(WriteError::Conflict) => break,
                    Err(WriteError::Unknown) => tokio::time::sleep(pause).await,
                }
            }
            // Somebody has written: another router, or this one in a try whose answer got lost.
            loop {
                match records.read(partition).await {
                    Ok(known) => return Outcome::Passed(partition, known),
                    Err(_) => tokio::time::sleep(pause).await,
                }
            }
        });
    }

    /// The record is written: its owner can begin.
    pub(super) fn passed(&mut self, partition: Partition, known: Option<Known>) {
        self.book.set(partition, Slot::Free);
        let why = if self.is_draining {
            "handed_over"
        } else if self.beyond.contains_key(&partition) {
            "beyond"
        } else if self.must_not_decide() {
            "unfit"
        } else {
            "handed_over"
        };
        self.desk.metrics.given_up.with_label_values(&[why]).inc();
        if let Some(serving) = self.serving.remove(&partition) {
            self.lingering += 1;
            let linger_for = self.timings.linger_for;
            self.tasks.spawn(async move {
                tokio::time::sleep(linger_for).await;
                drop(serving);
                Outcome::Lingered
            });
        }
        let Some(known) = known else {
            self.book.forget(partition);
            return;
        };
        if let Some(owner) = known.record.owner.as_ref().filter(|owner| **owner != self.me) {
            debug!(%partition, %owner, "handed over a partition");
            let subject = owner.told_at("give");
            let given = format!("{partition} {} {}", known.revision, known.record.term);
            let client = self.connection.client().clone();
            // If it gets lost, the new owner reads it in the records.
            tokio::spawn(async move { client.publish(subject, given.into()).await });
        }
        self.book.learn(partition, known);
    }

    /// Asks a router for a partition. It may say no by doing nothing.
    pub(super) async fn ask(&self, partition: Partition, owner: &RouterId) {
        debug!(%partition, %owner, "asks for a partition");
        let asked = format!("{partition} {}", self.me);
        let client = self.connection.client();
        if let Err(cause) = client.publish(owner.told_at("ask"), asked.into()).await {
            debug!(%cause, "a partition could not be asked for");
        }
    }

    /// Another router asks or gives.
    pub(super) async fn hear(&mut self, message: &Message) {
        let Ok(text) = std::str::from_utf8(&message.payload) else { return };
        let words: Vec<_> = text.split(' ').collect();
        let partition = words.first().and_then(|number| number.parse::<u8>().ok());
        let partition = partition.and_then(|number| Partition::all().nth(usize::from(number)));
        let Some(partition) = partition else { return };
        let kind = message.subject.split('.').nth(1);
        match (kind, words.get(1), words.get(2)) {
            (Some("ask"), Some(asker), _) => {
                if let Some(asker) = RouterId::parse(asker) {
                    self.consider(partition, asker).await;
                }
            }
            (Some("give"), Some(revision), Some(term)) => {
                let (Ok(revision), Ok(term)) = (revision.parse(), term.parse()) else { return };
                let record = Record { owner: Some(self.me.clone()), term };
                let is_news = self.book.known(partition).is_none_or(|old| old.revision < revision);
                if is_news {
                    self.adopt(partition, &Known { revision, record }, "owner").await;
                }
            }
            _ => {}
        }
    }

    /// Hands a partition over to who asks for it, if it is the first in line by this router's own view.
    async fn consider(&mut self, partition: Partition, asker: RouterId) {
        let mut well = self.members.view().well_routers(clock::now());
        if !well.contains(&asker) || self.is_draining {
            return;
        }
        well.push(self.me.clone());
        if rendezvous::first(&well, partition) == Some(&asker) {
            self.release(partition, Some(asker)).await;
        }
    }
}
