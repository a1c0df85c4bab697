//! Why a member of the cluster is not ready, in words.

use std::fmt;

use tokio::sync::watch;

/// Why a member is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The line to NATS is down.
    Unreachable,
    /// The line seems to be up, but the member's own heartbeats do not come back.
    Unheard,
    /// The record of owners cannot be read: JetStream does not answer, or has no leader.
    NoRecords,
    /// Effects cannot be taken from the stream.
    NoEffects,
    /// The broker's time has not been asked for yet.
    ClockUnknown,
    /// The version that is needed here, and the lower one that this process knows.
    Outdated(u32, u32),
    /// This machine's clock is ahead of the broker's by so many seconds (behind, if negative).
    ClockOff(i64),
}

/// How a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusState {
    /// Why it is not ready; empty = it is.
    pub troubles: Vec<Trouble>,
    /// Partitions that it owns.
    pub owned: usize,
    /// Those of them of which not everything that is due has been taken up.
    pub taking_up: usize,
}

/// Shows how a member is; changes can be waited for.
pub type StateReceiver = watch::Receiver<BusState>;

// === impl BusState ===

impl BusState {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.troubles.is_empty()
    }
}

impl fmt::Display for BusState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.troubles.is_empty() {
            return formatter.write_str("ready");
        }
        for (number, trouble) in self.troubles.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(formatter, "{comma}{trouble}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => formatter.write_str("NATS unreachable"),
            Self::Unheard => formatter.write_str("no own heartbeat heard"),
            Self::NoRecords => formatter.write_str("the record of owners cannot be read"),
            Self::NoEffects => formatter.write_str("effects cannot be taken"),
            Self::ClockUnknown => formatter.write_str("the broker's time is not known"),
            Self::Outdated(needed, known) => write!(
                formatter,
                "the cluster needs version {needed} and this program knows {known}; start a newer one"
            ),
            Self::ClockOff(seconds) => write!(formatter, "clock off by {seconds} s"),
        }
    }
}
