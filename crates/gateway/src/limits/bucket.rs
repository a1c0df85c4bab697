//! A token bucket in 16 bytes.

/// So many at once, so many per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at: f64,
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn full(burst: u32, now: f64) -> Self {
        Self { tokens: f64::from(burst), at: now }
    }

    /// Takes a token if there is one. `now` is in seconds, `rate` in tokens per second.
    pub(super) fn take(&mut self, rate: f64, burst: u32, now: f64) -> bool {
        let grown = (now - self.at).max(0.0).mul_add(rate, self.tokens);
        self.tokens = grown.min(f64::from(burst));
        self.at = now;
        let fits = self.tokens >= 1.0;
        if fits {
            self.tokens -= 1.0;
        }
        fits
    }

    /// Not used for so many seconds.
    pub(super) fn idle(&self, seconds: f64, now: f64) -> bool {
        now - self.at > seconds
    }
}
