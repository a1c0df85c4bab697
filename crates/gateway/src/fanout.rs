//! Takes what the owners of sessions tell this gateway to the sockets it concerns.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{GatewayMessage, Ingress};
use stentor_types::{Epoch, EventNumber};
use stentor_wire::{DecodeError, pb, session_id};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{batch::Batch, shared::Shared, strays::Strays};

/// Serves until the bus is gone. Never waits for a socket: one that is behind is closed.
pub(crate) async fn run<B: Ingress>(
    shared: Arc<Shared<B>>,
    mut messages: mpsc::Receiver<GatewayMessage>,
) {
    let strays = Strays::new(Arc::clone(&shared));
    while let Some(message) = messages.recv().await {
        match message {
            GatewayMessage::Fanout(message) => {
                if let Err(cause) = hand_out(&shared, &strays, message) {
                    warn!(%cause, "a fan-out message could not be read; its sockets will fetch what it held");
                }
            }
            GatewayMessage::Missed => missed(&shared),
            GatewayMessage::Renamed(gateway) => {
                // Before anybody is given a turn: what is asked from now on is asked under this name.
                shared.rename(gateway);
                shared.metrics.renamed();
                info!(
                    sockets = shared.sockets.len(),
                    "the gateway has another name; every socket is attached again"
                );
                shared.catch_up.order();
            }
        }
    }
}

fn missed<B>(shared: &Shared<B>) {
    shared.metrics.missed();
    info!(sockets = shared.sockets.len(), "messages may be missing; every socket looks");
    shared.catch_up.order();
}

fn hand_out<B: Ingress>(
    shared: &Shared<B>,
    strays: &Strays<B>,
    message: Bytes,
) -> Result<(), DecodeError> {
    let fanout = pb::Fanout::decode(message)?;
    if fanout.missed {
        missed(shared);
        return Ok(());
    }
    if fanout.listed_number > 0 || !fanout.listed.is_empty() || fanout.listed_missed {
        shared.watchers.tell(&shared.sockets, fanout);
        return Ok(());
    }
    if !fanout.heads.is_empty() {
        return hand_out_heads(shared, strays, fanout.heads);
    }
    let batch = Arc::new(Batch::decode(&fanout)?);
    deliver(shared, strays, &fanout.app, &batch, &fanout.connections);
    Ok(())
}

/// Each connection finds out by itself whether it lacks something: a batch without events says how far the
/// session is. All that can be read are handed out.
fn hand_out_heads<B: Ingress>(
    shared: &Shared<B>,
    strays: &Strays<B>,
    heads: Vec<pb::SessionHead>,
) -> Result<(), DecodeError> {
    let mut outcome = Ok(());
    for pb::SessionHead { app, session, epoch, n, connections } in heads {
        let batch = session_id(&session)
            .and_then(|session| Batch::new(session, Epoch(epoch), EventNumber(n), &[]));
        match batch {
            Ok(batch) => deliver(shared, strays, &app, &Arc::new(batch), &connections),
            Err(cause) => outcome = Err(cause),
        }
    }
    outcome
}

fn deliver<B: Ingress>(
    shared: &Shared<B>,
    strays: &Strays<B>,
    app: &str,
    batch: &Arc<Batch>,
    connections: &[u64],
) {
    for number in connections {
        match shared.sockets.get(*number) {
            Some(slot) => {
                slot.push(batch.bytes, Arc::clone(batch));
            }
            None => strays.give_up(app.to_owned(), batch.session, *number),
        }
    }
}
