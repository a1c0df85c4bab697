//! Between the messages of the bus and the inputs and replies of a session.

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_postoffice::{Session, TurnPhase};
use stentor_store::Store;
use stentor_types::{
    Alias, Attach, BotResult, ClientClaim, ClientInstance, ConnectionId, Control, ControlChange,
    DraftAction, EffectId, Epoch, EventNumber, Input, InputKind, Mid, Permissions, RejectCode,
    Reply, Role, Say, Timestamp, UserKey,
};
use stentor_wire::{
    DecodeError, client_instance, clock_to_pb, decode_event, failure_from_pb, pb,
    pb::input_reply::Kind, reject_to_pb, role_to_pb, session_to_bytes,
};

use crate::actor::{ANSWER_BYTES_MAX, Actor, Command, Trouble};

/// Messages that a visitor is shown again at most; fewer if they are very long.
const VISITOR_REPLAY_MAX: usize = 100;
/// Messages that an agent is shown again at most.
const AGENT_REPLAY_MAX: usize = 200;
/// How many of those who only listen an agent is named; the rest is a number.
const LISTENERS_SHOWN_MAX: usize = stentor_postoffice::CROWD_MIN;
/// When to ask again after trouble that may pass.
const TRY_AGAIN_MS: u32 = 500;
/// Somebody else serves the session: by now they are there to be asked.
const MOVED_MS: u32 = 100;

/// Which inputs of a batch are attachments, and from where each is to be shown events again.
#[derive(Debug, Default)]
pub(crate) struct Attaching(Vec<(usize, Shown)>);

/// Who is attached, and what they are to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    user: UserKey,
    role: Role,
    client: Option<ClientInstance>,
    from: EventNumber,
}

// === impl Attaching ===

impl Attaching {
    pub(crate) fn gather(session: &Session, inputs: &[Input]) -> Self {
        let attaching = inputs.iter().enumerate().filter_map(|(place, input)| match &input.kind {
            InputKind::Attach(attach) => {
                let shown = Shown {
                    user: attach.user,
                    role: attach.role,
                    client: attach.client.map(|claim| claim.instance),
                    from: session.replay_from(),
                };
                Some((place, shown))
            }
            _ => None,
        });
        Self(attaching.collect())
    }

    pub(crate) fn at(&self, place: usize) -> Option<Shown> {
        self.0.iter().find(|(at, _)| *at == place).map(|(_, shown)| *shown)
    }
}

// === impl Actor ===

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    /// The answer to one input. For an attachment it brings what is to be shown again.
    pub(crate) async fn input_reply(
        &self,
        reply: Reply,
        attaching: Option<Shown>,
    ) -> pb::InputReply {
        let kind = match (reply, attaching) {
            (Reply::Committed(n), Some(shown)) => Kind::Attached(self.attached(shown, n).await),
            (Reply::Committed(n), None) => Kind::Committed(n.0),
            (Reply::Duplicate(n), _) => Kind::Duplicate(n.map_or(0, |n| n.0)),
            (Reply::Rejected(code), _) => Kind::Rejected(reject_to_pb(code).into()),
            (Reply::AttachFirst, _) => Kind::AttachFirst(true),
            (Reply::Gap(expected), _) => Kind::Gap(expected),
            (Reply::Nothing, _) => Kind::Nothing(true),
        };
        pb::InputReply { kind: Some(kind) }
    }

    /// Clients of the second dialect say themselves what they have and fetch the rest; all they need to know
    /// is the session as it is.
    async fn attached(&self, shown: Shown, n: EventNumber) -> pb::AttachedReply {
        let user = shown.user;
        let state = self.session.state();
        let from = if shown.client.is_some() { n } else { shown.from };
        let events = self.events(from, n).await;
        let mut stamp = state.last_stamp;
        let mut replay: Vec<_> = events
            .into_iter()
            .filter_map(|(number, bytes)| {
                let event = decode_event(&bytes).ok()?;
                if number == n {
                    stamp = event.stamp;
                }
                Session::replays(user, &event).then_some(bytes)
            })
            .collect();
        let most = match shown.role {
            Role::Visitor => VISITOR_REPLAY_MAX,
            Role::Agent => AGENT_REPLAY_MAX,
        };
        let mut bytes = 0_usize;
        let latest = replay.iter().rev().take(most).take_while(|event| {
            bytes = bytes.saturating_add(event.len());
            bytes <= ANSWER_BYTES_MAX
        });
        let surplus = replay.len().saturating_sub(latest.count());
        replay.drain(..surplus);
        let segments = state.devices.get(&user).into_iter().flatten();
        let open = state.turn.as_ref().filter(|turn| turn.control_epoch == state.control_epoch);
        pb::AttachedReply {
            session: session_to_bytes(self.session.id()),
            epoch: state.epoch.0,
            n: n.0,
            stamp: stamp.0,
            segments: segments.map(|segment| clock_to_pb(user, *segment)).collect(),
            replay,
            typing: open.is_some_and(|turn| matches!(turn.phase, TurnPhase::Calling { .. })),
            view: shown.client.is_some().then(|| self.view(shown)),
        }
    }

    /// The session as it is now.
    fn view(&self, shown: Shown) -> pb::SessionView {
        let state = self.session.state();
        let id = self.session.id();
        let people = state.participants.values();
        let control = match &state.control {
            Control::Bot => Vec::new(),
            Control::Agents(agents) => agents
                .iter()
                .map(|agent| match state.participants.get(agent) {
                    Some(known) => known.alias.as_str().to_owned(),
                    None => Alias::of(&id, *agent).as_str().to_owned(),
                })
                .collect(),
        };
        let counter = shown.client.and_then(|client| state.clients.get(&client));
        let (speak, listen): (Vec<_>, Vec<_>) = people.partition(|person| {
            person.role == Role::Visitor
                || control.iter().any(|alias| alias == person.alias.as_str())
        });
        // Who only listens leaves no trace for visitors.
        let listen = if shown.role == Role::Agent { listen } else { Vec::new() };
        let more = listen.len().saturating_sub(LISTENERS_SHOWN_MAX);
        pb::SessionView {
            people: speak
                .into_iter()
                .chain(listen.into_iter().take(LISTENERS_SHOWN_MAX))
                .map(|person| pb::ViewPerson {
                    alias: person.alias.as_str().to_owned(),
                    role: role_to_pb(person.role).into(),
                    display_name: person.display_name.clone(),
                })
                .collect(),
            more: u32::try_from(more).unwrap_or(u32::MAX),
            control,
            waiting_since: state.waiting.map_or(0, |waiting| waiting.since.0),
            ended: state.ended,
            you: Alias::of(&id, shown.user).as_str().to_owned(),
            counter: counter.map_or(0, |client| client.taken.counter),
            drafts: match shown.role {
                Role::Agent => state.drafts.keys().map(|n| n.0).collect(),
                Role::Visitor => Vec::new(),
            },
        }
    }
}

/// Answers a command that cannot be carried out.
pub(crate) fn answer_trouble(command: Command, trouble: Trouble) {
    match command {
        Command::Inputs { inputs, answer } => {
            let reply = inputs.iter().map(|_| trouble_reply(trouble)).collect();
            let _ = answer.send(reply);
        }
        Command::Outcome { answer, .. } => {
            // The outcome of a damaged session has nowhere to go.
            let reply = if trouble == Trouble::Damaged { settled() } else { outcome_again() };
            let _ = answer.send(reply);
        }
        Command::Fetch { answer, .. } => drop(answer),
        Command::Whose { answer } => drop(answer),
        Command::Erase { answer } => {
            let kind = match trouble {
                Trouble::Damaged => pb::erase_reply::Kind::Damaged(true),
                Trouble::TryAgain => pb::erase_reply::Kind::TryAgainMs(TRY_AGAIN_MS),
                Trouble::Moved => pb::erase_reply::Kind::TryAgainMs(MOVED_MS),
            };
            let _ = answer.send(pb::EraseReply { kind: Some(kind) });
        }
        Command::Signal { .. }
        | Command::Tick
        | Command::Row
        | Command::Snapshot
        | Command::GatewayGone { .. } => {}
    }
}

/// The answer to an input that could not be decided about.
pub(crate) const fn trouble_reply(trouble: Trouble) -> pb::InputReply {
    let kind = match trouble {
        Trouble::Damaged => Kind::Damaged(true),
        Trouble::TryAgain => Kind::TryAgainMs(TRY_AGAIN_MS),
        Trouble::Moved => Kind::TryAgainMs(MOVED_MS),
    };
    pb::InputReply { kind: Some(kind) }
}

/// An outcome is where it belongs.
pub(crate) const fn settled() -> pb::OutcomeReply {
    pb::OutcomeReply { kind: Some(pb::outcome_reply::Kind::Settled(true)) }
}

/// An outcome could not be taken.
pub(crate) const fn outcome_again() -> pb::OutcomeReply {
    pb::OutcomeReply { kind: Some(pb::outcome_reply::Kind::TryAgainMs(TRY_AGAIN_MS)) }
}

/// An attachment in the words of a session.
pub(crate) fn attach_input(
    input: pb::AttachInput,
    at: Timestamp,
    connection: ConnectionId,
    user: UserKey,
    role: Role,
) -> Result<Input, DecodeError> {
    let attach = Attach {
        connection,
        user,
        role,
        display_name: input.display_name,
        claimed: input.claimed,
        client_time: input.client_time,
        counter: input.counter,
        permissions: if input.listens { Permissions::LISTEN } else { Permissions::ALL },
        client: input.client.map(client_claim).transpose()?,
        existing: input.session.is_some(),
    };
    Ok(Input { at, kind: InputKind::Attach(attach) })
}

fn client_claim(claim: pb::ClientClaim) -> Result<ClientClaim, DecodeError> {
    Ok(ClientClaim { instance: client_instance(&claim.instance)?, last: claim.last })
}

/// What an agent does with a draft, in the words of a session.
pub(crate) fn draft_input(
    input: &pb::DraftInput,
    at: Timestamp,
    user: UserKey,
) -> Result<Input, DecodeError> {
    let action = match pb::DraftAction::try_from(input.action) {
        Ok(pb::DraftAction::Send) => DraftAction::Send,
        Ok(pb::DraftAction::Dismiss) => DraftAction::Dismiss,
        Ok(pb::DraftAction::Edited) => DraftAction::Edited,
        Err(_) => return Err(DecodeError::Field("action")),
    };
    Ok(Input { at, kind: InputKind::Draft { user, turn: EventNumber(input.turn), action } })
}

/// Barge in or out, in the words of a session.
pub(crate) fn control_input(input: pb::ControlInput, at: Timestamp, user: UserKey) -> Input {
    let change = if input.take {
        ControlChange::Take { user, display_name: input.display_name }
    } else {
        ControlChange::Release { user }
    };
    Input { at, kind: InputKind::Control(change) }
}

/// A message in the words of a session.
pub(crate) fn say_input(
    input: pb::SayInput,
    at: Timestamp,
    connection: ConnectionId,
) -> Result<Input, DecodeError> {
    let client = input.client.map(|client| client_instance(&client)).transpose()?;
    let say = Say {
        connection,
        mid: Mid { client: client.unwrap_or(connection.into()), counter: input.counter },
        client_time: input.client_time,
        text: input.text,
        greeting: input.greeting,
        note: input.note,
        body: input.body,
        request: input.request,
    };
    Ok(Input { at, kind: InputKind::Say(say) })
}

/// A message that the gateway cannot take, in the words of a session.
pub(crate) fn refuse_input(
    input: &pb::RefuseInput,
    at: Timestamp,
    connection: ConnectionId,
) -> Result<Input, DecodeError> {
    let client = input.client.as_deref().map(client_instance).transpose()?;
    let mid = Mid { client: client.unwrap_or(connection.into()), counter: input.counter };
    let code = if input.poison { RejectCode::Poison } else { RejectCode::Malformed };
    Ok(Input { at, kind: InputKind::Refuse { connection, mid, code, body: bytes::Bytes::new() } })
}

/// An outcome in the words of a session.
///
/// # Errors
/// A field is missing.
pub(crate) fn outcome(request: pb::OutcomeRequest) -> Result<(EffectId, BotResult), DecodeError> {
    use pb::outcome_request::Result as Outcome;
    let effect = EffectId {
        epoch: Epoch(request.epoch),
        turn: EventNumber(request.turn),
        attempt: u8::try_from(request.attempt).map_err(|_| DecodeError::Field("attempt"))?,
    };
    let result = match request.result.ok_or(DecodeError::Field("result"))? {
        Outcome::Answer(answer) => BotResult::Reply { body: answer.body, handoff: answer.handoff },
        Outcome::Empty(_) => BotResult::Empty,
        Outcome::Failed(reason) => BotResult::Failed(failure_from_pb(reason)),
    };
    Ok((effect, result))
}
