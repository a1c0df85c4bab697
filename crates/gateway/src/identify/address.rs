//! Where a peer really is, and whether its way here was encrypted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The address of whoever speaks: the peer, or, behind trusted proxies, the last address in
/// `X-Forwarded-For` that is not one of them. What stands before it is hearsay.
pub(crate) fn real_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let mut real = peer;
    let hops = headers.get_all("x-forwarded-for").iter().rev();
    for hop in hops.flat_map(|value| value.to_str().unwrap_or("").rsplit(',')) {
        let Some(address) = parse(hop.trim()) else { return real };
        real = address;
        if !is_trusted(address, trusted) {
            return real;
        }
    }
    real
}

/// Whether the peer's proxy says that it was reached by TLS.
pub(crate) fn is_encrypted(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    is_trusted(peer.to_canonical(), trusted)
        && proto
            .and_then(|protos| protos.rsplit(',').next())
            .is_some_and(|proto| matches!(proto.trim(), "https" | "wss"))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|range| range.contains(&address))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}
