//! Which addresses bots may live at.
//!
//! A bot's URL is an operator's word, but a name can be made to lead anywhere. Public addresses are
//! allowed, private ones if the process's settings say so, and those through which a cloud gives away its
//! secrets never, in whatever notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Which addresses may be called.
#[derive(Clone, Debug)]
pub struct AddressPolicy {
    private: Vec<IpNet>,
}

// === impl AddressPolicy ===

impl AddressPolicy {
    /// Public addresses, and private ones within these ranges.
    #[must_use]
    pub const fn new(private: Vec<IpNet>) -> Self {
        Self { private }
    }

    /// Whether an address may be called.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = embedded_v4(address).map_or(address, IpAddr::V4);
        if is_never(address) {
            return false;
        }
        !is_private(address) || self.private.iter().any(|range| range.contains(&address))
    }
}

/// The IPv4 address inside an IPv6 one: mapped, compatible, 6to4 or NAT64.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let octets = address.octets();
    let four = |from: usize| -> Option<Ipv4Addr> {
        let part: [u8; 4] = octets.get(from..from + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(part))
    };
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => four(12),
        [0x2002, ..] => four(2),
        [0, 0, 0, 0, 0, 0, ..]
            if address != Ipv6Addr::LOCALHOST && address != Ipv6Addr::UNSPECIFIED =>
        {
            four(12)
        }
        _ => None,
    }
}

/// Never a bot: unspecified, link-local (metadata services among them), multicast, reserved.
fn is_never(address: IpAddr) -> bool {
    /// Where one large cloud serves metadata over IPv6.
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || first == 0
                || first >= 240
                // Metadata of another cloud, in the range that carriers share.
                || address == Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(address) => {
            let [first, ..] = address.segments();
            address.is_unspecified()
                || address.is_multicast()
                || first & 0xffc0 == 0xfe80
                || first & 0xffc0 == 0xfec0
                || address == METADATA_V6
        }
    }
}

/// Not reachable from the public network.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, third, _] = address.octets();
            address.is_loopback()
                || address.is_private()
                || (first == 100 && second & 0xc0 == 64)
                || (first == 192 && second == 0 && third == 0)
                || (first == 198 && second & 0xfe == 18)
        }
        IpAddr::V6(address) => {
            let [first, ..] = address.segments();
            address.is_loopback() || first & 0xfe00 == 0xfc00
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_metadata_and_link_local_addresses_are_never_called() {
        let all = ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap()).to_vec();
        let policy = AddressPolicy::new(all);
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "100.100.100.200",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "64:ff9b::a9fe:a9fe",
            "::ffff:0.0.0.0",
        ] {
            assert!(!policy.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn s13_private_addresses_are_called_only_where_allowed() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "::1",
            "fc00::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:0a00:0001::1",
            "64:ff9b::7f00:1",
            "192.0.0.8",
        ];
        let strict = AddressPolicy::new(Vec::new());
        for address in private {
            assert!(!strict.allows(address.parse().unwrap()), "{address}");
        }
        let loopback = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(loopback.allows("127.0.0.1".parse().unwrap()));
        assert!(loopback.allows("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!loopback.allows("10.0.0.1".parse().unwrap()));
        for public in
            ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "172.32.0.1", "100.128.0.1", "::ffff:1.1.1.1"]
        {
            assert!(strict.allows(public.parse().unwrap()), "{public}");
        }
    }
}
