//! Lists of address ranges.

use ipnet::IpNet;

/// Reads `10.0.0.0/8, fd00::/8`; a bare address is a range of one.
pub(crate) fn parse_list(text: &str) -> Result<Vec<IpNet>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let single = part.parse::<std::net::IpAddr>().map(IpNet::from);
            part.parse::<IpNet>()
                .or(single)
                .map_err(|_| format!("{part:?} is no address range; write one such as 10.0.0.0/8"))
        })
        .collect()
}
