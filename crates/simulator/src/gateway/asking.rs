//! What a gateway asks: one request per connection at a time, until it is answered.

use super::*;

/// What is to be asked next.
pub(super) struct Plan {
    pub(super) session: Option<SessionId>,
    pub(super) items: Vec<Item>,
    /// Wants at the front that it carries.
    pub(super) covered: usize,
}

// === impl World ===

impl World {
    /// Makes the next request of a connection if none is open.
    pub(super) fn pump(&mut self, number: u64) {
        let Some(connection) =
            self.connection(number).filter(|connection| connection.open.is_none())
        else {
            return;
        };
        let Some(front) = connection.wants.front().cloned() else { return };
        let second = connection.second.is_some();
        let plan = match front {
            Want::End => self.plan_end(number),
            front if second => self.plan_second(number, front),
            front => self.plan(number, front),
        };
        let Some(Plan { session, items, covered }) = plan else { return };
        let now = self.now;
        let told = self.ledger.told_so_far();
        let Some(gateway) = self.gateway.as_mut() else { return };
        gateway.requests += 1;
        let (id, life) = (gateway.requests, gateway.life);
        let Some(connection) = gateway.connections.get_mut(&number) else { return };
        let items = items.into_iter().map(|item| item.received(now)).collect();
        let request = Rc::new(Request {
            id,
            gateway: life,
            connection: connection.id,
            visitor: connection.visitor,
            role: connection.role,
            session,
            items,
        });
        connection.open =
            Some(Open { request: Rc::clone(&request), wants: covered, tries: 0, told });
        self.ask(life, number, request);
    }

    /// Out of the session, whatever the dialect; nothing if it is in none.
    fn plan_end(&mut self, number: u64) -> Option<Plan> {
        let connection = self.connection(number)?;
        let Some(session) = connection.session else {
            self.hang_up(number);
            return None;
        };
        let delivered = (connection.written.0 > 0).then_some(connection.written);
        let items = vec![Item::Detach { at: Timestamp(0), delivered }];
        Some(Plan { session: Some(session), items, covered: 1 })
    }

    /// The next request of a legacy connection.
    fn plan(&mut self, number: u64, front: Want) -> Option<Plan> {
        let connection = self.connection(number)?;
        let counter = connection.settled;
        let joining = |claimed, at, time| {
            let joining =
                Joining { at, claimed, client_time: time, counter, client: None, listens: false };
            Item::Attach(joining)
        };
        let agent_session = connection.agent_session;
        let attach = |claimed, at, time, covered| {
            let items = vec![joining(claimed, at, time)];
            Some(Plan { session: agent_session, items, covered })
        };
        match front {
            Want::Bare => attach(None, Timestamp(0), None, 1),
            Want::Join { at, claimed, time } => attach(claimed, at, time, 1),
            Want::Leave { session, delivered } => {
                let delivered = (delivered.0 > 0).then_some(delivered);
                let items = vec![Item::Detach { at: Timestamp(0), delivered }];
                Some(Plan { session: Some(session), items, covered: 1 })
            }
            Want::Say(first) => match connection.session {
                Some(session) if connection.claimed == first.claimed => {
                    let again = connection
                        .must_attach
                        .then(|| joining(first.claimed.clone(), first.at, None));
                    let says = connection.wants.iter().map_while(|want| match want {
                        Want::Say(say) if say.claimed == first.claimed => Some(say.clone()),
                        _ => None,
                    });
                    let says: Vec<_> = says.take(SAYS_MAX).collect();
                    self.plan_says(number, session, again, says)
                }
                _ => attach(first.claimed, first.at, first.time, 0),
            },
            Want::Open(_) | Want::Act { .. } | Want::End => None,
        }
    }

    /// Messages, behind an attachment if the session does not know the connection any more.
    pub(super) fn plan_says(
        &mut self,
        number: u64,
        session: SessionId,
        again: Option<Item>,
        says: Vec<Saying>,
    ) -> Option<Plan> {
        let covered = says.len();
        let mut items: Vec<_> = again.into_iter().collect();
        for say in says {
            items.push(self.rebuilt(number, session, &say)?);
        }
        Some(Plan { session: Some(session), items, covered })
    }

    fn rebuilt(&mut self, number: u64, session: SessionId, say: &Saying) -> Option<Item> {
        let connection = self.connection(number)?;
        let claim = connection.second.as_ref().and_then(|second| second.claim);
        let client = claim.map_or(connection.id.into(), |claim| claim.instance);
        let mid = Mid { client, counter: say.counter };
        if claim.is_some() && say.data.is_empty() {
            return Some(Item::Refuse { at: say.at, mid });
        }
        let id = session.to_string();
        let identity = RequestIdentity { user_id: &connection.user_id, session_id: &id };
        let Ok(request) = rebuild(&say.data, identity) else {
            self.violate("I18", format!("message {} cannot be rebuilt", say.message));
            return None;
        };
        let visitor = connection.role == Role::Visitor;
        Some(Item::Say {
            at: say.at,
            say: Say {
                connection: connection.id,
                mid,
                client_time: say.time,
                text: request.text,
                greeting: request.is_greeting,
                note: say.note,
                body: request.for_record,
                request: if visitor { request.for_bot } else { Bytes::new() },
            },
        })
    }

    fn ask(&mut self, gateway: u64, connection: u64, request: Rc<Request>) {
        let id = request.id;
        if let Some(owner) = self.route() {
            self.send(Job::Request { owner, request });
        }
        let again = Job::RequestAgain { gateway, connection, request: id };
        self.after(AGAIN_US, again);
    }

    /// Who is asked: the owner, or one that believes to be it.
    pub(crate) fn route(&mut self) -> Option<u64> {
        let misled = self.rng.percent(25);
        let oldest = self.owners.keys().next().copied();
        if misled { oldest } else { self.current_owner() }
    }

    /// No answer so far: the same request again.
    pub(crate) fn request_again(&mut self, number: u64, id: u64) {
        let Some(connection) = self.connection(number) else { return };
        let Some(open) = connection.open.as_mut().filter(|open| open.request.id == id) else {
            return;
        };
        open.tries += 1;
        let tries = open.tries;
        if connection.gives_up(tries) {
            self.give_up_request(number);
            return;
        }
        if tries > TRIES_MAX {
            self.violate("I4", format!("request {id} of connection {number} is never answered"));
            return;
        }
        let Some(open) = &connection.open else { return };
        let request = Rc::clone(&open.request);
        self.ask(request.gateway, number, request);
    }
}

// === impl Item ===

impl Item {
    /// What has no time of its own is stamped when it is asked for.
    fn received(self, now: Timestamp) -> Self {
        match self {
            Self::Attach(joining) if joining.at == Timestamp(0) => {
                Self::Attach(Joining { at: now, ..joining })
            }
            Self::Detach { at: Timestamp(0), delivered } => Self::Detach { at: now, delivered },
            other => other,
        }
    }
}
