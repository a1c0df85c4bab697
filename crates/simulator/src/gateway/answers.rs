//! What a gateway does with the answers of the router.

use super::*;

impl World {
    /// An owner has answered.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        let Some(gateway) = self.gateway.as_mut().filter(|gateway| gateway.owner <= answer.owner)
        else {
            return;
        };
        gateway.owner = answer.owner;
        let number = answer.connection;
        let Some(connection) = self.connection(number) else { return };
        let Some(open) = connection.open.take_if(|open| open.request.id == answer.request) else {
            return;
        };
        if connection.second.is_some() {
            self.answered_second(number, &open, &answer.results);
            return;
        }
        let mut done = 0;
        let mut again = false;
        let mut leave = None;
        let request = &open.request;
        for (item, result) in request.items.iter().zip(&answer.results) {
            let Some(connection) = self.connection(number) else { return };
            match (item, result) {
                (Item::Attach(joining), ItemAnswer::Attached(attached)) => {
                    self.check_join(&open, attached);
                    let Some(connection) = self.connection(number) else { return };
                    let claimed = &joining.claimed;
                    done += usize::from(request.items.len() == 1);
                    connection.must_attach = false;
                    if connection.claimed.is_none() || claimed.is_some() {
                        connection.claimed.clone_from(claimed);
                    }
                    leave = leave.or(self.attached(number, attached));
                }
                (Item::Attach(_), ItemAnswer::NoSession) => {
                    done += 1;
                    let time = i64::try_from(self.now.as_millis()).unwrap_or(0) | 1;
                    self.write(number, outgoing::connection_update(true, None, time));
                }
                (Item::Say { say, .. }, ItemAnswer::Committed(n)) => {
                    done += 1;
                    connection.settled = say.mid.counter;
                    self.acked(None, say.mid, Some(*n));
                }
                (Item::Say { say, .. }, ItemAnswer::Duplicate(n)) => {
                    done += 1;
                    connection.settled = say.mid.counter;
                    self.acked(None, say.mid, *n);
                }
                (Item::Say { say, .. }, ItemAnswer::Rejected(_)) => {
                    done += 1;
                    connection.settled = say.mid.counter;
                    self.acked(None, say.mid, None);
                }
                (Item::Say { .. }, ItemAnswer::AttachFirst) => {
                    connection.must_attach = true;
                    break;
                }
                (Item::Detach { .. }, ItemAnswer::Committed(_) | ItemAnswer::Nothing) => done += 1,
                (_, ItemAnswer::TryAgain | ItemAnswer::Gap(_)) => {
                    again = true;
                    break;
                }
                (item, result) => {
                    let message = format!("connection {number}: {item:?} is answered {result:?}");
                    self.violate("I4", message);
                    return;
                }
            }
        }
        if again {
            self.again(number, &open, done);
            return;
        }
        let Some(connection) = self.connection(number) else { return };
        for _ in 0..done.min(open.wants) {
            if let Some(Want::End) = connection.wants.pop_front() {
                self.hang_up(number);
                return;
            }
        }
        if let Some(want) = leave {
            connection.wants.push_front(want);
        }
        self.pump(number);
    }

    /// Once more after a pause: for the same inputs, but those that are settled.
    pub(super) fn again(&mut self, number: u64, open: &Open, done: usize) {
        let Some(connection) = self.connection(number) else { return };
        let wants = open.wants.saturating_sub(done);
        connection.wants.drain(..done.min(open.wants));
        let request = &open.request;
        let items = request.items.iter().skip(done).cloned().collect();
        let request = Rc::new(Request { items, ..Request::clone(request) });
        let id = request.id;
        connection.open =
            Some(Open { request, wants, tries: open.tries, told: Rc::clone(&open.told) });
        let gateway = self.gateway.as_ref().map_or(0, |gateway| gateway.life);
        self.after(AGAIN_US / 2, Job::RequestAgain { gateway, connection: number, request: id });
    }

    pub(super) fn hang_up(&mut self, number: u64) {
        if let Some(gateway) = &mut self.gateway {
            gateway.connections.remove(&number);
        }
    }

    /// What an acknowledged message has become must be in the log.
    pub(crate) fn acked(&mut self, session: Option<SessionId>, mid: Mid, n: Option<EventNumber>) {
        match self.ledger.settled(session, mid, n) {
            Ok((session, n, message)) => {
                self.ledger.told(session, n);
                if let Some(message) = self.messages.get_mut(message) {
                    message.fate = Fate::Acked(session, n);
                }
            }
            Err(message) => self.violate("I4", message),
        }
    }

    /// Whoever joins is shown a history that has all that was acknowledged before they asked.
    pub(super) fn check_join(&mut self, open: &Open, attached: &Attached) {
        let told = open.told.get(&attached.session).copied().unwrap_or(EventNumber::NONE);
        if attached.n < told {
            let message = format!(
                "{} is joined at {}, event {told} was acknowledged before",
                attached.session, attached.n
            );
            self.violate("I9", message);
        }
        if told > EventNumber::NONE {
            self.saw("joined after what was acknowledged");
        }
    }

    /// A connection is in a session; returns what is to be done about the one before.
    pub(super) fn attached(&mut self, number: u64, attached: &Attached) -> Option<Want> {
        if let Err(message) = self.ledger.durable(attached.session, attached.n, None) {
            self.violate("I7", message);
        }
        let mut leave = None;
        let connection = self.connection(number)?;
        let before = connection.session.replace(attached.session);
        let again = before == Some(attached.session) && connection.written.0 > 0;
        if let Some(before) = before.filter(|before| *before != attached.session) {
            let delivered = connection.written;
            leave = Some(Want::Leave { session: before, delivered });
        }
        if !again {
            connection.segments.clone_from(&attached.segments);
            connection.head = EventNumber::NONE;
            connection.fetching = None;
        }
        let view = connection.view();
        let mut frames: Vec<_> = view.attached(attached.n, attached.stamp).into();
        if !again {
            connection.written = attached.n;
            for (n, bytes) in &attached.replay {
                if let Err(message) = self.ledger.durable(attached.session, *n, Some(bytes)) {
                    self.violate("I7", message);
                    return None;
                }
                let connection = self.connection(number)?;
                let Ok(event) = decode_event(bytes) else { continue };
                let view = connection.view();
                let time = view.time_ms(event.n, event.stamp);
                let user = connection.visitor.user;
                if let Some(frame) = view.replay(&event) {
                    frames.push(frame);
                    self.stamped(attached.session, user, event.n, time);
                }
            }
        }
        let connection = self.connection(number)?;
        // Typing may have ended already as far as this connection has been told.
        if attached.typing && connection.written <= attached.n {
            frames.push(connection.view().typing(attached.n, attached.stamp));
        }
        for frame in frames {
            self.write(number, frame);
        }
        self.catch_up(number, attached.n);
        leave
    }
}
