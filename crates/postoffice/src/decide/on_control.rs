//! Somebody takes or gives back control.

use std::collections::BTreeSet;

use stentor_types::{
    Audience, Control, ControlChange, EventKind, RejectCode, Reply, Role, TurnEnd, UserKey,
};

use super::Decision;

impl Decision<'_> {
    pub(super) fn on_control(&mut self, change: ControlChange) -> Reply {
        let before = self.state.n;
        match change {
            // Somebody who is not here could never leave, and nobody would answer the visitor.
            ControlChange::Take(user) if !self.is_agent(user) => {
                return Reply::Rejected(RejectCode::NotPermitted);
            }
            ControlChange::Take(user) => self.take_control(user),
            ControlChange::Release(user) => self.release(user),
        }
        if self.state.n == before { Reply::Nothing } else { Reply::Committed(self.state.n) }
    }

    fn is_agent(&self, user: UserKey) -> bool {
        self.state
            .participants
            .get(&user)
            .is_some_and(|participant| participant.role == Role::Agent)
    }

    fn take_control(&mut self, user: UserKey) {
        let (agents, epoch) = match &self.state.control {
            Control::Agents(agents) if agents.contains(&user) => return,
            Control::Agents(agents) => {
                let mut agents = agents.clone();
                agents.insert(user);
                (agents, self.state.control_epoch)
            }
            Control::Bot => (BTreeSet::from([user]), self.state.control_epoch.next()),
        };
        let open =
            self.state.turn.as_ref().filter(|turn| turn.control_epoch == self.state.control_epoch);
        if let Some(turn) =
            open.filter(|_| self.state.control == Control::Bot).map(|turn| turn.request.n)
        {
            self.emit(Audience::All, EventKind::TurnEnded { turn, how: TurnEnd::Interrupted });
        }
        let control = Control::Agents(agents);
        self.emit(Audience::Staff, EventKind::ControlChanged { control, epoch });
    }

    /// Takes `user` out of the set; the bot answers again when it is empty.
    pub(super) fn release(&mut self, user: UserKey) {
        let Control::Agents(agents) = &self.state.control else { return };
        let mut agents = agents.clone();
        if !agents.remove(&user) {
            return;
        }
        let (control, epoch) = if agents.is_empty() {
            (Control::Bot, self.state.control_epoch.next())
        } else {
            (Control::Agents(agents), self.state.control_epoch)
        };
        self.emit(Audience::Staff, EventKind::ControlChanged { control, epoch });
    }
}
