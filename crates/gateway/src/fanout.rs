//! Takes what the owners of sessions tell this gateway to the sockets it concerns.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use stentor_wire::{DecodeError, pb};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{legacy::Batch, shared::Shared};

/// Serves until the bus is gone. Never waits for a socket: one that is behind is closed.
pub(crate) async fn run<B>(shared: Arc<Shared<B>>, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.recv().await {
        if let Err(cause) = hand_out(&shared, message) {
            warn!(%cause, "a fan-out message could not be read; its sockets will fetch what it held");
        }
    }
}

fn hand_out<B>(shared: &Shared<B>, message: Bytes) -> Result<(), DecodeError> {
    let fanout = pb::Fanout::decode(message)?;
    let batch = Arc::new(Batch::decode(&fanout)?);
    for number in fanout.connections {
        if let Some(slot) = shared.sockets.get(number) {
            slot.push(batch.bytes, Arc::clone(&batch));
        }
    }
    Ok(())
}
