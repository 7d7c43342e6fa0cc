//! Networks as limits by address count them: an IPv4 address, or a /64 of IPv6, which is what one customer gets.

use std::net::IpAddr;

/// The number of the network that an address is in; `None`: this machine. The two kinds do not meet: no IPv6 network
/// begins with 32 zeros.
pub fn number(addr: IpAddr) -> Option<u64> {
    match addr.to_canonical() {
        addr if addr.is_loopback() => None,
        IpAddr::V4(addr) => Some(addr.to_bits().into()),
        IpAddr::V6(addr) => Some((addr.to_bits() >> 64) as u64),
    }
}
