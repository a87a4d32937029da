// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that waited for a link-layer address: they leave, or are given up.

use wire::{Eth, Frame};

use super::in_parts::send_in_parts;
use super::{Worker, address};
use crate::batch::{Batch, Origin, Sink};
use crate::held::Waiting;
use crate::ids::Tick;
use crate::network::{NetworkView, NextHop};
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Answers, Witness};

impl<B: Frame> Worker<'_, B> {
    /// Sends the frames whose next hops are known by now, and gives up those that waited too long.
    pub(super) fn release_held(
        &mut self,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        let mut unanswered = Batch::default();
        let Self { snapshot, held, counters, ip_id, wiring, .. } = self;
        let hop = |waiting: &Waiting<B>| towards(&snapshot.network, waiting.to);
        held.release(
            now,
            |waiting| hop(waiting).is_some(),
            |mut waiting, _| {
                let addressed = match hop(&waiting) {
                    None => Err(DropReason::NoNeighbour),
                    Some(hop) => address(&mut waiting.frame, hop).map(|()| (hop.nic, hop.mtu)),
                };
                if addressed == Err(DropReason::NoNeighbour) {
                    let drop = Verdict::Drop(DropReason::NoNeighbour);
                    witness.released(waiting.neighbour.nic, drop, &waiting.frame);
                    match unanswered.push(waiting.frame, waiting.neighbour.nic) {
                        Ok(()) => return,
                        Err(back) => waiting.frame = back,
                    }
                }
                let frame = &waiting.frame;
                let fits = |mtu: u16| frame.len() <= usize::from(mtu) + size_of::<Eth>();
                let (verdict, is_sent) = match addressed {
                    Ok((nic, mtu)) if fits(mtu) => (Verdict::Transmit(nic), false),
                    Ok((nic, mtu)) => {
                        *ip_id = ip_id.wrapping_add(wiring.workers);
                        match send_in_parts(frame, (nic, mtu), *ip_id, &counters.frames, sink) {
                            Ok(()) => (Verdict::Transmit(nic), true),
                            Err(reason) => (Verdict::Drop(reason), false),
                        }
                    }
                    Err(reason) => (Verdict::Drop(reason), false),
                };
                if let Verdict::Drop(reason) = verdict {
                    counters.dropped(reason, waiting.neighbour.nic, now, frame);
                }
                witness.released(waiting.neighbour.nic, verdict, frame);
                if !is_sent {
                    sink.take(waiting.frame, verdict);
                }
            },
        );
        if !unanswered.is_empty() {
            self.process(&mut unanswered, Origin::Undelivered, now, sink, &mut Answers(witness));
        }
    }
}

fn towards(network: &NetworkView, to: std::net::IpAddr) -> Option<&NextHop> {
    network.next_hop(network.resolve_ip(to).ok()?)
}
