//! Rounds in which every socket looks for what it missed: some at a time, however many there are.
//!
//! Knows nothing of what there is to catch up with: each connection does. One that has something to ask
//! anyway does not wait for its turn.
//!
//! Overflow: what happens in the middle of a round leads to one more round, however often it happens.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, Semaphore};

use crate::{engine::Turn, shared::Shared};

/// Sockets that catch up at the same time. Each has one request out, which takes some milliseconds: 10,000
/// sockets take one or two seconds, and owners have room for those who speak meanwhile.
const AT_ONCE: usize = 64;
/// A turn that takes longer is not waited for: the owner that it waits for must not hold up the sockets of
/// all others. Longer than an owner takes that is well.
const TURN_MAX: Duration = Duration::from_secs(2);

/// Where rounds are ordered.
#[derive(Debug, Default)]
pub(crate) struct CatchUp(Notify);

// === impl CatchUp ===

impl CatchUp {
    /// Every socket there is now will look.
    pub(crate) fn order(&self) {
        self.0.notify_one();
    }
}

/// Gives sockets their turns, for ever.
pub(crate) async fn run<B>(shared: Arc<Shared<B>>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        shared.catch_up.0.notified().await;
        for slot in shared.sockets.all() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (turn, ended) = Turn::new();
            slot.catch_up(turn);
            shared.metrics.caught_up();
            tokio::spawn(async move {
                // Either way somebody else may go on.
                let _ = tokio::time::timeout(TURN_MAX, ended).await;
                drop(place);
            });
        }
    }
}
