// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets that belong to no connection and open none.
//!
//! They are the host's, which answers as for a closed port. Where there is no host interface, a
//! segment to a VIP is answered here, so that a client whose connection is gone learns of it. With
//! `nat_icmp_send` a NAT server's packet is answered too (`ip_vs_core.c: ip_vs_out_hook`).

use wire::{Frame, L4, Outcome, SctpEvent, parse, verify};

use crate::admit::may_open;
use crate::conn::Direction;
use crate::family::Balanced;
use crate::icmp_error::Error;
use crate::knobs::Knob;
use crate::reset;
use crate::stage::{Fate, Item, Stage, punt};
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
            Fate::Settled(Verdict::Drop(_)) if self.reset(item, frame) => {
                Fate::Answered(item.nic(), DropReason::NoConnection)
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

    /// Makes a frame the reset that answers its segment, if it is one that has an answer; what
    /// damage or a fragment makes of a segment has none.
    fn reset<F: Balanced, B: Frame>(&mut self, item: &Item<F>, frame: &mut B) -> bool {
        let key = item.parsed.key();
        let has_answer = key.protocol == L4::Tcp
            && !item.parsed.tcp_flags().rst()
            && self.is_vip(item)
            && may_open(key.tuple.source(), key.tuple.destination());
        let Some(nic) = self.wiring.nic(item.nic()).filter(|_| has_answer) else {
            return false;
        };
        if !self.icmp.allows_reset(self.now) {
            return false;
        }
        let is_whole = matches!(parse(frame.head(), frame.len()), Outcome::V4(_) | Outcome::V6(_));
        if !is_whole || verify(frame.head()).is_err() {
            return false;
        }
        // As it came: what follows makes it the answer.
        self.counters.last_drops.note(DropReason::NoConnection, item.nic(), self.now, frame);
        reset::answer(frame, &item.parsed, nic.mac)
    }
}
