// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the frames of a batch are, before any connection is looked at.
//!
//! Packets to be balanced are sorted by family, and the cache is asked for the bucket that each
//! will be looked up in; of all other frames the fate is clear already.

use arrayvec::ArrayVec;
use wire::icmp_error::is_error;
use wire::{Eth, Frame, Mac, Outcome, Parsed, V4, V6, parse, parse_plain};
use zerocopy::FromBytes;

use crate::batch::{Batch, Origin};
use crate::conn::flows::Flows;
use crate::ids::NicId;
use crate::limits::BATCH;
use crate::stage::{Fate, Item, Stage, punt};
use crate::verdict::DropReason;
use crate::witness::{Arrival, Witness};

/// The packets of one family in a batch.
type Items<F> = ArrayVec<Item<F>, BATCH>;

/// What becomes of each frame of a batch, in their order; none while it is open.
pub(crate) type Fates = [Option<Fate>; BATCH];

/// A batch by family, with the fates that are clear.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) v4: Items<V4>,
    pub(crate) v6: Items<V6>,
    /// ICMP errors, or what errors are to be made of, with the NIC that each came by.
    pub(crate) errors: ArrayVec<(u8, NicId), BATCH>,
    /// Fragments, a bit for each.
    pub(crate) parts: u32,
    pub(crate) fates: Fates,
}

impl Sorted {
    /// Forgets the batch before one of `len` frames.
    pub(crate) fn begin(&mut self, len: usize) {
        self.v4.clear();
        self.v6.clear();
        self.errors.clear();
        self.parts = 0;
        if let Some(fates) = self.fates.get_mut(..len) {
            fates.fill(None);
        }
    }
}

const _: () = assert!(BATCH <= u32::BITS as usize);

/// Which frames of a NIC are for us: those that begin with its link-layer address, or all, or
/// none.
#[derive(Clone, Copy)]
struct Door {
    mask: u64,
    address: u64,
}

impl Door {
    const OPEN: Self = Self { mask: 0, address: 0 };
    const SHUT: Self = Self { mask: 0, address: 1 };

    fn of(mac: Mac) -> Self {
        let in_front = |[a, b, c, d, e, f]: [u8; 6]| u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        Self { mask: in_front([0xff; 6]), address: in_front(mac.0) }
    }

    #[inline(always)]
    fn is_for(self, head: &[u8]) -> bool {
        let front = head.first_chunk();
        front.is_some_and(|front| u64::from_ne_bytes(*front) & self.mask == self.address)
    }
}

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
            let nics = batch.nics.iter().take(batch.frames.len());
            return sorted.errors.extend((0..).zip(nics.copied()));
        }
        let mut door = (NicId::default(), self.door(NicId::default()));
        for (index, (frame, nic)) in (0..).zip(batch.frames.iter().zip(&batch.nics)) {
            let (worker, origin, now) = (self.counters.worker, self.origin, self.now);
            let arrival = || Arrival { worker, nic: *nic, origin, now };
            self.witness.arrived(index, arrival, frame);
            if *nic != door.0 {
                door = (*nic, self.door(*nic));
            }
            let head = frame.head();
            if let Some(packet) = parse_plain(head, frame.len())
                && door.1.is_for(head)
            {
                let probe = v4.conns().probe(&packet.key());
                sorted.v4.push(Item::new(index, *nic, packet.parsed(), probe));
            } else if let Some(packet) = parse_plain(head, frame.len())
                && door.1.is_for(head)
            {
                let probe = v6.conns().probe(&packet.key());
                sorted.v6.push(Item::new(index, *nic, packet.parsed(), probe));
            } else {
                self.sort_other((v4, v6), (index, *nic), frame, sorted);
            }
        }
    }

    fn door(&self, nic: NicId) -> Door {
        match self.wiring.nic(nic) {
            _ if self.origin != Origin::Wire => Door::OPEN,
            Some(nic) => Door::of(nic.mac),
            None => Door::SHUT,
        }
    }

    /// Sorts a frame that is no plain packet to us.
    #[inline(never)]
    fn sort_other<B: Frame>(
        &mut self,
        (v4, v6): (&Flows<'_, V4>, &Flows<'_, V6>),
        (index, nic): (u8, NicId),
        frame: &B,
        sorted: &mut Sorted,
    ) {
        let fate = match self.classify(frame, nic) {
            Class::V4(parsed) => {
                let probe = v4.conns().probe(&parsed.key());
                return sorted.v4.push(Item::new(index, nic, parsed, probe));
            }
            Class::V6(parsed) => {
                let probe = v6.conns().probe(&parsed.key());
                return sorted.v6.push(Item::new(index, nic, parsed, probe));
            }
            Class::Error => return sorted.errors.push((index, nic)),
            Class::Part => return sorted.parts |= 1 << index,
            Class::Host => punt(self.wiring, nic),
            Class::Drop(reason) => reason.into(),
        };
        if let Some(open) = sorted.fates.get_mut(usize::from(index)) {
            *open = Some(fate);
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
