//! What a heartbeat says.

use std::time::Duration;

use bytes::Bytes;

/// What members that tell no version have: the first did not.
const FIRST_VERSION: u32 = 1;

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
    /// The version of the rules that the member knows.
    pub(crate) version: u32,
}

// === impl Heartbeat ===

impl Heartbeat {
    /// As `<microseconds> <standing> <version>`.
    pub(crate) fn encode(self) -> Bytes {
        let standing = match self.standing {
            Standing::Well => "well",
            Standing::Unfit => "unfit",
            Standing::Draining => "draining",
            Standing::Gone => "gone",
        };
        format!("{} {standing} {}", self.published.as_micros(), self.version).into()
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
        let version = words.next().and_then(|version| version.parse().ok());
        Some(Self { published, standing, version: version.unwrap_or(FIRST_VERSION) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_survives_the_way() {
        for standing in [Standing::Well, Standing::Unfit, Standing::Draining, Standing::Gone] {
            let published = Duration::from_micros(7_000_001);
            let heartbeat = Heartbeat { published, standing, version: 3 };
            assert_eq!(Heartbeat::decode(&heartbeat.encode()), Some(heartbeat));
        }
    }

    #[test]
    fn a_heartbeat_of_a_later_version_is_understood() {
        let heartbeat = Heartbeat::decode(b"5 sleepy 17 more").unwrap();
        assert_eq!((heartbeat.standing, heartbeat.version), (Standing::Unfit, 17));
        // One of before there were any.
        assert_eq!(Heartbeat::decode(b"5 well").unwrap().version, 1);
        assert_eq!(Heartbeat::decode(b"x well"), None);
        assert_eq!(Heartbeat::decode(b"\xff"), None);
    }
}
