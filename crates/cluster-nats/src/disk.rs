//! Whether the disks of the NATS servers have room for all that the streams may become.
//!
//! A stream that has reached its limit says no, and goes on when it has been trimmed. A disk that is full takes
//! JetStream down with it. So the first has to come long before the second.

use crate::{
    Connection, dead,
    monitor::{self, Server},
    stream::{LogSettings, OpenError},
};

/// What streams may take of the store, in percent. The rest is for what the server keeps beside them, for what
/// Raft has not compacted yet, and for what is rewritten while it is compacted.
const SHARE: u64 = 60;
/// Buckets: names that are used up, owners, cursors, what is being tried.
const BUCKETS: u64 = (64 << 20) + (8 << 20);
/// What Raft keeps of a stream with copies before it compacts.
const RAFT: u64 = 128 << 20;

/// All that the streams of a cluster may take on one server.
pub(crate) const fn wanted(settings: &LogSettings) -> u64 {
    let raft = if settings.replicas > 1 { RAFT } else { 0 };
    let others = BUCKETS + dead::BYTES_MAX.unsigned_abs() + raft;
    settings.max_bytes.saturating_add(others)
}

/// The largest log that leaves enough of a store.
pub(crate) const fn largest_log(store: u64, settings: &LogSettings) -> u64 {
    let others = wanted(settings) - settings.max_bytes;
    share(store).saturating_sub(others)
}

const fn share(store: u64) -> u64 {
    store / 100 * SHARE
}

/// Refuses limits that the servers, as far as they tell, have no room for.
pub(crate) async fn check(
    connection: &Connection,
    settings: &LogSettings,
) -> Result<(), OpenError> {
    if settings.allow_large {
        return Ok(());
    }
    let mut stores = Vec::new();
    for url in &settings.monitor_urls {
        // Who cannot be asked was complained about before.
        if let Ok(Server { name, store: Some(store), .. }) = monitor::ask(url).await {
            stores.push((name, store));
        }
    }
    if let Ok(account) = connection.jetstream().query_account().await {
        let limit = account.limits.max_storage.and_then(|limit| u64::try_from(limit).ok());
        stores.extend(limit.filter(|limit| *limit > 0).map(|limit| ("account".to_owned(), limit)));
    }
    let Some((server, store)) = stores.into_iter().min_by_key(|(_, store)| *store) else {
        tracing::info!(
            "how much the NATS servers can store is not known: their monitoring ports do not tell"
        );
        return Ok(());
    };
    let wanted = wanted(settings);
    if wanted <= share(store) {
        return Ok(());
    }
    let largest = largest_log(store, settings);
    Err(OpenError::TooLarge { server, store, wanted, largest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_log_that_is_named_is_one_that_is_taken() {
        for replicas in [1, 3] {
            for store in [1 << 30, 20_u64 << 30] {
                let settings = LogSettings { replicas, ..LogSettings::new(Vec::new()) };
                let max_bytes = largest_log(store, &settings);
                let fits = LogSettings { max_bytes, ..settings.clone() };
                assert!(wanted(&fits) <= share(store));
                let larger = LogSettings { max_bytes: max_bytes + 1, ..settings };
                assert!(wanted(&larger) > share(store));
            }
        }
    }
}
