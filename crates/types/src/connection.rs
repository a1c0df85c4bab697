//! Sockets, and the numbers that clients give their messages.

use std::fmt;

/// One life of a gateway process: random, so that a restarted gateway is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u64);

/// One socket on one gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The life of the gateway that holds the socket.
    pub gateway: GatewayId,
    /// Counts the sockets of that life, from 1.
    pub number: u64,
}

/// Who numbers messages: a client instance minted by the server, or a legacy connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientInstance(pub u128);

/// Client message id: counter 1, 2, 3 … without holes within one client instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mid {
    /// Who counts.
    pub client: ClientInstance,
    /// The message's number, from 1.
    pub counter: u64,
}

// === impl ConnectionId ===

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}-{}", self.gateway.0, self.number)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConnectionId({self})")
    }
}

// === impl ClientInstance ===

impl From<ConnectionId> for ClientInstance {
    /// A legacy client has no instance of its own: its connection numbers its frames.
    fn from(connection: ConnectionId) -> Self {
        Self(u128::from(connection.gateway.0) << 64 | u128::from(connection.number))
    }
}

impl ClientInstance {
    /// The legacy connection that counts under this instance.
    #[must_use]
    pub const fn connection(self) -> ConnectionId {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are 64 bits each")]
        let (gateway, number) = ((self.0 >> 64) as u64, self.0 as u64);
        ConnectionId { gateway: GatewayId(gateway), number }
    }
}
