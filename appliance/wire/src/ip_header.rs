// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an IP header says, of either family: for the packets that others carry or quote.
//!
//! The packet path reads packets with [`crate::parse()`]; this is for what lies inside them, of
//! which only the beginning may be there.

use zerocopy::FromBytes;

use crate::ipv6::{self, Walked};
use crate::{Family, Ipv4, Ipv6, V4, V6, ipv4};

/// An IP header's fields, read but not believed: the packet may be shorter than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader<F: Family> {
    /// Source.
    pub src: F::Addr,
    /// Destination.
    pub dst: F::Addr,
    /// Type of service or traffic class: DSCP and ECN.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What follows the header.
    pub protocol: u8,
    /// Length of the header in bytes, with options on IPv4; whether with extension headers on IPv6
    /// is for the function that read it to say.
    pub header_len: usize,
    /// Length of the packet in bytes, header included.
    pub packet_len: usize,
    /// Whether routers must not fragment the packet; always so on IPv6.
    pub dont_fragment: bool,
    /// Whether the packet is a fragment, the first included.
    pub is_fragment: bool,
    /// Whether the beginning of what the packet carries is in another fragment.
    pub is_later_fragment: bool,
}

/// A family whose headers can be read.
pub trait ReadHeader: Family {
    /// Protocol number of the family's ICMP.
    const ICMP: u8;

    /// Reads the header at the start of `l3`; none if it is not there or not of this family.
    fn header(l3: &[u8]) -> Option<IpHeader<Self>>;

    /// As [`Self::header`], with the extension headers that a host reads, as far as they are there.
    fn all_headers(l3: &[u8]) -> Option<IpHeader<Self>> {
        Self::header(l3)
    }
}

impl ReadHeader for V4 {
    const ICMP: u8 = ipv4::PROTOCOL_ICMP;

    #[inline]
    fn header(l3: &[u8]) -> Option<IpHeader<Self>> {
        let (ip, _) = Ipv4::ref_from_prefix(l3).ok()?;
        let header_len = ip.header_len();
        if ip.version() != 4 || header_len < size_of::<Ipv4>() {
            return None;
        }
        Some(IpHeader {
            src: ip.src,
            dst: ip.dst,
            tos: ip.tos,
            ttl: ip.ttl,
            protocol: ip.protocol,
            header_len,
            packet_len: ip.total_len.get().into(),
            dont_fragment: ip.dont_fragment(),
            is_fragment: ip.is_fragment(),
            is_later_fragment: ip.frag.get() & ipv4::OFFSET != 0,
        })
    }
}

impl ReadHeader for V6 {
    const ICMP: u8 = ipv6::NEXT_ICMP6;

    #[inline]
    fn header(l3: &[u8]) -> Option<IpHeader<Self>> {
        let (ip, _) = Ipv6::ref_from_prefix(l3).ok()?;
        (ip.version() == 6).then(|| IpHeader {
            src: ip.src,
            dst: ip.dst,
            tos: ip.traffic_class(),
            ttl: ip.hop_limit,
            protocol: ip.next_header,
            header_len: size_of::<Ipv6>(),
            packet_len: size_of::<Ipv6>() + usize::from(ip.payload_len.get()),
            dont_fragment: true,
            is_fragment: ip.next_header == ipv6::NEXT_FRAGMENT,
            is_later_fragment: false,
        })
    }

    fn all_headers(l3: &[u8]) -> Option<IpHeader<Self>> {
        let ip = Self::header(l3)?;
        let payload = l3.get(ip.header_len..)?;
        Some(match ipv6::walk(ip.protocol, payload, ip.packet_len - ip.header_len) {
            Ok(Walked::Transport { protocol, at }) => {
                let header_len = ip.header_len + at;
                IpHeader { protocol, header_len, is_fragment: false, ..ip }
            }
            Ok(Walked::Fragment { header, at }) => IpHeader {
                protocol: header.next_header,
                header_len: ip.header_len + at,
                is_fragment: true,
                is_later_fragment: header.offset() != 0,
                ..ip
            },
            // What cannot be read, or is for routers, names no protocol that is looked for.
            Ok(Walked::ForRouters) | Err(_) => ip,
        })
    }
}
