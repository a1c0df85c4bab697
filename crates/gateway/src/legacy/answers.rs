//! What the owner of a session answers to a member, and what follows from it.

use std::sync::Arc;

use stentor_cluster::Ingress;
use stentor_types::{Epoch, EventNumber, SessionId};
use stentor_wire::{pb, pb::input_reply};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    inbound::Inbound,
    member::{Asked, ERASED, FUTILE_MAX, GONE, Member, STALE},
    shown::Shown,
};
use crate::{
    asking::Answer,
    batch::Batch,
    engine::{Closing, Frames},
    metrics::{CloseReason, Refusal},
    shared,
};

impl<B: Ingress> Member<B> {
    pub(super) fn answered(
        &mut self,
        asked: Asked,
        answer: Answer,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let results = match answer {
            Answer::Inputs(results) => results,
            // Nobody has seen it: it has used up no number.
            Answer::TooLarge if asked == Asked::Says => {
                self.in_doubt = 0;
                self.queue.pop();
                self.refuse(Refusal::TooLong, frames);
                return Ok(());
            }
            // Asking again would be answered the same.
            Answer::Malformed
            | Answer::TooLarge
            | Answer::Events(_)
            | Answer::List(_)
            | Answer::Erased(_) => {
                if asked == Asked::Return {
                    return Err(STALE);
                }
                self.in_doubt = 0;
                self.queue.pop();
                self.refuse(Refusal::Message, frames);
                return Ok(());
            }
        };
        let kinds = results.into_iter().map(|result| result.kind);
        match asked {
            Asked::Attach { aloud } => {
                let kind = kinds.into_iter().next().flatten();
                self.attach_answered(aloud, kind, frames)
            }
            Asked::Return => {
                let kind = kinds.into_iter().next().flatten();
                self.return_answered(kind, frames)
            }
            Asked::Says => {
                for kind in kinds {
                    if !self.say_answered(kind, frames)? {
                        break;
                    }
                }
                Ok(())
            }
            Asked::Control => {
                let kind = kinds.into_iter().next().flatten();
                self.control_answered(kind, frames)
            }
            Asked::Leave => {
                if let Some(Inbound::Leave { session, .. }) = self.queue.pop() {
                    self.shown.take_if(|shown| shown.session == session);
                }
                Ok(())
            }
        }
    }

    fn attach_answered(
        &mut self,
        aloud: bool,
        kind: Option<input_reply::Kind>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let (claimed, is_bare) = match self.queue.first() {
            Some(
                Inbound::Join(greeting) | Inbound::Say(greeting, _) | Inbound::Control(greeting, _),
            ) => (Some(greeting.claimed.clone()), false),
            _ => (None, true),
        };
        match kind {
            Some(input_reply::Kind::Attached(reply)) => {
                let Ok(session) = stentor_wire::session_id(&reply.session) else {
                    return Err(STALE);
                };
                if aloud {
                    self.queue.pop();
                }
                if is_bare && !self.queue.is_empty() {
                    // A frame came after all. It may name another session, so nothing of this one is
                    // shown.
                    self.queue.push_first(Inbound::Leave { session, at: shared::now() });
                    return Ok(());
                }
                self.claimed = claimed;
                self.attached(session, reply, aloud, frames)
            }
            Some(input_reply::Kind::NoSession(_)) => {
                self.in_doubt = 0;
                self.queue.pop();
                Ok(())
            }
            Some(input_reply::Kind::Rejected(code))
                if code == i32::from(pb::RejectCode::TooManyConnections) =>
            {
                self.shared.metrics.refused(Refusal::UserConnections);
                Err(CROWDED)
            }
            _ => {
                // What cannot be attached cannot be asked again either.
                self.in_doubt = 0;
                self.queue.pop();
                self.refuse(Refusal::Message, frames);
                Ok(())
            }
        }
    }

    /// What became of the place in the session under the gateway's new name.
    fn return_answered(
        &mut self,
        kind: Option<input_reply::Kind>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        // Without it the widget would be told nothing any more: it comes back by itself.
        let Some(input_reply::Kind::Attached(reply)) = kind else { return Err(STALE) };
        let session = stentor_wire::session_id(&reply.session).map_err(|_| STALE)?;
        self.attached(session, reply, false, frames)
    }

    fn attached(
        &mut self,
        session: SessionId,
        reply: pb::AttachedReply,
        aloud: bool,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        let Some(app) = self.shared.app(&self.app) else { return Err(GONE) };
        // What happened while the session did not know the connection was fanned out to others only.
        let missed = std::mem::take(&mut self.forgotten) | std::mem::take(&mut self.renamed);
        let (epoch, head) = (Epoch(reply.epoch), EventNumber(reply.n));
        let before = self.shown.take();
        let (same, other) = match before {
            Some(shown) if shown.session == session => {
                (Some(shown).filter(|shown| shown.epoch.0 == reply.epoch), None)
            }
            other => (None, other),
        };
        if let Some(other) = other {
            self.queue.push_first(Inbound::Leave { session: other.session, at: shared::now() });
        }
        if same.is_none() {
            // Events of another session, or of another numbering.
            self.fetching = None;
            self.looking = false;
        }
        let mut shown = match same {
            Some(mut same) if !aloud => {
                same.attached_again(&reply);
                same
            }
            before => {
                let shown = Shown::attached(reply, before, self.viewer(), &app, frames);
                shown.map_err(|_| STALE)?
            }
        };
        if missed && shown.last < head {
            let head = Batch::new(session, epoch, head, &[]).map_err(|_| STALE)?;
            shown.put_back([Arc::new(head)]);
        }
        self.shown = Some(shown);
        Ok(())
    }

    fn control_answered(
        &mut self,
        kind: Option<input_reply::Kind>,
        frames: &mut Frames,
    ) -> Result<(), Closing> {
        use input_reply::Kind;
        match kind {
            Some(Kind::AttachFirst(_)) => {
                self.forgotten = true;
                self.futile = self.futile.saturating_add(1);
                return if self.futile < FUTILE_MAX { Ok(()) } else { Err(STALE) };
            }
            Some(Kind::Committed(_) | Kind::Nothing(_)) => {}
            _ => self.refuse(Refusal::Message, frames),
        }
        self.futile = 0;
        self.queue.pop();
        Ok(())
    }

    /// What became of the first message in the queue. False: it stays there.
    fn say_answered(
        &mut self,
        kind: Option<input_reply::Kind>,
        frames: &mut Frames,
    ) -> Result<bool, Closing> {
        use input_reply::Kind;
        match kind {
            Some(Kind::Committed(_) | Kind::Duplicate(_)) => {}
            Some(Kind::AttachFirst(_) | Kind::Gap(_)) => {
                self.forgotten = true;
                self.futile = self.futile.saturating_add(1);
                return if self.futile < FUTILE_MAX { Ok(false) } else { Err(STALE) };
            }
            Some(Kind::TryAgainMs(_)) => return Ok(false),
            Some(Kind::Rejected(code)) if code == i32::from(pb::RejectCode::Erased) => {
                return Err(ERASED);
            }
            _ => self.refuse(Refusal::Message, frames),
        }
        self.futile = 0;
        self.in_doubt = self.in_doubt.saturating_sub(1);
        self.taken = self.taken.saturating_add(1);
        self.queue.pop();
        Ok(true)
    }
}

/// The widget comes back later.
const CROWDED: Closing = Closing {
    code: CloseCode::Again,
    text: "too many connections in this session",
    reason: CloseReason::Refused,
};
