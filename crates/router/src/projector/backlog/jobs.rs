//! Which work is done next, and what follows from how it ended.

use stentor_cluster::{Entity, EntityKind};
use stentor_store::SessionRow;
use stentor_types::Sequence;

use super::{Ended, Inner, Job, row_bytes};

/// What was given up on and not fetched yet. More are only logged.
const GIVEN_UP_MAX: usize = 64;

/// An entity that holds the cursor of its partition until somebody has looked.
#[derive(Debug)]
pub(in crate::projector) struct GivenUp {
    pub(in crate::projector) entity: Entity,
    pub(in crate::projector) sequence: Sequence,
    pub(in crate::projector) why: &'static str,
}

impl Inner {
    pub(super) fn next_job(&mut self) -> Option<Job> {
        while let Some(entity) = self.ready.pop_front() {
            let Some(part) = self.parts.get(&entity.partition()) else { continue };
            let Some(work) = self.works.get_mut(&entity) else { continue };
            let Some((records, row)) = work.take(|covers| part.has_seen(covers)) else { continue };
            self.jobs += 1;
            work.writing = Some(self.jobs);
            return Some(Job { entity, records, row, id: self.jobs });
        }
        None
    }

    pub(super) fn done(&mut self, job: Job, ended: Ended) {
        let bytes = job.bytes();
        let Job { entity, records, row, id } = job;
        // What was given up meanwhile, and perhaps begun again, is another work.
        let work = self.works.get_mut(&entity).filter(|work| work.writing == Some(id));
        let (Some(work), Some(part)) = (work, self.parts.get_mut(&entity.partition())) else {
            self.bytes -= bytes;
            return;
        };
        work.writing = None;
        match ended {
            Ended::Written => {
                self.bytes -= bytes;
                work.succeeded();
                // Each record of a directory tells all of it.
                let last = records.last().map(|(sequence, ..)| *sequence);
                let covered = match entity.kind {
                    EntityKind::Session(_) => row.map(|(covers, _)| covers),
                    EntityKind::Directory(..) => last,
                };
                if let Some(covered) = covered {
                    self.records -= part.close(work.cover(covered));
                }
            }
            Ended::Failed { successes } => {
                // A row that has been overtaken meanwhile is not kept.
                let before = work.bytes();
                let enough = work.failed((records, row), successes);
                self.bytes = self.bytes - bytes + (work.bytes() - before);
                if enough && !work.is_done() {
                    self.give_up_on(&entity, "the store has refused it too often");
                    return;
                }
            }
            Ended::Refused => {
                self.bytes -= bytes;
                // What was let go of meanwhile is read again, and refused again.
                if !work.is_done() {
                    self.give_up_on(&entity, "it cannot be read");
                    return;
                }
            }
        }
        if work.is_done() {
            self.bytes -= work.bytes();
            self.works.remove(&entity);
            return;
        }
        self.ready.push_back(entity);
    }

    pub(super) fn row(&mut self, entity: &Entity, covers: Sequence, row: SessionRow) {
        let bytes = row_bytes(&row);
        // Rows make room for records, so there is always some for them. If not, they are asked for again.
        if self.bytes + bytes > self.limits.bytes + self.limits.bytes / 4 {
            return;
        }
        let Some(work) = self.works.get_mut(entity).filter(|work| !work.refused) else { return };
        // What comes later is not covered, whatever the row was thought to cover.
        let covers = work.open.last().copied().unwrap_or_default().min(covers);
        self.bytes += bytes;
        if let Some((_, old)) = work.offer_row(covers, row) {
            self.bytes -= row_bytes(&old);
        }
        self.ready.push_back(entity.clone());
    }

    pub(super) fn rows_wanted(&mut self, limit: usize) -> Vec<Entity> {
        let mut wanted = Vec::new();
        let mut lost = Vec::new();
        for (entity, work) in &mut self.works {
            let is_session = matches!(entity.kind, EntityKind::Session(_));
            if wanted.len() >= limit || !is_session || !work.asks_for_row() {
                continue;
            }
            if work.has_no_row() { lost.push(entity.clone()) } else { wanted.push(entity.clone()) }
        }
        for entity in lost {
            self.give_up_on(&entity, "its state cannot be had");
        }
        wanted
    }

    /// What cannot be written stays in the log: the cursor waits for it until somebody has looked.
    fn give_up_on(&mut self, entity: &Entity, why: &'static str) {
        let work = self.works.get_mut(entity);
        let (Some(work), Some(part)) = (work, self.parts.get_mut(&entity.partition())) else {
            return;
        };
        let (bytes, first, rest) = work.refuse();
        if self.given_up.len() < GIVEN_UP_MAX {
            self.given_up.push(GivenUp { entity: entity.clone(), sequence: first, why });
        }
        self.bytes -= bytes;
        self.records -= part.close(rest);
        tracing::error!(%entity, sequence = %first, why, "records cannot be written to the history; the log keeps them and all that follows");
    }
}
