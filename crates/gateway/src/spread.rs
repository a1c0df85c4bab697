//! Closing all sockets, but not all at once: whoever comes back does not come together with everybody else.

use std::time::Duration;

use tokio::time::Instant;

use crate::{engine::Closing, shared::Shared};

/// Between two closings.
const TICK: Duration = Duration::from_millis(10);

/// Orders the sockets that there are to close, spread over half of the drain. May be dropped in the middle.
pub(crate) async fn close<B>(shared: &Shared<B>, closing: Closing) {
    let sockets = shared.sockets.all();
    let began = Instant::now();
    let window = shared.config.drain / 2;
    let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX).max(1);
    for (place, socket) in sockets.iter().enumerate() {
        let due = began + window * u32::try_from(place).unwrap_or(u32::MAX) / count;
        if due > Instant::now() + TICK {
            tokio::time::sleep_until(due).await;
        }
        socket.close(closing);
    }
}
