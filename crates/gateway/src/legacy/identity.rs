//! Who a legacy connection belongs to.

use stentor_types::{SessionId, Visitor};
use stentor_wire::pb;

use crate::identify::{Claim, Principal};

/// Who a connection belongs to. `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) visitor: Visitor,
    /// The id under which the bot knows them. A secret.
    pub(crate) bot_user: Box<str>,
    /// By whose word; nothing for visitors who only say who they are.
    pub(super) principal: Option<Box<Principal>>,
    /// What makes them an agent.
    pub(super) agent: Option<Agent>,
}

/// An agent on a page about one session.
#[derive(Clone, Copy)]
pub(super) struct Agent {
    /// Which, if the server URL says so.
    pub(super) session: Option<SessionId>,
}

// === impl Identity ===

impl Identity {
    /// Somebody who only says who they are.
    pub(crate) const fn claimed(visitor: Visitor, bot_user: Box<str>) -> Self {
        Self { visitor, bot_user, principal: None, agent: None }
    }

    /// Somebody whom the operator vouches for.
    pub(super) fn vouched(principal: Principal) -> Self {
        let (visitor, bot_user) = (principal.visitor, principal.bot_user.clone());
        Self { visitor, bot_user, principal: Some(Box::new(principal)), agent: None }
    }

    /// An agent. Each of their browsers is somebody of its own: what the widget shows as joined or left is the
    /// page's, and must not follow what they do in another.
    pub(super) fn agent(principal: Principal, claim: &Claim, session: Option<SessionId>) -> Self {
        let browser = claim.identity(&principal.app).visitor.user;
        let user = format!("staff page\0{}\0{browser}", principal.bot_user);
        let visitor = Visitor::of(&principal.app, &user);
        let bot_user = visitor.user.to_string().into();
        let agent = Some(Agent { session });
        Self { visitor, bot_user, principal: Some(Box::new(principal)), agent }
    }

    /// What they are in a session.
    pub(super) const fn role(&self) -> pb::Role {
        if self.agent.is_some() { pb::Role::Agent } else { pb::Role::Visitor }
    }

    /// They may do no more than listen.
    pub(super) fn listens(&self) -> bool {
        self.agent.is_some() && self.principal.as_ref().is_some_and(|who| !who.may_work())
    }

    /// The name that the operator gave them.
    pub(super) fn name(&self) -> Option<String> {
        self.principal.as_ref().and_then(|principal| principal.display_name.clone())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").finish_non_exhaustive()
    }
}
