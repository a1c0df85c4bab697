//! While this gateway cannot reach the owners of sessions, its sockets are sent to other gateways.
//!
//! Knows nothing of lines: somebody else says from when on the gateway counts as cut off, and when it is back.
//! What was read before is not given up: every socket that is closed goes on asking for what it has read.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::{engine::Closing, shared::Shared, spread};

/// Between two rounds: for those that were in the middle of their handshake.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends sockets away whenever `cut_off` says so, until nobody says anything any more.
pub(crate) async fn run<B>(shared: Arc<Shared<B>>, mut cut_off: watch::Receiver<bool>) {
    while cut_off.wait_for(|cut_off| *cut_off).await.is_ok() {
        // Before the first is closed: it must not come back to where it was.
        shared.cut_off.store(true, Ordering::Release);
        warn!(
            sockets = shared.sockets.len(),
            "cut off from the rest of the cluster; sockets are sent to other gateways"
        );
        let sending_away = async {
            loop {
                spread::close(&shared, Closing::CUT_OFF).await;
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = sending_away => {}
            _ = cut_off.wait_for(|cut_off| !*cut_off) => {}
        }
        shared.cut_off.store(false, Ordering::Release);
        info!(sockets = shared.sockets.len(), "back again; whoever is still here stays");
    }
}
