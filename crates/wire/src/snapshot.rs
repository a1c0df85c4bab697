//! The state of a session as a frozen blob.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use prost::Message;
use stentor_postoffice::{
    Client, Covered, Crowd, Endpoint, Line, Participant, Request, State, Taken, Turn, TurnPhase,
    Waiting,
};
use stentor_types::{Alias, ControlEpoch, Epoch, EventNumber, Stamp, Timestamp};

use crate::{
    DecodeError, FORMAT, LOGIC,
    commit::check_version,
    convert::{
        client_instance, client_to_bytes, clock_from_pb, clock_to_pb, connection_from_pb,
        connection_to_pb, permissions, role_from_pb, role_to_pb, user_key, user_to_bytes,
    },
    event::{decode_control, encode_control},
    pb,
};

/// What a snapshot that names no version of the rules was written by.
const FIRST_LOGIC: u32 = 1;

/// The bytes of a state, for readers of this version.
#[must_use]
pub fn encode_snapshot(state: &State) -> Bytes {
    encode_snapshot_for(state, LOGIC)
}

/// The bytes of a state, from which nobody may decide by a lower version of the rules.
#[must_use]
pub fn encode_snapshot_for(state: &State, min_logic: u32) -> Bytes {
    let request = |request: &Request| pb::BotRequest { n: request.n.0, body: request.body.clone() };
    let turn = state.turn.as_ref().map(|turn| {
        let (calling, due) = match turn.phase {
            TurnPhase::Calling { deadline } => (true, deadline),
            TurnPhase::Waiting { until } => (false, until),
        };
        pb::TurnState {
            request: Some(request(&turn.request)),
            attempt: u32::from(turn.attempt),
            control_epoch: turn.control_epoch.0,
            calling,
            due: due.0,
        }
    });
    let participants = state.participants.iter().map(|(user, participant)| pb::ParticipantState {
        user: user_to_bytes(*user),
        role: role_to_pb(participant.role).into(),
        alias: participant.alias.as_str().to_owned(),
        display_name: participant.display_name.clone(),
        leaves_at: participant.leaves_at.map_or(0, |at| at.0),
        delivered: participant.delivered.0,
    });
    let endpoints = state.endpoints.iter().map(|(connection, endpoint)| pb::EndpointState {
        connection: Some(connection_to_pb(*connection)),
        user: user_to_bytes(endpoint.user),
        counter: endpoint.taken.counter,
        recent: numbers(&endpoint.taken),
        sends: endpoint.permissions.sends,
        receives: endpoint.permissions.receives,
        client: endpoint.client.map(client_to_bytes),
    });
    let clients = state.clients.iter().map(|(instance, client)| pb::ClientState {
        client: client_to_bytes(*instance),
        user: user_to_bytes(client.user),
        counter: client.taken.counter,
        recent: numbers(&client.taken),
        used: client.used.0,
    });
    let drafts = state.drafts.iter().map(|(n, body)| pb::BotRequest { n: n.0, body: body.clone() });
    let lapsed = state.lapsed.iter().map(|(user, name)| pb::LapsedState {
        user: user_to_bytes(*user),
        display_name: name.clone(),
    });
    let devices = state.devices.iter().map(|(user, segments)| pb::DeviceState {
        user: user_to_bytes(*user),
        segments: segments.iter().map(|segment| clock_to_pb(*user, *segment)).collect(),
    });
    let departed = state.departed.iter().map(|(connection, counter)| pb::DepartedState {
        connection: Some(connection_to_pb(*connection)),
        counter: *counter,
    });
    let snapshot = pb::Snapshot {
        format: FORMAT,
        n: state.n.0,
        epoch: state.epoch.0,
        last_stamp: state.last_stamp.0,
        last_at: state.last_at.0,
        visitor: state.visitor.map(user_to_bytes),
        claimed: state.claimed.clone(),
        participants: participants.collect(),
        endpoints: endpoints.collect(),
        control: Some(encode_control(&state.control)),
        control_epoch: state.control_epoch.0,
        turn,
        queue: state.queue.iter().map(request).collect(),
        devices: devices.collect(),
        departed: departed.collect(),
        last_shown: state.last_shown.0,
        clients: clients.collect(),
        drafts: drafts.collect(),
        waiting: state.waiting.map(|waiting| pb::WaitingState {
            since: waiting.since.0,
            tell_at: waiting.tell_at.map_or(0, |at| at.0),
        }),
        ended: state.ended,
        erased: state.erased,
        covered: state.covered.as_ref().map(encode_covered),
        lapsed: lapsed.collect(),
        crowd: state.crowd.map(|crowd| pb::CrowdState {
            joined: crowd.joined,
            left: crowd.left,
            tell_at: crowd.tell_at.0,
        }),
        // The field itself is newer than the first version, and not written while that may still read.
        min_logic: if min_logic > FIRST_LOGIC { min_logic } else { 0 },
    };
    snapshot.encode_to_vec().into()
}

/// The state of these bytes, for a reader of this version.
///
/// # Errors
/// The bytes are no snapshot, or one of a later version.
pub fn decode_snapshot(bytes: &Bytes) -> Result<State, DecodeError> {
    decode_snapshot_by(bytes, LOGIC)
}

/// The state of these bytes, for a reader who decides by that version of the rules.
///
/// # Errors
/// The bytes are no snapshot, or are not for that version.
pub fn decode_snapshot_by(bytes: &Bytes, logic: u32) -> Result<State, DecodeError> {
    let snapshot = pb::Snapshot::decode(bytes.clone())?;
    check_version(snapshot.format, snapshot.min_logic.max(FIRST_LOGIC), logic)?;
    let mut state = State::new(Epoch(snapshot.epoch));
    state.n = EventNumber(snapshot.n);
    state.last_stamp = Stamp(snapshot.last_stamp);
    state.last_at = Timestamp(snapshot.last_at);
    state.last_shown = EventNumber(snapshot.last_shown);
    state.visitor = snapshot.visitor.map(|user| user_key(&user)).transpose()?;
    state.claimed = snapshot.claimed;
    state.participants = participants(&snapshot.participants)?;
    for endpoint in snapshot.endpoints {
        let user = user_key(&endpoint.user)?;
        if let Some(participant) = state.participants.get_mut(&user) {
            participant.connections += 1;
        }
        let connection = connection_from_pb(endpoint.connection)?;
        let endpoint = Endpoint {
            user,
            permissions: permissions(endpoint.sends, endpoint.receives),
            client: endpoint.client.map(|client| client_instance(&client)).transpose()?,
            taken: taken(endpoint.counter, endpoint.recent),
        };
        state.endpoints.insert(connection, endpoint);
    }
    for departed in snapshot.departed {
        let connection = connection_from_pb(departed.connection)?;
        state.departed.push_back((connection, departed.counter));
    }
    state.control = decode_control(snapshot.control.as_ref())?;
    state.control_epoch = ControlEpoch(snapshot.control_epoch);
    state.turn = snapshot.turn.map(turn).transpose()?;
    state.queue = snapshot.queue.into_iter().map(request).collect();
    for device in &snapshot.devices {
        let segments = device.segments.iter().map(clock_from_pb).collect();
        state.devices.insert(user_key(&device.user)?, segments);
    }
    for client in snapshot.clients {
        let instance = client_instance(&client.client)?;
        let client = Client {
            user: user_key(&client.user)?,
            taken: taken(client.counter, client.recent),
            used: EventNumber(client.used),
        };
        state.clients.insert(instance, client);
    }
    state.drafts =
        snapshot.drafts.into_iter().map(|draft| (EventNumber(draft.n), draft.body)).collect();
    state.waiting = snapshot.waiting.map(|waiting| Waiting {
        since: Timestamp(waiting.since),
        tell_at: (waiting.tell_at > 0).then_some(Timestamp(waiting.tell_at)),
    });
    state.ended = snapshot.ended;
    state.erased = snapshot.erased;
    state.covered = snapshot.covered.map(decode_covered).transpose()?;
    for lapsed in snapshot.lapsed {
        state.lapsed.insert(user_key(&lapsed.user)?, lapsed.display_name);
    }
    state.crowd = snapshot.crowd.map(|crowd| Crowd {
        joined: crowd.joined,
        left: crowd.left,
        tell_at: Timestamp(crowd.tell_at),
    });
    Ok(state)
}

fn numbers(taken: &Taken) -> Vec<u64> {
    taken.recent.iter().map(|n| n.0).collect()
}

fn taken(counter: u64, recent: Vec<u64>) -> Taken {
    Taken { counter, recent: recent.into_iter().map(EventNumber).collect() }
}

fn encode_covered(covered: &Covered) -> pb::Covered {
    let lines = covered.lines.iter().map(|line| pb::CoveredLine {
        role: role_to_pb(line.role).into(),
        name: line.name.clone(),
        text: line.text.clone(),
    });
    pb::Covered { from: covered.from.0, to: covered.to.0, lines: lines.collect() }
}

fn decode_covered(covered: pb::Covered) -> Result<Covered, DecodeError> {
    let lines = covered.lines.into_iter().map(|line| {
        let role = role_from_pb(line.role)?;
        Ok(Line { role, name: line.name, text: line.text })
    });
    let lines = lines.collect::<Result<_, DecodeError>>()?;
    Ok(Covered { from: EventNumber(covered.from), to: EventNumber(covered.to), lines })
}

fn participants(
    participants: &[pb::ParticipantState],
) -> Result<BTreeMap<stentor_types::UserKey, Participant>, DecodeError> {
    let decode = |participant: &pb::ParticipantState| {
        let decoded = Participant {
            role: role_from_pb(participant.role)?,
            alias: Alias(Arc::from(participant.alias.as_str())),
            display_name: participant.display_name.clone(),
            connections: 0,
            leaves_at: (participant.leaves_at > 0).then_some(Timestamp(participant.leaves_at)),
            delivered: EventNumber(participant.delivered),
        };
        Ok((user_key(&participant.user)?, decoded))
    };
    participants.iter().map(decode).collect()
}

fn turn(turn: pb::TurnState) -> Result<Turn, DecodeError> {
    let due = Timestamp(turn.due);
    Ok(Turn {
        request: turn.request.map(request).ok_or(DecodeError::Field("turn.request"))?,
        attempt: u8::try_from(turn.attempt).map_err(|_| DecodeError::Field("turn.attempt"))?,
        control_epoch: ControlEpoch(turn.control_epoch),
        phase: if turn.calling {
            TurnPhase::Calling { deadline: due }
        } else {
            TurnPhase::Waiting { until: due }
        },
    })
}

fn request(request: pb::BotRequest) -> Request {
    Request { n: EventNumber(request.n), body: request.body }
}
