//! Takes what the owners of sessions tell this gateway to the sockets it concerns.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{GatewayMessage, Ingress};
use stentor_wire::{DecodeError, pb};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{batch::Batch, shared::Shared, strays::Strays};

/// Serves until the bus is gone. Never waits for a socket: one that is behind is closed.
pub(crate) async fn run<B: Ingress>(
    shared: Arc<Shared<B>>,
    mut messages: mpsc::Receiver<GatewayMessage>,
) {
    let strays = Strays::new(Arc::clone(&shared));
    while let Some(message) = messages.recv().await {
        let GatewayMessage::Fanout(message) = message else { continue };
        if let Err(cause) = hand_out(&shared, &strays, message) {
            warn!(%cause, "a fan-out message could not be read; its sockets will fetch what it held");
        }
    }
}

fn hand_out<B: Ingress>(
    shared: &Shared<B>,
    strays: &Strays<B>,
    message: Bytes,
) -> Result<(), DecodeError> {
    let fanout = pb::Fanout::decode(message)?;
    if !fanout.listed.is_empty() || fanout.listed_missed {
        shared.watchers.tell(&shared.sockets, fanout);
        return Ok(());
    }
    let batch = Arc::new(Batch::decode(&fanout)?);
    for number in fanout.connections {
        match shared.sockets.get(number) {
            Some(slot) => {
                slot.push(batch.bytes, Arc::clone(&batch));
            }
            None => strays.give_up(fanout.app.clone(), batch.session, number),
        }
    }
    Ok(())
}
