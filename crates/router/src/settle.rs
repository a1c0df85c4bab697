//! What leaves the process once the log has a commit: fan-out, attempts, deadlines.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{Effects, Fanout, Log, Ownership, PublishOutcome};
use stentor_postoffice::{Effect, State};
use stentor_store::Store;
use stentor_types::{ConnectionId, Control, EventNumber, GatewayId, Role, Timestamp, UserKey};
use stentor_wire::{CommitRecord, connection_to_pb, pb, role_to_pb, session_to_bytes};

use crate::{
    actor::Actor,
    actors::Key,
    hops::{Hop, Sent},
    listed::{self, LastMessage},
};

/// Tells everybody. The actor's session is the one after the commit; `received` is when a gateway read the
/// first frame that is in it.
pub(crate) async fn settle<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &mut Actor<'_, L, S, B>,
    record: &CommitRecord,
    received: Option<Timestamp>,
) {
    let committed = actor.actors.shared().clock.now();
    for (event, bytes) in record.commit.events.iter().zip(&record.events) {
        actor.recent.push(event.n, bytes.clone());
    }
    let shared = actor.actors.shared();
    shared.metrics.events_committed(record.commit.events.len());
    note_receivers(actor);
    let sent = fan_out(actor, &record.events, record.commit.last());
    shared.hops.note(Hop {
        session: actor.key.session,
        epoch: record.commit.epoch,
        first: record.commit.first,
        last: record.commit.last(),
        received,
        decided: record.commit.at,
        committed,
        sent,
    });
    for event in &record.commit.events {
        let said = LastMessage::of_event(event);
        actor.last = Some(actor.last.take().unwrap_or_default().later(said));
    }
    list(actor);
    if let Some(effect) = record.commit.effects.last() {
        // One that the log carries is on its way already.
        if !L::CARRIES_EFFECTS {
            actor.unsent = Some(effect.clone());
            offer(actor);
        }
    }
    shared.timers.set(actor.key.clone(), record.commit.next_deadline).await;
}

/// Goes by what somebody else has written to the session, who may have been gone before telling anybody: whoever
/// looks on finds out that there is more, and what is due is done.
pub(crate) async fn settle_others<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &mut Actor<'_, L, S, B>,
) {
    note_receivers(actor);
    let epoch = actor.session.state().epoch;
    // An epoch that no commit has yet is nothing to speak of.
    if actor.origin.is_some_and(|origin| origin.epoch == epoch) {
        fan_out(actor, &[], actor.session.state().n);
    }
    let last = actor.recent.latest(LastMessage::of_event);
    actor.last = Some(actor.last.take().unwrap_or_default().later(last));
    list(actor);
    if !L::CARRIES_EFFECTS {
        actor.unsent = actor.session.open_effect();
        offer(actor);
    }
    let deadline = actor.session.next_deadline();
    actor.actors.shared().timers.set(actor.key.clone(), deadline).await;
}

/// Gives the session its place in lists, if what they show of it has changed.
pub(crate) fn list<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &mut Actor<'_, L, S, B>,
) {
    let Some(last) = actor.last.as_ref().filter(|last| last.is_something()) else { return };
    let state = actor.session.state();
    let listed = listed::listed(actor.key.session, state, last);
    if actor.listed.as_ref() != Some(&listed) {
        actor.actors.shared().lists.change(actor.key.clone(), state.last_at, listed.clone());
        actor.listed = Some(listed);
    }
}

/// Sends one message to each gateway that holds a connection of the session.
pub(crate) fn fan_out<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &Actor<'_, L, S, B>,
    events: &[Bytes],
    head: EventNumber,
) -> Sent {
    let shared = actor.actors.shared();
    let state = actor.session.state();
    let receivers = receivers(state);
    let mut sent = Sent { gateways: receivers.keys().copied().collect(), missed: 0 };
    for (gateway, connections) in receivers {
        let message = pb::Fanout {
            app: actor.key.app.as_str().to_owned(),
            session: session_to_bytes(actor.key.session),
            epoch: state.epoch.0,
            events: events.to_vec(),
            connections,
            head: head.0,
            ..Default::default()
        };
        let outcome = Fanout::publish(&*shared.bus, gateway, message.encode_to_vec().into());
        if outcome == PublishOutcome::Full {
            shared.metrics.fanout_missed();
            sent.missed += 1;
            let pb::Fanout { app, session, epoch, head: n, connections, .. } = message;
            let head = pb::SessionHead { app, session, epoch, n, connections };
            shared.untold.note(gateway, &actor.key, head);
        }
    }
    sent
}

/// Tells the others in a session that somebody types, or no longer does. Who only listens is told too,
/// and never tells.
pub(crate) fn signal<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &Actor<'_, L, S, B>,
    from: ConnectionId,
    user: UserKey,
    on: bool,
) {
    let state = actor.session.state();
    let Some(endpoint) = state.endpoints.get(&from).filter(|endpoint| endpoint.user == user) else {
        return;
    };
    let Some(person) = state.participants.get(&user) else { return };
    let answers = match (&state.control, person.role) {
        (_, Role::Visitor) => true,
        (Control::Agents(agents), Role::Agent) => agents.contains(&user),
        (Control::Bot, Role::Agent) => false,
    };
    if !endpoint.permissions.sends || !answers {
        return;
    }
    let typing = pb::Typing {
        alias: person.alias.as_str().to_owned(),
        role: role_to_pb(person.role).into(),
        on,
        from: Some(connection_to_pb(from)),
    };
    for (gateway, connections) in receivers(state) {
        let message = pb::Fanout {
            app: actor.key.app.as_str().to_owned(),
            session: session_to_bytes(actor.key.session),
            epoch: state.epoch.0,
            events: Vec::new(),
            connections,
            head: state.n.0,
            typing: Some(typing.clone()),
            ..Default::default()
        };
        let message = message.encode_to_vec().into();
        let _ = Fanout::publish(&*actor.actors.shared().bus, gateway, message);
    }
}

/// The connections that events are fanned out to, by gateway.
fn receivers(state: &State) -> BTreeMap<GatewayId, Vec<u64>> {
    let mut gateways: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (connection, endpoint) in &state.endpoints {
        if endpoint.permissions.receives {
            gateways.entry(connection.gateway).or_default().push(connection.number);
        }
    }
    gateways
}

/// Offers the open attempt to the connectors.
pub(crate) fn offer<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &mut Actor<'_, L, S, B>,
) {
    let Some(effect) = actor.unsent.take() else { return };
    let message = self::effect(&actor.key, &effect);
    let shared = actor.actors.shared();
    match Effects::publish(&*shared.bus, &actor.key.app, message) {
        PublishOutcome::Sent => {}
        PublishOutcome::Full | PublishOutcome::Nobody => {
            shared.metrics.effect_delayed();
            // Still wanted? The session may have given the attempt up meanwhile.
            actor.unsent = actor.session.open_effect().filter(|open| open.id == effect.id);
        }
    }
}

/// An attempt as connectors read it.
pub(crate) fn effect(key: &Key, effect: &Effect) -> Bytes {
    let message = pb::Effect {
        app: key.app.as_str().to_owned(),
        session: session_to_bytes(key.session),
        epoch: effect.id.epoch.0,
        turn: effect.id.turn.0,
        attempt: u32::from(effect.id.attempt),
        deadline: effect.deadline.0,
        request: effect.request.clone(),
    };
    message.encode_to_vec().into()
}

/// Nothing is held on a gateway that is gone, whatever was noted of it: nobody need say so again.
pub(crate) fn note_gone<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &mut Actor<'_, L, S, B>,
    gateway: GatewayId,
) {
    let mut endpoints = actor.session.state().endpoints.keys();
    if !endpoints.any(|connection| connection.gateway == gateway) {
        actor.gateways.insert(gateway);
        note_receivers(actor);
    }
}

/// Notes who has to hear of the session: for the case that a gateway goes, and that fan-out gets lost.
pub(crate) fn note_receivers<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actor: &mut Actor<'_, L, S, B>,
) {
    let shared = actor.actors.shared();
    let state = actor.session.state();
    let now: BTreeSet<_> = state.endpoints.keys().map(|connection| connection.gateway).collect();
    shared.attached.change(&actor.key, &actor.gateways, &now);
    actor.gateways = now;
    if B::LOSSY {
        shared.heads.note(&actor.key, (state.epoch, state.n), receivers(state));
    }
}
