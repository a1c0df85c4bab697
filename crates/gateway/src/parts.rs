//! What runs beside the sockets, and is missed by nobody when it panics: the gateway would look well and, say, show
//! nothing new any more.
//!
//! Knows nothing of what the parts do, and of what follows when one is lost.

use std::{collections::HashMap, future::Future};

use tokio::task::{Id, JoinSet};

/// The parts that run. Dropped, they end.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

// === impl Parts ===

impl Parts {
    pub(crate) fn begin(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let part = self.running.spawn(work);
        self.names.insert(part.id(), name);
    }

    /// Waits until a part has panicked; for ever if none does. One that has nothing more to do ends in peace.
    /// Cancel safe.
    pub(crate) async fn lost(&mut self) -> &'static str {
        while let Some(ended) = self.running.join_next().await {
            if let Err(cause) = ended
                && cause.is_panic()
            {
                return self.names.get(&cause.id()).copied().unwrap_or("unknown");
            }
        }
        std::future::pending().await
    }
}
