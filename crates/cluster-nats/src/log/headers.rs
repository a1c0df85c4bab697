//! A record's header in the headers of its message, so that a whole partition is known without its
//! payloads.
//!
//! | header | holds |
//! |---|---|
//! | `Stentor-First`, `Stentor-Last` | event numbers |
//! | `Stentor-At`, `Stentor-Deadline` | microseconds since 1970 |
//! | `Stentor-Attached` | `1` |
//! | `Stentor-Snap` | the sequence of the newest snapshot, or `self` |
//!
//! What is zero or false is left out; all names together are sent with every record.

use async_nats::{HeaderMap, HeaderName};
use stentor_cluster::Header;
use stentor_types::{EventNumber, Sequence, Timestamp};

const FIRST: HeaderName = HeaderName::from_static("Stentor-First");
const LAST: HeaderName = HeaderName::from_static("Stentor-Last");
const AT: HeaderName = HeaderName::from_static("Stentor-At");
const DEADLINE: HeaderName = HeaderName::from_static("Stentor-Deadline");
const ATTACHED: HeaderName = HeaderName::from_static("Stentor-Attached");
const SNAPSHOT: HeaderName = HeaderName::from_static("Stentor-Snap");
const THIS_ONE: &str = "self";

/// A header as its message carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) header: Header,
    /// The newest snapshot before this record, or this one if it holds one.
    snapshot: Option<u64>,
}

// === impl Marked ===

impl Marked {
    /// Reads the headers of a message.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let number = |name: HeaderName| -> Result<Option<u64>, String> {
            let Some(value) = headers.get(name.clone()) else { return Ok(None) };
            let parsed = value.as_str().parse();
            parsed.map(Some).map_err(|_| format!("header {name:?} is {:?}", value.as_str()))
        };
        let this_one = headers.get(SNAPSHOT).is_some_and(|value| value.as_str() == THIS_ONE);
        Ok(Self {
            header: Header {
                first: EventNumber(number(FIRST)?.unwrap_or(0)),
                last: EventNumber(number(LAST)?.unwrap_or(0)),
                at: Timestamp(number(AT)?.unwrap_or(0)),
                next_deadline: number(DEADLINE)?.map(Timestamp),
                attached: headers.get(ATTACHED).is_some(),
                snapshot: this_one,
            },
            snapshot: if this_one { None } else { number(SNAPSHOT)? },
        })
    }

    /// The newest snapshot as of the record at `sequence`.
    pub(crate) fn snapshot_at(&self, sequence: Sequence) -> Option<Sequence> {
        if self.header.snapshot { Some(sequence) } else { self.snapshot.map(Sequence) }
    }
}

/// Writes a header; `before` is the newest snapshot before the record.
pub(crate) fn write(header: &Header, before: Option<Sequence>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut number = |name: HeaderName, value: u64| {
        if value != 0 {
            headers.insert(name, value.to_string());
        }
    };
    number(FIRST, header.first.0);
    number(LAST, header.last.0);
    number(AT, header.at.0);
    if let Some(deadline) = header.next_deadline {
        headers.insert(DEADLINE, deadline.0.to_string());
    }
    if header.attached {
        headers.insert(ATTACHED, "1");
    }
    match before {
        _ if header.snapshot => headers.insert(SNAPSHOT, THIS_ONE),
        Some(before) => headers.insert(SNAPSHOT, before.0.to_string()),
        None => {}
    }
    headers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_survives_its_message(
            numbers: (u64, u64, u64), deadline: Option<u64>, flags: (bool, bool),
            before: Option<u64>,
        ) {
            let ((first, last, at), (attached, snapshot)) = (numbers, flags);
            let header = Header {
                first: EventNumber(first),
                last: EventNumber(last),
                at: Timestamp(at),
                next_deadline: deadline.map(Timestamp),
                attached,
                snapshot,
            };
            let marked = Marked::read(&write(&header, before.map(Sequence))).unwrap();
            prop_assert_eq!(marked.header, header);
            let newest = if snapshot { Some(9) } else { before };
            prop_assert_eq!(marked.snapshot_at(Sequence(9)), newest.map(Sequence));
        }
    }

    #[test]
    fn a_number_that_is_none_is_damage() {
        for name in [FIRST, LAST, AT, DEADLINE, SNAPSHOT] {
            let mut headers = HeaderMap::new();
            headers.insert(name.clone(), "-1");
            assert!(Marked::read(&headers).is_err(), "{name:?}");
        }
    }
}
