//! What others may leave for a socket: deliveries, a ping that is due, an order to look for what it
//! missed, an order to close.
//!
//! Takes the place of a channel, which costs a kilobyte per socket before anything is sent.
//! Overflow: over the budget of the socket, or of all sockets together, everything is dropped and the
//! socket is closed, so that it comes back and is shown what it missed.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
};

use super::{
    SOCKET_BYTES_MAX,
    handler::Closing,
    pace::{Pace, Wakes},
    turn::Turn,
};

/// Places that are kept for the next delivery until the socket has had nothing to do for a while: asking for
/// them anew each time costs more than they do.
const KEPT_MAX: usize = 4;

/// Bytes that wait for all sockets of the process together.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// The place where deliveries for one socket wait.
#[derive(Debug)]
pub struct Slot<D> {
    number: u64,
    budget: Arc<Budget>,
    pace: Arc<Pace<D>>,
    state: Mutex<State<D>>,
}

#[derive(Debug)]
struct State<D> {
    queue: VecDeque<(u32, D)>,
    bytes: usize,
    waker: Option<Waker>,
    wakes: Wakes,
    /// The next tick wakes it.
    paced: bool,
    ping_due: bool,
    overflowed: bool,
    closed: bool,
    turn: Option<Turn>,
    closing: Option<Closing>,
}

/// What is to be done besides deliveries.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) ping_due: bool,
    pub(crate) overflowed: bool,
    pub(crate) turn: Option<Turn>,
    pub(crate) closing: Option<Closing>,
    /// There are deliveries.
    pub(crate) delivered: bool,
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// === impl Slot ===

impl<D> Slot<D> {
    pub(crate) fn new(number: u64, budget: Arc<Budget>, pace: Arc<Pace<D>>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            waker: None,
            wakes: Wakes::default(),
            paced: false,
            ping_due: false,
            overflowed: false,
            closed: false,
            turn: None,
            closing: None,
        };
        Self { number, budget, pace, state: Mutex::new(state) }
    }

    /// The socket's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What was dropped is not missed any more: deliveries are taken again.
    pub(crate) fn recover(&self) {
        self.lock().overflowed = false;
    }

    /// Leaves something that stands for `bytes` bytes. False if there was no room: the socket closes.
    pub fn push(self: &Arc<Self>, bytes: usize, delivery: D) -> bool {
        let mut state = self.lock();
        if state.overflowed || state.closed {
            return !state.overflowed;
        }
        let fits = state.bytes.saturating_add(bytes) <= SOCKET_BYTES_MAX && self.budget.take(bytes);
        if fits {
            state.bytes = state.bytes.saturating_add(bytes);
            state.queue.push_back((u32::try_from(bytes).unwrap_or(u32::MAX), delivery));
        } else {
            state.overflowed = true;
            state.queue = VecDeque::new();
            self.budget.give_back(std::mem::take(&mut state.bytes));
        }
        // Without a waker the task has been woken and will look.
        let asleep = state.waker.is_some() && !state.paced;
        if !fits || (asleep && self.pace.allows(&mut state.wakes)) {
            wake(state);
        } else if asleep {
            state.paced = true;
            drop(state);
            self.pace.add(Arc::clone(self));
        }
        fits
    }

    /// Wakes the task if it has still not seen what was left for it.
    pub(crate) fn wake_due(&self, now: u64) {
        let mut state = self.lock();
        state.paced = false;
        if !state.queue.is_empty() {
            state.wakes.count(now);
            wake(state);
        }
    }

    /// Orders the socket to close.
    pub fn close(&self, closing: Closing) {
        let mut state = self.lock();
        state.closing.get_or_insert(closing);
        wake(state);
    }

    /// Tells the socket to look for what it missed. A turn that it has not begun yet ends.
    pub(crate) fn catch_up(&self, turn: Turn) {
        let mut state = self.lock();
        if !state.closed {
            state.turn = Some(turn);
            wake(state);
        }
    }

    pub(crate) fn ping(&self) {
        let mut state = self.lock();
        state.ping_due = true;
        wake(state);
    }

    /// Takes the orders; the task is woken by the next order or delivery.
    pub(crate) fn orders(&self, context: &Context<'_>) -> Orders {
        let mut state = self.lock();
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker @ None => *waker = Some(context.waker().clone()),
        }
        Orders {
            ping_due: std::mem::take(&mut state.ping_due),
            overflowed: state.overflowed,
            turn: state.turn.take(),
            closing: state.closing.take(),
            delivered: !state.queue.is_empty(),
        }
    }

    pub(crate) fn pop(&self) -> Option<D> {
        let mut state = self.lock();
        let (bytes, delivery) = state.queue.pop_front()?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(state.bytes);
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.queue.is_empty() && state.queue.capacity() > KEPT_MAX {
            state.queue = VecDeque::new();
        }
        drop(state);
        self.budget.give_back(bytes);
        Some(delivery)
    }

    /// Gives back memory that is not used.
    pub(crate) fn tidy(&self) {
        self.lock().queue.shrink_to_fit();
    }

    /// Nothing will be taken any more.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.turn = None;
        state.queue = VecDeque::new();
        self.budget.give_back(std::mem::take(&mut state.bytes));
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D> Drop for Slot<D> {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Wakes after unlocking, so that the task does not run into the lock.
fn wake<D>(mut state: MutexGuard<'_, State<D>>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(max: usize) -> (Arc<Budget>, Arc<Slot<u8>>) {
        let budget = Arc::new(Budget::new(max));
        (Arc::clone(&budget), Arc::new(Slot::new(1, budget, Arc::new(Pace::new()))))
    }

    #[test]
    fn i15_a_socket_over_its_budget_loses_everything_and_says_so() {
        let (budget, slot) = slot(usize::MAX);
        assert!(slot.push(SOCKET_BYTES_MAX, 1));
        assert!(!slot.push(1, 2));
        assert!(slot.pop().is_none(), "nothing is left that looks like the whole");
        assert!(slot.orders(&Context::from_waker(Waker::noop())).overflowed);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn i15_all_sockets_together_have_a_budget_and_every_way_out_gives_back() {
        let (budget, slot) = slot(100);
        assert!(slot.push(60, 1));
        let other = Arc::new(Slot::new(2, Arc::clone(&budget), Arc::new(Pace::new())));
        assert!(!other.push(60, 1));
        assert_eq!((slot.pop(), budget.used()), (Some(1), 0));
        assert!(slot.push(70, 2));
        drop(slot);
        assert_eq!(budget.used(), 0);
    }
}
