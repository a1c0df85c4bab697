//! Between the messages of the bus and the inputs and replies of a session.

use stentor_cluster::{Effects, Fanout, Log};
use stentor_postoffice::{Session, TurnPhase};
use stentor_store::Store;
use stentor_types::{
    Attach, BotResult, ConnectionId, EffectId, Epoch, EventNumber, Input, InputKind, Mid,
    Permissions, Reply, Role, Say, Timestamp, UserKey,
};
use stentor_wire::{
    DecodeError, clock_to_pb, decode_event, failure_from_pb, pb, pb::input_reply::Kind,
    reject_to_pb, session_to_bytes,
};

use crate::actor::{Actor, Command, Trouble};

/// Messages shown again at most when it is not known what was shown.
const REPLAY_MAX: usize = 100;
/// When to ask again after trouble that may pass.
const TRY_AGAIN_MS: u32 = 500;

/// Which inputs of a batch are attachments, and from where each is to be shown events again.
#[derive(Debug, Default)]
pub(crate) struct Attaching(Vec<(usize, UserKey, EventNumber)>);

// === impl Attaching ===

impl Attaching {
    pub(crate) fn gather(session: &Session, inputs: &[Input]) -> Self {
        let attaching = inputs.iter().enumerate().filter_map(|(place, input)| match &input.kind {
            InputKind::Attach(attach) => Some((place, attach.user, session.replay_from())),
            _ => None,
        });
        Self(attaching.collect())
    }

    pub(crate) fn at(&self, place: usize) -> Option<(UserKey, EventNumber)> {
        self.0.iter().find(|(at, ..)| *at == place).map(|(_, user, from)| (*user, *from))
    }
}

// === impl Actor ===

impl<L: Log, S: Store, B: Fanout + Effects> Actor<'_, L, S, B> {
    /// The answer to one input. For an attachment it brings what is to be shown again.
    pub(crate) async fn input_reply(
        &self,
        reply: Reply,
        attaching: Option<(UserKey, EventNumber)>,
    ) -> pb::InputReply {
        let kind = match (reply, attaching) {
            (Reply::Committed(n), Some((user, from))) => {
                Kind::Attached(self.attached(user, from, n).await)
            }
            (Reply::Committed(n), None) => Kind::Committed(n.0),
            (Reply::Duplicate(n), _) => Kind::Duplicate(n.map_or(0, |n| n.0)),
            (Reply::Rejected(code), _) => Kind::Rejected(reject_to_pb(code).into()),
            (Reply::AttachFirst, _) => Kind::AttachFirst(true),
            (Reply::Gap(expected), _) => Kind::Gap(expected),
            (Reply::Nothing, _) => Kind::Nothing(true),
        };
        pb::InputReply { kind: Some(kind) }
    }

    async fn attached(
        &self,
        user: UserKey,
        from: EventNumber,
        n: EventNumber,
    ) -> pb::AttachedReply {
        let state = self.session.state();
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
        let surplus = replay.len().saturating_sub(REPLAY_MAX);
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
        Command::Tick => {}
    }
}

/// The answer to an input that could not be decided about.
pub(crate) const fn trouble_reply(trouble: Trouble) -> pb::InputReply {
    let kind = match trouble {
        Trouble::Damaged => Kind::Damaged(true),
        Trouble::TryAgain => Kind::TryAgainMs(TRY_AGAIN_MS),
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
) -> Input {
    let attach = Attach {
        connection,
        user,
        role,
        display_name: input.display_name,
        claimed: input.claimed,
        client_time: input.client_time,
        counter: input.counter,
        permissions: Permissions::ALL,
    };
    Input { at, kind: InputKind::Attach(attach) }
}

/// A message in the words of a session.
pub(crate) fn say_input(input: pb::SayInput, at: Timestamp, connection: ConnectionId) -> Input {
    let say = Say {
        connection,
        mid: Mid { client: connection.into(), counter: input.counter },
        client_time: input.client_time,
        text: input.text,
        greeting: input.greeting,
        body: input.body,
        request: input.request,
    };
    Input { at, kind: InputKind::Say(say) }
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
