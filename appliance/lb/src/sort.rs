// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the frames of a batch are, before any connection is looked at.
//!
//! Packets to be balanced are sorted by family, and the cache is asked for the bucket that each
//! will be looked up in; of all other frames the fate is clear already.

use arrayvec::ArrayVec;
use wire::icmp_error::is_error;
use wire::{Eth, Frame, Outcome, Parsed, V4, V6, parse, parse_plain};
use zerocopy::FromBytes;

use crate::batch::{Batch, Origin};
use crate::family::Balanced;
use crate::flows::Flows;
use crate::ids::NicId;
use crate::limits::BATCH;
use crate::stage::{Fate, Item, Stage, punt};
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Arrival, Fact, Witness};

/// The packets of one family in a batch.
type Items<F> = ArrayVec<Item<F>, BATCH>;

/// What becomes of each frame of a batch, in their order; none while it is open.
pub(crate) type Fates = [Option<Fate>; BATCH];

/// A batch by family, with the fates that are clear.
#[derive(Default)]
pub(crate) struct Sorted {
    pub(crate) v4: Items<V4>,
    pub(crate) v6: Items<V6>,
    /// ICMP errors, or what errors are to be made of, with the NIC that each came by.
    pub(crate) errors: ArrayVec<(u8, NicId), BATCH>,
    /// Fragments, a bit for each.
    pub(crate) parts: u32,
    pub(crate) fates: Fates,
}

const _: () = assert!(BATCH <= u32::BITS as usize);

/// What a frame is that is no plain packet to us.
enum Class {
    V4(Parsed<V4>),
    V6(Parsed<V6>),
    /// An ICMP error, perhaps about a connection.
    Error,
    /// A fragment.
    Part,
    Host,
    Drop(DropReason),
}

impl<W: Witness> Stage<'_, W> {
    /// Sorts a batch.
    #[inline(never)]
    pub(crate) fn sort<B: Frame>(
        &mut self,
        batch: &Batch<B>,
        (v4, v6): (&Flows<'_, V4>, &Flows<'_, V6>),
        sorted: &mut Sorted,
    ) {
        if self.origin == Origin::Undelivered {
            return sorted.errors.extend((0..).zip(batch.nics.iter().copied()));
        }
        let mut by = (NicId::default(), self.wiring.nic(NicId::default()));
        for (index, (frame, nic)) in (0..).zip(batch.frames.iter().zip(&batch.nics)) {
            let Self { witness, counters, origin, now, .. } = self;
            let (origin, now) = (*origin, *now);
            let arrival = || Arrival { worker: counters.worker, nic: *nic, origin, now };
            witness.arrived(index, arrival, frame);
            if *nic != by.0 {
                by = (*nic, self.wiring.nic(*nic));
            }
            let head = frame.head();
            let is_to_us =
                origin != Origin::Wire || by.1.is_some_and(|nic| head.starts_with(&nic.mac.0));
            let fate = if !is_to_us {
                self.sort_other(v4, v6, index, frame, *nic, sorted)
            } else if let Some(parsed) = parse_plain(head, frame.len()) {
                self.place(v4, index, *nic, parsed, &mut sorted.v4)
            } else if let Some(parsed) = parse_plain(head, frame.len()) {
                self.place(v6, index, *nic, parsed, &mut sorted.v6)
            } else {
                self.sort_other(v4, v6, index, frame, *nic, sorted)
            };
            if fate.is_some()
                && let Some(open) = sorted.fates.get_mut(usize::from(index))
            {
                *open = fate;
            }
        }
    }

    /// Gives a packet to the phases of its family, unless another worker owns its flow.
    #[inline(always)]
    fn place<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        index: u8,
        nic: NicId,
        parsed: Parsed<F>,
        items: &mut Items<F>,
    ) -> Option<Fate> {
        if self.origin == Origin::Wire {
            let here = self.counters.worker;
            let owner = if self.steering.is_alone() { here } else { self.owner(&parsed, nic) };
            self.witness.note(index, || Fact::Owner(owner));
            if owner != here {
                return Some(Fate::Settled(Verdict::HandOff(owner, nic)));
            }
        }
        let probe = flows.conns().probe(&parsed.key());
        items.push(Item::new(index, nic, parsed, probe));
        None
    }

    /// Sorts a frame that is no plain packet to us.
    #[inline(never)]
    fn sort_other<B: Frame>(
        &mut self,
        v4: &Flows<'_, V4>,
        v6: &Flows<'_, V6>,
        index: u8,
        frame: &B,
        nic: NicId,
        sorted: &mut Sorted,
    ) -> Option<Fate> {
        match self.classify(frame, nic) {
            Class::V4(parsed) => self.place(v4, index, nic, parsed, &mut sorted.v4),
            Class::V6(parsed) => self.place(v6, index, nic, parsed, &mut sorted.v6),
            Class::Error => {
                sorted.errors.push((index, nic));
                None
            }
            Class::Part => {
                sorted.parts |= 1 << index;
                None
            }
            Class::Host => Some(punt(self.wiring, nic)),
            Class::Drop(reason) => Some(reason.into()),
        }
    }

    fn classify<B: Frame>(&self, frame: &B, nic: NicId) -> Class {
        let head = frame.head();
        let Ok((eth, _)) = Eth::ref_from_prefix(head) else {
            return Class::Drop(DropReason::Truncated);
        };
        if self.origin == Origin::Wire {
            if eth.dst.is_multicast() {
                return Class::Host;
            }
            if self.wiring.nic(nic).is_none_or(|nic| nic.mac != eth.dst) {
                return Class::Drop(DropReason::OtherHost);
            }
        }
        match parse(head, frame.len()) {
            Outcome::V4(parsed) => Class::V4(parsed),
            Outcome::V6(parsed) => Class::V6(parsed),
            Outcome::Fragment(_) => Class::Part,
            Outcome::NotOurs if is_error(head) => Class::Error,
            Outcome::NotOurs => Class::Host,
            Outcome::Bad(malformed) => Class::Drop(malformed.into()),
        }
    }
}
