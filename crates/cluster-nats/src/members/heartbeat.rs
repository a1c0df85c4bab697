//! What a heartbeat says.

use std::time::Duration;

use bytes::Bytes;

/// How a member is, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may be given partitions.
    Well,
    /// It may not, for now.
    Unfit,
    /// It is giving away what it has.
    Draining,
    /// It has ended. Nothing will come from it any more.
    Gone,
}

/// One sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// When it was published, by the clock of the member's own machine: for nobody but itself.
    pub(crate) published: Duration,
    pub(crate) standing: Standing,
}

// === impl Heartbeat ===

impl Heartbeat {
    /// As `<microseconds> <standing>`.
    pub(crate) fn encode(self) -> Bytes {
        let standing = match self.standing {
            Standing::Well => "well",
            Standing::Unfit => "unfit",
            Standing::Draining => "draining",
            Standing::Gone => "gone",
        };
        format!("{} {standing}", self.published.as_micros()).into()
    }

    /// What a later version adds at the end is ignored; a standing that is unknown here is one that
    /// must not be relied on.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        let published = Duration::from_micros(words.next()?.parse().ok()?);
        let standing = match words.next()? {
            "well" => Standing::Well,
            "draining" => Standing::Draining,
            "gone" => Standing::Gone,
            _ => Standing::Unfit,
        };
        Some(Self { published, standing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_survives_the_way() {
        for standing in [Standing::Well, Standing::Unfit, Standing::Draining, Standing::Gone] {
            let heartbeat = Heartbeat { published: Duration::from_micros(7_000_001), standing };
            assert_eq!(Heartbeat::decode(&heartbeat.encode()), Some(heartbeat));
        }
    }

    #[test]
    fn a_heartbeat_of_a_later_version_is_understood() {
        let heartbeat = Heartbeat::decode(b"5 sleepy 17").unwrap();
        assert_eq!(heartbeat.standing, Standing::Unfit);
        assert_eq!(Heartbeat::decode(b"x well"), None);
        assert_eq!(Heartbeat::decode(b"\xff"), None);
    }
}
