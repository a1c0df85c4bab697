//! Plays the next version, for tests of a cluster of two versions. No program that is shipped has this.
//!
//! It knows one version more of the rules than this one, and writes an event of a kind and a field that nobody
//! knows so far.

use bytes::{BufMut as _, BytesMut};
use stentor_postoffice::Commit;
use stentor_router::Later;
use stentor_types::{Audience, Event, EventKind, EventNumber};
use stentor_wire::CommitRecord;

/// The variable of the environment by which it is switched on.
const SWITCH: &str = "PLAY_TOMORROW";
/// A field of every event: number 1000, with the text `tomorrow`.
const FIELD: &[u8] = b"\xc2\x3e\x08tomorrow";
/// An event's kind: number 999, with nothing in it.
const KIND: &[u8] = b"\xba\x3e\x00";

/// What the next version adds.
#[derive(Debug)]
pub(super) struct Tomorrow;

/// Whether this process is of the next version.
pub(super) fn is_today() -> bool {
    std::env::var_os(SWITCH).is_some()
}

impl Later for Tomorrow {
    fn decided(&self, commit: &mut Commit) {
        // Where somebody has said something, somebody has also done something new.
        let said = commit.events.iter().any(|event| matches!(event.kind, EventKind::Said(_)));
        let Some(last) = commit.events.last().filter(|_| said) else { return };
        let (n, stamp) = (EventNumber(last.n.0.saturating_add(1)), last.stamp);
        let kind = EventKind::Unknown;
        commit.events.push(Event { n, stamp, audience: Audience::All, kind });
    }

    fn written(&self, record: &mut CommitRecord) {
        for (event, bytes) in record.commit.events.iter().zip(&mut record.events) {
            let mut longer = BytesMut::from(&bytes[..]);
            if event.kind == EventKind::Unknown {
                longer.put_slice(KIND);
            }
            longer.put_slice(FIELD);
            *bytes = longer.freeze();
        }
    }
}
