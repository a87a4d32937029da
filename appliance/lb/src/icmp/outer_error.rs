// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP errors about the outer packets of tunnels become errors to the clients whose packets lay
//! inside (RFC 2003 §4, RFC 2473 §8), as far as routers quote that much of them.
//!
//! What a router says about the size of outer packets is remembered for its server, so that also
//! one that quotes 8 bytes only leaves no client in the dark: its next packet that is too big is
//! answered here. To be believed, an error must quote a packet from our tunnel source to a server;
//! to be passed on, the packet inside must be of a connection through a tunnel to that server.

use std::net::IpAddr;

use wire::{Eth, Family, FamilyId, Frame, IcmpError, Quote, icmp, icmp6};
use zerocopy::IntoBytes;

use crate::conn::flows::Flows;
use crate::conn::{Conn, Direction};
use crate::encap;
use crate::encap::tunnel::set_ethertype;
use crate::family::Balanced;
use crate::fate::{Fate, Wait, punt};
use crate::icmp::error::{Error, wrap};
use crate::ids::NicId;
use crate::network::Unresolved;
use crate::stage::Stage;
use crate::verdict::DropReason;
use crate::witness::{Fact, Meeting, Witness};

/// The packet inside the one that an error quotes: its family and where it is in the frame.
pub(crate) type Carried = (FamilyId, usize);

impl<W: Witness> Stage<'_, W> {
    /// The packet inside the outer one that an error quotes, after the size of outer packets that
    /// it tells was noted; none if the error is not about a tunnel, or quotes too little.
    pub(crate) fn look_inside<O: Balanced, B: Frame>(
        &self,
        error: &IcmpError<O>,
        frame: &B,
    ) -> Option<Carried> {
        let outer = &error.quote.header;
        let source = self.snapshot.network.source::<O>(outer.dst);
        let ours = source == Some(outer.src) && outer.src == error.header.dst;
        if !ours || !self.snapshot.services.family::<O>().is_server(outer.dst) {
            return None;
        }
        if let Some(mtu) = mtu_told(error).filter(|_| error.is_intact(frame.head())) {
            self.counts.paths().learn(self.keyed, outer.dst.into(), mtu, self.now);
        }
        let payload = frame.head().get(error.quote.l4()..error.end())?;
        let (family, at) = encap::carried(outer.protocol, payload)?;
        Some((family, error.quote.l4() + at))
    }

    /// Turns an error about an outer packet into one about the packet inside, at `inner`.
    pub(crate) fn report<O: Balanced, I: Balanced, B: Frame>(
        &mut self,
        flows: &Flows<'_, I>,
        (error, inner): (&IcmpError<O>, usize),
        (index, nic): (u8, NicId),
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let foreign = punt(self.wiring, nic);
        let quoted = frame.head().get(..error.end());
        let quote = quoted.and_then(|head| Quote::<I>::read(head, inner)).ok_or(foreign)?;
        let key = quote.key.ok_or(foreign)?;
        self.keep_or_hand_off(&key, (index, nic))?;
        let found = flows.conns().look_up(&key);
        let conn = found.and_then(|(id, _)| flows.conns().conn(id));
        let Some(conn) = conn else {
            self.witness.note(index, || Fact::NotFound);
            return Err(self.elsewhere(&key, nic));
        };
        let way = Direction::Request;
        self.witness.note(index, || Fact::Found(Meeting::of(conn, way, self.snapshot, self.now)));
        if !self.goes_to(conn, error.quote.header.dst.into()) {
            return Err(foreign);
        }
        if !error.is_intact(frame.head()) {
            return Err(DropReason::BadIcmpChecksum.into());
        }
        let overhead = inner - error.quote.l3;
        let told = told(error, overhead).ok_or(foreign)?;
        let peer = self.keyed.bytes(key.tuple.src.as_bytes());
        if !self.icmp.allows(peer, told, self.now) {
            return Err(DropReason::IcmpRate.into());
        }
        let (client, vip) = (key.tuple.src, key.tuple.dst);
        let whole = frame.pull_front(inner - size_of::<Eth>());
        if !whole || !wrap::<I>(frame, error.end() - inner, vip, told) {
            return Err(DropReason::NoHeadroom.into());
        }
        set_ethertype(frame, I::ETHERTYPE)?;
        self.send_to(client.into(), frame)
    }

    /// Whether packets of a connection go through a tunnel to this server.
    fn goes_to<F: Balanced>(&self, conn: &Conn<F>, server: IpAddr) -> bool {
        let view = self.snapshot.server(conn.server());
        conn.traits().tunnel && view.is_some_and(|view| view.address == server)
    }

    /// Sends a frame that is complete but for its link-layer addresses towards an address.
    pub(crate) fn send_to<B: Frame>(&mut self, to: IpAddr, frame: &mut B) -> Result<Fate, Fate> {
        let network = &self.snapshot.network;
        match network.resolve_ip(to) {
            Ok(id) => {
                let hop = network.next_hop(id).ok_or(DropReason::Bug)?;
                self.depart(frame, Ok(hop), id)
            }
            Err(Unresolved::NoNeighbour(neighbour)) => {
                let wait = Wait { to, neighbour };
                self.depart(frame, Err(wait), crate::network::NextHopId::UNRESOLVED)
            }
            Err(Unresolved::NoRoute) => Err(DropReason::NoRoute.into()),
        }
    }
}

/// The size of packets that an error asks for, in bytes: at least what every link has to carry
/// (RFC 8200 §5), or what the kernel believes on IPv4 (`min_pmtu`), and less than what was sent.
fn mtu_told<O: Family>(error: &IcmpError<O>) -> Option<u16> {
    const SMALLEST_V4: u32 = 552;
    const SMALLEST_V6: u32 = 1280;
    let (told, smallest) = match (O::ID, error.kind, error.code) {
        (FamilyId::V4, icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) => {
            (error.rest & 0xffff, SMALLEST_V4)
        }
        (FamilyId::V6, icmp6::PACKET_TOO_BIG, _) => (error.rest, SMALLEST_V6),
        _ => return None,
    };
    // A router from before RFC 1191 says 0.
    if told == 0 || told as usize >= error.quote.header.packet_len {
        return None;
    }
    u16::try_from(told.max(smallest)).ok()
}

/// What the sender of the packet inside is told; none for what only concerns the tunnel.
fn told<O: Family>(error: &IcmpError<O>, overhead: usize) -> Option<Error> {
    const ADMINISTRATIVE: [u8; 3] = [9, 10, 13];
    if let Some(mtu) = mtu_told(error) {
        return Some(Error::TooBig(mtu.saturating_sub(overhead as u16)));
    }
    Some(match (O::ID, error.kind, error.code) {
        (FamilyId::V4, icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) => return None,
        (FamilyId::V4, icmp::UNREACHABLE, icmp::NET_UNREACHABLE) => Error::NetUnreachable,
        (FamilyId::V4, icmp::UNREACHABLE, icmp::PROTOCOL_UNREACHABLE) => Error::ProtocolUnreachable,
        (FamilyId::V4, icmp::UNREACHABLE, icmp::PORT_UNREACHABLE) => Error::PortUnreachable,
        (FamilyId::V4, icmp::UNREACHABLE, code) if ADMINISTRATIVE.contains(&code) => {
            Error::Prohibited
        }
        (FamilyId::V4, icmp::UNREACHABLE, _) => Error::HostUnreachable,
        (FamilyId::V4, icmp::TIME_EXCEEDED, 0) => Error::TimeExceeded,
        (FamilyId::V6, icmp6::UNREACHABLE, icmp6::NO_ROUTE) => Error::NetUnreachable,
        (FamilyId::V6, icmp6::UNREACHABLE, icmp6::PROHIBITED) => Error::Prohibited,
        (FamilyId::V6, icmp6::UNREACHABLE, icmp6::PORT_UNREACHABLE) => Error::PortUnreachable,
        (FamilyId::V6, icmp6::UNREACHABLE, _) => Error::HostUnreachable,
        (FamilyId::V6, icmp6::TIME_EXCEEDED, 0) => Error::TimeExceeded,
        (FamilyId::V6, icmp6::PARAMETER_PROBLEM, icmp6::UNKNOWN_NEXT_HEADER) => {
            Error::ProtocolUnreachable
        }
        _ => return None,
    })
}
