//! What one widget has been shown of its session, and what it is still to be shown.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use stentor_apps::App;
use stentor_protocol::{Device, LegacyView, OutSender};
use stentor_types::{
    ClockSegment, Epoch, Event, EventKind, EventNumber, Role, SessionId, Stamp, UserKey,
};
use stentor_wire::{DecodeError, clock_from_pb, decode_event, pb, session_id};

use crate::{batch::Batch, engine::Frames};

/// The bot's id towards widgets: always the same, or failures are drawn once per id.
const BOT_USER_ID: &str = "bot";
/// Measurements of a clock that are kept; the older ones matter for old events only.
const CLOCK_SEGMENTS_MAX: usize = 32;

/// The session that a connection is attached to.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) session: SessionId,
    pub(super) epoch: Epoch,
    /// The last event that was written, or was not for this widget.
    pub(super) last: EventNumber,
    clock: Vec<ClockSegment>,
    /// The highest stamp that the widget was shown, in its own time.
    shown_ms: i64,
    backlog: Option<Box<Backlog>>,
}

/// What is written before anything new.
#[derive(Debug, Default)]
struct Backlog {
    /// Encoded events to be shown again.
    replay: VecDeque<Bytes>,
    /// Shown after them.
    typing: Option<Bytes>,
    /// Shown after that; the first may be incomplete.
    batches: VecDeque<Arc<Batch>>,
}

/// What stands between the last event and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Nothing,
    /// These events, both ends included.
    Events(EventNumber, EventNumber),
    /// The numbering began anew.
    Everything,
    /// All of it, for good: it was erased.
    Erased,
}

// === impl Shown ===

impl Shown {
    /// A session just attached to: says so, and keeps the replay for [`Shown::refill`]. `before` is what
    /// the same connection was shown of the same session until now.
    pub(super) fn attached(
        reply: pb::AttachedReply,
        before: Option<Self>,
        viewer: (UserKey, Role),
        app: &App,
        frames: &mut Frames,
    ) -> Result<Self, DecodeError> {
        let (n, stamp) = (EventNumber(reply.n), Stamp(reply.stamp));
        let mut shown = Self {
            session: session_id(&reply.session)?,
            epoch: Epoch(reply.epoch),
            last: n,
            clock: reply.segments.iter().map(clock_from_pb).collect(),
            shown_ms: i64::MIN,
            backlog: None,
        };
        if let Some(before) = before {
            // What was not shown yet is shown as new, not again.
            shown.last = before.last;
            shown.shown_ms = before.shown_ms;
        }
        let view = view(viewer, &shown.clock, app);
        for frame in view.attached(n, stamp) {
            frames.push(frame);
        }
        let typing = reply.typing.then(|| view.typing(n, stamp));
        shown.shown_ms = shown.shown_ms.max(view.time_ms(n, stamp).saturating_add(1));
        if !reply.replay.is_empty() || typing.is_some() {
            let replay = reply.replay.into();
            shown.backlog = Some(Box::new(Backlog { replay, typing, batches: VecDeque::new() }));
        }
        Ok(shown)
    }

    /// The same session was attached to again, unnoticed by the widget.
    pub(super) fn attached_again(&mut self, reply: &pb::AttachedReply) {
        self.clock = reply.segments.iter().map(clock_from_pb).collect();
    }

    /// Whether something is to be written before what is new.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Adds to what is written before what is new.
    pub(super) fn put_back(&mut self, batches: impl IntoIterator<Item = Arc<Batch>>) {
        self.backlog.get_or_insert_default().batches.extend(batches);
    }

    /// Adds events that were fetched, before those that wait for them.
    pub(super) fn put_first(&mut self, batch: Batch) {
        self.backlog.get_or_insert_default().batches.push_front(Arc::new(batch));
    }

    /// Writes a piece of what is to be written before what is new.
    pub(super) fn refill(
        &mut self,
        viewer: (UserKey, Role),
        app: &App,
        frames: &mut Frames,
    ) -> Missing {
        while frames.is_empty() {
            let Some(backlog) = &mut self.backlog else { return Missing::Nothing };
            if let Some(bytes) = backlog.replay.pop_front() {
                // An event that cannot be read is not one that a widget could be shown.
                let Ok(event) = decode_event(&bytes) else { continue };
                if event.n <= self.last {
                    let view = view(viewer, &self.clock, app);
                    self.shown_ms = self.shown_ms.max(view.time_ms(event.n, event.stamp));
                    view.replay(&event).into_iter().for_each(|frame| frames.push(frame));
                }
            } else if let Some(typing) = backlog.typing.take() {
                frames.push(typing);
            } else if let Some(batch) = backlog.batches.pop_front() {
                let missing = self.show(&batch, viewer, app, frames);
                if missing != Missing::Nothing {
                    self.backlog.get_or_insert_default().batches.push_front(batch);
                    return missing;
                }
            } else {
                self.backlog = None;
            }
        }
        Missing::Nothing
    }

    /// Writes what is new in a batch, up to the first event that is missing before it.
    pub(super) fn show(
        &mut self,
        batch: &Batch,
        viewer: (UserKey, Role),
        app: &App,
        frames: &mut Frames,
    ) -> Missing {
        if batch.session != self.session {
            return Missing::Nothing;
        }
        if batch.epoch != self.epoch {
            // A late one of the old numbering is over; a new numbering has to be attached to.
            return if batch.epoch > self.epoch { Missing::Everything } else { Missing::Nothing };
        }
        if batch.events.iter().any(|event| event.kind == EventKind::Erased) {
            return Missing::Erased;
        }
        for event in &batch.events {
            if event.n <= self.last {
                continue;
            }
            if event.n > self.last.next() {
                return Missing::Events(self.last.next(), EventNumber(event.n.0.saturating_sub(1)));
            }
            self.show_event(batch, event, viewer, app, frames);
            self.last = event.n;
        }
        if batch.head > self.last {
            return Missing::Events(self.last.next(), batch.head);
        }
        Missing::Nothing
    }

    fn show_event(
        &mut self,
        batch: &Batch,
        event: &Event,
        viewer: (UserKey, Role),
        app: &App,
        frames: &mut Frames,
    ) {
        if let EventKind::Clock { user: whose, segment } = &event.kind
            && *whose == viewer.0
        {
            if self.clock.len() >= CLOCK_SEGMENTS_MAX {
                self.clock.remove(0);
            }
            self.clock.push(*segment);
        }
        let view = view(viewer, &self.clock, app);
        let time_ms = view.time_ms(event.n, event.stamp);
        for frame in batch.frames(event, &view) {
            self.shown_ms = self.shown_ms.max(time_ms);
            frames.push(frame);
        }
    }

    /// A stamp for something that only this connection is told, above all that it was shown. Odd, as
    /// no event's is.
    pub(super) fn notice_ms(&mut self, now_ms: i64) -> i64 {
        let offset = ClockSegment::at(&self.clock, self.last.next()).offset_ms;
        let stamp = odd_above(self.shown_ms, now_ms.saturating_add(offset));
        self.shown_ms = stamp;
        stamp
    }
}

/// The first odd number that is above the one and not below the other.
pub(super) fn odd_above(above: i64, not_below: i64) -> i64 {
    above.saturating_add(1).max(not_below) | 1
}

/// The bot, or the app itself, as widgets see it.
pub(super) fn bot(app: &App) -> OutSender<'_> {
    OutSender {
        device: Device::Bot,
        user_id: BOT_USER_ID,
        display_name: Some(app.bot_name()),
        avatar_path: app.bot.as_ref().and_then(|bot| bot.avatar.as_deref()),
    }
}

fn view<'a>(
    (user, role): (UserKey, Role),
    clock: &'a [ClockSegment],
    app: &'a App,
) -> LegacyView<'a> {
    LegacyView { user, role, clock, bot: bot(app) }
}
