// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two address families as types, so that the packet path is written once.
//!
//! Methods on packets take a slice that starts at the IP header and say false, changing nothing,
//! when it is too short. They never look behind the fixed header.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::IpAddr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::csum::{self, Delta, Sum};
use crate::{Addr4, Addr6, Ipv4, Ipv6, L4, eth, ipv4, ipv6};

/// An address family: [`V4`] or [`V6`].
pub trait Family: Copy + Default + Eq + Ord + Hash + Debug + Send + Sync + 'static {
    /// An address as it lies on the wire.
    type Addr: Copy
        + Default
        + Eq
        + Ord
        + Hash
        + Debug
        + Display
        + Send
        + Sync
        + 'static
        + FromBytes
        + Immutable
        + IntoBytes
        + KnownLayout
        + Unaligned
        + Into<IpAddr>;

    /// The value that stands for this family where a type cannot.
    const ID: FamilyId;
    /// EtherType of its packets.
    const ETHERTYPE: u16;
    /// IP protocol number of its packets inside other IP packets (RFC 2003, RFC 2473, RFC 4213).
    const PROTOCOL: u8;
    /// Length of the header without options and extension headers, in bytes.
    const HEADER_LEN: usize;

    /// The address, if it is of this family.
    fn from_ip(addr: IpAddr) -> Option<Self::Addr>;

    /// Source and destination of a packet.
    fn addresses(l3: &[u8]) -> Option<(Self::Addr, Self::Addr)>;

    /// Writes source and destination; checksums are left to the caller.
    fn write_addresses(l3: &mut [u8], src: Self::Addr, dst: Self::Addr) -> bool;

    /// Takes one from the TTL or hop limit and mends the header checksum; false also if it is 0.
    fn decrement_ttl(l3: &mut [u8]) -> bool;

    /// Writes source and destination and takes one from the TTL or hop limit, which must not be 0;
    /// `delta` is what all of that does to the header checksum, [`TTL_DELTA`] included.
    fn forward(l3: &mut [u8], src: Self::Addr, dst: Self::Addr, delta: Delta) -> bool;

    /// Applies a change of header fields to the header checksum; IPv6 has none.
    fn adjust_header_checksum(l3: &mut [u8], delta: Delta) -> bool;

    /// Sum of the pseudo-header for `len` bytes of L4 (RFC 9293 §3.1, RFC 8200 §8.1).
    fn pseudo_header_sum(src: Self::Addr, dst: Self::Addr, len: usize, protocol: u8) -> Sum {
        let len = len as u64;
        csum::sum(src.as_bytes())
            .plus(csum::sum(dst.as_bytes()))
            .word((len >> 16) as u16)
            .word(len as u16)
            .word(protocol.into())
    }

    /// Checksum of a whole TCP or UDP packet whose checksum field is zero, as it is to be sent.
    fn l4_checksum(src: Self::Addr, dst: Self::Addr, protocol: L4, l4: &[u8]) -> U16 {
        let pseudo = Self::pseudo_header_sum(src, dst, l4.len(), protocol.number());
        let csum = pseudo.plus(csum::sum(l4)).checksum();
        match protocol {
            L4::Tcp | L4::Sctp => csum,
            L4::Udp => csum::nonzero(csum),
        }
    }
}

/// What taking one from the TTL does to the IPv4 header checksum. The TTL is the first byte of its
/// 16-bit word and the protocol beside it does not change, so that this is the same for each TTL.
pub const TTL_DELTA: Delta = Delta::of_words(0x0100, 0x0000);

/// An address family as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FamilyId {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// IPv4, RFC 791.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V4;

impl Family for V4 {
    type Addr = Addr4;
    const ID: FamilyId = FamilyId::V4;
    const ETHERTYPE: u16 = eth::IPV4;
    const PROTOCOL: u8 = ipv4::PROTOCOL_IPIP;
    const HEADER_LEN: usize = size_of::<Ipv4>();

    fn from_ip(addr: IpAddr) -> Option<Addr4> {
        match addr {
            IpAddr::V4(addr) => Some(addr.into()),
            IpAddr::V6(_) => None,
        }
    }

    #[inline]
    fn addresses(l3: &[u8]) -> Option<(Addr4, Addr4)> {
        let (ip, _) = Ipv4::ref_from_prefix(l3).ok()?;
        Some((ip.src, ip.dst))
    }

    #[inline]
    fn write_addresses(l3: &mut [u8], src: Addr4, dst: Addr4) -> bool {
        let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) else {
            return false;
        };
        ip.src = src;
        ip.dst = dst;
        true
    }

    #[inline]
    fn decrement_ttl(l3: &mut [u8]) -> bool {
        let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) else {
            return false;
        };
        let Some(ttl) = ip.ttl.checked_sub(1) else {
            return false;
        };
        ip.csum = TTL_DELTA.apply(ip.csum);
        ip.ttl = ttl;
        true
    }

    #[inline]
    fn forward(l3: &mut [u8], src: Addr4, dst: Addr4, delta: Delta) -> bool {
        let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) else { return false };
        debug_assert_ne!(ip.ttl, 0);
        ip.ttl = ip.ttl.wrapping_sub(1);
        ip.csum = delta.apply(ip.csum);
        ip.src = src;
        ip.dst = dst;
        true
    }

    #[inline]
    fn adjust_header_checksum(l3: &mut [u8], delta: Delta) -> bool {
        let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) else {
            return false;
        };
        ip.csum = delta.apply(ip.csum);
        true
    }
}

/// IPv6, RFC 8200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V6;

impl Family for V6 {
    type Addr = Addr6;
    const ID: FamilyId = FamilyId::V6;
    const ETHERTYPE: u16 = eth::IPV6;
    const PROTOCOL: u8 = ipv6::PROTOCOL_IPV6;
    const HEADER_LEN: usize = size_of::<Ipv6>();

    fn from_ip(addr: IpAddr) -> Option<Addr6> {
        match addr {
            IpAddr::V4(_) => None,
            IpAddr::V6(addr) => Some(addr.into()),
        }
    }

    #[inline]
    fn addresses(l3: &[u8]) -> Option<(Addr6, Addr6)> {
        let (ip, _) = Ipv6::ref_from_prefix(l3).ok()?;
        Some((ip.src, ip.dst))
    }

    #[inline]
    fn write_addresses(l3: &mut [u8], src: Addr6, dst: Addr6) -> bool {
        let Ok((ip, _)) = Ipv6::mut_from_prefix(l3) else {
            return false;
        };
        ip.src = src;
        ip.dst = dst;
        true
    }

    #[inline]
    fn decrement_ttl(l3: &mut [u8]) -> bool {
        let Ok((ip, _)) = Ipv6::mut_from_prefix(l3) else {
            return false;
        };
        let Some(hop_limit) = ip.hop_limit.checked_sub(1) else {
            return false;
        };
        ip.hop_limit = hop_limit;
        true
    }

    #[inline]
    fn forward(l3: &mut [u8], src: Addr6, dst: Addr6, _: Delta) -> bool {
        let Ok((ip, _)) = Ipv6::mut_from_prefix(l3) else { return false };
        debug_assert_ne!(ip.hop_limit, 0);
        ip.hop_limit = ip.hop_limit.wrapping_sub(1);
        ip.src = src;
        ip.dst = dst;
        true
    }

    #[inline]
    fn adjust_header_checksum(l3: &mut [u8], _: Delta) -> bool {
        l3.len() >= Self::HEADER_LEN
    }
}

#[cfg(test)]
mod tests;
