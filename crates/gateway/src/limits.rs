//! How many and how fast: connections and messages per address and per user.
//!
//! Knows addresses and user keys, and neither sockets nor what is said.

mod bucket;

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use stentor_apps::Limits;
use stentor_types::UserKey;
use tokio::time::Instant;

use self::bucket::Bucket;
use crate::config::GatewayLimits;

/// Addresses and users that are counted at the same time. Overflow: those who have done nothing lately
/// are forgotten; if that does not help, newcomers are refused.
const KNOWN_MAX: usize = 1 << 20;
/// Whoever has no connection and has said nothing for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Counts and limits.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: GatewayLimits,
    began: Instant,
    addresses: Mutex<Table<IpAddr>>,
    users: Mutex<Table<UserKey>>,
}

/// A connection's place among those of its address; given back when dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    counted: Option<(Arc<Limiter>, IpAddr)>,
}

#[derive(Debug)]
struct Table<K> {
    entries: HashMap<K, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    connections: u32,
    bucket: Bucket,
}

// === impl Limiter ===

impl Limiter {
    pub(crate) fn new(limits: GatewayLimits) -> Self {
        Self {
            limits,
            began: Instant::now(),
            addresses: Mutex::new(Table { entries: HashMap::new() }),
            users: Mutex::new(Table { entries: HashMap::new() }),
        }
    }

    /// A place for another connection of an address; nothing if it has too many.
    pub(crate) fn place(self: &Arc<Self>, address: IpAddr) -> Option<AddressPlace> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Some(AddressPlace { counted: None });
        }
        let max = self.limits.connections_per_address;
        let full = self.limits.burst;
        let entered = lock(&self.addresses).enter(address, max, full, self.now());
        entered.then(|| AddressPlace { counted: Some((Arc::clone(self), address)) })
    }

    /// Whether an address may send another message now. `None`: it is not limited.
    pub(crate) fn address_may_speak(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return true };
        let GatewayLimits { messages_per_second, burst, .. } = self.limits;
        lock(&self.addresses).may_speak(address, messages_per_second, burst, self.now())
    }

    /// Counts another connection of a user; false if there are too many.
    pub(crate) fn enter(&self, user: UserKey, max: usize) -> bool {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        lock(&self.users).enter(user, max, u32::MAX, self.now())
    }

    /// A connection of a user is gone.
    pub(crate) fn leave(&self, user: UserKey) {
        lock(&self.users).leave(&user);
    }

    /// Whether a user may send another message now.
    pub(crate) fn may_speak(&self, user: UserKey, limits: &Limits) -> bool {
        let Limits { messages_per_second, burst, .. } = *limits;
        lock(&self.users).may_speak(user, messages_per_second, burst, self.now())
    }

    /// Forgets whoever is long gone.
    pub(crate) fn forget(&self) {
        let now = self.now();
        lock(&self.addresses).forget(now);
        lock(&self.users).forget(now);
    }

    /// Seconds since the beginning.
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

// === impl AddressPlace ===

impl AddressPlace {
    /// The address, if it is limited.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.counted.as_ref().map(|(_, address)| *address)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Some((limiter, address)) = &self.counted {
            lock(&limiter.addresses).leave(address);
        }
    }
}

// === impl Table ===

impl<K: Eq + Hash> Table<K> {
    fn enter(&mut self, key: K, max: u32, burst: u32, now: f64) -> bool {
        let Some(entry) = self.entry(key, burst, now) else { return false };
        let fits = entry.connections < max;
        if fits {
            entry.connections = entry.connections.saturating_add(1);
        }
        fits
    }

    fn leave(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }

    fn may_speak(&mut self, key: K, rate: f64, burst: u32, now: f64) -> bool {
        let Some(entry) = self.entry(key, burst, now) else { return false };
        entry.bucket.take(rate, burst, now)
    }

    fn entry(&mut self, key: K, burst: u32, now: f64) -> Option<&mut Entry> {
        if self.entries.len() >= KNOWN_MAX && !self.entries.contains_key(&key) {
            self.forget(now);
            if self.entries.len() >= KNOWN_MAX {
                return None;
            }
        }
        let fresh = || Entry { connections: 0, bucket: Bucket::full(burst, now) };
        Some(self.entries.entry(key).or_insert_with(fresh))
    }

    fn forget(&mut self, now: f64) {
        let after = FORGET_AFTER.as_secs_f64();
        self.entries.retain(|_, entry| entry.connections > 0 || !entry.bucket.idle(after, now));
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Arc<Limiter> {
        let limits = GatewayLimits {
            connections_per_address: 2,
            messages_per_second: 10.0,
            burst: 5,
            ..GatewayLimits::default()
        };
        Arc::new(Limiter::new(limits))
    }

    #[tokio::test(start_paused = true)]
    async fn s12_an_address_has_so_many_connections_and_no_more() {
        let limiter = limiter();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let (one, two) = (limiter.place(address), limiter.place(address));
        assert!(one.is_some() && two.is_some());
        assert!(limiter.place(address).is_none());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert!(limiter.place(mapped).is_none(), "another way to write the same address");
        drop(one);
        assert!(limiter.place(address).is_some());
        assert!((0..9).all(|_| limiter.place("127.0.0.1".parse().unwrap()).is_some()));
    }

    #[tokio::test(start_paused = true)]
    async fn s12_a_flood_is_let_through_at_the_rate_that_is_allowed() {
        let limiter = limiter();
        let address = Some("192.0.2.1".parse().unwrap());
        let mut let_through = 0;
        for _ in 0..10_000 {
            let_through += u32::from(limiter.address_may_speak(address));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // Ten seconds at ten a second, after a burst of five.
        assert!((95..=110).contains(&let_through), "{let_through}");
    }

    #[tokio::test(start_paused = true)]
    async fn i15_whoever_is_long_gone_is_forgotten() {
        let limiter = limiter();
        let user = UserKey([1; 16]);
        assert!(limiter.enter(user, 1));
        assert!(!limiter.enter(user, 1));
        tokio::time::advance(FORGET_AFTER * 2).await;
        limiter.forget();
        assert!(!limiter.enter(user, 1), "still connected");
        limiter.leave(user);
        limiter.forget();
        assert!(lock(&limiter.users).entries.is_empty());
    }
}
