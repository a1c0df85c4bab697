//! Permission for one socket to catch up with what it may have missed, so that not all do so at once.

use tokio::sync::oneshot;

/// Permission to catch up. Dropping it passes it on.
#[derive(Debug)]
pub struct Turn {
    _ended: oneshot::Sender<()>,
}

// === impl Turn ===

impl Turn {
    /// A turn, and what resolves when it has ended.
    pub(crate) fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self { _ended: sender }, receiver)
    }
}
