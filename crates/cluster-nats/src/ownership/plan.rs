//! What a router should do about each partition, given who is there and what the records say. Pure.
//!
//! An owner keeps a partition until it leaves or falls silent: a newcomer does not take, it asks.

use std::{collections::BTreeMap, time::Duration};

use stentor_types::{PARTITIONS, Partition};

use super::{
    record::{Known, Record, next_term},
    rendezvous,
};
use crate::{
    members::{RouterId, View},
    timings::Timings,
};

/// What this router has to do with a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing.
    #[default]
    Free,
    /// A record that makes it this router's is being written.
    Claiming,
    /// It owns it.
    Held {
        /// Of its record.
        revision: u64,
        /// Of its record.
        term: u64,
    },
    /// It finishes what has begun, to give it to somebody, if it is still there by then.
    Releasing {
        /// Of its record.
        revision: u64,
        /// Of its record.
        term: u64,
        /// Who asked for it.
        to: Option<RouterId>,
    },
    /// A record that makes it another's is being written.
    Passing,
}

/// What a router knows of all partitions.
#[derive(Debug)]
pub(crate) struct Book {
    slots: BTreeMap<Partition, Slot>,
    known: BTreeMap<Partition, Known>,
    /// The records have been read: a partition without one has none.
    pub(crate) is_read: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The records say that it is this router's.
    Adopt(Partition, Known),
    /// Write this record over that revision.
    Claim(Partition, u64, Record),
    /// Somebody else has it.
    Lose(Partition),
    /// Ask its owner for it.
    Ask(Partition, RouterId),
}

/// What a router may do just now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct May {
    /// It may take partitions that nobody serves.
    pub(crate) take: bool,
    /// It may ask for the first partition from this one on.
    pub(crate) ask: Option<Partition>,
}

// === impl Book ===

impl Book {
    pub(crate) fn new() -> Self {
        let slots = Partition::all().map(|partition| (partition, Slot::Free)).collect();
        Self { slots, known: BTreeMap::new(), is_read: false }
    }

    pub(crate) fn slot(&self, partition: Partition) -> &Slot {
        self.slots.get(&partition).unwrap_or(&Slot::Free)
    }

    /// Returns what it was.
    pub(crate) fn set(&mut self, partition: Partition, slot: Slot) -> Slot {
        self.slots.insert(partition, slot).unwrap_or_default()
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (Partition, &Slot)> {
        self.slots.iter().map(|(partition, slot)| (*partition, slot))
    }

    pub(crate) fn known(&self, partition: Partition) -> Option<&Known> {
        self.known.get(&partition)
    }

    /// Partitions that have a record, as far as is known.
    pub(crate) fn recorded(&self) -> impl Iterator<Item = Partition> {
        let known = self.known.iter().filter(|(_, known)| known.revision > 0);
        known.map(|(partition, _)| *partition)
    }

    /// There is no record any more. Its term stays: the next one is higher.
    pub(crate) fn forget(&mut self, partition: Partition) {
        if let Some(known) = self.known.get_mut(&partition) {
            known.lose();
        }
    }

    /// Takes note of a record, unless a newer one is known. One that was deleted has the term that it had.
    pub(crate) fn learn(&mut self, partition: Partition, mut known: Known) {
        if let Some(old) = self.known.get(&partition) {
            if !known.is_after(old.revision, old.record.term) {
                return;
            }
            if known.record.term == 0 {
                known.record.term = old.record.term;
            }
        }
        self.known.insert(partition, known);
    }
}

/// What `me` should do now.
pub(crate) fn plan(
    book: &Book,
    view: &View,
    me: &RouterId,
    may: May,
    timings: &Timings,
    now: (Duration, u64),
) -> Vec<Step> {
    let (now, unix_seconds) = now;
    let mut well = view.well_routers(now);
    well.push(me.clone());
    let is_first = |partition| rendezvous::first(&well, partition) == Some(me);
    let take = |partition| {
        let known = book.known(partition);
        let owner = known.and_then(|known| known.record.owner.as_ref());
        let silence = match owner {
            Some(owner) => view.silence(&owner.member(), now)?,
            // Nobody is there to be waited for; only others who might take it have to be known.
            None => (view.listened(now)? + timings.takeover_after)
                .saturating_sub(timings.first_claim_after),
        };
        let is_mine = silence >= timings.takeover_after && is_first(partition);
        // Whoever is first may see it differently, or not be able to.
        let is_anybodys = silence >= timings.takeover_after * 2;
        (is_mine || is_anybodys).then(|| {
            let record = Record { owner: Some(me.clone()), term: next_term(known, unix_seconds) };
            Step::Claim(partition, known.map_or(0, |known| known.revision), record)
        })
    };
    let mut steps = Vec::new();
    for (partition, slot) in book.slots() {
        let known = book.known(partition);
        let is_named = known.is_some_and(|known| known.record.owner.as_ref() == Some(me));
        match (slot, known) {
            (
                Slot::Held { revision, term } | Slot::Releasing { revision, term, .. },
                Some(known),
            ) if known.is_after(*revision, *term) && !is_named => {
                steps.push(Step::Lose(partition));
            }
            (Slot::Free, Some(known)) if is_named => {
                steps.push(Step::Adopt(partition, known.clone()));
            }
            (Slot::Free, _) if may.take && book.is_read => steps.extend(take(partition)),
            _ => {}
        }
    }
    if let Some(from) = may.ask {
        let wanted = Partition::all()
            .chain(Partition::all())
            .skip(usize::from(from.number()))
            .take(usize::from(PARTITIONS))
            .find_map(|partition| {
                let owner = book.known(partition)?.record.owner.as_ref()?;
                let others = *book.slot(partition) == Slot::Free && well.contains(owner);
                (others && owner != me && is_first(partition)).then(|| (partition, owner.clone()))
            });
        steps.extend(wanted.map(|(partition, owner)| Step::Ask(partition, owner)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{Heartbeat, MemberName, Standing};

    const TAKE: May = May { take: true, ask: None };

    fn router(name: &str) -> RouterId {
        RouterId { name: MemberName::try_new(name).unwrap(), incarnation: 1 }
    }

    /// A view of `me` that has listened for so many seconds, and heard these all the time.
    fn view(seconds: u64, others: &[(&RouterId, Standing)]) -> (View, Duration) {
        let me = router("me").member();
        let mut view = View::new(me.clone(), Timings::default());
        let mut now = Duration::from_secs(100);
        let end = now + Duration::from_secs(seconds);
        while now <= end {
            let well = Heartbeat { published: now, standing: Standing::Well, version: 1 };
            view.hear(&me, well, now);
            for (other, standing) in others {
                let heartbeat = Heartbeat { published: now, standing: *standing, version: 1 };
                view.hear(&other.member(), heartbeat, now);
            }
            now += Duration::from_secs(1);
        }
        (view, end)
    }

    fn book(owner: Option<&RouterId>) -> Book {
        let mut book = Book::new();
        book.is_read = true;
        for partition in Partition::all() {
            let record = Record { owner: owner.cloned(), term: 5 };
            book.learn(partition, Known { revision: 10, record });
        }
        book
    }

    fn steps(book: &Book, view: &(View, Duration), may: May) -> Vec<Step> {
        plan(book, &view.0, &router("me"), may, &Timings::default(), (view.1, 1_000))
    }

    #[test]
    fn nothing_is_taken_before_the_records_are_read() {
        assert_eq!(steps(&Book::new(), &view(60, &[]), TAKE), []);
    }

    #[test]
    fn a_lone_first_router_takes_everything_after_less_than_a_second() {
        let mut book = Book::new();
        book.is_read = true;
        let mut view = view(0, &[]);
        view.1 += Duration::from_millis(399);
        assert_eq!(steps(&book, &view, TAKE), []);
        view.1 += Duration::from_millis(1);
        let claims = steps(&book, &view, TAKE);
        assert_eq!(claims.len(), 64);
        assert!(
            claims.iter().all(|step| matches!(step, Step::Claim(_, 0, Record { term: 1_000, .. })))
        );
    }

    #[test]
    fn what_a_dead_router_owned_is_taken_after_three_seconds_and_not_before() {
        let dead = router("dead");
        assert_eq!(steps(&book(Some(&dead)), &view(2, &[]), TAKE), []);
        let claims = steps(&book(Some(&dead)), &view(3, &[]), TAKE);
        assert_eq!(claims.len(), 64);
        assert!(
            claims.iter().all(|step| matches!(step, Step::Claim(_, 10, Record { term: 6, .. })))
        );
    }

    #[test]
    fn what_a_dead_router_owned_is_shared_by_the_living() {
        let (dead, other) = (router("dead"), router("other"));
        let book = book(Some(&dead));
        let mine = steps(&book, &view(3, &[(&other, Standing::Well)]), TAKE).len();
        assert!((20..45).contains(&mine), "{mine}");
        // The other one does not do its part.
        assert_eq!(steps(&book, &view(6, &[(&other, Standing::Well)]), TAKE).len(), 64);
        // It may not.
        assert_eq!(steps(&book, &view(3, &[(&other, Standing::Unfit)]), TAKE).len(), 64);
    }

    #[test]
    fn what_a_living_router_owns_is_never_taken() {
        let other = router("other");
        for standing in [Standing::Well, Standing::Unfit, Standing::Draining] {
            assert_eq!(steps(&book(Some(&other)), &view(60, &[(&other, standing)]), TAKE), []);
        }
        let goodbye = view(1, &[(&other, Standing::Gone)]);
        assert_eq!(steps(&book(Some(&other)), &goodbye, TAKE).len(), 64);
    }

    #[test]
    fn a_restarted_router_is_not_the_one_that_the_records_name() {
        let before = RouterId { incarnation: 0, ..router("me") };
        assert_eq!(steps(&book(Some(&before)), &view(2, &[]), TAKE), []);
        assert_eq!(steps(&book(Some(&before)), &view(3, &[]), TAKE).len(), 64);
    }

    #[test]
    fn a_router_that_may_not_take_takes_nothing() {
        let none = May { take: false, ask: None };
        assert_eq!(steps(&book(None), &view(60, &[]), none), []);
    }

    #[test]
    fn what_somebody_else_has_taken_is_lost_and_an_old_record_means_nothing() {
        let other = router("other");
        let mut book = book(Some(&other));
        for (number, partition) in Partition::all().enumerate() {
            let (revision, term) = if number < 3 { (9, 4) } else { (11, 6) };
            book.set(partition, Slot::Held { revision, term });
        }
        let lost = steps(&book, &view(60, &[(&other, Standing::Well)]), TAKE);
        assert_eq!(lost.len(), 3);
        assert!(lost.iter().all(|step| matches!(step, Step::Lose(_))));
    }

    #[test]
    fn a_deleted_record_is_lost_and_taken_again_under_a_higher_term() {
        let me = router("me");
        let (mut book, seven) = (book(Some(&me)), Partition::all().nth(7).unwrap());
        for partition in Partition::all() {
            book.set(partition, Slot::Held { revision: 10, term: 5 });
        }
        let deleted = Record { owner: None, term: 0 };
        book.learn(seven, Known { revision: 11, record: deleted });
        assert_eq!(steps(&book, &view(60, &[]), TAKE), [Step::Lose(seven)]);
        book.set(seven, Slot::Free);
        let record = Record { owner: Some(me.clone()), term: 6 };
        assert_eq!(steps(&book, &view(60, &[]), TAKE), [Step::Claim(seven, 11, record)]);
        // Nothing is left of it.
        book.forget(seven);
        assert!(!book.recorded().any(|partition| partition == seven));
        let record = Record { owner: Some(me), term: 1_000 };
        assert_eq!(steps(&book, &view(60, &[]), TAKE), [Step::Claim(seven, 0, record)]);
    }

    #[test]
    fn what_somebody_else_has_taken_in_a_bucket_that_was_made_anew_is_lost() {
        let (me, other) = (router("me"), router("other"));
        let (mut book, seven) = (book(Some(&me)), Partition::all().nth(7).unwrap());
        book.set(seven, Slot::Held { revision: 10, term: 5 });
        book.learn(seven, Known { revision: 1, record: Record { owner: Some(other), term: 6 } });
        let lost = steps(&book, &view(60, &[]), May { take: false, ask: None });
        assert!(lost.contains(&Step::Lose(seven)), "{lost:?}");
    }

    #[test]
    fn what_the_records_say_is_ours_is_adopted() {
        let adopted =
            steps(&book(Some(&router("me"))), &view(0, &[]), May { take: false, ask: None });
        assert_eq!(adopted.len(), 64);
    }

    #[test]
    fn a_newcomer_asks_for_what_is_its_own_by_rank_and_for_one_at_a_time() {
        let other = router("other");
        let view = view(30, &[(&other, Standing::Well)]);
        let mut all: Vec<_> = Partition::all()
            .filter_map(|from| {
                let asked = steps(&book(Some(&other)), &view, May { take: true, ask: Some(from) });
                assert!(asked.len() <= 1, "{asked:?}");
                match asked.first() {
                    Some(Step::Ask(partition, owner)) if *owner == other => Some(*partition),
                    _ => None,
                }
            })
            .collect();
        all.dedup();
        assert!((20..45).contains(&all.len()), "{all:?}");
        let draining = self::view(30, &[(&other, Standing::Draining)]);
        let from = Partition::all().next();
        assert_eq!(steps(&book(Some(&other)), &draining, May { take: true, ask: from }), []);
    }
}
