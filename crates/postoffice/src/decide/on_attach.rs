//! A connection wants to take part.

use stentor_types::{Alias, Attach, Audience, EventKind, RejectCode, Reply, Role, Timestamp};

use super::Decision;
use crate::{
    fold::shortened,
    rules::{ENDPOINTS_MAX, NAME_BYTES_MAX},
};

impl Decision<'_> {
    pub(super) fn on_attach(&mut self, attach: &Attach, at: Timestamp) -> Reply {
        let known = self.state.endpoints.get(&attach.connection);
        if known.is_some_and(|endpoint| endpoint.user != attach.user) {
            return Reply::Rejected(RejectCode::NotPermitted);
        }
        if known.is_none() && self.state.endpoints.len() >= ENDPOINTS_MAX {
            return Reply::Rejected(RejectCode::TooManyConnections);
        }
        if let Some(claim) = attach.client {
            let known = self.state.clients.get(&claim.instance);
            if known.is_some_and(|client| client.user != attach.user) {
                return Reply::Rejected(RejectCode::NotPermitted);
            }
            // It was forgotten; what became of its messages is not known any more.
            if known.is_none() && claim.last > 0 {
                return Reply::Rejected(RejectCode::Expired);
            }
        }
        match (self.state.visitor, attach.role) {
            // A session belongs to the visitor who opened it, and begins with them.
            (Some(visitor), Role::Visitor) if visitor != attach.user => {
                return Reply::Rejected(RejectCode::NotPermitted);
            }
            (None, _) if attach.existing || attach.role == Role::Agent => {
                return Reply::Rejected(RejectCode::NoSession);
            }
            (Some(_), _) => {}
            (None, _) => {
                let claimed = attach.claimed.clone();
                let opened = EventKind::Opened { visitor: attach.user, claimed };
                self.emit(Audience::Staff, opened);
            }
        }
        if let Some(client_time) = attach.client_time {
            self.measure_clock(attach.user, client_time, at);
        }
        if !self.state.participants.contains_key(&attach.user) {
            let joined = EventKind::Joined {
                user: attach.user,
                role: attach.role,
                alias: Alias::of(&self.session, attach.user),
                display_name: attach
                    .display_name
                    .as_deref()
                    .map(|name| shortened(name, NAME_BYTES_MAX).to_owned()),
                counted: self.is_counted(attach.role, 1),
            };
            // Agents listen without a trace: visitors see them when they step in.
            let audience = match attach.role {
                Role::Visitor => Audience::All,
                Role::Agent => Audience::Staff,
            };
            self.emit(audience, joined);
        }
        let attached = EventKind::Attached {
            connection: attach.connection,
            user: attach.user,
            // What was taken once is not taken again, whatever the gateway remembers.
            counter: attach.counter.max(self.state.counter(attach.connection)),
            permissions: attach.permissions,
            client: attach.client.map(|claim| claim.instance),
        };
        Reply::Committed(self.emit(Audience::Staff, attached))
    }
}
