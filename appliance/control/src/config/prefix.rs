// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses with a prefix length, RFC 4632 and RFC 4291 section 2.3.

use std::fmt;
use std::net::IpAddr;

use lb::network::Prefix;

/// A prefix in the notation of RFC 4632: `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown(pub Prefix);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address, self.0.len)
    }
}

/// Reads `ADDRESS/LENGTH`; a length is needed.
pub(super) fn parse(text: &str) -> Option<Prefix> {
    let (address, len) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let digits = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
    let len = len.parse().ok().filter(|len| digits && *len <= width(address))?;
    Some(Prefix { address, len })
}

/// The prefix of one address.
pub(super) fn host(address: IpAddr) -> Prefix {
    Prefix { address, len: width(address) }
}

/// Whether the prefix is of one address.
pub(super) fn is_host(prefix: &Prefix) -> bool {
    prefix.len == width(prefix.address)
}

/// The prefix with the bits beyond its length cleared.
pub(super) fn network(prefix: &Prefix) -> Prefix {
    let address = match prefix.address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & mask32(prefix.len)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & mask128(prefix.len)).into()),
    };
    Prefix { address, len: prefix.len }
}

/// Whether the address is in the prefix.
pub(super) fn contains(prefix: &Prefix, address: IpAddr) -> bool {
    let same_family = prefix.address.is_ipv4() == address.is_ipv4();
    same_family && network(&Prefix { address, len: prefix.len }) == network(prefix)
}

/// Whether an address can be one machine's.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_multicast() || address.is_unspecified() || address.is_loopback() || broadcast)
}

/// Whether the address can be one machine's on its segment: not the segment's own address, nor its
/// broadcast address (RFC 919); a segment of two addresses has neither (RFC 3021).
pub(super) fn is_station(prefix: &Prefix) -> bool {
    let reserved = match prefix.address {
        IpAddr::V4(v4) if prefix.len < 31 => {
            let host = u32::from(v4) & !mask32(prefix.len);
            host == 0 || host == !mask32(prefix.len)
        }
        _ => false,
    };
    is_unicast(prefix.address) && !reserved
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn mask128(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}
