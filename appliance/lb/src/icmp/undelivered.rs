// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame whose next hop never answered is dropped, and its sender is told.
//!
//! As after the kernel's ARP or ND fails (`ipv4_link_failure`, `ip6_link_failure`): the error is
//! made about the packet as it would have left, from our own address on that side, and goes the way
//! of an error that a router behind us sent. So the connection says what it is called where it
//! goes, and one about a tunnel's outer packet becomes one about the packet inside.

use wire::{Eth, Frame, V4, V6, eth, icmp_error};
use zerocopy::{FromBytes, IntoBytes};

use crate::conn::flows::Flows;
use crate::encap::tunnel::set_ethertype;
use crate::family::Balanced;
use crate::fate::Fate;
use crate::icmp::error::{Error, wrap};
use crate::ids::NicId;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::Witness;

impl<W: Witness> Stage<'_, W> {
    /// What becomes of a frame that waited in vain: dropped, or the answer to its sender.
    #[cold]
    pub(crate) fn undelivered<B: Frame>(
        &mut self,
        flows: (&mut Flows<'_, V4>, &mut Flows<'_, V6>),
        at: (u8, NicId),
        frame: &mut B,
    ) -> Fate {
        const REASON: DropReason = DropReason::NoNeighbour;
        let ethertype = Eth::ref_from_prefix(frame.head()).map(|(eth, _)| eth.ethertype.get());
        let told = match ethertype {
            Ok(eth::IPV4) => self.complain::<V4, B>(at.1, frame),
            Ok(eth::IPV6) => self.complain::<V6, B>(at.1, frame),
            _ => None,
        };
        let fate = match told {
            Some(To::Sender(fate)) => fate,
            Some(To::Connection) => self.about_connection(flows, at, frame),
            None => return REASON.into(),
        };
        match fate {
            Fate::Settled(Verdict::Transmit(nic)) => Fate::Answered(nic, REASON),
            // What was made of the frame was noted before.
            _ => REASON.into(),
        }
    }

    /// Makes a frame the error about its packet; none if it may not be answered.
    fn complain<F: Balanced, B: Frame>(&mut self, nic: NicId, frame: &mut B) -> Option<To> {
        let l3 = frame.head().get(size_of::<Eth>()..)?;
        let header = F::all_headers(l3).filter(|header| !header.is_later_fragment)?;
        // Nobody is told about an error (RFC 1122 §3.2.2, RFC 4443 §2.4).
        if icmp_error::is_error(frame.head()) {
            return None;
        }
        // DR leaves packets as they came: the error about them is complete.
        let is_as_it_came = self.snapshot.services.family::<F>().is_vip(header.dst);
        let ours = if is_as_it_came {
            Some(header.dst)
        } else {
            self.snapshot.network.source::<F>(header.dst)
        };
        let peer = self.keyed.bytes(header.src.as_bytes());
        if !self.icmp.allows(peer, Error::HostUnreachable, self.now) {
            return None;
        }
        self.counters.last_drops.note(DropReason::NoNeighbour, nic, self.now, frame);
        let is_whole = wrap::<F>(frame, header.packet_len, ours?, Error::HostUnreachable);
        set_ethertype(frame, F::ETHERTYPE).ok().filter(|()| is_whole)?;
        Some(if is_as_it_came {
            To::Sender(self.send_to(header.src.into(), frame).unwrap_or_else(|fate| fate))
        } else {
            To::Connection
        })
    }
}

/// How an error finds its receiver.
enum To {
    /// It goes to whoever sent the packet; this became of it.
    Sender(Fate),
    /// As the connection says.
    Connection,
}
