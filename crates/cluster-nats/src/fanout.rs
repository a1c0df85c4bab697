//! From the owners of sessions to gateways: `gw.<gateway>`, at most once.
//!
//! Overflow: what finds the router's queue full is not taken, and its caller is told; what finds the
//! gateway's queue full is dropped, and the gateway is told that something is missing.

mod receive;
mod send;

use async_nats::{HeaderMap, Message, PublishError};
use bytes::Bytes;
use stentor_types::GatewayId;

pub(crate) use self::{
    receive::{ReceiveError, Receiving},
    send::{SendQueue, Sender},
};

use crate::connect::Connection;

/// What is said to the gateway itself, and not to its sockets.
const SAYS: &str = "Stentor-Says";
/// Whoever says so has taken the gateway for gone, and sessions have forgotten its connections.
const GIVEN_UP: &str = "given-up";

/// Tells a gateway that it was taken for gone although it lives.
pub(crate) async fn tell_given_up(
    connection: &Connection,
    gateway: GatewayId,
) -> Result<(), PublishError> {
    let mut headers = HeaderMap::new();
    headers.insert(SAYS, GIVEN_UP);
    let client = connection.client();
    client.publish_with_headers(subject(gateway), headers, Bytes::new()).await
}

fn says_given_up(message: &Message) -> bool {
    let says = message.headers.as_ref().and_then(|headers| headers.get(SAYS));
    says.is_some_and(|says| says.as_str() == GIVEN_UP)
}

fn subject(gateway: GatewayId) -> String {
    format!("gw.{:016x}", gateway.0)
}
