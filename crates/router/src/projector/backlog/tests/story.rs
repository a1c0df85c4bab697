//! Arbitrary stories of one partition, and the end of each: everything is in the store, and nothing in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{cursor, is_empty, partition, record, row, session};
use crate::projector::backlog::{Backlog, Ended, Gap, part::UNHEARD, *};

const RECORDS: usize = 8;
const PAGE: usize = 3;
const SESSIONS: u64 = 3;
/// Far more than any story needs: reached only by one that has come to a halt.
const ROUNDS: usize = 200;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A session writes.
    Commit(u64),
    /// A session writes, and nobody here hears of it.
    Unheard(u64),
    /// The partition goes to another router.
    Take,
    /// The store takes one job, or fails to.
    Write(bool),
    /// Sessions are asked for their rows.
    Rows,
    /// A page of the log is asked for; it comes with the next one.
    Read,
    /// Seconds pass.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..SESSIONS).prop_map(Step::Commit),
        1 => (0..SESSIONS).prop_map(Step::Unheard),
        1 => Just(Step::Take),
        4 => any::<bool>().prop_map(Step::Write),
        2 => Just(Step::Rows),
        3 => Just(Step::Read),
        2 => (0_u64..12).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

/// A log, a store, and what is between them.
struct Story {
    backlog: Backlog,
    log: BTreeMap<u64, u64>,
    store: BTreeSet<u64>,
    /// The last record of each session that a row in the store covers.
    rows: BTreeMap<u64, u64>,
    saved: u64,
    reading: Option<Reading>,
    successes: u64,
}

impl Story {
    fn new() -> Self {
        let backlog = Backlog::with_limits(RECORDS, BYTES_MAX);
        backlog.take(partition());
        Self {
            backlog,
            log: BTreeMap::new(),
            store: BTreeSet::new(),
            rows: BTreeMap::new(),
            saved: 0,
            reading: None,
            successes: 0,
        }
    }

    fn append(&mut self, by: u64) -> u64 {
        let sequence = self.log.len() as u64 + 1;
        self.log.insert(sequence, by);
        sequence
    }

    fn head(&self, by: u64) -> Option<u64> {
        self.log.iter().rev().find(|(_, writer)| **writer == by).map(|(sequence, _)| *sequence)
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Commit(by) => {
                let sequence = self.append(by);
                self.backlog.committed(&session(by), record(sequence));
            }
            Step::Unheard(by) => {
                let sequence = self.append(by);
                self.backlog.doubt(partition(), Some(Sequence(sequence)));
            }
            Step::Take => {
                self.reading = None;
                self.backlog.take(partition());
            }
            Step::Write(works) => {
                self.write(works);
            }
            Step::Rows => self.give_rows(),
            Step::Read => {
                self.read();
            }
            Step::Pass(seconds) => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.backlog.tick();
            }
        }
        self.check();
    }

    fn write(&mut self, works: bool) -> bool {
        let Some(job) = self.backlog.next_job() else { return false };
        self.successes += u64::from(works);
        let ended = if works {
            self.store.extend(job.records.iter().map(|(sequence, ..)| sequence.0));
            let by = (0..SESSIONS).find(|by| session(*by) == job.entity).unwrap();
            if job.row.is_some() {
                self.rows.insert(by, self.head(by).unwrap());
            }
            Ended::Written
        } else {
            // A store that is down refuses nobody.
            Ended::Failed { successes: 0 }
        };
        self.backlog.done(job, ended);
        true
    }

    fn give_rows(&self) {
        for wanted in self.backlog.rows_wanted(usize::MAX) {
            let by = (0..SESSIONS).find(|by| session(*by) == wanted).unwrap();
            self.backlog.row(&wanted, Sequence(self.head(by).unwrap()), row());
        }
    }

    fn read(&mut self) -> bool {
        let answered = self.reading.take().map(|reading| self.answer(reading)).is_some();
        self.reading = self.backlog.next_reading();
        answered || self.reading.is_some()
    }

    fn answer(&self, reading: Reading) {
        let from = match reading.from {
            Gap::Cursor => self.saved,
            Gap::At(from) => from.0,
        };
        let page: Vec<_> = self.log.range(from..).take(PAGE).collect();
        let next = page.last().map_or(from, |(sequence, _)| *sequence + 1);
        let end = self.log.range(next..).next().is_none();
        let records =
            page.iter().map(|(sequence, by)| (session(**by), record(**sequence))).collect();
        self.backlog.read(reading, Some(Scan { records, next: Sequence(next), end }));
    }

    fn check(&mut self) {
        assert!(self.backlog.lag().records <= RECORDS);
        for (partition, at) in self.backlog.cursors() {
            self.saved = self.saved.max(at.0);
            self.backlog.saved(partition, at);
        }
        for (sequence, by) in self.log.range(..self.saved) {
            assert!(self.store.contains(sequence), "the cursor went over {sequence}");
            let covered = self.rows.get(by).copied().unwrap_or(0);
            assert!(covered >= *sequence, "the cursor went over {sequence} without a row");
        }
    }

    /// The store answers, and nobody writes any more.
    async fn end(&mut self) {
        for _ in 0..ROUNDS {
            self.step(Step::Pass(UNHEARD.as_secs())).await;
            for _ in 0..ROUNDS {
                if !self.write(true) && !self.read() {
                    break;
                }
                self.check();
            }
            self.step(Step::Rows).await;
            let done =
                cursor(&self.backlog).is_some_and(|at| self.log.range(at..).next().is_none());
            if done && is_empty(&self.backlog) {
                return;
            }
        }
        panic!("it has come to a halt: {:?}", self.backlog);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cluster_28_whatever_happened_all_is_in_the_store_in_the_end(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut story = Story::new();
            for step in steps {
                story.step(step).await;
            }
            story.end().await;
        });
    }
}
