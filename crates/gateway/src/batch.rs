//! Events on their way to the sockets of one session, encoded once for all that see the same.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;
use stentor_protocol::{
    LegacyView,
    v2::{Viewer, event_frame},
};
use stentor_types::{Epoch, Event, EventKind, EventNumber, PlacementKey, Role, SessionId, UserKey};
use stentor_wire::{DecodeError, decode_event, pb, session_id};

/// Events of one session that were fanned out together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    /// The session's last event; those that are missing below it have to be fetched.
    pub(crate) head: EventNumber,
    /// Ordered.
    pub(crate) events: Vec<Event>,
    /// What they count as in an outbox.
    pub(crate) bytes: usize,
    encoded: Mutex<Vec<(View, Vec<Bytes>)>>,
    /// Frames of the second dialect.
    second: Mutex<Vec<(EventNumber, Viewer, Bytes)>>,
    /// Somebody types, or no longer does.
    pub(crate) typing: Option<pb::Typing>,
    /// What lists show has changed. Comes alone.
    pub(crate) changes: Option<Changes>,
}

/// Changes in lists of sessions.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) listed: Vec<pb::Listed>,
    /// Earlier ones were lost.
    pub(crate) missed: bool,
}

/// All that the frames of an event depend on, within one app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct View {
    n: EventNumber,
    time_ms: i64,
    role: Role,
    own: bool,
}

/// Counted for every batch beside its events.
const OVERHEAD_BYTES: usize = 64;

// === impl Batch ===

impl Batch {
    /// Reads a message of the bus.
    ///
    /// # Errors
    /// A field cannot be read.
    pub(crate) fn decode(fanout: &pb::Fanout) -> Result<Self, DecodeError> {
        let session = session_id(&fanout.session)?;
        let head = EventNumber(fanout.head);
        let mut batch = Self::new(session, Epoch(fanout.epoch), head, &fanout.events)?;
        batch.typing.clone_from(&fanout.typing);
        Ok(batch)
    }

    /// Events as they stand in the log.
    ///
    /// # Errors
    /// One cannot be read.
    pub(crate) fn new(
        session: SessionId,
        epoch: Epoch,
        head: EventNumber,
        events: &[Bytes],
    ) -> Result<Self, DecodeError> {
        let bytes = events.iter().map(Bytes::len).sum::<usize>().saturating_add(OVERHEAD_BYTES);
        let events = events.iter().map(decode_event).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            session,
            epoch,
            head,
            events,
            bytes,
            encoded: Mutex::default(),
            second: Mutex::default(),
            typing: None,
            changes: None,
        })
    }

    /// Changes in lists.
    pub(crate) fn of_changes(fanout: pb::Fanout) -> Self {
        let texts = fanout.listed.iter().map(Message::encoded_len).sum::<usize>();
        Self {
            session: SessionId::new(PlacementKey(0), 0),
            epoch: Epoch(0),
            head: EventNumber::NONE,
            events: Vec::new(),
            bytes: texts.saturating_add(OVERHEAD_BYTES),
            encoded: Mutex::default(),
            second: Mutex::default(),
            typing: None,
            changes: Some(Changes { listed: fanout.listed, missed: fanout.listed_missed }),
        }
    }

    /// The frames of one of the events. Sockets that see the same share the same bytes.
    pub(crate) fn frames(&self, event: &Event, view: &LegacyView<'_>) -> Vec<Bytes> {
        let key = View {
            n: event.n,
            time_ms: view.time_ms(event.n, event.stamp),
            role: view.role,
            own: subject(event) == Some(view.user),
        };
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frames)) = encoded.iter().find(|(known, _)| *known == key) {
            return frames.clone();
        }
        let frames: Vec<_> = view.frames(event).collect();
        encoded.push((key, frames.clone()));
        frames
    }
}

impl Batch {
    /// The frame of one of the events in the second dialect: the same bytes for all who may see the same.
    pub(crate) fn v2_frame(&self, event: &Event, viewer: Viewer) -> Bytes {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let known = second.iter().find(|(n, known, _)| *n == event.n && *known == viewer);
        if let Some((.., frame)) = known {
            return frame.clone();
        }
        let frame = event_frame(self.session, self.epoch, event, viewer);
        second.push((event.n, viewer, frame.clone()));
        frame
    }
}

/// The one user whom an event shows differently.
fn subject(event: &Event) -> Option<UserKey> {
    match &event.kind {
        EventKind::Joined { user, .. } | EventKind::Left { user, .. } => Some(*user),
        EventKind::Said(said) => Some(said.user),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use stentor_protocol::{Device, OutSender};
    use stentor_types::{Audience, ClockSegment, Stamp};
    use stentor_wire::encode_event;

    use super::*;

    const BOT: OutSender<'static> =
        OutSender { device: Device::Bot, user_id: "bot", display_name: None, avatar_path: None };

    fn view(clock: &[ClockSegment]) -> LegacyView<'_> {
        LegacyView { user: UserKey([1; 16]), role: Role::Visitor, clock, bot: BOT }
    }

    #[test]
    fn equal_views_share_bytes_and_different_clocks_do_not() {
        let kind = EventKind::Replied {
            turn: EventNumber(1),
            body: Bytes::from_static(b"{}"),
            handoff: false,
        };
        let event = Event { n: EventNumber(2), stamp: Stamp(1_000), audience: Audience::All, kind };
        let session = SessionId::new(PlacementKey(1), 1);
        let batch = Batch::new(session, Epoch(1), EventNumber(2), &[encode_event(&event)]).unwrap();
        let ahead = ClockSegment { offset_ms: 500, ..ClockSegment::IDENTITY };
        let here = batch.frames(&event, &view(&[]));
        let again = batch.frames(&event, &view(&[ClockSegment::IDENTITY]));
        let there = batch.frames(&event, &view(&[ahead]));
        assert!(here.iter().zip(&again).all(|(one, other)| one.as_ptr() == other.as_ptr()));
        assert_ne!(here, there);
        assert!(there.iter().all(|frame| frame.ends_with(b"\"timeMs\":1500}")), "{there:?}");
    }
}
