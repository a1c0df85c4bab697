//! Connections that a session still holds although they are gone.
//!
//! A socket can be attached to two sessions without knowing: its first request for "the latest one" is
//! committed but never answered, and by the time it is sent again another one is the latest. What is fanned
//! out to a socket that does not exist any more shows such a place; it is given up then. (One that exists
//! gives it up itself, in order with what else it asks for.)

use std::sync::Arc;

use prost::Message;
use stentor_cluster::Ingress;
use stentor_types::{ConnectionId, SessionId};
use stentor_wire::{connection_to_pb, pb, pb::connection_input, session_to_bytes};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::shared::{self, Shared};

/// Places being given up at the same time. Beyond it one is left alone: the next fan-out shows it again.
const OPEN_MAX: usize = 64;

/// Gives up places of sockets that are gone.
#[derive(Debug)]
pub(crate) struct Strays<B> {
    shared: Arc<Shared<B>>,
    places: Arc<Semaphore>,
}

// === impl Strays ===

impl<B: Ingress> Strays<B> {
    pub(crate) fn new(shared: Arc<Shared<B>>) -> Self {
        Self { shared, places: Arc::new(Semaphore::new(OPEN_MAX)) }
    }

    /// The socket of this number is gone, and the session does not know.
    pub(crate) fn give_up(&self, app: String, session: SessionId, number: u64) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let connection = ConnectionId { gateway: self.shared.gateway(), number };
        debug!(%session, %connection, "a session holds a socket that is gone");
        let detach = pb::DetachInput { session: session_to_bytes(session), delivered: None };
        let input = pb::ConnectionInput {
            received_at: shared::now().0,
            kind: Some(connection_input::Kind::Detach(detach)),
        };
        let request = pb::ConnectionRequest {
            connection: Some(connection_to_pb(connection)),
            // Nobody's: who leaves need not say who they are.
            user: vec![0; 16].into(),
            placement: session.key().0,
            role: pb::Role::Visitor.into(),
            inputs: vec![input],
        };
        let kind = Some(pb::request::Kind::Connection(request));
        let request = pb::Request { app, kind, deaths: 0 }.encode_to_vec();
        let bus = Arc::clone(&self.shared.bus);
        tokio::spawn(async move {
            // Without an answer it is shown again.
            let _ = bus.request(session.partition(), request.into()).await;
            drop(place);
        });
    }
}
