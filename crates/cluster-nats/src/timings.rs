//! The times by which the members of a cluster judge each other, and what must hold between them.

use std::time::Duration;

/// Times that all members of one cluster have to agree on. The defaults are what a cluster runs with;
/// tests take shorter ones.
///
/// What must hold between them, checked by [`Timings::check`]:
///
/// * `beat < hold_for`: an owner that is well keeps believing in itself between two heartbeats.
/// * `hold_for < takeover_after`: an owner stops believing in itself before anybody else takes what it
///   owns. What lies between them is the time for an answer that had been found good to get away.
/// * `beat + deaf_after < takeover_after`: when everybody is cut off at the same moment, an observer
///   stops counting before anybody has been silent for long enough.
/// * `beat < deaf_after`: an observer that is well does not take itself for deaf.
/// * `rename_after + beat <= gone_after`: a gateway takes another name before any router may take it
///   for gone.
/// * `takeover_after < gone_after`: partitions have owners before gateways are given up.
/// * `hold_for <= try_for < takeover_after`: whoever asks a frozen owner asks again about when another
///   one has taken over, and not before the frozen one has stopped believing in itself.
/// * `effect_progress * 2 < effect_patience`: one lost sign of progress does not hand an effect out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between two heartbeats.
    pub beat: Duration,
    /// Without a heartbeat of its own for this long, an observer judges nobody, and what it has heard
    /// so far counts as heard when it hears itself again.
    pub deaf_after: Duration,
    /// For this long after publishing a heartbeat that it then heard, a router believes that what it
    /// owns is still its own.
    pub hold_for: Duration,
    /// After this long a silent router's partitions go to others. The next by rendezvous is expected to
    /// take them; after twice this long anybody may.
    pub takeover_after: Duration,
    /// How long a router listens before it takes partitions that nobody owns. A lone first router waits
    /// this long; several that start together get to know each other meanwhile.
    pub first_claim_after: Duration,
    /// How long a router has been well before it asks others for partitions.
    pub ask_after: Duration,
    /// Between two partitions that it asks for.
    pub ask_every: Duration,
    /// How long a router has for finishing what has begun in a partition that it hands over.
    pub release_for: Duration,
    /// How long whoever asks for a partition that was handed over is still sent away: far longer than a message
    /// takes to the new owner, and its subscription to all servers.
    pub linger_for: Duration,
    /// How long a silent gateway is waited for.
    pub gone_after: Duration,
    /// After this long without hearing itself, a gateway takes another name.
    pub rename_after: Duration,
    /// How often the record of owners is read.
    pub records_every: Duration,
    /// How often a router looks at what there is to do.
    pub tick: Duration,
    /// How long the record of one partition may take to be read when somebody waits for it.
    pub confirm_for: Duration,
    /// How long one try of a request may take.
    pub try_for: Duration,
    /// Between two tries of a request that nobody could take.
    pub try_pause: Duration,
    /// How long a request is tried at all.
    pub ask_for: Duration,
    /// How far a router's clock may be from the broker's.
    pub clock_tolerance: Duration,
    /// How often the clock is compared.
    pub clock_every: Duration,
    /// How long the broker waits for a sign of life of an attempt before it hands it out again.
    pub effect_patience: Duration,
    /// Between two signs of life of an attempt.
    pub effect_progress: Duration,
    /// How long the broker waits before it hands out again what was given back.
    pub effect_pause: Duration,
}

/// Two times contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the timings of the cluster contradict each other: {0} must hold")]
pub struct TimingsError(pub &'static str);

// === impl Timings ===

impl Default for Timings {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(1),
            deaf_after: Duration::from_millis(1_500),
            hold_for: Duration::from_secs(2),
            takeover_after: Duration::from_secs(3),
            first_claim_after: Duration::from_millis(400),
            ask_after: Duration::from_secs(30),
            ask_every: Duration::from_secs(1),
            release_for: Duration::from_secs(10),
            linger_for: Duration::from_millis(500),
            gone_after: Duration::from_secs(10),
            rename_after: Duration::from_secs(8),
            records_every: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            confirm_for: Duration::from_secs(2),
            try_for: Duration::from_millis(2_500),
            try_pause: Duration::from_millis(100),
            ask_for: Duration::from_secs(10),
            clock_tolerance: Duration::from_secs(5),
            clock_every: Duration::from_secs(10),
            effect_patience: Duration::from_secs(30),
            effect_progress: Duration::from_secs(10),
            effect_pause: Duration::from_secs(1),
        }
    }
}

impl Timings {
    /// Checks what must hold between the times.
    ///
    /// # Errors
    /// The first inequality that does not hold.
    pub fn check(&self) -> Result<(), TimingsError> {
        let holds = [
            (self.beat < self.hold_for, "beat < hold_for"),
            (self.hold_for < self.takeover_after, "hold_for < takeover_after"),
            (
                self.beat + self.deaf_after < self.takeover_after,
                "beat + deaf_after < takeover_after",
            ),
            (self.beat < self.deaf_after, "beat < deaf_after"),
            (self.rename_after + self.beat <= self.gone_after, "rename_after + beat <= gone_after"),
            (self.takeover_after < self.gone_after, "takeover_after < gone_after"),
            (self.hold_for <= self.try_for, "hold_for <= try_for"),
            (self.try_for < self.takeover_after, "try_for < takeover_after"),
            (
                self.effect_progress * 2 < self.effect_patience,
                "effect_progress * 2 < effect_patience",
            ),
        ];
        let broken = holds.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, what)| Err(TimingsError(what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_do_not_contradict_each_other() {
        assert_eq!(Timings::default().check(), Ok(()));
    }

    #[test]
    fn an_owner_that_believes_in_itself_for_too_long_is_refused() {
        let timings = Timings { hold_for: Duration::from_secs(3), ..Timings::default() };
        assert_eq!(timings.check(), Err(TimingsError("hold_for < takeover_after")));
    }

    #[test]
    fn a_gateway_that_renames_itself_too_late_is_refused() {
        let timings = Timings { rename_after: Duration::from_secs(10), ..Timings::default() };
        assert_eq!(timings.check(), Err(TimingsError("rename_after + beat <= gone_after")));
    }
}
