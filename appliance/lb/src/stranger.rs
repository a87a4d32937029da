// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets that belong to no connection and open none.
//!
//! They are the host's, which answers as for a closed port. Where there is no host interface, a
//! segment or datagram to a VIP is answered here, so that a client whose connection is gone, or who
//! asks for what is not served, learns of it (`tcp_v4_send_reset`, `__udp4_lib_rcv`). With
//! `nat_icmp_send` a NAT server's packet is answered too (`ip_vs_core.c: ip_vs_out_hook`).

pub(crate) mod reset;

use wire::{Frame, L4, Outcome, SctpEvent, is_intact, parse};

use crate::admit::may_open;
use crate::conn::Direction;
use crate::family::Balanced;
use crate::fate::{Fate, punt};
use crate::icmp::error::Error;
use crate::knobs::Knob;
use crate::lane::Item;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::Witness;

impl<W: Witness> Stage<'_, W> {
    /// What becomes of a packet of no connection that opens none.
    #[cold]
    pub(crate) fn turn_away<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
    ) -> Fate {
        if self.knows_sender(item) {
            let is_forwarded = !self.is_vip(item);
            let l3 = frame.head_mut().get_mut(item.parsed.l3()..);
            if !is_forwarded || l3.is_some_and(F::decrement_ttl) {
                let (reason, error) = (DropReason::NoConnection, Error::PortUnreachable);
                return self.answer(item, frame, Direction::Reply, reason, error);
            }
        }
        match punt(self.wiring, item.nic()) {
            fate @ Fate::Settled(Verdict::Drop(_)) if self.may_answer(item, frame) => {
                self.answer_as_host(item, frame).unwrap_or(fate)
            }
            fate => fate,
        }
    }

    /// Whether a packet of a service without server goes where it was sent (`cache_bypass`): one
    /// that a rule marked, and that is to nobody here. The host sends it on, as it does its others.
    #[cold]
    pub(crate) fn bypasses<F: Balanced>(&self, item: &Item<F>) -> bool {
        if !self.regime.knobs.is_on(Knob::CacheBypass) || self.is_vip(item) {
            return false;
        }
        let services = self.snapshot.services.family::<F>();
        services.is_marked(|| self.wiring.marks.mark(&item.parsed.key(), item.nic()))
    }

    /// Whether a packet is of a NAT server that is to be told that nobody knows its connection.
    fn knows_sender<F: Balanced>(&self, item: &Item<F>) -> bool {
        if !self.regime.knobs.is_on(Knob::NatIcmpSend) {
            return false;
        }
        let (key, flags) = (item.parsed.key(), item.parsed.tcp_flags());
        let ends_all = match key.protocol {
            L4::Tcp => flags.rst(),
            L4::Udp => false,
            L4::Sctp => SctpEvent::from_flags(flags) == SctpEvent::Abort,
        };
        let services = self.snapshot.services.family::<F>();
        !ends_all && services.is_nat_server(key.protocol, key.tuple.source())
    }

    fn is_vip<F: Balanced>(&self, item: &Item<F>) -> bool {
        self.snapshot.services.family::<F>().is_vip(item.parsed.key().tuple.dst)
    }

    /// Whether a packet is one that our own stack would answer: to a VIP, from somebody who can be
    /// answered, whole and undamaged.
    fn may_answer<F: Balanced, B: Frame>(&self, item: &Item<F>, frame: &B) -> bool {
        let tuple = item.parsed.key().tuple;
        self.is_vip(item)
            && may_open(tuple.source(), tuple.destination())
            && matches!(parse(frame.head(), frame.len()), Outcome::V4(_) | Outcome::V6(_))
            && is_intact(frame, &item.parsed)
    }

    /// Makes a frame what a stack with nobody at the port answers; none if that is nothing.
    fn answer_as_host<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
    ) -> Option<Fate> {
        let (reason, error) = (DropReason::NoConnection, Error::PortUnreachable);
        match item.parsed.key().protocol {
            L4::Tcp => self.reset(item, frame).then_some(Fate::Answered(item.nic(), reason)),
            L4::Udp => Some(self.answer(item, frame, Direction::Request, reason, error)),
            L4::Sctp => None,
        }
    }

    /// Makes a frame the reset that answers its segment, if it is one that has an answer.
    fn reset<F: Balanced, B: Frame>(&mut self, item: &Item<F>, frame: &mut B) -> bool {
        let has_answer = !item.parsed.tcp_flags().rst();
        let Some(nic) = self.wiring.nic(item.nic()).filter(|_| has_answer) else {
            return false;
        };
        if !self.icmp.allows_reset(self.now) {
            return false;
        }
        // As it came: what follows makes it the answer.
        self.counters.last_drops.note(DropReason::NoConnection, item.nic(), self.now, frame);
        reset::answer(frame, &item.parsed, nic.mac)
    }
}
