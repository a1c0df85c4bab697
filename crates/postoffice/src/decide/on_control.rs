//! Somebody takes or gives back control.

use std::collections::BTreeSet;

use stentor_types::{
    Audience, Control, ControlChange, EventKind, RejectCode, Reply, Role, TurnEnd, UserKey,
};

use super::Decision;
use crate::{fold::shortened, rules::NAME_BYTES_MAX};

impl Decision<'_> {
    pub(super) fn on_control(&mut self, change: &ControlChange) -> Reply {
        let before = self.state.n;
        match change {
            // Somebody who is not here could never leave, and nobody would answer the visitor.
            ControlChange::Take { user, .. } if !self.may_work(*user) => {
                return Reply::Rejected(RejectCode::NotPermitted);
            }
            ControlChange::Take { user, display_name } => {
                self.take_control(*user, display_name.as_deref());
            }
            ControlChange::Release { user } => self.release(*user, false),
        }
        if self.state.n == before { Reply::Nothing } else { Reply::Committed(self.state.n) }
    }

    /// Whether a user is an agent who is here and may do more than listen.
    pub(super) fn may_work(&self, user: UserKey) -> bool {
        let participant = self.state.participants.get(&user);
        participant.is_some_and(|participant| participant.role == Role::Agent)
            && self
                .state
                .endpoints
                .values()
                .any(|endpoint| endpoint.user == user && endpoint.permissions.sends)
    }

    pub(super) fn take_control(&mut self, user: UserKey, display_name: Option<&str>) {
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
        let known = self.state.participants.get(&user).and_then(|known| known.display_name.clone());
        let display_name =
            display_name.map(|name| shortened(name, NAME_BYTES_MAX).to_owned()).or(known);
        let alias = self.alias(user);
        self.emit(Audience::All, EventKind::SteppedIn { user, alias, display_name });
    }

    /// Takes `user` out of the set; the bot answers again when it is empty. `lapsed`: they did not ask for it.
    pub(super) fn release(&mut self, user: UserKey, lapsed: bool) {
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
        let display_name =
            self.state.participants.get(&user).and_then(|known| known.display_name.clone());
        let alias = self.alias(user);
        self.emit(Audience::All, EventKind::SteppedOut { user, alias, display_name, lapsed });
    }
}
