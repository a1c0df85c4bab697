//! Ids that nobody can guess: a counter under a hash that is keyed once by the operating system.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// A source of random numbers.
pub(crate) struct Random {
    key: [u8; 32],
    drawn: AtomicU64,
}

// === impl Random ===

impl Random {
    /// A source with a fresh key.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn try_new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self { key, drawn: AtomicU64::new(0) })
    }

    /// 128 random bits.
    pub(crate) fn id(&self) -> u128 {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(self.drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        hasher.finalize().iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
    }

    /// 64 random bits.
    pub(crate) fn number(&self) -> u64 {
        (self.id() >> 64).try_into().unwrap_or(u64::MAX)
    }
}
