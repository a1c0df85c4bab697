//! What a member asks of the owner of its session: one request at a time, its messages in order.

use std::sync::Arc;

use stentor_cluster::Ingress;
use stentor_protocol::{RequestIdentity, rebuild};
use stentor_types::{ConnectionId, PlacementKey, SessionId, Visitor};
use stentor_wire::{connection_to_pb, pb, pb::connection_input, session_to_bytes, user_to_bytes};

use super::{
    inbound::{Greeting, Inbound},
    member::{Asked, Member},
};
use crate::{
    asking::{Asking, INPUTS_BYTES_MAX, input_bytes},
    engine::Frames,
    metrics::Refusal,
    shared,
};

/// Messages in one request.
const SAYS_MAX: usize = 64;

impl<B: Ingress> Member<B> {
    /// Asks for what comes first in the queue.
    pub(super) fn ask(&mut self, frames: &mut Frames) {
        loop {
            self.take_name();
            let (inputs, asked) = match self.queue.first() {
                None | Some(Inbound::Say(..) | Inbound::Control(..)) if self.is_renamed() => {
                    let Some(shown) = &self.shown else { return };
                    let session = Some(session_to_bytes(shown.session));
                    let attach = pb::AttachInput {
                        session,
                        display_name: self.identity.name(),
                        ..self.attach()
                    };
                    let kind = connection_input::Kind::Attach(attach);
                    (vec![input(shared::now().0, kind)], Asked::Return)
                }
                None => return,
                Some(Inbound::Bare { at }) => {
                    let mut attach = self.attach();
                    attach.session = self.agent_session("");
                    let kind = connection_input::Kind::Attach(attach);
                    (vec![input(at.0, kind)], Asked::Attach { aloud: true })
                }
                Some(Inbound::Join(greeting)) => {
                    (vec![self.attach_input(greeting)], Asked::Attach { aloud: true })
                }
                Some(Inbound::Say(greeting, _) | Inbound::Control(greeting, _))
                    if !self.is_in(greeting) =>
                {
                    (vec![self.attach_input(greeting)], Asked::Attach { aloud: false })
                }
                Some(Inbound::Say(..)) => {
                    let inputs = self.say_inputs(frames);
                    self.in_doubt = self.in_doubt.max(inputs.len());
                    (inputs, Asked::Says)
                }
                Some(Inbound::Control(greeting, take)) => {
                    let Some(shown) = &self.shown else { return };
                    let given = greeting.name.as_deref().map(str::to_owned);
                    let control = pb::ControlInput {
                        session: session_to_bytes(shown.session),
                        take: *take,
                        display_name: self.identity.name().or(given).filter(|_| *take),
                    };
                    let kind = connection_input::Kind::Control(control);
                    (vec![input(greeting.at.0, kind)], Asked::Control)
                }
                Some(Inbound::Leave { session, at }) => {
                    let last = self.shown.as_ref().filter(|shown| shown.session == *session);
                    let detach = pb::DetachInput {
                        session: session_to_bytes(*session),
                        delivered: last.map(|shown| shown.last.0),
                    };
                    let kind = connection_input::Kind::Detach(detach);
                    (vec![input(at.0, kind)], Asked::Leave)
                }
            };
            if inputs.is_empty() {
                continue;
            }
            let request = self.request(inputs);
            self.asking = Some(Box::new((self.asking(&request), asked)));
            return;
        }
    }

    fn attach_input(&self, greeting: &Greeting) -> pb::ConnectionInput {
        let session = self.agent_session(&greeting.claimed);
        let name = greeting.name.as_deref().map(str::to_owned);
        let attach = pb::AttachInput {
            claimed: session.is_none().then(|| greeting.claimed.to_string()),
            display_name: self.identity.name().or(name),
            client_time: greeting.client_time,
            session,
            ..self.attach()
        };
        input(greeting.at.0, connection_input::Kind::Attach(attach))
    }

    fn attach(&self) -> pb::AttachInput {
        pb::AttachInput {
            counter: self.taken,
            listens: self.identity.listens(),
            ..Default::default()
        }
    }

    /// The session that an agent's page is about; nothing for visitors.
    fn agent_session(&self, claimed: &str) -> Option<bytes::Bytes> {
        let agent = self.identity.agent?;
        // One that nobody has: it is answered that there is none.
        let nowhere = SessionId::new(PlacementKey(0), 0);
        let session = agent.session.or_else(|| claimed.parse().ok()).unwrap_or(nowhere);
        Some(session_to_bytes(session))
    }

    /// The first messages, up to one for another session. Those whose body makes no sense are refused
    /// here and get no number.
    fn say_inputs(&mut self, frames: &mut Frames) -> Vec<pb::ConnectionInput> {
        let Some(session) = self.shown.as_ref().map(|shown| shown.session) else {
            return Vec::new();
        };
        let session_text = session.to_string();
        let mut inputs = Vec::new();
        let mut bytes = 0_usize;
        let mut bad = None;
        // Under a name that is not the gateway's any more only what cannot be asked under the new one.
        let bound = self.in_doubt > 0 && self.name != self.shared.gateway();
        let most = if bound { self.in_doubt } else { SAYS_MAX };
        for item in self.queue.iter().take(most) {
            let Inbound::Say(greeting, data) = item else { break };
            if !self.is_in(greeting) {
                break;
            }
            let identity =
                RequestIdentity { user_id: &self.identity.bot_user, session_id: &session_text };
            let Ok(request) = rebuild(data, identity) else {
                bad = Some(Refusal::Body);
                break;
            };
            let counter = u64::try_from(inputs.len()).unwrap_or(u64::MAX).saturating_add(1);
            let say = pb::SayInput {
                session: session_to_bytes(session),
                counter: self.taken.saturating_add(counter),
                client_time: greeting.client_time,
                greeting: request.is_greeting,
                text: request.text,
                body: request.for_record,
                request: request.for_bot,
                ..Default::default()
            };
            let say = input(greeting.at.0, connection_input::Kind::Say(say));
            bytes = bytes.saturating_add(input_bytes(&say));
            if bytes > INPUTS_BYTES_MAX {
                // Alone it is longer than any request may be: nobody would take it.
                bad = Some(Refusal::TooLong);
                break;
            }
            inputs.push(say);
        }
        if let Some(refusal) = bad.filter(|_| inputs.is_empty()) {
            self.queue.pop();
            self.refuse(refusal, frames);
        }
        inputs
    }

    fn request(&self, inputs: Vec<pb::ConnectionInput>) -> pb::Request {
        let connection = ConnectionId { gateway: self.name, number: self.number };
        let Visitor { user, placement } = self.identity.visitor;
        let request = pb::ConnectionRequest {
            connection: Some(connection_to_pb(connection)),
            user: user_to_bytes(user),
            placement: placement.0,
            role: self.identity.role().into(),
            inputs,
        };
        let kind = Some(pb::request::Kind::Connection(request));
        pb::Request { app: self.app.as_str().to_owned(), kind, deaths: 0 }
    }

    pub(super) fn asking(&self, request: &pb::Request) -> Asking<B> {
        let session = self.shown.as_ref().map(|shown| shown.session);
        let page = self.identity.agent.and_then(|agent| agent.session);
        let partition = match session.or(page).filter(|_| self.identity.agent.is_some()) {
            Some(session) => session.partition(),
            None => self.identity.visitor.placement.partition(),
        };
        Asking::new(Arc::clone(&self.shared.bus), partition, request, self.number)
    }
}

fn input(received_at: u64, kind: connection_input::Kind) -> pb::ConnectionInput {
    pb::ConnectionInput { received_at, kind: Some(kind) }
}
