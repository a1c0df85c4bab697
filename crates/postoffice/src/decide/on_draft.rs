//! An agent deals with an answer of the bot that came too late, or ends the conversation.

use stentor_types::{
    Alias, Audience, Control, DraftAction, DraftEnd, EventKind, EventNumber, RejectCode, Reply,
    UserKey,
};

use super::Decision;

impl Decision<'_> {
    pub(super) fn on_draft(
        &mut self,
        user: UserKey,
        turn: EventNumber,
        action: DraftAction,
    ) -> Reply {
        if !self.may_work(user) {
            return Reply::Rejected(RejectCode::NotPermitted);
        }
        // Dealt with already, by them or by somebody else.
        let Some(body) = self.state.drafts.get(&turn).cloned() else { return Reply::Nothing };
        let alias = self.alias(user);
        let done = |how| EventKind::DraftDone { turn, user, alias: alias.clone(), how };
        let n = match action {
            DraftAction::Send if !self.holds_control(user) => {
                return Reply::Rejected(RejectCode::NotInControl);
            }
            DraftAction::Send => {
                let alias = alias.clone();
                self.emit(Audience::All, EventKind::DraftSent { turn, user, alias, body })
            }
            DraftAction::Dismiss => self.emit(Audience::Staff, done(DraftEnd::Dismissed)),
            DraftAction::Edited => self.emit(Audience::Staff, done(DraftEnd::Edited)),
        };
        Reply::Committed(n)
    }

    /// The people go. What the bot still works on may come.
    pub(super) fn on_end(&mut self, user: UserKey) -> Reply {
        if !self.may_work(user) {
            return Reply::Rejected(RejectCode::NotPermitted);
        }
        if self.state.ended {
            return Reply::Nothing;
        }
        let alias = self.alias(user);
        if let Control::Agents(agents) = self.state.control.clone() {
            for agent in agents {
                self.release(agent, false);
            }
        }
        Reply::Committed(self.emit(Audience::All, EventKind::Ended { user, alias }))
    }

    pub(super) fn alias(&self, user: UserKey) -> Alias {
        match self.state.participants.get(&user) {
            Some(participant) => participant.alias.clone(),
            None => Alias::of(&self.session, user),
        }
    }

    pub(super) fn holds_control(&self, user: UserKey) -> bool {
        matches!(&self.state.control, Control::Agents(agents) if agents.contains(&user))
    }
}
