//! Numbers that must not be mistaken for one another.

use std::{fmt, time::Duration};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number! {
    /// Position of an event in its session. The first event is 1; 0 means "before the first".
    EventNumber(u64)
}
number! {
    /// When this numbering of a session began, in Unix seconds. `(epoch, n)` names one event for ever.
    Epoch(u64)
}
number! {
    /// Counts changes of the kind of control; a reply asked under an older one is stale.
    ControlEpoch(u64)
}
number! {
    /// Place of a record in a log. Larger is later; numbers of one entity need not be adjacent.
    Sequence(u64)
}
number! {
    /// A point in time, in microseconds since the Unix epoch.
    Timestamp(u64)
}
number! {
    /// The time that a client shows and sorts by, in milliseconds since the Unix epoch.
    Stamp(i64)
}

// === impl EventNumber ===

impl EventNumber {
    /// Before the first event.
    pub const NONE: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

// === impl ControlEpoch ===

impl ControlEpoch {
    /// The epoch after a change of control.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

// === impl Timestamp ===

impl Timestamp {
    /// From whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This much later; stays at the end of time rather than wrapping.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
