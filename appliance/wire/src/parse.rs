// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frame to outcome: parsed once, and the proof carried along.
//!
//! A [`Parsed`] can only be made here and in [`crate::fragment`]: a TCP or UDP packet whose fixed
//! headers lie in the first segment and whose length fields agree with each other and with the
//! frame. What the balancer does not understand is not ours (the host may); what lies about itself
//! is bad. L4 checksums are not verified, as in IPVS: a bad one stays bad for the receiver to find.
//!
//! Standards: RFC 791, RFC 1122 §3.2.1 (what a host discards), RFC 8200, RFC 9293, RFC 768.

use zerocopy::{FromBytes, IntoBytes};

use crate::fragment::{Fragment, Piece};
use crate::ipv6::{self, Walked};
use crate::{Eth, Family, FlowKey, Ipv4, Ipv6, L4, Port, Sctp, SctpChunk};
use crate::{SctpEvent, Tcp, TcpFlags, Tuple, Udp};
use crate::{V4, V6, csum, eth, ipv4};

pub mod plain;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A whole TCP or UDP packet over IPv4.
    V4(Parsed<V4>),
    /// A whole TCP or UDP packet over IPv6.
    V6(Parsed<V6>),
    /// A part of a TCP or UDP packet.
    Fragment(Fragment),
    /// Another protocol: ARP, ICMP, a VLAN tag; or packets that a router on the way must see.
    NotOurs,
    /// Not what it says it is.
    Bad(Malformed),
}

/// A TCP or UDP packet, or a [`Piece`] of one: where its headers are and what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<F: Family> {
    pub(crate) key: FlowKey<F>,
    pub(crate) ip_len: u32,
    pub(crate) l4: u16,
    pub(crate) ttl: u8,
    pub(crate) tcp_flags: TcpFlags,
    pub(crate) dont_fragment: bool,
}

impl<F: Family> Parsed<F> {
    /// Addresses, ports and protocol.
    #[inline]
    #[must_use]
    pub const fn key(&self) -> FlowKey<F> {
        self.key
    }

    /// Transport protocol.
    #[inline]
    #[must_use]
    pub const fn protocol(&self) -> L4 {
        self.key.protocol
    }

    /// Offset of the IP header in the frame, in bytes.
    #[inline]
    #[must_use]
    pub const fn l3(&self) -> usize {
        size_of::<Eth>()
    }

    /// Offset of the TCP or UDP header in the frame, in bytes; 0 if it is in another fragment.
    #[inline]
    #[must_use]
    pub const fn l4(&self) -> usize {
        self.l4 as usize
    }

    /// Whether the TCP or UDP header is in another fragment.
    #[inline]
    #[must_use]
    pub const fn is_later_part(&self) -> bool {
        self.l4 == 0
    }

    /// Length of the IP packet in bytes by its own header; the frame may be longer (padding).
    #[inline]
    #[must_use]
    pub const fn ip_len(&self) -> usize {
        self.ip_len as usize
    }

    /// TTL or hop limit, in hops.
    #[inline]
    #[must_use]
    pub const fn ttl(&self) -> u8 {
        self.ttl
    }

    /// Whether routers must not fragment the packet; always so on IPv6.
    #[inline]
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        self.dont_fragment
    }

    /// TCP control bits; none for UDP. For SCTP those that [`SctpEvent::from_flags`] reads: SYN for
    /// INIT, RST for ABORT.
    #[inline]
    #[must_use]
    pub const fn tcp_flags(&self) -> TcpFlags {
        self.tcp_flags
    }
}

/// Why a frame is not what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The frame ends inside the Ethernet header.
    #[error("a frame needs 14 bytes of Ethernet header")]
    TruncatedEthernet,
    /// The frame ends inside the IP header.
    #[error("the frame ends inside its IP header")]
    TruncatedIp,
    /// The version is not the EtherType's.
    #[error("the IP version must be the one that the EtherType says")]
    BadVersion,
    /// An IPv4 header length under 20 bytes.
    #[error("an IPv4 header is at least 20 bytes long")]
    BadHeaderLength,
    /// An IP length that is shorter than the header or longer than the frame.
    #[error("the IP length must cover the header and lie within the frame")]
    BadTotalLength,
    /// A wrong IPv4 header checksum.
    #[error("the IPv4 header checksum must be right")]
    BadHeaderChecksum,
    /// The IP packet ends inside its TCP, UDP or fragment header.
    #[error("the IP packet ends inside its TCP, UDP or fragment header")]
    TruncatedL4,
    /// A TCP header length under 20 bytes or beyond the packet.
    #[error("the TCP data offset must be at least 20 bytes and lie within the packet")]
    BadTcpHeaderLength,
    /// A UDP length under 8 bytes or beyond the packet.
    #[error("the UDP length must be at least 8 bytes and lie within the packet")]
    BadUdpLength,
    /// More IPv6 extension headers than are looked at.
    #[error("an IPv6 packet has at most 8 extension headers before its TCP or UDP header")]
    TooManyExtensions,
    /// The headers are spread over more than the first segment.
    #[error("all headers must lie in the first segment of the frame")]
    SplitHeaders,
    /// A fragment that splits the transport header.
    #[error("the TCP or UDP header must be whole in the first fragment")]
    TinyFragment,
    /// An empty fragment, or one that is not the last and ends within a unit of 8 bytes.
    #[error("a fragment carries bytes, and a multiple of 8 of them unless it is the last")]
    BadFragment,
    /// A fragment of a packet that is longer than a packet can be.
    #[error("a fragment must end within the 65535 bytes that a packet can have")]
    OversizeFragment,
}

impl Malformed {
    /// Every reason, in the order in which they are looked for.
    pub const ALL: [Self; 14] = [
        Self::TruncatedEthernet,
        Self::TruncatedIp,
        Self::BadVersion,
        Self::BadHeaderLength,
        Self::BadTotalLength,
        Self::BadHeaderChecksum,
        Self::TruncatedL4,
        Self::BadTcpHeaderLength,
        Self::BadUdpLength,
        Self::TooManyExtensions,
        Self::SplitHeaders,
        Self::TinyFragment,
        Self::BadFragment,
        Self::OversizeFragment,
    ];

    /// The reason in snake_case, as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TruncatedEthernet => "truncated_ethernet",
            Self::TruncatedIp => "truncated_ip",
            Self::BadVersion => "bad_version",
            Self::BadHeaderLength => "bad_header_length",
            Self::BadTotalLength => "bad_total_length",
            Self::BadHeaderChecksum => "bad_header_checksum",
            Self::TruncatedL4 => "truncated_l4",
            Self::BadTcpHeaderLength => "bad_tcp_header_length",
            Self::BadUdpLength => "bad_udp_length",
            Self::TooManyExtensions => "too_many_extensions",
            Self::SplitHeaders => "split_headers",
            Self::TinyFragment => "tiny_fragment",
            Self::BadFragment => "bad_fragment",
            Self::OversizeFragment => "oversize_fragment",
        }
    }
}

/// Says what the frame is whose first segment is `head` and whose chain is `chain_len` bytes long.
#[inline]
#[must_use]
pub fn parse(head: &[u8], chain_len: usize) -> Outcome {
    let Ok((eth, l3)) = Eth::ref_from_prefix(head) else {
        return Outcome::Bad(short(Malformed::TruncatedEthernet, size_of::<Eth>(), chain_len));
    };
    let available = chain_len.saturating_sub(size_of::<Eth>());
    match eth.ethertype.get() {
        eth::IPV4 => parse_v4(l3, available).unwrap_or_else(Outcome::Bad),
        eth::IPV6 => parse_v6(l3, available).unwrap_or_else(Outcome::Bad),
        _ => Outcome::NotOurs,
    }
}

/// `l3` is what can be read of the packet, `available` what the whole chain has of it, in bytes.
#[inline]
fn parse_v4(l3: &[u8], available: usize) -> Result<Outcome, Malformed> {
    let Ok((ip, _)) = Ipv4::ref_from_prefix(l3) else {
        return Err(short(Malformed::TruncatedIp, size_of::<Ipv4>(), available));
    };
    let (header_len, ip_len) = (ip.header_len(), usize::from(ip.total_len.get()));
    if ip.version() != 4 {
        return Err(Malformed::BadVersion);
    }
    if header_len < size_of::<Ipv4>() {
        return Err(Malformed::BadHeaderLength);
    }
    if ip_len < header_len || ip_len > available {
        return Err(Malformed::BadTotalLength);
    }
    // A length that the compiler knows makes five loads of the common case.
    let header = if header_len == size_of::<Ipv4>() {
        csum::sum(ip.as_bytes())
    } else {
        csum::sum(l3.get(..header_len).ok_or(Malformed::SplitHeaders)?)
    };
    if !header.is_intact() {
        return Err(Malformed::BadHeaderChecksum);
    }
    let Some(protocol) = L4::from_number(ip.protocol) else {
        return Ok(Outcome::NotOurs);
    };
    if ip.is_fragment() {
        let frag = ip.frag.get();
        return Ok(Outcome::Fragment(Fragment::V4(Piece {
            src: ip.src,
            dst: ip.dst,
            id: ip.id.get().into(),
            protocol,
            offset: (frag & ipv4::OFFSET) << 3,
            len: (ip_len - header_len) as u16,
            more: frag & ipv4::MORE_FRAGMENTS != 0,
            ttl: ip.ttl,
            dont_fragment: ip.dont_fragment(),
            at: (size_of::<Eth>() + header_len) as u16,
        })));
    }
    let l4 = l3.get(header_len..).ok_or(Malformed::SplitHeaders)?;
    let transport = Transport::read(protocol, l4, ip_len - header_len)?;
    Ok(Outcome::V4(Parsed {
        key: transport.key(ip.src, ip.dst),
        ip_len: ip_len as u32,
        l4: (size_of::<Eth>() + header_len) as u16,
        ttl: ip.ttl,
        tcp_flags: transport.flags,
        dont_fragment: ip.dont_fragment(),
    }))
}

/// `l3` is what can be read of the packet, `available` what the whole chain has of it, in bytes.
#[inline]
fn parse_v6(l3: &[u8], available: usize) -> Result<Outcome, Malformed> {
    let Ok((ip, payload)) = Ipv6::ref_from_prefix(l3) else {
        return Err(short(Malformed::TruncatedIp, size_of::<Ipv6>(), available));
    };
    let payload_len = usize::from(ip.payload_len.get());
    let ip_len = size_of::<Ipv6>() + payload_len;
    if ip.version() != 6 {
        return Err(Malformed::BadVersion);
    }
    if ip_len > available {
        return Err(Malformed::BadTotalLength);
    }
    let Some(protocol) = L4::from_number(ip.next_header) else {
        return parse_v6_extended(ip, payload, payload_len);
    };
    whole_v6(ip, protocol, payload, (0, payload_len))
}

/// A packet with extension headers, or of another protocol.
#[cold]
fn parse_v6_extended(ip: &Ipv6, payload: &[u8], payload_len: usize) -> Result<Outcome, Malformed> {
    let (protocol, at, part) = match ipv6::walk(ip.next_header, payload, payload_len)? {
        Walked::Transport { protocol, at } => (protocol, at, None),
        Walked::Fragment { header, at } => (header.next_header, at, Some(header)),
        Walked::ForRouters => return Ok(Outcome::NotOurs),
    };
    let Some(protocol) = L4::from_number(protocol) else {
        return Ok(Outcome::NotOurs);
    };
    let Some(part) = part else {
        return whole_v6(ip, protocol, payload, (at, payload_len));
    };
    Ok(Outcome::Fragment(Fragment::V6(Piece {
        src: ip.src,
        dst: ip.dst,
        id: part.id.get(),
        protocol,
        offset: part.offset(),
        len: (payload_len - at) as u16,
        more: part.more(),
        ttl: ip.hop_limit,
        dont_fragment: true,
        at: (size_of::<Eth>() + size_of::<Ipv6>() + at) as u16,
    })))
}

/// `at` is where the transport header is in the payload, which is `payload_len` bytes long.
#[inline]
fn whole_v6(
    ip: &Ipv6,
    protocol: L4,
    payload: &[u8],
    (at, payload_len): (usize, usize),
) -> Result<Outcome, Malformed> {
    let l4 = payload.get(at..).ok_or(Malformed::SplitHeaders)?;
    let transport = Transport::read(protocol, l4, payload_len - at)?;
    Ok(Outcome::V6(Parsed {
        key: transport.key(ip.src, ip.dst),
        ip_len: (size_of::<Ipv6>() + payload_len) as u32,
        l4: (size_of::<Eth>() + size_of::<Ipv6>() + at) as u16,
        ttl: ip.hop_limit,
        tcp_flags: transport.flags,
        dont_fragment: true,
    }))
}

/// What the balancer reads of a TCP or UDP header.
pub(crate) struct Transport {
    sport: Port,
    dport: Port,
    protocol: L4,
    pub(crate) flags: TcpFlags,
}

impl Transport {
    /// `l4` is what can be read of the segment or datagram, `len` its length in bytes.
    #[inline]
    fn read(protocol: L4, l4: &[u8], len: usize) -> Result<Self, Malformed> {
        match protocol {
            L4::Tcp => Self::read_tcp(l4, len),
            L4::Udp => Self::read_udp(l4, len),
            L4::Sctp => Self::read_sctp(l4, len),
        }
    }

    /// As [`Self::read`], of a first fragment: it holds the header, and the rest is elsewhere.
    pub(crate) fn read_first(protocol: L4, l4: &[u8], len: usize) -> Result<Self, Malformed> {
        let read = match protocol {
            L4::Tcp => Self::read_tcp(l4, len),
            // A datagram's length is that of the whole.
            L4::Udp if len < size_of::<Udp>() => Err(Malformed::TruncatedL4),
            L4::Udp => Self::read_udp(l4, usize::from(u16::MAX)),
            L4::Sctp => Self::read_sctp(l4, len),
        };
        read.map_err(|reason| match reason {
            Malformed::TruncatedL4 | Malformed::BadTcpHeaderLength => Malformed::TinyFragment,
            other => other,
        })
    }

    #[inline]
    fn read_tcp(l4: &[u8], len: usize) -> Result<Self, Malformed> {
        if len < size_of::<Tcp>() {
            return Err(Malformed::TruncatedL4);
        }
        let (tcp, _) = Tcp::ref_from_prefix(l4).map_err(|_| Malformed::SplitHeaders)?;
        if !(size_of::<Tcp>()..=len).contains(&tcp.header_len()) {
            return Err(Malformed::BadTcpHeaderLength);
        }
        Ok(Self { sport: tcp.src, dport: tcp.dst, protocol: L4::Tcp, flags: tcp.flags })
    }

    #[inline]
    fn read_udp(l4: &[u8], len: usize) -> Result<Self, Malformed> {
        if len < size_of::<Udp>() {
            return Err(Malformed::TruncatedL4);
        }
        let (udp, _) = Udp::ref_from_prefix(l4).map_err(|_| Malformed::SplitHeaders)?;
        if !(size_of::<Udp>()..=len).contains(&udp.len.get().into()) {
            return Err(Malformed::BadUdpLength);
        }
        Ok(Self { sport: udp.src, dport: udp.dst, protocol: L4::Udp, flags: TcpFlags::NONE })
    }

    /// A packet without a chunk is none.
    fn read_sctp(l4: &[u8], len: usize) -> Result<Self, Malformed> {
        if len < size_of::<Sctp>() + size_of::<SctpChunk>() {
            return Err(Malformed::TruncatedL4);
        }
        let (sctp, chunks) = Sctp::ref_from_prefix(l4).map_err(|_| Malformed::SplitHeaders)?;
        let chunks = chunks.get(..len - size_of::<Sctp>()).unwrap_or(chunks);
        let event = SctpEvent::of_chunks(chunks).ok_or(Malformed::SplitHeaders)?;
        Ok(Self { sport: sctp.src, dport: sctp.dst, protocol: L4::Sctp, flags: event.as_flags() })
    }

    #[inline]
    pub(crate) fn key<F: Family>(&self, src: F::Addr, dst: F::Addr) -> FlowKey<F> {
        let tuple = Tuple { src, dst, sport: self.sport, dport: self.dport };
        FlowKey { tuple, protocol: self.protocol }
    }
}

/// Why `need` bytes cannot be read: the chain has them further on, or it ends for `reason`.
#[cold]
fn short(reason: Malformed, need: usize, available: usize) -> Malformed {
    if available < need { reason } else { Malformed::SplitHeaders }
}

#[cfg(test)]
mod tests;
