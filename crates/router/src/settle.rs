//! What leaves the process once the log has a commit: fan-out, attempts, deadlines.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{Effects, Fanout, Log, PublishOutcome};
use stentor_store::Store;
use stentor_wire::{CommitRecord, pb, session_to_bytes};

use crate::actor::Actor;

/// Tells everybody. The actor's session is the one after the commit.
pub(crate) async fn settle<L: Log, S: Store, B: Fanout + Effects>(
    actor: &mut Actor<'_, L, S, B>,
    record: &CommitRecord,
) {
    for (event, bytes) in record.commit.events.iter().zip(&record.events) {
        actor.recent.push(event.n, bytes.clone());
    }
    let shared = actor.actors.shared();
    shared.metrics.events_committed(record.commit.events.len());
    fan_out(actor, &record.events);
    if let Some(effect) = record.commit.effects.last() {
        actor.unsent = Some(effect.clone());
        offer(actor);
    }
    shared.timers.set(actor.key.clone(), record.commit.next_deadline).await;
}

/// Sends one message to each gateway that holds a connection of the session.
fn fan_out<L: Log, S: Store, B: Fanout + Effects>(actor: &Actor<'_, L, S, B>, events: &[Bytes]) {
    let mut gateways: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (connection, endpoint) in &actor.session.state().endpoints {
        if endpoint.permissions.receives {
            gateways.entry(connection.gateway).or_default().push(connection.number);
        }
    }
    let shared = actor.actors.shared();
    let state = actor.session.state();
    for (gateway, connections) in gateways {
        let message = pb::Fanout {
            app: actor.key.app.as_str().to_owned(),
            session: session_to_bytes(actor.key.session),
            epoch: state.epoch.0,
            events: events.to_vec(),
            connections: connections.clone(),
            head: state.n.0,
        };
        let outcome = Fanout::publish(&*shared.bus, gateway, message.encode_to_vec().into());
        if outcome == PublishOutcome::Full {
            // The gateway must learn that it missed something even if nothing more happens here.
            shared.metrics.fanout_missed();
            let head = pb::Fanout { events: Vec::new(), ..message };
            tell_later(actor, gateway, head.encode_to_vec().into());
        }
    }
}

/// Sends a head to a gateway as soon as its queue has a place.
fn tell_later<L: Log, S: Store, B: Fanout + Effects>(
    actor: &Actor<'_, L, S, B>,
    gateway: stentor_types::GatewayId,
    head: Bytes,
) {
    let shared = std::sync::Arc::clone(actor.actors.shared());
    tokio::spawn(async move {
        while Fanout::publish(&*shared.bus, gateway, head.clone()) == PublishOutcome::Full {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        }
    });
}

/// Offers the open attempt to the connectors.
pub(crate) fn offer<L: Log, S: Store, B: Fanout + Effects>(actor: &mut Actor<'_, L, S, B>) {
    let Some(effect) = actor.unsent.take() else { return };
    let message = pb::Effect {
        app: actor.key.app.as_str().to_owned(),
        session: session_to_bytes(actor.key.session),
        epoch: effect.id.epoch.0,
        turn: effect.id.turn.0,
        attempt: u32::from(effect.id.attempt),
        deadline: effect.deadline.0,
        request: effect.request.clone(),
    };
    let shared = actor.actors.shared();
    match Effects::publish(&*shared.bus, message.encode_to_vec().into()) {
        PublishOutcome::Sent => {}
        PublishOutcome::Full | PublishOutcome::Nobody => {
            shared.metrics.effect_delayed();
            // Still wanted? The session may have given the attempt up meanwhile.
            actor.unsent = actor.session.open_effect().filter(|open| open.id == effect.id);
        }
    }
}
