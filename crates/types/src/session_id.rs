//! Where a visitor is placed, and the ids of their sessions, which tell their placement.

use std::{fmt, str::FromStr};

use crate::{AppId, InvalidId};

/// Number of fixed groups of visitors. It never changes: it is part of every subject.
pub const PARTITIONS: u8 = 64;

/// Hash that places a visitor: `xxh3_64(app ‖ 0 ‖ user)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementKey(pub u64);

/// One of the 64 fixed groups of visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

/// Identifies one session. Made by us: placement key and 128 random bits, `<16 hex>-<32 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    key: PlacementKey,
    random: u128,
}

// === impl PlacementKey ===

impl PlacementKey {
    /// The key of a user id within an app.
    #[must_use]
    pub fn of(app: &AppId, user: &str) -> Self {
        let mut input = Vec::with_capacity(app.as_str().len() + 1 + user.len());
        input.extend_from_slice(app.as_str().as_bytes());
        input.push(0);
        input.extend_from_slice(user.as_bytes());
        Self(xxhash_rust::xxh3::xxh3_64(&input))
    }

    /// The group that this key falls into.
    #[must_use]
    pub const fn partition(self) -> Partition {
        Partition((self.0 % PARTITIONS as u64) as u8)
    }
}

// === impl Partition ===

impl Partition {
    /// The partition's number, 0 to 63.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All partitions.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

// === impl SessionId ===

impl SessionId {
    /// A session of the visitor that `key` places, with 128 fresh random bits.
    #[must_use]
    pub const fn new(key: PlacementKey, random: u128) -> Self {
        Self { key, random }
    }

    /// The placement of the session's visitor.
    #[must_use]
    pub const fn key(&self) -> PlacementKey {
        self.key
    }

    /// The group that serves this session.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.key.partition()
    }

    /// The 24 bytes of the id, for use as a key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let all = self.key.0.to_be_bytes().into_iter().chain(self.random.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        bytes
    }

    /// The id of these 24 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let number = |range: std::ops::Range<usize>| {
            bytes
                .get(range)
                .into_iter()
                .flatten()
                .fold(0_u128, |all, byte| all << 8 | u128::from(*byte))
        };
        #[expect(clippy::cast_possible_truncation, reason = "eight bytes fit in 64 bits")]
        let key = number(0..8) as u64;
        Self { key: PlacementKey(key), random: number(8..24) }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}-{:032x}", self.key.0, self.random)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let error =
            InvalidId { what: "session id", rule: "16 and 32 lower-case hex digits joined by -" };
        let lower_hex =
            |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let Some((key, random)) = text.split_once('-') else { return Err(error) };
        if key.len() != 16 || random.len() != 32 || !lower_hex(key) || !lower_hex(random) {
            return Err(error);
        }
        match (u64::from_str_radix(key, 16), u128::from_str_radix(random, 16)) {
            (Ok(key), Ok(random)) => Ok(Self { key: PlacementKey(key), random }),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placement_has_fixed_vectors() {
        // Never change these: every stored subject depends on them.
        let place = |app: &str, user: &str| PlacementKey::of(&AppId::try_new(app).unwrap(), user);
        let vectors = [("demo", "visitor-1"), ("demo", ""), ("a", "b\0c")];
        let keys: Vec<_> = vectors.iter().map(|(app, user)| place(app, user).0).collect();
        assert_eq!(keys, VECTORS);
    }

    const VECTORS: [u64; 3] =
        [3_044_849_197_449_018_282, 10_490_812_356_095_349_793, 10_253_449_605_869_280_036];

    proptest! {
        #[test]
        fn a_session_id_survives_text_and_bytes(key: u64, random: u128) {
            let id = SessionId::new(PlacementKey(key), random);
            prop_assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
            prop_assert_eq!(SessionId::from_bytes(id.to_bytes()), id);
            prop_assert_eq!(u64::from(id.partition().number()), key % 64);
        }

        #[test]
        fn i17_no_other_text_is_a_session_id(text in ".{0,60}") {
            if let Ok(id) = text.parse::<SessionId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
