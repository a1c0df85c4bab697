//! What a gateway shows: fan-out, what was missed of it, and frames for each widget.

use stentor_types::UserKey;

use super::*;

impl World {
    /// Events reach the gateway.
    pub(crate) fn fanned_out(&mut self, fanout: &Fanout) {
        for number in &fanout.connections {
            let Some(connection) = self.connection(*number) else {
                self.give_up(fanout.session, *number);
                continue;
            };
            let elsewhere = connection.session.is_some_and(|session| session != fanout.session);
            let legacy = connection.second.is_none();
            if legacy && elsewhere && connection.open.is_none() && connection.wants.is_empty() {
                // Attached without its knowledge, by a request that was not answered.
                let delivered = EventNumber::NONE;
                connection.wants.push_back(Want::Leave { session: fanout.session, delivered });
                self.pump(*number);
                continue;
            }
            for (n, bytes) in &fanout.events {
                if connection.held.len() < HELD_MAX {
                    connection.held.insert((fanout.session, *n), bytes.clone());
                }
            }
            if connection.session == Some(fanout.session) {
                self.catch_up(*number, fanout.head);
            }
        }
    }

    /// A session holds a connection that is gone: it is told so. Lost if it does not arrive, since the next
    /// fan-out shows it again.
    fn give_up(&mut self, session: SessionId, number: u64) {
        let now = self.now;
        let Some(gateway) = &self.gateway else { return };
        let id = ConnectionId { gateway: GatewayId(gateway.life), number };
        let visitor = Visitor { user: UserKey([0; 16]), placement: session.key() };
        let request = Rc::new(Request {
            id: 0,
            gateway: gateway.life,
            connection: id,
            visitor,
            role: Role::Visitor,
            session: Some(session),
            items: vec![Item::Detach { at: now, delivered: None }],
        });
        if let Some(owner) = self.route() {
            self.send(Job::Request { owner, request });
        }
    }

    /// Writes what is next in line, and fetches what is missing up to `head`.
    pub(super) fn catch_up(&mut self, number: u64, head: EventNumber) {
        loop {
            let Some(connection) = self.connection(number) else { return };
            let Some(session) = connection.session.filter(|_| !connection.is_behind()) else {
                return;
            };
            let next = (session, connection.written.next());
            let Some(bytes) = connection.held.remove(&next) else { break };
            self.show_event(number, session, next.1, &bytes);
            if self.violation.is_some() {
                return;
            }
        }
        let Some(connection) = self.connection(number) else { return };
        let Some(session) = connection.session else { return };
        let written = connection.written;
        connection.head = connection.head.max(head);
        connection.held.retain(|(of, n), _| *of != session || *n > written);
        if connection.head > written && connection.fetching != Some(written.next()) {
            self.fetch(number);
        }
    }

    pub(super) fn fetch(&mut self, number: u64) {
        let Some(connection) = self.connection(number) else { return };
        let Some(session) = connection.session else { return };
        let (from, to) = (connection.written.next(), connection.head);
        connection.fetching = Some(from);
        let gateway = connection.id.gateway.0;
        if let Some(owner) = self.route() {
            self.send(Job::Fetch { owner, gateway, connection: number, session, from, to });
        }
        self.after(AGAIN_US, Job::FetchAgain { gateway, connection: number, from });
    }

    pub(crate) fn fetch_again(&mut self, number: u64, from: EventNumber) {
        let Some(connection) = self.connection(number) else { return };
        let wanted = connection.fetching == Some(from)
            && connection.written.next() == from
            && connection.head >= from;
        if wanted {
            self.fetch(number);
        }
    }

    pub(crate) fn fetched(&mut self, answer: &FetchAnswer) {
        let Some(connection) = self.connection(answer.connection) else { return };
        if connection.session != Some(answer.session) {
            return;
        }
        if connection.fetching == Some(answer.from) && !answer.events.is_empty() {
            connection.fetching = None;
        }
        for (n, bytes) in &answer.events {
            connection.held.insert((answer.session, *n), bytes.clone());
        }
        self.catch_up(answer.connection, EventNumber::NONE);
    }

    /// Shows one event to one connection.
    pub(super) fn show_event(
        &mut self,
        number: u64,
        session: SessionId,
        n: EventNumber,
        bytes: &Bytes,
    ) {
        if let Err(message) = self.ledger.durable(session, n, Some(bytes)) {
            self.violate("I7", message);
            return;
        }
        let Some(connection) = self.connection(number) else { return };
        connection.written = n;
        let Ok(event) = decode_event(bytes) else {
            self.violate("I3", format!("event {n} cannot be read"));
            return;
        };
        if connection.second.is_some() {
            self.show_second(number, &event, bytes);
            return;
        }
        let user = connection.visitor.user;
        if let EventKind::Clock { user: whose, segment } = &event.kind
            && *whose == user
            && connection.segments.iter().all(|other| other.from != segment.from)
        {
            if connection.segments.is_empty() && segment.floor.0 > 0 {
                connection.segments.push(ClockSegment::IDENTITY);
            }
            connection.segments.push(*segment);
        }
        let view = connection.view();
        let frames: Vec<_> = view.frames(&event).collect();
        // What only staff see has no place in the published widget, not even in an agent's.
        if event.audience == Audience::Staff && !frames.is_empty() {
            self.violate("I20", format!("connection {number} is shown {frames:?}"));
            return;
        }
        let kept = is_kept(&view, &event);
        let time = view.time_ms(event.n, event.stamp);
        if kept {
            self.stamped(session, user, n, time);
        }
        for frame in frames {
            self.write(number, frame);
        }
    }

    pub(super) fn stamped(
        &mut self,
        session: SessionId,
        user: stentor_types::UserKey,
        n: EventNumber,
        time: i64,
    ) {
        if let Err(message) = self.ledger.stamped(session, user, n, time) {
            self.violate("P3", message);
        }
    }

    /// Writes a frame. No frame may contain anybody's secrets.
    pub(super) fn write(&mut self, number: u64, text: Bytes) {
        let Some(socket) = self.connection(number).map(|connection| connection.socket) else {
            return;
        };
        if contains(&text, CANARY.as_bytes()) {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.violate("I23", format!("a secret is sent to connection {number}: {text}"));
            return;
        }
        self.socket_down(socket, text);
    }
}

/// Whether the widget keeps something of the event, known by its stamp.
fn is_kept(view: &LegacyView<'_>, event: &Event) -> bool {
    view.replay(event).is_some() || matches!(event.kind, EventKind::TurnFailed { .. })
}
