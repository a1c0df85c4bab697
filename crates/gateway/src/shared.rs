//! What all connections of a gateway share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use stentor_apps::{App, AppSet};
use stentor_types::{AppId, GatewayId, Timestamp};
use tokio::sync::watch;

use crate::{
    batch::Batch, catch_up::CatchUp, config::Config, engine::Registry, identify::Logins,
    limits::Limiter, metrics::Metrics, watchers::Watchers,
};

/// What all connections of a gateway share.
#[derive(Debug)]
pub(crate) struct Shared<B> {
    pub(crate) config: Config,
    /// The gateway's name now; `config` has its first one.
    pub(crate) name: AtomicU64,
    /// Owners of sessions have not been reached for so long that whoever comes is sent elsewhere.
    pub(crate) cut_off: AtomicBool,
    pub(crate) bus: Arc<B>,
    pub(crate) apps: watch::Receiver<Arc<AppSet>>,
    pub(crate) sockets: Registry<Arc<Batch>>,
    pub(crate) catch_up: CatchUp,
    pub(crate) watchers: Watchers,
    pub(crate) logins: Logins,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) metrics: Arc<Metrics>,
}

// === impl Shared ===

impl<B> Shared<B> {
    /// Under which name owners know this gateway, and its connections.
    pub(crate) fn gateway(&self) -> GatewayId {
        GatewayId(self.name.load(Ordering::Acquire))
    }

    /// The gateway has another name from now on.
    pub(crate) fn rename(&self, gateway: GatewayId) {
        self.name.store(gateway.0, Ordering::Release);
    }

    /// Whether owners of sessions have not been reached for so long that whoever comes is sent elsewhere.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// The apps at this moment.
    pub(crate) fn apps(&self) -> Arc<AppSet> {
        Arc::clone(&self.apps.borrow())
    }

    /// An app as it is at this moment.
    pub(crate) fn app(&self, app: &AppId) -> Option<Arc<App>> {
        self.apps.borrow().get(app.as_str()).cloned()
    }
}

/// Now, by the clock of this machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The same in milliseconds, as clients count.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(now().as_millis()).unwrap_or(i64::MAX)
}
