// SPDX-License-Identifier: MIT OR Apache-2.0
//! The referee of tests: every checksum of a frame, recomputed from scratch.
//!
//! It shares the arithmetic with the packet path but none of its shortcuts: no delta, no parse.
//! Tunnelled packets (IPIP, 6in4, 4in6, 6in6) are followed inwards. Parts of packets and unknown
//! protocols pass, since there is nothing whole to sum; so do the packets that ICMP errors quote.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use crate::ipv4::{PROTOCOL_ICMP, PROTOCOL_IPIP};
use crate::ipv6::{self, NEXT_ICMP6, PROTOCOL_IPV6, Walked};
use crate::{Eth, Family, FamilyId, Ipv4, Ipv6, L4, Sctp, Sum, Udp, V4, V6, crc32c, csum, eth};

/// What is wrong with a frame that [`verify`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A header or a length field points beyond the frame.
    #[error("the frame is shorter than its headers say")]
    Truncated,
    /// The IPv4 header checksum.
    #[error("the IPv4 header checksum is not that of the header")]
    Ipv4Header,
    /// The TCP checksum.
    #[error("the TCP checksum is not that of the segment")]
    Tcp,
    /// The UDP checksum.
    #[error("the UDP checksum is not that of the datagram")]
    Udp,
    /// The CRC32c of SCTP.
    #[error("the SCTP checksum is not that of the packet")]
    Sctp,
    /// No UDP checksum, on IPv6.
    #[error("a UDP datagram over IPv6 must have a checksum")]
    UdpWithoutChecksum,
    /// The ICMP checksum.
    #[error("the ICMP checksum is not that of the message")]
    Icmp,
    /// The ICMPv6 checksum.
    #[error("the ICMPv6 checksum is not that of the message")]
    Icmp6,
}

/// Recomputes every checksum in a frame.
///
/// # Errors
///
/// The outermost [`Fault`].
pub fn verify(frame: &[u8]) -> Result<(), Fault> {
    let (eth, l3) = Eth::ref_from_prefix(frame).map_err(|_| Fault::Truncated)?;
    match eth.ethertype.get() {
        eth::IPV4 => verify_v4(l3),
        eth::IPV6 => verify_v6(l3),
        _ => Ok(()),
    }
}

fn verify_v4(l3: &[u8]) -> Result<(), Fault> {
    let (ip, _) = Ipv4::ref_from_prefix(l3).map_err(|_| Fault::Truncated)?;
    let packet = l3.get(..ip.total_len.get().into()).ok_or(Fault::Truncated)?;
    let (header, body) = packet.split_at_checked(ip.header_len()).ok_or(Fault::Truncated)?;
    if !csum::sum(header).is_intact() {
        return Err(Fault::Ipv4Header);
    }
    if ip.is_fragment() {
        return Ok(());
    }
    verify_content::<V4>(ip.src, ip.dst, ip.protocol, body)
}

fn verify_v6(l3: &[u8]) -> Result<(), Fault> {
    let (ip, rest) = Ipv6::ref_from_prefix(l3).map_err(|_| Fault::Truncated)?;
    let body = rest.get(..ip.payload_len.get().into()).ok_or(Fault::Truncated)?;
    match ipv6::walk(ip.next_header, body, body.len()) {
        Ok(Walked::Transport { protocol, at }) => {
            verify_content::<V6>(ip.src, ip.dst, protocol, body.get(at..).ok_or(Fault::Truncated)?)
        }
        Ok(Walked::Fragment { .. } | Walked::ForRouters) | Err(_) => Ok(()),
    }
}

fn verify_content<F: Family>(
    src: F::Addr,
    dst: F::Addr,
    protocol: u8,
    body: &[u8],
) -> Result<(), Fault> {
    let summed = |part: &[u8], fault| {
        let pseudo = F::pseudo_header_sum(src, dst, part.len(), protocol);
        intact(pseudo.plus(csum::sum(part)), fault)
    };
    match (protocol, F::ID) {
        (PROTOCOL_IPIP, _) => return verify_v4(body),
        (PROTOCOL_IPV6, _) => return verify_v6(body),
        (PROTOCOL_ICMP, FamilyId::V4) => return intact(csum::sum(body), Fault::Icmp),
        (NEXT_ICMP6, FamilyId::V6) => return summed(body, Fault::Icmp6),
        _ => {}
    }
    match L4::from_number(protocol) {
        Some(L4::Tcp) => summed(body, Fault::Tcp),
        Some(L4::Udp) => match udp_to_sum(body, F::ID)? {
            Some(datagram) => summed(datagram, Fault::Udp),
            None => Ok(()),
        },
        Some(L4::Sctp) => verify_sctp(body),
        None => Ok(()),
    }
}

fn verify_sctp(body: &[u8]) -> Result<(), Fault> {
    let (sctp, rest) = Sctp::ref_from_prefix(body).map_err(|_| Fault::Truncated)?;
    let zeroed = Sctp { csum: 0.into(), ..*sctp };
    let right = crc32c::crc32c(&[zeroed.as_bytes(), rest].concat());
    if sctp.csum.get() == right { Ok(()) } else { Err(Fault::Sctp) }
}

/// The part of an IP payload that a UDP checksum covers; none if there is rightly no checksum.
fn udp_to_sum(body: &[u8], family: FamilyId) -> Result<Option<&[u8]>, Fault> {
    let (udp, _) = Udp::ref_from_prefix(body).map_err(|_| Fault::Truncated)?;
    if udp.csum != U16::ZERO {
        return body.get(..udp.len.get().into()).map(Some).ok_or(Fault::Truncated);
    }
    match family {
        FamilyId::V4 => Ok(None),
        FamilyId::V6 => Err(Fault::UdpWithoutChecksum),
    }
}

fn intact(sum: Sum, fault: Fault) -> Result<(), Fault> {
    if sum.is_intact() { Ok(()) } else { Err(fault) }
}
