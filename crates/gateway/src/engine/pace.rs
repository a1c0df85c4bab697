//! When a socket's task is woken for what was left for it: at once, unless it is very busy.
//!
//! A write to a socket costs about the same for one frame as for ten. A socket that is woken more than once
//! per [`TICK`] in the long run gets what comes in one write per tick; one that is not pays nothing for it,
//! not even a timer. Knows nothing of bytes and budgets.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::slot::Slot;

/// A busy socket is written to this often. Half of what comes may wait for 5 ms: timers are a millisecond late,
/// so nothing waits for more than 9 ms, and half of it for less than 5. At 500 messages per second this makes
/// one write of four; half the tick would make one of two.
pub(super) const TICK: Duration = Duration::from_millis(8);
/// Wakes in a row that a quiet socket has free: a message, the bot's typing and its answer come at once.
const FREE_WAKES: u32 = 8;

/// Sockets that wait for the next tick. Bounded: every socket is in it once at most.
#[derive(Debug)]
pub(crate) struct Pace<D> {
    began: Instant,
    due: Mutex<Vec<Arc<Slot<D>>>>,
    added: Notify,
}

/// How busy one socket has been, as the time up to which its wakes are spent.
///
/// The virtual scheduling form of the generic cell rate algorithm (ITU-T I.371): one number per socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wakes {
    spent_to: u64,
}

// === impl Wakes ===

impl Wakes {
    /// Whether it may be woken at once at `now`, in microseconds. If so, it counts as woken.
    fn may(&mut self, now: u64) -> bool {
        let tick = micros(TICK);
        let free = self.spent_to <= now.saturating_add(tick.saturating_mul(u64::from(FREE_WAKES)));
        if free {
            self.count(now);
        }
        free
    }

    /// It is woken at `now`.
    pub(super) fn count(&mut self, now: u64) {
        self.spent_to = self.spent_to.max(now).saturating_add(micros(TICK));
    }
}

// === impl Pace ===

impl<D> Pace<D> {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), due: Mutex::default(), added: Notify::new() }
    }

    /// Whether a socket may be woken now. If not, it is to be [added](Self::add) to those that wait.
    pub(crate) fn allows(&self, wakes: &mut Wakes) -> bool {
        wakes.may(self.now())
    }

    /// The socket is woken with the next tick.
    pub(crate) fn add(&self, slot: Arc<Slot<D>>) {
        let mut due = self.lock();
        due.push(slot);
        if due.len() == 1 {
            self.added.notify_one();
        }
    }

    /// Ticks as long as anybody waits, for ever.
    pub(crate) async fn run(&self) {
        loop {
            self.added.notified().await;
            tokio::time::sleep(TICK).await;
            let due = std::mem::take(&mut *self.lock());
            let now = self.now();
            for slot in due {
                slot.wake_due(now);
            }
        }
    }

    fn now(&self) -> u64 {
        micros(self.began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Slot<D>>>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake, Waker},
    };

    use super::*;
    use crate::engine::Registry;

    /// A task that counts how often it is woken, and does not look by itself.
    #[derive(Default)]
    struct Sleeper(AtomicUsize);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_masses_waits_nine_milliseconds_at_most_and_leaves_together() {
        let sockets = Arc::new(Registry::<u32>::new(usize::MAX));
        let tending = Arc::clone(&sockets);
        let tending = tokio::spawn(async move { tending.tend().await });
        let slot = sockets.open();
        let sleeper = Arc::new(Sleeper::default());
        let waker = Waker::from(Arc::clone(&sleeper));
        let woken = || sleeper.0.load(Ordering::Relaxed);
        let (mut looks, mut oldest) = (0, None);
        slot.orders(&Context::from_waker(&waker));
        for round in 0..4_000 {
            slot.push(1, round);
            oldest.get_or_insert_with(Instant::now);
            if woken() > looks {
                looks = woken();
                assert!(oldest.take().is_none_or(|at| at.elapsed() <= Duration::from_millis(9)));
                slot.orders(&Context::from_waker(&waker));
                while slot.pop().is_some() {}
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ticks = usize::try_from(4_000 / TICK.as_millis()).unwrap();
        assert!((ticks / 2..ticks + 20).contains(&looks), "{looks} wakes in {ticks} ticks");
        // The last one is not forgotten.
        tokio::time::sleep(2 * TICK).await;
        assert!(woken() > looks || slot.pop().is_none());
        tending.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_socket_is_woken_at_once() {
        // Nobody tends it: nothing else would wake it.
        let sockets = Registry::<u32>::new(usize::MAX);
        let slot = sockets.open();
        let sleeper = Arc::new(Sleeper::default());
        let waker = Waker::from(Arc::clone(&sleeper));
        for round in 0..100 {
            slot.orders(&Context::from_waker(&waker));
            slot.push(1, 0);
            assert_eq!(sleeper.0.load(Ordering::Relaxed), round + 1);
            while slot.pop().is_some() {}
            tokio::time::sleep(TICK).await;
        }
    }

    #[test]
    fn a_socket_that_is_seldom_woken_is_never_held_back() {
        let mut wakes = Wakes::default();
        for wake in 0..1_000 {
            assert!(wakes.may(wake * micros(TICK)), "wake {wake}");
        }
        // And has a burst left.
        for _ in 0..FREE_WAKES {
            assert!(wakes.may(1_000 * micros(TICK)));
        }
    }

    #[test]
    fn a_busy_socket_is_woken_once_per_tick_in_the_long_run() {
        let mut wakes = Wakes::default();
        let woken = (0..100_000_u64).filter(|step| wakes.may(step * 100)).count() as u64;
        let ticks = 100_000 * 100 / micros(TICK);
        assert!((ticks..=ticks + u64::from(FREE_WAKES) + 1).contains(&woken), "{woken} in {ticks}");
    }
}
