// SPDX-License-Identifier: MIT OR Apache-2.0
//! Outer headers: IP in IP of the same or the other family (RFC 2003, RFC 2473, RFC 4213), GRE
//! (RFC 2784) and GUE (draft-ietf-intarea-gue), as the kernel's.
//!
//! The DSCP is copied, and of ECN all but "congestion experienced", which becomes ECT(0) (RFC 3168
//! §9.1.1, full functionality, as the kernel does); the outer TTL is the inner one after its
//! decrement; "don't fragment" is copied between IPv4 headers, so that path MTU discovery works
//! through the tunnel. Remote checksum offload is GUE with a UDP checksum here, as in the kernel
//! for packets whose own checksum is complete.
//!
//! What the headers of all packets to a server share is made ready once, and completed for each.

pub(crate) mod tunnel;

use std::net::IpAddr;

use wire::csum::{self, Delta, Sum};
use wire::parse::plain::{Plain, PlainFamily, Said};
use wire::{Eth, Family, FamilyId, Frame, Gre, Gue, IpHeader, Ipv4, Ipv6, L4, Port};
use wire::{Tuple, U16, Udp, V4, V6, gre, ipv4};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, native_endian, transmute,
    transmute_ref,
};

use crate::network::NextHop;
use crate::service::{Tunnel, TunnelChecksum};
use crate::verdict::DropReason;

/// The way into a tunnel: its outer headers, ready but for what each packet has of its own.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Starts with the IP header of a packet without payload and of no hops.
    ip: [u8; V6::HEADER_LEN],
    family: FamilyId,
    overhead: u8,
    tunnel: Tunnel,
}

const _: () = assert!(size_of::<Outer>() <= 48);

/// What of the inner packet shows in the outer headers.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    /// Length of the IP packet in bytes.
    pub len: usize,
    /// Type of service or traffic class.
    pub tos: u8,
    /// TTL or hop limit, in hops, as the packet leaves.
    pub ttl: u8,
    /// Whether it is an IPv4 packet that routers must not fragment, and that shows.
    pub dont_fragment: bool,
}

impl Inner {
    /// What shows of a packet of `len` bytes with this header; whether it may be fragmented shows
    /// if that is `copied`.
    pub fn new<F: Family>(header: &IpHeader<F>, len: usize, copied: bool) -> Self {
        let dont_fragment = F::ID == FamilyId::V4 && header.dont_fragment && copied;
        Self { len, tos: header.tos, ttl: header.ttl, dont_fragment }
    }

    /// The same, of a plain packet as it leaves.
    #[inline(always)]
    fn plain<F: PlainFamily>(front: &F::Front, copied: bool) -> Self {
        let Said { ip_len, tos, ttl, dont_fragment, .. } = F::said(front);
        let dont_fragment = F::ID == FamilyId::V4 && dont_fragment && copied;
        Self { len: ip_len as usize, tos, ttl, dont_fragment }
    }
}

/// What the director chooses for each outer packet.
pub trait Choose<F: Family> {
    /// Identification of one that may be fragmented on its way.
    fn id(&mut self) -> u16;

    /// UDP source port of GUE, the same for all packets of a flow.
    fn port(&self, flow: &Tuple<F>) -> u16;
}

impl Outer {
    /// The way from `source`, the director's address towards the server, into its tunnel for
    /// packets of the family `inner`; none if the two addresses are not of one family.
    pub fn new(source: IpAddr, server: IpAddr, tunnel: Tunnel, inner: FamilyId) -> Option<Self> {
        let protocol = match (tunnel, inner) {
            (Tunnel::Ipip, FamilyId::V4) => V4::PROTOCOL,
            (Tunnel::Ipip, FamilyId::V6) => V6::PROTOCOL,
            (Tunnel::Gre { .. }, _) => gre::PROTOCOL_GRE,
            (Tunnel::Gue { .. }, _) => L4::Udp.number(),
        };
        let mut ip = [0; V6::HEADER_LEN];
        let family = match (source, server) {
            (IpAddr::V4(source), IpAddr::V4(server)) => {
                V4::blank(source.into(), server.into(), protocol).write_to_prefix(&mut ip).ok()?;
                FamilyId::V4
            }
            (IpAddr::V6(source), IpAddr::V6(server)) => {
                V6::blank(source.into(), server.into(), protocol).write_to_prefix(&mut ip).ok()?;
                FamilyId::V6
            }
            _ => return None,
        };
        let overhead = (header_len(family) + shim_len(tunnel)) as u8;
        Some(Self { ip, family, overhead, tunnel })
    }

    /// Bytes that the outer headers add.
    #[inline]
    pub fn overhead(&self) -> usize {
        self.overhead.into()
    }

    /// Destination of the outer packet.
    pub fn server(&self) -> Option<IpAddr> {
        match self.family {
            FamilyId::V4 => V4::addresses(&self.ip).map(|(_, server)| server.into()),
            FamilyId::V6 => V6::addresses(&self.ip).map(|(_, server)| server.into()),
        }
    }

    /// Puts the outer headers before the IP packet of a frame, which is of `flow`. Returns the
    /// Ethernet header, which has the right EtherType and is yet to be addressed, and the packet
    /// inside.
    ///
    /// # Errors
    /// The frame has no headroom, or not all of what a checksum covers, and is unchanged; or it was
    /// no frame with an IP packet.
    pub fn wrap<'f, F: Family>(
        &self,
        frame: &'f mut impl Frame,
        inner: &Inner,
        flow: &Tuple<F>,
        choose: &mut impl Choose<F>,
    ) -> Result<(&'f mut Eth, &'f mut [u8]), DropReason> {
        self.make_room(frame, inner.len)?;
        let head = frame.head_mut();
        let written = match self.family {
            FamilyId::V4 => self.write::<V4, F>(head, inner, flow, choose),
            FamilyId::V6 => self.write::<V6, F>(head, inner, flow, choose),
        };
        written.ok_or(DropReason::Bug)
    }

    /// Makes room for the outer headers before the IP packet of a frame, which is `len` bytes long.
    ///
    /// # Errors
    /// The frame has no headroom, or not all of what a checksum covers, and is unchanged.
    fn make_room(&self, frame: &mut impl Frame, len: usize) -> Result<(), DropReason> {
        if sums_payload(self.tunnel) && frame.head().len() < size_of::<Eth>() + len {
            return Err(DropReason::ChainedChecksum);
        }
        frame.push_front(self.overhead()).map(|_| ()).ok_or(DropReason::NoHeadroom)
    }

    fn write<'f, O: OuterHeader, F: Family>(
        &self,
        head: &'f mut [u8],
        inner: &Inner,
        flow: &Tuple<F>,
        choose: &mut impl Choose<F>,
    ) -> Option<(&'f mut Eth, &'f mut [u8])> {
        let (Front { eth, ip, .. }, payload) = Front::<O, [u8; 0]>::mut_from_prefix(head).ok()?;
        let (blank, _) = O::Header::ref_from_prefix(&self.ip).ok()?;
        let shim_len = shim_len(self.tunnel);
        let payload_len = shim_len + inner.len;
        let covered = payload.get_mut(..payload.len().min(payload_len))?;
        match self.tunnel {
            Tunnel::Ipip => {}
            Tunnel::Gre { checksum } => write_gre::<F>(covered, checksum)?,
            Tunnel::Gue { port, checksum } => {
                let ports = (choose.port(flow), port);
                write_gue::<O, F>(covered, O::ends(blank), ports, checksum, payload_len)?;
            }
        }
        let payload_len = u16::try_from(payload_len).ok()?;
        payload_len.checked_add(O::COUNTED)?;
        *ip = O::complete(blank, payload_len, inner, || choose.id());
        eth.ethertype = U16::new(O::ETHERTYPE);
        Some((eth, payload.get_mut(shim_len..)?))
    }

    /// Whether it is nothing but one more header of a family.
    #[inline(always)]
    pub(crate) fn is_one_header_of(&self, family: FamilyId) -> bool {
        self.family == family && self.tunnel == Tunnel::Ipip
    }

    /// Puts one more header before a plain packet, where [`Self::is_one_header_of`] its family;
    /// takes a hop off its life and addresses the frame. `id` is the packet's identification if it
    /// may be fragmented.
    ///
    /// # Errors
    /// The frame has no headroom and is unchanged.
    #[inline(always)]
    pub(crate) fn double<F: OuterHeader + PlainFamily>(
        &self,
        frame: &mut impl Frame,
        way: WayIn<'_>,
        id: impl FnOnce() -> u16,
    ) -> Result<(), DropReason> {
        let head = frame.push_front(F::HEADER_LEN).ok_or(DropReason::NoHeadroom)?;
        let (front, _) = Front::<F, F::Front>::mut_from_prefix(head).map_err(bug)?;
        let (blank, _) = F::Header::ref_from_prefix(&self.ip).map_err(bug)?;
        F::forward_plain(&mut front.inner, way.delta);
        let inner = Inner::plain::<F>(&front.inner, way.copies_dont_fragment);
        front.ip = F::complete(blank, inner.len as u16, &inner, id);
        front.eth.set_link(way.hop.link);
        front.eth.ethertype = U16::new(F::ETHERTYPE);
        Ok(())
    }

    /// Does for any tunnel what [`Self::double`] does for some.
    ///
    /// # Errors
    /// As [`Self::wrap`].
    #[inline(never)]
    pub(crate) fn wrap_plain<F: PlainFamily>(
        &self,
        frame: &mut impl Frame,
        way: WayIn<'_>,
        choose: &mut impl Choose<F>,
    ) -> Result<(), DropReason> {
        let (plain, _) = Plain::<F>::ref_from_prefix(frame.head()).map_err(bug)?;
        let flow = plain.tuple;
        self.make_room(frame, F::said(&plain.front).ip_len as usize)?;
        let head = frame.head_mut();
        let packet = head.get_mut(size_of::<Eth>() + self.overhead()..).ok_or(DropReason::Bug)?;
        let (front, _) = F::Front::mut_from_prefix(packet).map_err(bug)?;
        // The tunnel's checksum is over the packet as it leaves.
        F::forward_plain(front, way.delta);
        let inner = Inner::plain::<F>(front, way.copies_dont_fragment);
        let written = match self.family {
            FamilyId::V4 => self.write::<V4, F>(head, &inner, &flow, choose),
            FamilyId::V6 => self.write::<V6, F>(head, &inner, &flow, choose),
        };
        let (eth, _) = written.ok_or(DropReason::Bug)?;
        eth.set_link(way.hop.link);
        Ok(())
    }
}

/// The way of a plain packet through a tunnel.
#[derive(Clone, Copy)]
pub(crate) struct WayIn<'a> {
    pub(crate) hop: &'a NextHop,
    /// What the hop taken off the packet's life does to its header checksum.
    pub(crate) delta: Delta,
    /// Whether an inner packet that must not be fragmented makes such an outer one.
    pub(crate) copies_dont_fragment: bool,
}

fn bug<E>(_: E) -> DropReason {
    DropReason::Bug
}

/// The front of a frame with an outer packet, and what that begins with.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Front<O: OuterHeader, I> {
    eth: Eth,
    ip: O::Header,
    inner: I,
}

const fn header_len(family: FamilyId) -> usize {
    match family {
        FamilyId::V4 => V4::HEADER_LEN,
        FamilyId::V6 => V6::HEADER_LEN,
    }
}

/// Bytes between the outer and the inner IP header.
const fn shim_len(tunnel: Tunnel) -> usize {
    match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gre { checksum: TunnelChecksum::None } => size_of::<Gre>(),
        Tunnel::Gre { .. } => size_of::<Gre>() + size_of::<gre::Checksum>(),
        Tunnel::Gue { .. } => size_of::<Udp>() + size_of::<Gue>(),
    }
}

/// Whether the tunnel's header has a checksum over the whole packet.
#[inline]
const fn sums_payload(tunnel: Tunnel) -> bool {
    match tunnel {
        Tunnel::Ipip => false,
        Tunnel::Gre { checksum } | Tunnel::Gue { checksum, .. } => {
            !matches!(checksum, TunnelChecksum::None)
        }
    }
}

fn write_gre<F: Family>(payload: &mut [u8], checksum: TunnelChecksum) -> Option<()> {
    let summed = checksum != TunnelChecksum::None;
    let flags = U16::new(if summed { gre::CHECKSUM_PRESENT } else { 0 });
    let header = Gre { flags, protocol: U16::new(F::ETHERTYPE) };
    header.write_to_prefix(payload).ok()?;
    if summed {
        let place = size_of::<Gre>()..size_of::<Gre>() + size_of::<gre::Checksum>();
        let zero = gre::Checksum { csum: U16::ZERO, reserved: U16::ZERO };
        zero.write_to(payload.get_mut(place.clone())?).ok()?;
        let csum = csum::sum(payload).checksum();
        gre::Checksum { csum, ..zero }.write_to(payload.get_mut(place)?).ok()?;
    }
    Some(())
}

fn write_gue<O: Family, F: Family>(
    payload: &mut [u8],
    (source, server): (O::Addr, O::Addr),
    (sport, dport): (u16, u16),
    checksum: TunnelChecksum,
    payload_len: usize,
) -> Option<()> {
    let len = U16::new(u16::try_from(payload_len).ok()?);
    let udp = Udp { src: Port::new(sport), dst: Port::new(dport), len, csum: U16::ZERO };
    let gue = Gue { version_length: 0, protocol: F::PROTOCOL, flags: U16::ZERO };
    udp.write_to_prefix(payload).ok()?;
    gue.write_to_prefix(payload.get_mut(size_of::<Udp>()..)?).ok()?;
    if checksum != TunnelChecksum::None {
        let csum = O::l4_checksum(source, server, L4::Udp, payload);
        Udp { csum, ..udp }.write_to_prefix(payload).ok()?;
    }
    Some(())
}

/// A family that can be the outer one.
pub trait OuterHeader: Family {
    /// The header as it lies in a packet.
    type Header: Copy + FromBytes + Immutable + IntoBytes + KnownLayout + Unaligned;

    /// The header of a packet without payload and of no hops.
    fn blank(src: Self::Addr, dst: Self::Addr, protocol: u8) -> Self::Header;

    /// Source and destination.
    fn ends(header: &Self::Header) -> (Self::Addr, Self::Addr);

    /// Bytes of the header that count in its field for the length.
    const COUNTED: u16;

    /// The header of a packet with so many bytes of payload, which its field for the length can
    /// tell.
    fn complete(
        blank: &Self::Header,
        payload_len: u16,
        inner: &Inner,
        id: impl FnOnce() -> u16,
    ) -> Self::Header;
}

impl OuterHeader for V4 {
    type Header = Ipv4;

    fn blank(src: Self::Addr, dst: Self::Addr, protocol: u8) -> Ipv4 {
        Ipv4 {
            version_ihl: ipv4::VERSION_IHL,
            tos: 0,
            total_len: U16::ZERO,
            id: U16::ZERO,
            frag: U16::ZERO,
            ttl: 0,
            protocol,
            csum: U16::ZERO,
            src,
            dst,
        }
    }

    #[inline]
    fn ends(header: &Ipv4) -> (Self::Addr, Self::Addr) {
        (header.src, header.dst)
    }

    const COUNTED: u16 = Self::HEADER_LEN as u16;

    #[inline(always)]
    fn complete(blank: &Ipv4, payload_len: u16, inner: &Inner, id: impl FnOnce() -> u16) -> Ipv4 {
        let Words4 { second, third, .. } = transmute_ref!(blank);
        let id_frag = match inner.dont_fragment {
            true => ipv4::DONT_FRAGMENT.into(),
            false => u32::from(id()) << 16,
        };
        let total_len = payload_len.wrapping_add(Self::COUNTED);
        let front = u32::from(ipv4::VERSION_IHL) << 24 | u32::from(outer_tos(inner.tos)) << 16;
        let front = front + u32::from(total_len);
        let first = (u64::from(front) << 32 | u64::from(id_frag)).to_be();
        let second = second.get() | u64::from_ne_bytes([inner.ttl, 0, 0, 0, 0, 0, 0, 0]);
        let sum = Sum::of_eight(first).carry(Sum::of_eight(second));
        let [high, low] = sum.carry(Sum::of_eight(third.get().into())).checksum().to_bytes();
        let second = second | u64::from_ne_bytes([0, 0, high, low, 0, 0, 0, 0]);
        transmute!(Words4 { first: first.into(), second: second.into(), third: *third })
    }
}

/// An IPv4 header without options in words: up to the TTL, up to the destination, the destination.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Words4 {
    first: native_endian::U64,
    second: native_endian::U64,
    third: native_endian::U32,
}

impl OuterHeader for V6 {
    type Header = Ipv6;

    fn blank(src: Self::Addr, dst: Self::Addr, protocol: u8) -> Ipv6 {
        Ipv6 {
            version_class_label: Ipv6::word(0, 0),
            payload_len: U16::ZERO,
            next_header: protocol,
            hop_limit: 0,
            src,
            dst,
        }
    }

    #[inline]
    fn ends(header: &Ipv6) -> (Self::Addr, Self::Addr) {
        (header.src, header.dst)
    }

    const COUNTED: u16 = 0;

    #[inline(always)]
    fn complete(blank: &Ipv6, payload_len: u16, inner: &Inner, _: impl FnOnce() -> u16) -> Ipv6 {
        Ipv6 {
            version_class_label: Ipv6::word(outer_tos(inner.tos), 0),
            payload_len: U16::new(payload_len),
            hop_limit: inner.ttl,
            ..*blank
        }
    }
}

#[inline]
fn outer_tos(inner: u8) -> u8 {
    // Both bits are "congestion experienced", and one less is ECT(0).
    inner - (inner & inner >> 1 & 1)
}

/// The packet that an outer packet of `protocol` carries: its family and where it begins, in bytes
/// from the end of the outer IP header.
pub fn carried(protocol: u8, payload: &[u8]) -> Option<(FamilyId, usize)> {
    match protocol {
        V4::PROTOCOL => Some((FamilyId::V4, 0)),
        V6::PROTOCOL => Some((FamilyId::V6, 0)),
        gre::PROTOCOL_GRE => gre::carried(payload),
        _ if protocol == L4::Udp.number() => {
            let (_, gue) = Udp::ref_from_prefix(payload).ok()?;
            let (family, at) = wire::gue::carried(gue)?;
            Some((family, size_of::<Udp>() + at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
