// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frame to outcome: parsed once, and the proof carried along.
//!
//! A [`Parsed`] can only be made here: a whole TCP or UDP packet whose fixed headers lie in the
//! first segment and whose length fields agree with each other and with the frame. What the
//! balancer does not understand is not ours (the host may); what lies about itself is bad.
//! L4 checksums are not verified, as in IPVS: a bad one stays bad for the receiver to find.
//!
//! Standards: RFC 791, RFC 1122 §3.2.1 (what a host discards), RFC 8200, RFC 9293, RFC 768.

use zerocopy::{FromBytes, IntoBytes};

use crate::ipv6::NEXT_FRAGMENT;
use crate::{Eth, Family, FlowKey, Ipv4, Ipv6, Ipv6Fragment, L4, Port, Tcp, TcpFlags, Tuple, Udp};
use crate::{V4, V6, csum, eth};

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
    /// Another protocol: ARP, ICMP, a VLAN tag, an IPv6 extension header.
    NotOurs,
    /// Not what it says it is.
    Bad(Malformed),
}

/// A whole TCP or UDP packet: where its headers are and what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<F: Family> {
    key: FlowKey<F>,
    ip_len: u32,
    l4: u16,
    ttl: u8,
    tcp_flags: TcpFlags,
    dont_fragment: bool,
}

impl<F: Family> Parsed<F> {
    /// Addresses, ports and protocol.
    #[inline]
    #[must_use]
    pub const fn key(&self) -> FlowKey<F> {
        self.key
    }

    /// Offset of the IP header in the frame, in bytes.
    #[inline]
    #[must_use]
    pub const fn l3(&self) -> usize {
        size_of::<Eth>()
    }

    /// Offset of the TCP or UDP header in the frame, in bytes.
    #[inline]
    #[must_use]
    pub const fn l4(&self) -> usize {
        self.l4 as usize
    }

    /// Whether the ports follow the addresses at once, so that [`plain::Plain`] shows them.
    #[inline]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.l4() == size_of::<Eth>() + F::HEADER_LEN
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

    /// TCP control bits; none for UDP.
    #[inline]
    #[must_use]
    pub const fn tcp_flags(&self) -> TcpFlags {
        self.tcp_flags
    }
}

/// A part of a TCP or UDP packet, with what all parts of the packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// Of an IPv4 packet.
    V4(Piece<V4>),
    /// Of an IPv6 packet.
    V6(Piece<V6>),
}

/// What the fragments of one packet share (RFC 791 §2.3, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece<F: Family> {
    /// Source.
    pub src: F::Addr,
    /// Destination.
    pub dst: F::Addr,
    /// Identification: 16 bits on IPv4, 32 on IPv6.
    pub id: u32,
    /// Protocol of the whole packet.
    pub protocol: L4,
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
    /// The headers are spread over more than the first segment.
    #[error("all headers must lie in the first segment of the frame")]
    SplitHeaders,
}

impl Malformed {
    /// Every reason, in the order in which they are looked for.
    pub const ALL: [Self; 10] = [
        Self::TruncatedEthernet,
        Self::TruncatedIp,
        Self::BadVersion,
        Self::BadHeaderLength,
        Self::BadTotalLength,
        Self::BadHeaderChecksum,
        Self::TruncatedL4,
        Self::BadTcpHeaderLength,
        Self::BadUdpLength,
        Self::SplitHeaders,
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
            Self::SplitHeaders => "split_headers",
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
        let id = ip.id.get().into();
        return Ok(Outcome::Fragment(Fragment::V4(Piece {
            src: ip.src,
            dst: ip.dst,
            id,
            protocol,
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
    if ip.next_header == NEXT_FRAGMENT {
        return parse_v6_fragment(ip, payload, payload_len);
    }
    let Some(protocol) = L4::from_number(ip.next_header) else {
        return Ok(Outcome::NotOurs);
    };
    let transport = Transport::read(protocol, payload, payload_len)?;
    Ok(Outcome::V6(Parsed {
        key: transport.key(ip.src, ip.dst),
        ip_len: ip_len as u32,
        l4: (size_of::<Eth>() + size_of::<Ipv6>()) as u16,
        ttl: ip.hop_limit,
        tcp_flags: transport.flags,
        dont_fragment: true,
    }))
}

/// A fragment header makes a fragment, an atomic one (RFC 6946) too.
fn parse_v6_fragment(ip: &Ipv6, payload: &[u8], payload_len: usize) -> Result<Outcome, Malformed> {
    if payload_len < size_of::<Ipv6Fragment>() {
        return Err(Malformed::TruncatedL4);
    }
    let (header, _) =
        Ipv6Fragment::ref_from_prefix(payload).map_err(|_| Malformed::SplitHeaders)?;
    let Some(protocol) = L4::from_number(header.next_header) else {
        return Ok(Outcome::NotOurs);
    };
    let piece = Piece { src: ip.src, dst: ip.dst, id: header.id.get(), protocol };
    Ok(Outcome::Fragment(Fragment::V6(piece)))
}

/// What the balancer reads of a TCP or UDP header.
struct Transport {
    sport: Port,
    dport: Port,
    protocol: L4,
    flags: TcpFlags,
}

impl Transport {
    /// `l4` is what can be read of the segment or datagram, `len` its length in bytes.
    #[inline]
    fn read(protocol: L4, l4: &[u8], len: usize) -> Result<Self, Malformed> {
        match protocol {
            L4::Tcp => Self::read_tcp(l4, len),
            L4::Udp => Self::read_udp(l4, len),
        }
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

    #[inline]
    fn key<F: Family>(&self, src: F::Addr, dst: F::Addr) -> FlowKey<F> {
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
