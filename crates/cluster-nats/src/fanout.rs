//! From the owners of sessions to gateways: `gw.<gateway>`, at most once.
//!
//! Overflow: what finds the router's queue full is not taken, and its caller is told; what finds the
//! gateway's queue full is dropped, and the gateway is told that something is missing.

mod receive;
mod send;

use stentor_types::GatewayId;

pub(crate) use self::{
    receive::{ReceiveError, Receiving},
    send::{SendQueue, Sender},
};

fn subject(gateway: GatewayId) -> String {
    format!("gw.{:016x}", gateway.0)
}
