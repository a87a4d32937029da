// SPDX-License-Identifier: MIT OR Apache-2.0
//! IP packets from scratch, inside a frame, inside another packet (IPIP and its kin), or bare.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

use super::{Checksum, EthFrame, IcmpMessage, TcpSegment, UdpDatagram};
use crate::ipv6::NEXT_FRAGMENT;
use crate::{Addr4, Addr6, Family, Ipv4, Ipv6, Ipv6Fragment, SctpEvent, Sum, V4, V6, csum, ipv4};

/// An IP packet whose content is still to be named; TTL 64 and otherwise zeros unless set.
#[derive(Clone, Debug)]
#[must_use]
pub struct IpPacket {
    below: Below,
    addresses: Addresses,
    ttl: u8,
    tos: u8,
    id: u32,
    flow_label: u32,
    dont_fragment: bool,
    fragment: Option<Place>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: Option<u8>,
    length: Option<u16>,
    checksum: Checksum,
}

/// What an IP packet lies in.
#[derive(Clone, Debug)]
pub(super) enum Below {
    Nothing,
    Frame(EthFrame),
    Packet(Box<IpPacket>),
}

#[derive(Clone, Copy, Debug)]
enum Addresses {
    V4(Addr4, Addr4),
    V6(Addr6, Addr6),
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset_bytes: u16,
    more: bool,
}

impl IpPacket {
    pub(super) fn new(below: Below, src: IpAddr, dst: IpAddr) -> Self {
        let mapped = |addr| match addr {
            IpAddr::V4(addr) => Addr6::from(addr.to_ipv6_mapped()),
            IpAddr::V6(addr) => addr.into(),
        };
        let addresses = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Addresses::V4(src.into(), dst.into()),
            _ => Addresses::V6(mapped(src), mapped(dst)),
        };
        Self {
            below,
            addresses,
            ttl: 64,
            tos: 0,
            id: 0,
            flow_label: 0,
            dont_fragment: false,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
            protocol: None,
            length: None,
            checksum: Checksum::Right,
        }
    }

    /// Sets TTL or hop limit.
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Sets type of service or traffic class: DSCP and ECN.
    pub fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    /// Sets the identification; IPv6 has one in fragments only.
    pub fn id(self, id: u32) -> Self {
        Self { id, ..self }
    }

    /// Sets the flow label; IPv6 only.
    pub fn flow_label(self, flow_label: u32) -> Self {
        Self { flow_label, ..self }
    }

    /// Forbids routers to fragment; on IPv6 they never do.
    pub fn dont_fragment(self) -> Self {
        Self { dont_fragment: true, ..self }
    }

    /// Makes it the fragment at this offset (a multiple of 8); what follows is not checksummed.
    pub fn fragment(self, offset_bytes: u16, more: bool) -> Self {
        Self { fragment: Some(Place { offset_bytes, more }), ..self }
    }

    /// Adds IPv4 options, padded to 4 bytes; at most 40 fit. IPv6 has none.
    pub fn options(self, options: &[u8]) -> Self {
        Self { options: padded_options(options), ..self }
    }

    /// Adds an IPv6 extension header of this number, before any fragment header; `rest` is what
    /// follows its two first bytes, padded to a multiple of 8 in all. IPv4 has none.
    pub fn extension(mut self, number: u8, rest: &[u8]) -> Self {
        self.extensions.push((number, rest.to_vec()));
        self
    }

    /// Sets the protocol or next header, whatever the packet carries.
    pub fn protocol(self, protocol: u8) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// Sets the length field (of the packet on IPv4, of the payload on IPv6) to this lie.
    pub fn length(self, length: u16) -> Self {
        Self { length: Some(length), ..self }
    }

    /// Sets the header checksum; IPv4 only.
    pub fn checksum(self, checksum: u16) -> Self {
        Self { checksum: Checksum::Fixed(checksum), ..self }
    }

    /// Makes the header checksum wrong; IPv4 only.
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }

    /// Carries a TCP segment.
    pub fn tcp(self, sport: u16, dport: u16) -> TcpSegment {
        TcpSegment::new(self, sport, dport)
    }

    /// Carries a UDP datagram.
    pub fn udp(self, sport: u16, dport: u16) -> UdpDatagram {
        UdpDatagram::new(self, sport, dport)
    }

    /// Carries one SCTP chunk with this body, or several if the body goes on with more of them.
    #[must_use]
    pub fn sctp(self, sport: u16, dport: u16, event: SctpEvent, body: &[u8]) -> Vec<u8> {
        super::transport::sctp(self, [sport, dport], event, body)
    }

    /// Carries an ICMP message, or an ICMPv6 message if the packet is IPv6.
    pub fn icmp(self, kind: u8, code: u8) -> IcmpMessage {
        IcmpMessage::new(self, kind, code)
    }

    /// Carries an IPv4 packet: IPIP, or 4in6.
    pub fn ipv4(self, src: impl Into<Ipv4Addr>, dst: impl Into<Ipv4Addr>) -> Self {
        self.ip(src.into(), dst.into())
    }

    /// Carries an IPv6 packet: 6in4, or 6in6.
    pub fn ipv6(self, src: impl Into<Ipv6Addr>, dst: impl Into<Ipv6Addr>) -> Self {
        self.ip(src.into(), dst.into())
    }

    /// Carries a packet of the addresses' family; mixed families become IPv6.
    pub fn ip(self, src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> Self {
        Self::new(Below::Packet(Box::new(self)), src.into(), dst.into())
    }

    /// The bytes with an arbitrary payload; protocol 253 ("experimental", RFC 3692) unless set.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Vec<u8> {
        self.wrap(253, payload)
    }

    pub(super) const fn is_v6(&self) -> bool {
        matches!(self.addresses, Addresses::V6(..))
    }

    pub(super) fn pseudo_header_sum(&self, len: usize, protocol: u8) -> Sum {
        match self.addresses {
            Addresses::V4(src, dst) => V4::pseudo_header_sum(src, dst, len, protocol),
            Addresses::V6(src, dst) => V6::pseudo_header_sum(src, dst, len, protocol),
        }
    }

    /// The bytes from the outermost layer on.
    pub(super) fn wrap(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let protocol = self.protocol.unwrap_or(protocol);
        let (packet, ethertype, number) = match self.addresses {
            Addresses::V4(src, dst) => {
                (self.v4(src, dst, protocol, payload), V4::ETHERTYPE, V4::PROTOCOL)
            }
            Addresses::V6(src, dst) => {
                (self.v6(src, dst, protocol, payload), V6::ETHERTYPE, V6::PROTOCOL)
            }
        };
        match self.below {
            Below::Nothing => packet,
            Below::Frame(frame) => frame.wrap(ethertype, &packet),
            Below::Packet(outer) => outer.wrap(number, &packet),
        }
    }

    fn v4(&self, src: Addr4, dst: Addr4, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header_len = size_of::<Ipv4>() + self.options.len();
        let place = self.fragment.map_or(0, |place| {
            let more = if place.more { ipv4::MORE_FRAGMENTS } else { 0 };
            (place.offset_bytes / 8) | more
        });
        let dont_fragment = if self.dont_fragment { ipv4::DONT_FRAGMENT } else { 0 };
        let mut header = Ipv4 {
            version_ihl: 4 << 4 | (header_len / 4) as u8,
            tos: self.tos,
            total_len: U16::new(self.length.unwrap_or((header_len + payload.len()) as u16)),
            id: U16::new(self.id as u16),
            frag: U16::new(place | dont_fragment),
            ttl: self.ttl,
            protocol,
            csum: U16::ZERO,
            src,
            dst,
        };
        let sum = csum::sum(header.as_bytes()).plus(csum::sum(&self.options));
        header.csum = self.checksum.field(sum.checksum());
        [header.as_bytes(), &self.options, payload].concat()
    }

    fn v6(&self, src: Addr6, dst: Addr6, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let fragment = self.fragment.map(|place| Ipv6Fragment {
            next_header: protocol,
            reserved: 0,
            offset_more: U16::new(place.offset_bytes & !7 | u16::from(place.more)),
            id: U32::new(self.id),
        });
        let mut first = if fragment.is_some() { NEXT_FRAGMENT } else { protocol };
        let mut between = fragment.as_ref().map_or(Vec::new(), |header| header.as_bytes().to_vec());
        for (number, rest) in self.extensions.iter().rev() {
            let len = (2 + rest.len()).next_multiple_of(8);
            let mut extension = [&[first, (len / 8 - 1) as u8], &rest[..]].concat();
            extension.resize(len, 0);
            between.splice(..0, extension);
            first = *number;
        }
        let header = Ipv6 {
            version_class_label: Ipv6::word(self.tos, self.flow_label),
            payload_len: U16::new(self.length.unwrap_or((between.len() + payload.len()) as u16)),
            next_header: first,
            hop_limit: self.ttl,
            src,
            dst,
        };
        [header.as_bytes(), &between, payload].concat()
    }
}

/// Options filled up to whole words with the end-of-list option, of at most the 40 bytes that a
/// header length can tell (RFC 791 §3.1, RFC 9293 §3.1).
pub(super) fn padded_options(options: &[u8]) -> Vec<u8> {
    let mut padded: Vec<u8> = options.iter().copied().take(40).collect();
    padded.resize(padded.len().next_multiple_of(4), 0);
    padded
}
