// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets as nearly all are: TCP or UDP, no IP options, no extension headers, no fragments.
//!
//! In those the addresses and ports lie in one piece, as a [`Tuple`] does: it is read, compared and
//! written as a whole. [`parse_plain`] knows these packets in a few steps; whatever it does not
//! know it leaves to [`super::parse`], which decides alone what is wrong with a frame.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, native_endian, transmute_ref,
};

use super::{Outcome, Parsed, parse};
use crate::csum::Sum;
use crate::{Delta, Eth, Family, FlowKey, L4, Link, TcpFlags, Tuple, V4, V6, ipv4};

/// The front of a frame whose IP header has nothing between its addresses and the ports.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Plain<F: PlainFamily> {
    /// Ethernet header.
    pub eth: Eth,
    /// The IP header up to the addresses.
    pub front: F::Front,
    /// Addresses and ports.
    pub tuple: Tuple<F>,
}

const _: () = assert!(size_of::<Plain<V4>>() == 38 && size_of::<Plain<V6>>() == 58);

/// A TCP header behind its ports, RFC 9293 §3.1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TcpRest {
    /// Sequence number of the first byte.
    pub seq: U32,
    /// Next sequence number expected from the other side.
    pub ack: U32,
    /// Header length in words of 4 bytes (upper four bits); the rest is reserved.
    pub data_offset: u8,
    /// Control bits.
    pub flags: TcpFlags,
    /// Receive window, unscaled.
    pub window: U16,
    /// Checksum over pseudo-header, header and data.
    pub csum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

/// A UDP header behind its ports, RFC 768.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct UdpRest {
    /// Length in bytes, header included.
    pub len: U16,
    /// Checksum over pseudo-header, header and data; zero means none on IPv4.
    pub csum: U16,
}

/// An IPv4 header up to the addresses, RFC 791; the fields are those of [`crate::Ipv4`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Front4 {
    version_ihl: u8,
    tos: u8,
    total_len: U16,
    id: U16,
    frag: U16,
    ttl: u8,
    protocol: u8,
    csum: U16,
}

/// The front of a frame with an IPv4 packet in words: the EtherType and the first two bytes of the
/// IP header, its next sixteen, its last two.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Words4 {
    link: Link,
    kind: native_endian::U32,
    first: native_endian::U64,
    second: native_endian::U64,
    third: native_endian::U16,
    ports: native_endian::U32,
}

/// An IPv6 header up to the addresses, RFC 8200; the fields are those of [`crate::Ipv6`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Front6 {
    version_class: u8,
    class_label: [u8; 3],
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
}

/// What a front says of its packet.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Length of the IP packet in bytes.
    pub ip_len: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// TTL or hop limit, in hops.
    pub ttl: u8,
    /// Type of service or traffic class: DSCP and ECN.
    pub tos: u8,
    /// Whether routers must not fragment the packet; always so on IPv6.
    pub dont_fragment: bool,
}

/// A family whose plain packets can be told by the front of their header.
pub trait PlainFamily: Family {
    /// The IP header up to the addresses.
    type Front: Copy
        + std::fmt::Debug
        + Eq
        + FromBytes
        + Immutable
        + IntoBytes
        + KnownLayout
        + Unaligned;

    /// Whether a frame carries this family, in a header that is right and that of a plain packet.
    fn is_plain(plain: &Plain<Self>) -> bool;

    /// What a front says, if it is that of a plain packet.
    fn said(front: &Self::Front) -> Said;

    /// The packet, if it is a whole one of this family.
    fn whole(outcome: Outcome) -> Option<Parsed<Self>>;

    /// Takes one from the TTL or hop limit, which must not be 0, and applies a change of header
    /// fields, that one included, to the header checksum; IPv6 has none.
    fn forward_plain(front: &mut Self::Front, delta: Delta);
}

impl PlainFamily for V4 {
    type Front = Front4;

    #[inline(always)]
    fn is_plain(plain: &Plain<Self>) -> bool {
        const PART: [u8; 2] = (ipv4::MORE_FRAGMENTS | ipv4::OFFSET).to_be_bytes();
        const KIND: [u8; 2] = V4::ETHERTYPE.to_be_bytes();
        const MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
        const PLAIN: u32 = u32::from_ne_bytes([KIND[0], KIND[1], ipv4::VERSION_IHL, 0]);
        let Words4 { kind, first, second, third, .. } = transmute_ref!(plain);
        // The EtherType, which is no part of the header, is taken back by its complement.
        let kind_only = u64::from(!u16::from_ne_bytes(KIND));
        let outside = u64::from(kind.get()) + u64::from(third.get()) + kind_only;
        let header = Sum::of_eight(outside)
            .carry(Sum::of_eight(first.get()))
            .carry(Sum::of_eight(second.get()));
        let frag = u16::from_ne_bytes(plain.front.frag.to_bytes());
        kind.get() & MASK == PLAIN && frag & u16::from_ne_bytes(PART) == 0 && header.is_intact()
    }

    #[inline(always)]
    fn said(front: &Front4) -> Said {
        Said {
            ip_len: front.total_len.get().into(),
            protocol: front.protocol,
            ttl: front.ttl,
            tos: front.tos,
            dont_fragment: front.frag.to_bytes()[0] & (ipv4::DONT_FRAGMENT >> 8) as u8 != 0,
        }
    }

    fn whole(outcome: Outcome) -> Option<Parsed<Self>> {
        match outcome {
            Outcome::V4(parsed) => Some(parsed),
            _ => None,
        }
    }

    #[inline(always)]
    fn forward_plain(front: &mut Front4, delta: Delta) {
        debug_assert_ne!(front.ttl, 0);
        front.ttl = front.ttl.wrapping_sub(1);
        front.csum = delta.apply(front.csum);
    }
}

impl PlainFamily for V6 {
    type Front = Front6;

    #[inline(always)]
    fn is_plain(plain: &Plain<Self>) -> bool {
        plain.eth.ethertype == U16::new(Self::ETHERTYPE) && plain.front.version_class >> 4 == 6
    }

    #[inline(always)]
    fn said(front: &Front6) -> Said {
        let [high, ..] = front.class_label;
        Said {
            ip_len: Self::HEADER_LEN as u32 + u32::from(front.payload_len.get()),
            protocol: front.next_header,
            ttl: front.hop_limit,
            tos: front.version_class << 4 | high >> 4,
            dont_fragment: true,
        }
    }

    fn whole(outcome: Outcome) -> Option<Parsed<Self>> {
        match outcome {
            Outcome::V6(parsed) => Some(parsed),
            _ => None,
        }
    }

    #[inline(always)]
    fn forward_plain(front: &mut Front6, _: Delta) {
        debug_assert_ne!(front.hop_limit, 0);
        front.hop_limit = front.hop_limit.wrapping_sub(1);
    }
}

/// A whole plain packet, as its frame shows it.
#[derive(Clone, Copy, Debug)]
pub struct PlainPacket<'a, F: PlainFamily> {
    tuple: &'a Tuple<F>,
    said: Said,
    protocol: L4,
    tcp_flags: TcpFlags,
    is_steady: bool,
}

impl<F: PlainFamily> PlainPacket<'_, F> {
    /// Addresses, ports and protocol.
    #[inline(always)]
    #[must_use]
    pub fn key(&self) -> FlowKey<F> {
        FlowKey { tuple: *self.tuple, protocol: self.protocol }
    }

    /// Whether it is one as come in the middle of a flow: over TCP with ACK and without SYN, FIN or
    /// RST, over UDP with a checksum.
    #[inline(always)]
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.is_steady
    }

    /// The packet as [`super::parse`] gives it.
    #[inline(always)]
    #[must_use]
    pub fn parsed(&self) -> Parsed<F> {
        Parsed {
            key: self.key(),
            ip_len: self.said.ip_len,
            l4: (size_of::<Eth>() + F::HEADER_LEN) as u16,
            ttl: self.said.ttl,
            tcp_flags: self.tcp_flags,
            dont_fragment: self.said.dont_fragment,
        }
    }
}

/// Reads a frame if it is a whole plain packet of the family; none leaves it to [`super::parse`].
#[inline(always)]
#[must_use]
pub fn parse_plain<F: PlainFamily>(head: &[u8], chain_len: usize) -> Option<PlainPacket<'_, F>> {
    let (plain, rest) = Plain::<F>::ref_from_prefix(head).ok()?;
    if !F::is_plain(plain) {
        return None;
    }
    let said = F::said(&plain.front);
    let packet_len = said.ip_len as usize;
    if size_of::<Eth>() + packet_len > chain_len {
        return None;
    }
    let (protocol, tcp_flags, is_steady) = if said.protocol == L4::Tcp.number() {
        let (tcp, _) = TcpRest::ref_from_prefix(rest).ok()?;
        let header_len = usize::from(tcp.data_offset >> 4) * 4;
        let is_whole =
            header_len >= size_of::<crate::Tcp>() && F::HEADER_LEN + header_len <= packet_len;
        is_whole.then_some((L4::Tcp, tcp.flags, tcp.flags.is_only_ack()))?
    } else if said.protocol == L4::Udp.number() {
        let (udp, _) = UdpRest::ref_from_prefix(rest).ok()?;
        let len = usize::from(udp.len.get());
        let is_whole = len >= size_of::<crate::Udp>() && F::HEADER_LEN + len <= packet_len;
        is_whole.then_some((L4::Udp, TcpFlags::NONE, udp.csum != U16::ZERO))?
    } else {
        return None;
    };
    Some(PlainPacket { tuple: &plain.tuple, said, protocol, tcp_flags, is_steady })
}

/// Reads a frame if it is a whole packet of the family, plain or not.
#[must_use]
pub fn parse_whole<F: PlainFamily>(head: &[u8], chain_len: usize) -> Option<Parsed<F>> {
    let plain = parse_plain(head, chain_len).map(|packet| packet.parsed());
    plain.or_else(|| F::whole(parse(head, chain_len)))
}
