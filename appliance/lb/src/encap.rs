// SPDX-License-Identifier: MIT OR Apache-2.0
//! Outer headers: IP in IP of the same or the other family (RFC 2003, RFC 2473, RFC 4213), GRE
//! (RFC 2784) and GUE (draft-ietf-intarea-gue), as the kernel's.
//!
//! The DSCP is copied, and of ECN all but "congestion experienced", which becomes ECT(0) (RFC 6040
//! §4.1, compatibility left aside as the kernel does); the outer TTL is the inner one after its
//! decrement; "don't fragment" is copied between IPv4 headers, so that path MTU discovery works
//! through the tunnel. Remote checksum offload is GUE with a UDP checksum here, as in the kernel
//! for packets whose own checksum is complete.

use std::net::IpAddr;

use wire::{Eth, Family, FamilyId, Frame, Gre, Gue, Ipv4, Ipv6, L4, Port, ReadHeader, U16, Udp};
use wire::{IpHeader, V4, V6, csum, gre, ipv4};
use zerocopy::{FromBytes, IntoBytes};

use crate::service::{Tunnel, TunnelChecksum};
use crate::verdict::DropReason;

/// The way into a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Source of the outer packet: the director's address towards the server.
    pub source: IpAddr,
    /// Destination of the outer packet.
    pub server: IpAddr,
    /// What lies between the outer and the inner packet.
    pub tunnel: Tunnel,
}

/// What the director chooses for each outer packet.
#[derive(Clone, Copy, Debug)]
pub struct PerPacket {
    /// Identification, used where the packet may be fragmented on its way.
    pub id: u16,
    /// UDP source port of GUE, the same for all packets of a flow; 0 for other tunnels.
    pub port: u16,
    /// Whether an inner packet that must not be fragmented makes such an outer one.
    pub copies_dont_fragment: bool,
}

impl Outer {
    /// Bytes that the outer headers add.
    #[inline]
    pub fn overhead(&self) -> usize {
        let ip = match self.server {
            IpAddr::V4(_) => V4::HEADER_LEN,
            IpAddr::V6(_) => V6::HEADER_LEN,
        };
        ip + shim_len(self.tunnel)
    }

    /// EtherType of the outer packet.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        match self.server {
            IpAddr::V4(_) => V4::ETHERTYPE,
            IpAddr::V6(_) => V6::ETHERTYPE,
        }
    }

    /// Puts the outer headers before the IP packet of a frame, which is `ip_len` bytes long.
    pub fn wrap<F: ReadHeader>(
        &self,
        frame: &mut impl Frame,
        ip_len: usize,
        choice: &PerPacket,
    ) -> Result<(), DropReason> {
        let inner = frame.head().get(size_of::<Eth>()..).and_then(F::header);
        let inner = inner.ok_or(DropReason::Bug)?;
        let frame_len = size_of::<Eth>() + ip_len;
        if sums_payload(self.tunnel) && frame.head().len() < frame_len {
            return Err(DropReason::ChainedChecksum);
        }
        let overhead = self.overhead();
        if !frame.push_front(overhead) {
            return Err(DropReason::NoHeadroom);
        }
        let head = frame.head_mut();
        let end = head.len().min(frame_len + overhead);
        let l3 = head.get_mut(size_of::<Eth>()..end).ok_or(DropReason::Bug)?;
        let written = match (self.source, self.server) {
            (IpAddr::V4(source), IpAddr::V4(server)) => {
                let ends = (source.into(), server.into());
                write::<V4, F>(l3, ends, self.tunnel, &inner, ip_len, choice)
            }
            (IpAddr::V6(source), IpAddr::V6(server)) => {
                let ends = (source.into(), server.into());
                write::<V6, F>(l3, ends, self.tunnel, &inner, ip_len, choice)
            }
            _ => None,
        };
        written.ok_or(DropReason::Bug)
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
const fn sums_payload(tunnel: Tunnel) -> bool {
    match tunnel {
        Tunnel::Ipip => false,
        Tunnel::Gre { checksum } | Tunnel::Gue { checksum, .. } => {
            !matches!(checksum, TunnelChecksum::None)
        }
    }
}

/// Writes the headers at the start of `l3`, around the inner packet behind them.
fn write<O: OuterHeader, F: ReadHeader>(
    l3: &mut [u8],
    ends: (O::Addr, O::Addr),
    tunnel: Tunnel,
    inner: &IpHeader<F>,
    ip_len: usize,
    choice: &PerPacket,
) -> Option<()> {
    let (ip, payload) = l3.split_at_mut_checked(O::HEADER_LEN)?;
    let payload_len = shim_len(tunnel) + ip_len;
    let protocol = match tunnel {
        Tunnel::Ipip => F::PROTOCOL,
        Tunnel::Gre { checksum } => write_gre::<F>(payload, checksum)?,
        Tunnel::Gue { port, checksum } => {
            let ports = (choice.port, port);
            write_gue::<O, F>(payload, ends, ports, checksum, payload_len)?
        }
    };
    let facts = Facts {
        ends,
        payload_len: u16::try_from(payload_len).ok()?,
        protocol,
        tos: outer_tos(inner.tos),
        ttl: inner.ttl,
        id: choice.id,
        dont_fragment: F::ID == FamilyId::V4 && inner.dont_fragment && choice.copies_dont_fragment,
    };
    O::write_header(ip, &facts)
}

fn write_gre<F: ReadHeader>(payload: &mut [u8], checksum: TunnelChecksum) -> Option<u8> {
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
    Some(gre::PROTOCOL_GRE)
}

fn write_gue<O: Family, F: ReadHeader>(
    payload: &mut [u8],
    (source, server): (O::Addr, O::Addr),
    (sport, dport): (u16, u16),
    checksum: TunnelChecksum,
    payload_len: usize,
) -> Option<u8> {
    let len = U16::new(u16::try_from(payload_len).ok()?);
    let udp = Udp { src: Port::new(sport), dst: Port::new(dport), len, csum: U16::ZERO };
    let gue = Gue { version_length: 0, protocol: F::PROTOCOL, flags: U16::ZERO };
    udp.write_to_prefix(payload).ok()?;
    gue.write_to_prefix(payload.get_mut(size_of::<Udp>()..)?).ok()?;
    if checksum != TunnelChecksum::None {
        let csum = O::l4_checksum(source, server, L4::Udp, payload);
        Udp { csum, ..udp }.write_to_prefix(payload).ok()?;
    }
    Some(L4::Udp.number())
}

/// What an outer IP header says.
struct Facts<O: Family> {
    ends: (O::Addr, O::Addr),
    payload_len: u16,
    protocol: u8,
    tos: u8,
    ttl: u8,
    id: u16,
    dont_fragment: bool,
}

/// A family that can be the outer one.
trait OuterHeader: Family {
    fn write_header(ip: &mut [u8], facts: &Facts<Self>) -> Option<()>;
}

impl OuterHeader for V4 {
    fn write_header(ip: &mut [u8], facts: &Facts<Self>) -> Option<()> {
        let (src, dst) = facts.ends;
        let dont_fragment = facts.dont_fragment;
        let total_len = facts.payload_len.checked_add(Self::HEADER_LEN as u16)?;
        let mut header = Ipv4 {
            version_ihl: ipv4::VERSION_IHL,
            tos: facts.tos,
            total_len: U16::new(total_len),
            id: U16::new(if dont_fragment { 0 } else { facts.id }),
            frag: U16::new(if dont_fragment { ipv4::DONT_FRAGMENT } else { 0 }),
            ttl: facts.ttl,
            protocol: facts.protocol,
            csum: U16::ZERO,
            src,
            dst,
        };
        header.csum = header.checksum();
        header.write_to(ip).ok()
    }
}

impl OuterHeader for V6 {
    fn write_header(ip: &mut [u8], facts: &Facts<Self>) -> Option<()> {
        let (src, dst) = facts.ends;
        let header = Ipv6 {
            version_class_label: Ipv6::word(facts.tos, 0),
            payload_len: U16::new(facts.payload_len),
            next_header: facts.protocol,
            hop_limit: facts.ttl,
            src,
            dst,
        };
        header.write_to(ip).ok()
    }
}

fn outer_tos(inner: u8) -> u8 {
    const ECN: u8 = 3;
    const CONGESTION_EXPERIENCED: u8 = 3;
    const ECT_0: u8 = 2;
    if inner & ECN == CONGESTION_EXPERIENCED { inner & !ECN | ECT_0 } else { inner }
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
