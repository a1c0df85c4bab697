//! Which router owns a partition, as all routers share it, and how that is written.

use bytes::Bytes;

use crate::members::RouterId;

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Nobody, if the last owner left and there was no other.
    pub(crate) owner: Option<RouterId>,
    /// Grows with every owner: whoever sees two answers believes the one with the higher term. 0 = there is no telling:
    /// the record was deleted by hand.
    pub(crate) term: u64,
}

/// A record as it was read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// What the next writer has to name.
    pub(crate) revision: u64,
    pub(crate) record: Record,
}

// === impl Known ===

impl Known {
    /// It is the later one. A lower revision is from a bucket that was made anew if its term is higher: in one bucket
    /// both grow.
    pub(crate) fn is_after(&self, revision: u64, term: u64) -> bool {
        self.revision > revision || self.record.term > term
    }

    /// The record was there and is no more.
    pub(crate) fn lose(&mut self) {
        self.revision = 0;
        self.record.owner = None;
    }

    const fn is_lost(&self) -> bool {
        self.revision == 0 || self.record.term == 0
    }
}

// === impl Record ===

impl Record {
    /// As `<term> <router>`, or `<term> -`.
    pub(crate) fn encode(&self) -> Bytes {
        match &self.owner {
            Some(owner) => format!("{} {owner}", self.term).into(),
            None => format!("{} -", self.term).into(),
        }
    }

    /// What stands in place of a deleted one is empty.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        if payload.is_empty() {
            return Some(Self { owner: None, term: 0 });
        }
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        let term = words.next()?.parse().ok()?;
        let owner = match words.next()? {
            "-" => None,
            owner => Some(RouterId::parse(owner)?),
        };
        Some(Self { owner, term })
    }
}

/// The term after that of `known`. The first one is the time in seconds since 1970: should the records
/// ever be lost, the terms that gateways remember are still lower than those to come. So it is for one that was
/// deleted, unless what is known of it is higher.
pub(crate) fn next_term(known: Option<&Known>, unix_seconds: u64) -> u64 {
    let Some(known) = known else { return unix_seconds.max(1) };
    let next = known.record.term.saturating_add(1);
    if known.is_lost() { next.max(unix_seconds) } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::MemberName;

    #[test]
    fn a_record_survives_the_way() {
        let owner = RouterId { name: MemberName::try_new("pod-1").unwrap(), incarnation: 0xfe };
        for owner in [Some(owner), None] {
            let record = Record { owner, term: 9 };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode(b"9 pod-1.00000000000000fe later").unwrap().term, 9);
        assert_eq!(Record::decode(b""), Some(Record { owner: None, term: 0 }), "deleted");
        for other in ["9", "x -", "9 pod-1", "9 a.b.c"] {
            assert_eq!(Record::decode(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn terms_grow_even_when_the_records_are_lost() {
        let known = Known { revision: 1, record: Record { owner: None, term: 1_700_000_000 } };
        assert_eq!(next_term(Some(&known), 5), 1_700_000_001);
        assert_eq!(next_term(None, 1_700_000_100), 1_700_000_100);
        let mut lost = known.clone();
        lost.lose();
        assert_eq!(next_term(Some(&lost), 5), 1_700_000_001);
        assert_eq!(next_term(Some(&lost), 1_700_000_100), 1_700_000_100);
        let deleted = Known { record: Record::decode(b"").unwrap(), ..known };
        assert_eq!(next_term(Some(&deleted), 1_700_000_100), 1_700_000_100);
    }
}
