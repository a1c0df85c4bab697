//! All that was said and done is erased; and what an erased session still answers.

use stentor_types::{Audience, EventKind, InputKind, RejectCode, Reply};

use super::Decision;

impl Decision<'_> {
    /// The last event of all. An attempt to ask the bot that is out is forgotten with the rest: its outcome finds
    /// nothing that it could end.
    pub(super) fn on_erase(&mut self) -> Reply {
        if self.state.visitor.is_none() {
            return Reply::Rejected(RejectCode::NoSession);
        }
        let n = self.emit(Audience::All, EventKind::Erased);
        // What was decided together with it is written together with it: only the numbers may be.
        self.commit.requests.clear();
        for event in &mut self.commit.events {
            (event.audience, event.kind) = (Audience::All, EventKind::Erased);
        }
        Reply::Committed(n)
    }

    /// Nothing is added any more, so nothing here makes an event. Who knows the id of the session may see how many
    /// there were; who only knows a visitor is told that there is nothing to come back to.
    pub(super) fn on_erased(&self, input: &InputKind) -> Reply {
        match input {
            InputKind::Attach(attach) if attach.existing => Reply::Committed(self.state.n),
            InputKind::Erase => Reply::Duplicate(Some(self.state.n)),
            InputKind::Attach(_)
            | InputKind::Say(_)
            | InputKind::Refuse { .. }
            | InputKind::Control(_)
            | InputKind::Draft { .. }
            | InputKind::End { .. } => Reply::Rejected(RejectCode::Erased),
            InputKind::Detach { .. }
            | InputKind::GatewayLost { .. }
            | InputKind::Outcome { .. }
            | InputKind::Tick => Reply::Nothing,
        }
    }
}
