// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP and ICMPv6 errors, and the packets that they quote (RFC 792, RFC 4443).
//!
//! An error quotes the IP header and at least 8 bytes of what follows it (RFC 792): enough for the
//! ports. A quote that ends earlier, is a later fragment, or is of another protocol names no flow.

use zerocopy::FromBytes;

use crate::ip_header::{IpHeader, ReadHeader};
use crate::{
    Eth, Family, FamilyId, FlowKey, Icmp, L4, Port, Tuple, V4, V6, csum, eth, icmp, icmp6,
};

/// Bytes that an error must quote behind the IP header (RFC 792).
pub const QUOTED_L4_MIN: usize = 8;

/// An ICMP error: where it is in its frame and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<F: Family> {
    /// The IP header of the error itself, with extension headers.
    pub header: IpHeader<F>,
    /// Type of message.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Second word of the ICMP header: an MTU, a pointer, or unused.
    pub rest: u32,
    /// The packet that it is about.
    pub quote: Quote<F>,
}

/// The beginning of a packet inside a frame: quoted, or carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<F: Family> {
    /// Its IP header, with extension headers.
    pub header: IpHeader<F>,
    /// Offset of its IP header in the frame, in bytes.
    pub l3: usize,
    /// Its flow, as far as it is TCP, UDP or the like and the ports are there.
    pub key: Option<FlowKey<F>>,
}

/// An ICMP error of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyError {
    /// ICMP.
    V4(IcmpError<V4>),
    /// ICMPv6.
    V6(IcmpError<V6>),
}

/// Whether a frame is an ICMP error, as far as its type tells.
#[must_use]
pub fn is_error(head: &[u8]) -> bool {
    fn of_family<F: IcmpOf>(l3: &[u8]) -> bool {
        let header = F::all_headers(l3).filter(|ip| ip.protocol == F::ICMP && !ip.is_fragment);
        let kind = header.and_then(|ip| l3.get(ip.header_len));
        kind.is_some_and(|kind| F::is_error(*kind))
    }
    let Ok((eth, l3)) = Eth::ref_from_prefix(head) else {
        return false;
    };
    match eth.ethertype.get() {
        eth::IPV4 => of_family::<V4>(l3),
        eth::IPV6 => of_family::<V6>(l3),
        _ => false,
    }
}

/// Reads the ICMP error in a frame, which must lie in the first segment; none if it is something
/// else or quotes not even an IP header.
#[must_use]
pub fn read(head: &[u8]) -> Option<AnyError> {
    let (eth, l3) = Eth::ref_from_prefix(head).ok()?;
    match eth.ethertype.get() {
        eth::IPV4 => IcmpError::read(head, l3).map(AnyError::V4),
        eth::IPV6 => IcmpError::read(head, l3).map(AnyError::V6),
        _ => None,
    }
}

impl<F: IcmpOf> IcmpError<F> {
    fn read(head: &[u8], l3: &[u8]) -> Option<Self> {
        let header = F::all_headers(l3)?;
        if header.protocol != F::ICMP || header.is_fragment || header.packet_len > l3.len() {
            return None;
        }
        let (icmp, _) = Icmp::ref_from_prefix(l3.get(header.header_len..)?).ok()?;
        let quoted = size_of::<Eth>() + header.header_len + size_of::<Icmp>();
        let packet = head.get(..size_of::<Eth>() + header.packet_len)?;
        Some(Self {
            header,
            kind: F::is_error(icmp.kind).then_some(icmp.kind)?,
            code: icmp.code,
            rest: u32::from(icmp.id.get()) << 16 | u32::from(icmp.sequence_or_mtu.get()),
            quote: Quote::read(packet, quoted)?,
        })
    }
}

impl<F: IcmpOf> IcmpError<F> {
    /// Offset of the ICMP header in the frame, in bytes.
    #[must_use]
    pub const fn icmp(&self) -> usize {
        size_of::<Eth>() + self.header.header_len
    }

    /// Offset of the packet's end in the frame, in bytes.
    #[must_use]
    pub const fn end(&self) -> usize {
        size_of::<Eth>() + self.header.packet_len
    }

    /// Whether the message's checksum is right.
    #[must_use]
    pub fn is_intact(&self, head: &[u8]) -> bool {
        let message = head.get(self.icmp()..self.end());
        let (src, dst) = (self.header.src, self.header.dst);
        message.is_some_and(|message| F::message_sum(src, dst, message).is_intact())
    }
}

impl<F: IcmpOf> Quote<F> {
    /// Reads the beginning of a packet at `l3` of a frame, of which `head` is all that counts.
    #[must_use]
    pub fn read(head: &[u8], l3: usize) -> Option<Self> {
        let bytes = head.get(l3..)?;
        let header = F::all_headers(bytes)?;
        Some(Self { header, l3, key: flow(&header, bytes) })
    }

    /// Offset in the frame of what the packet carries, in bytes.
    #[must_use]
    pub const fn l4(&self) -> usize {
        self.l3 + self.header.header_len
    }
}

fn flow<F: Family>(header: &IpHeader<F>, l3: &[u8]) -> Option<FlowKey<F>> {
    let protocol = L4::from_number(header.protocol).filter(|_| !header.is_later_fragment)?;
    let l4 = l3.get(header.header_len..).filter(|l4| l4.len() >= QUOTED_L4_MIN)?;
    let (ports, _) = <[Port; 2]>::read_from_prefix(l4).ok()?;
    let [sport, dport] = ports;
    Some(FlowKey { tuple: Tuple { src: header.src, dst: header.dst, sport, dport }, protocol })
}

/// Writes what a quoted packet's flow is called where the error goes: its IP header checksum is
/// mended, the checksums of TCP and UDP stay, since the packet is not there to be summed. False if
/// the quote is not where it says.
pub fn rename<F: IcmpOf>(head: &mut [u8], quote: &Quote<F>, tuple: &Tuple<F>) -> bool {
    let (l3, header_len) = (quote.l3, quote.header.header_len);
    let Some((ip, l4)) = head.get_mut(l3..).and_then(|l3| l3.split_at_mut_checked(header_len))
    else {
        return false;
    };
    let ports = <[Port; 2]>::mut_from_prefix(l4);
    let written = ports.map(|(ports, _)| *ports = [tuple.sport, tuple.dport]).is_ok();
    written && F::write_addresses(ip, tuple.src, tuple.dst) && F::sum_header(ip)
}

/// A family's ICMP.
pub trait IcmpOf: ReadHeader {
    /// Whether a message of this type is about a packet.
    fn is_error(kind: u8) -> bool;

    /// Sum of a message and what else its checksum covers.
    fn message_sum(src: Self::Addr, dst: Self::Addr, message: &[u8]) -> csum::Sum;

    /// Computes the checksum of an IP header of this length, if the family has one.
    fn sum_header(ip: &mut [u8]) -> bool;

    /// Computes the checksum of a message; false if there is no header.
    fn sum_message(src: Self::Addr, dst: Self::Addr, message: &mut [u8]) -> bool {
        let Ok((header, _)) = Icmp::mut_from_prefix(message) else {
            return false;
        };
        header.csum = crate::U16::ZERO;
        let checksum = Self::message_sum(src, dst, message).checksum();
        Icmp::mut_from_prefix(message).map(|(header, _)| header.csum = checksum).is_ok()
    }
}

impl IcmpOf for V4 {
    fn is_error(kind: u8) -> bool {
        matches!(
            kind,
            icmp::UNREACHABLE
                | icmp::SOURCE_QUENCH
                | icmp::REDIRECT
                | icmp::TIME_EXCEEDED
                | icmp::PARAMETER_PROBLEM
        )
    }

    fn message_sum(_: Self::Addr, _: Self::Addr, message: &[u8]) -> csum::Sum {
        csum::sum(message)
    }

    fn sum_header(ip: &mut [u8]) -> bool {
        let Ok((header, _)) = crate::Ipv4::mut_from_prefix(ip) else {
            return false;
        };
        header.csum = crate::U16::ZERO;
        let checksum = csum::sum(ip).checksum();
        crate::Ipv4::mut_from_prefix(ip).map(|(header, _)| header.csum = checksum).is_ok()
    }
}

impl IcmpOf for V6 {
    fn is_error(kind: u8) -> bool {
        matches!(
            kind,
            icmp6::UNREACHABLE
                | icmp6::PACKET_TOO_BIG
                | icmp6::TIME_EXCEEDED
                | icmp6::PARAMETER_PROBLEM
        )
    }

    fn message_sum(src: Self::Addr, dst: Self::Addr, message: &[u8]) -> csum::Sum {
        Self::pseudo_header_sum(src, dst, message.len(), Self::ICMP).plus(csum::sum(message))
    }

    fn sum_header(ip: &mut [u8]) -> bool {
        ip.len() >= Self::HEADER_LEN
    }
}

impl AnyError {
    /// The family of the error itself.
    #[must_use]
    pub const fn family(&self) -> FamilyId {
        match self {
            Self::V4(_) => FamilyId::V4,
            Self::V6(_) => FamilyId::V6,
        }
    }
}

#[cfg(test)]
mod tests;
