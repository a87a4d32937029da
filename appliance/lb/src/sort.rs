// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the frames of a batch are, before any connection is looked at.
//!
//! Packets to be balanced are sorted by family, and the cache is asked for the bucket that each
//! will be looked up in; of all other frames the fate is clear already.

use arrayvec::ArrayVec;
use wire::icmp_error::is_error;
use wire::{Eth, FlowKey, Frame, Mac, Outcome, V4, V6, parse, parse_plain};
use zerocopy::FromBytes;

use crate::batch::{Batch, Origin};
use crate::conn::table::{ConnTable, Probe};
use crate::family::Balanced;
use crate::fate::{Fates, punt};
use crate::ids::NicId;
use crate::lane::{next, run};
use crate::limits::BATCH;
use crate::steer::Wiring;
use crate::verdict::DropReason;

/// A batch by family, with the fates that are clear.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Packets of IPv4 that are to be balanced, a bit for each.
    pub(crate) v4: u64,
    /// Packets of IPv6 that are to be balanced, a bit for each.
    pub(crate) v6: u64,
    /// Those of either that are plain and [steady](wire::PlainPacket::is_steady), a bit for each.
    pub(crate) steady: u64,
    /// Those of either that nothing in their first bucket looks like, a bit for each.
    missed: u64,
    /// Fragments, a bit for each.
    pub(crate) parts: u64,
    /// The look-ups of the packets to be balanced.
    pub(crate) probes: Probes,
    /// ICMP errors, or what errors are to be made of, with the NIC that each came by.
    pub(crate) errors: ArrayVec<(u8, NicId), BATCH>,
    pub(crate) fates: Fates,
}

/// A look-up for each frame of a batch.
#[derive(Debug)]
pub(crate) struct Probes(pub(crate) [Probe; BATCH]);

impl Default for Probes {
    fn default() -> Self {
        Self([Probe::default(); BATCH])
    }
}

const _: () = assert!(BATCH == u64::BITS as usize);

/// The bits of `count` frames from place `at` on.
fn places(at: usize, count: usize) -> u64 {
    (((1_u128 << count) - 1) << at) as u64
}

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
    V4(FlowKey<V4>),
    V6(FlowKey<V6>),
    /// An ICMP error, perhaps about a connection.
    Error,
    /// A fragment.
    Part,
    Host,
    Drop(DropReason),
}

/// What batches are sorted by.
pub(crate) struct Sorter<'a, 'm> {
    pub(crate) wiring: &'a Wiring,
    pub(crate) v4: &'a ConnTable<'m, V4>,
    pub(crate) v6: &'a ConnTable<'m, V6>,
    pub(crate) origin: Origin,
}

impl Sorter<'_, '_> {
    /// Sorts a batch.
    #[inline(never)]
    pub(crate) fn sort<B: Frame>(&self, batch: &mut Batch<B>) {
        let has_one_door = self.origin != Origin::Wire || batch.is_of_one_nic();
        let Batch { frames, nics, sorted, .. } = batch;
        let nics = nics.get(..frames.len()).unwrap_or_default();
        (sorted.v4, sorted.v6, sorted.steady, sorted.parts) = (0, 0, 0, 0);
        debug_assert!(sorted.errors.is_empty(), "a batch is sorted once");
        if self.origin == Origin::Undelivered {
            return sorted.errors.extend((0..).zip(nics.iter().copied()));
        }
        let mut at = 0;
        while let Some(nic) = nics.get(at) {
            let until = if has_one_door { frames.len() } else { at + 1 };
            let door = self.door(*nic);
            let before = at;
            sorted.v4 |= sorted.begin(self.v4, (frames, door), &mut at, until);
            sorted.v6 |= sorted.begin(self.v6, (frames, door), &mut at, until);
            if at == before
                && let Some(other) = frames.get(at)
            {
                self.sort_other(other, (at, *nic), sorted);
                at += 1;
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

    /// Sorts a frame of which nothing is known yet.
    #[inline(never)]
    fn sort_other<B: Frame>(&self, frame: &B, (at, nic): (usize, NicId), sorted: &mut Sorted) {
        let (index, place) = (at as u8, places(at, 1));
        let fate = match self.classify(frame, nic) {
            Class::V4(key) => {
                sorted.v4 |= place;
                return sorted.probes_from(at).first_mut().into_iter().for_each(|probe| {
                    *probe = self.v4.probe(&key);
                });
            }
            Class::V6(key) => {
                sorted.v6 |= place;
                return sorted.probes_from(at).first_mut().into_iter().for_each(|probe| {
                    *probe = self.v6.probe(&key);
                });
            }
            Class::Error => return sorted.errors.push((index, nic)),
            Class::Part => {
                sorted.parts |= place;
                return;
            }
            Class::Host => punt(self.wiring, nic),
            Class::Drop(reason) => reason.into(),
        };
        sorted.fates.set(index, fate);
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
            Outcome::V4(parsed) => Class::V4(parsed.key()),
            Outcome::V6(parsed) => Class::V6(parsed.key()),
            Outcome::Fragment(_) => Class::Part,
            Outcome::NotOurs if is_error(head) => Class::Error,
            Outcome::NotOurs => Class::Host,
            Outcome::Bad(malformed) => Class::Drop(malformed.into()),
        }
    }
}

impl Sorted {
    /// Goes on with all look-ups, so that each points at a connection or at none.
    #[inline(never)]
    pub(crate) fn point(&mut self, v4: &ConnTable<'_, V4>, v6: &ConnTable<'_, V6>) {
        let probes = &mut self.probes.0;
        self.missed = point(self.v4, probes, v4) | point(self.v6, probes, v6);
    }

    /// Looks into the other bucket for the connections of steady packets that are not in the first.
    #[inline]
    pub(crate) fn point_again(&mut self, v4: &ConnTable<'_, V4>, v6: &ConnTable<'_, V6>) {
        let mut left = self.missed & self.steady;
        while let Some(at) = next(left, 0) {
            left &= left - 1;
            let is_v4 = self.v4 >> at & 1 == 1;
            match self.probes_from(at).first_mut() {
                Some(probe) if is_v4 => v4.prefetch_from_other(probe),
                Some(probe) => v6.prefetch_from_other(probe),
                None => {}
            }
        }
    }

    /// Begins to look up the plain packets of a family that are next, from place `at` on, which
    /// goes on behind them, and before `until`; returns their places, a bit for each.
    #[inline(always)]
    fn begin<F: Balanced, B: Frame>(
        &mut self,
        conns: &ConnTable<'_, F>,
        (frames, door): (&[B], Door),
        at: &mut usize,
        until: usize,
    ) -> u64 {
        let first = *at;
        let left = frames.get(first..until).unwrap_or_default();
        let (plain, steady) = sort_plain(left, door, conns, self.probes_from(first));
        self.steady |= steady.checked_shl(first as u32).unwrap_or(0);
        *at += plain;
        places(first, plain)
    }

    #[inline]
    fn probes_from(&mut self, at: usize) -> &mut [Probe] {
        self.probes.0.get_mut(at..).unwrap_or_default()
    }
}

/// Goes on with the look-ups in some places; returns those of them that point at no connection.
#[inline]
fn point<F: Balanced>(places: u64, probes: &mut [Probe], conns: &ConnTable<'_, F>) -> u64 {
    let (mut at, mut missed) = (0, 0);
    while let Some(run) = run(places, at) {
        at = run.end;
        for (place, probe) in run.clone().zip(probes.get_mut(run).unwrap_or_default()) {
            if !conns.prefetch(probe) {
                missed |= 1 << place;
            }
        }
    }
    missed
}

/// Begins to look up plain packets of a family, as far as there are no other frames between them;
/// returns how many these are, and which of them are steady, a bit for each.
#[inline(never)]
fn sort_plain<F: Balanced, B: Frame>(
    frames: &[B],
    door: Door,
    conns: &ConnTable<'_, F>,
    probes: &mut [Probe],
) -> (usize, u64) {
    // The last packet's bit comes first until all have theirs.
    let (mut plain, mut steady) = (0, 0_u64);
    if conns.is_void() {
        return (plain, steady);
    }
    for (frame, probe) in frames.iter().zip(probes) {
        let head = frame.head();
        match parse_plain::<F>(head, frame.len()) {
            Some(packet) if door.is_for(head) => {
                *probe = conns.probe(&packet.key());
                steady = steady << 1 | u64::from(packet.is_steady());
            }
            _ => break,
        }
        plain += 1;
    }
    let unused = BATCH - plain.min(BATCH);
    (plain, steady.checked_shl(unused as u32).unwrap_or(0).reverse_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seed;
    use crate::memory::TableMemory;
    use crate::steer::{NicWiring, Owner};
    use std::sync::Arc;
    use wire::{TcpFlags, VecFrame, build};

    const NIC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn wiring() -> Wiring {
        Wiring {
            workers: 1,
            owner: Owner::Hash,
            nics: vec![NicWiring { mac: NIC, has_host: true }],
            local_ports: 1025..=2000,
            rss: None,
            marks: Arc::default(),
            seed: Seed::fixed(1),
        }
    }

    fn frame(what: char) -> VecFrame {
        let v4 = || build::eth().dst(NIC).ipv4([198, 51, 100, 7], [192, 0, 2, 1]);
        let v6 = || build::eth().dst(NIC).ipv6([7; 16], [8; 16]);
        VecFrame::new(&match what {
            '4' => v4().tcp(4000, 80).flags(TcpFlags::ACK).payload(b""),
            '6' => v6().tcp(4000, 80).flags(TcpFlags::ACK).payload(b""),
            's' => v4().tcp(4000, 80).flags(TcpFlags::SYN).payload(b""),
            'o' => v4().options(&[1; 4]).tcp(4000, 80).flags(TcpFlags::ACK).payload(b""),
            _ => [&NIC.0[..], &[6; 6], &wire::eth::ARP.to_be_bytes(), &[0; 46]].concat(),
        })
    }

    /// The places of v4, v6 and steady packets in a batch.
    fn sorted(batch: &str) -> [String; 3] {
        let seed = Seed::fixed(1);
        let mut memory = TableMemory::new(ConnTable::<V4>::memory_bytes(4));
        let v4 = ConnTable::new(memory.bytes_mut(), 4, seed).unwrap();
        let mut memory = TableMemory::new(ConnTable::<V6>::memory_bytes(4));
        let v6 = ConnTable::new(memory.bytes_mut(), 4, seed).unwrap();
        let mut frames = Batch::default();
        batch.chars().for_each(|what| frames.push(frame(what), NicId(0)).unwrap());
        let wiring = wiring();
        Sorter { wiring: &wiring, v4: &v4, v6: &v6, origin: Origin::Wire }.sort(&mut frames);
        let Sorted { v4, v6, steady, .. } = frames.sorted;
        let places = 0..batch.len();
        let mark = |bits: u64, at: usize| if bits >> at & 1 == 1 { 'x' } else { '-' };
        [v4, v6, steady].map(|bits| places.clone().map(|at| mark(bits, at)).collect())
    }

    #[test]
    fn each_packet_is_found_among_those_of_the_other_family_and_others() {
        assert_eq!(sorted("6446a4s6o4"), ["-xx--xx-xx", "x--x---x--", "xxxx-x-x-x"]);
        assert_eq!(sorted("a"), ["-"; 3]);
        let (each, none) = (&"x".repeat(BATCH), &"-".repeat(BATCH));
        assert_eq!(&sorted(&"46".repeat(BATCH / 2))[2], each);
        assert_eq!(sorted(&"4".repeat(BATCH)), [each, none, each].map(String::clone));
        assert_eq!(sorted(&"6".repeat(BATCH)), [none, each, each].map(String::clone));
    }
}
