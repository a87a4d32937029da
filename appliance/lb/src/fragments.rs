// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a worker knows of packets that come in parts.
//!
//! Only the first fragment names a flow. The table remembers for each packet where its first
//! fragment went, so that the others follow; those that come before it wait, in bounded number and
//! time. It also remembers which bytes were seen: no byte of a packet goes on twice, so that no two
//! receivers can put one packet together differently (RFC 5722, RFC 3128).
//!
//! A packet's entry lies in one set of [`WAYS`] places, found by a keyed hash; the entry that ends
//! soonest makes room. Nothing is ever put together, and nothing is allocated after the start.

pub(crate) mod follow;
pub(crate) mod split;

use arrayvec::ArrayVec;
use wire::{Family, Fragment, Frame, Outcome, Piece, Port, V4, V6, parse};
use zerocopy::network_endian::U32;
use zerocopy::{Immutable, IntoBytes, Unaligned};

use crate::action::Action;
use crate::conn::Traits;
use crate::hash::Keyed;
use crate::ids::{NicId, ServerId, Tick, WorkerId};
use crate::limits::{
    BATCH, FRAGMENT_DONE_MS, FRAGMENT_MS, FRAGMENT_SPANS, FRAGMENT_WAIT_MS, FRAGMENTED_PACKETS,
    FRAGMENTS_WAITING, FRAGMENTS_WAITING_PER_PACKET,
};
use crate::verdict::DropReason;

/// Places that an entry can lie in.
const WAYS: usize = 8;
const _: () = assert!(FRAGMENTED_PACKETS.is_multiple_of(WAYS));

/// What names a packet that comes in parts (RFC 791 §2.3, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes, Unaligned)]
#[repr(C)]
pub struct Name<F: Family> {
    src: F::Addr,
    dst: F::Addr,
    id: U32,
    protocol: u8,
}

impl<F: Family> Name<F> {
    /// The name of the packet that a fragment is of.
    pub fn of(piece: &Piece<F>) -> Self {
        let Piece { src, dst, id, protocol, .. } = *piece;
        Self { src, dst, id: U32::new(id), protocol: protocol.number() }
    }

    /// Its hash.
    pub fn hash(&self, keyed: &Keyed) -> u64 {
        keyed.bytes(self.as_bytes())
    }
}

/// Where the fragments of a packet go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way<F: Family> {
    /// The first one did not come yet.
    #[default]
    Unknown,
    /// To the connection with these ports; where the packet leaves from another address, with
    /// another identification.
    Flow { sport: Port, dport: Port, id: Option<u32> },
    /// As the first one, whose connection ended with it; likewise with another identification.
    Alone { alone: Alone<F>, id: Option<u32> },
    /// To the worker that owns the flow.
    Owner(WorkerId),
    /// To the host.
    Host,
    /// Where the first one went.
    Dropped(DropReason),
}

/// What is done to a datagram that is scheduled alone (one-packet scheduling).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone<F: Family> {
    pub(crate) action: Action<F>,
    pub(crate) traits: Traits,
    pub(crate) server: ServerId,
}

/// A packet of which a part was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry<F: Family> {
    name: Name<F>,
    pub(crate) way: Way<F>,
    seen: Seen,
    ends: Tick,
}

/// The packets of one family that come in parts.
#[derive(Debug)]
pub struct Fragments<F: Family>(Box<[Entry<F>]>);

impl<F: Family> Default for Fragments<F> {
    fn default() -> Self {
        Self((0..FRAGMENTED_PACKETS).map(|_| Entry::default()).collect())
    }
}

impl<F: Family> Fragments<F> {
    /// The entry of a packet, if a part of it was seen lately.
    pub(crate) fn find(&mut self, name: &Name<F>, hash: u64, now: Tick) -> Option<&mut Entry<F>> {
        self.set(hash).iter_mut().find(|entry| entry.ends > now && entry.name == *name)
    }

    /// The entry of a packet that a fragment came of, made if need be.
    ///
    /// # Errors
    /// The fragment is not to go on: its bytes were seen, or contradict what was seen.
    pub(crate) fn note(
        &mut self,
        piece: &Piece<F>,
        name: &Name<F>,
        hash: u64,
        now: Tick,
    ) -> Result<&mut Entry<F>, DropReason> {
        let set = self.set(hash);
        let known = set.iter().position(|entry| entry.ends > now && entry.name == *name);
        let soonest = || set.iter().enumerate().min_by_key(|(_, entry)| entry.ends);
        let place = known.or_else(|| soonest().map(|(place, _)| place)).ok_or(DropReason::Bug)?;
        let entry = set.get_mut(place).ok_or(DropReason::Bug)?;
        if known.is_none() {
            let ends = Tick::from_millis(now.millis() + FRAGMENT_MS);
            *entry = Entry { name: *name, ends, ..Entry::default() };
        }
        if entry.seen.add(piece)? {
            entry.ends = Tick::from_millis(now.millis() + FRAGMENT_DONE_MS);
        }
        Ok(entry)
    }

    fn set(&mut self, hash: u64) -> &mut [Entry<F>] {
        let sets = FRAGMENTED_PACKETS / WAYS;
        let start = (hash as usize % sets) * WAYS;
        self.0.get_mut(start..start + WAYS).unwrap_or_default()
    }
}

/// The bytes of a packet that were seen, as spans without touching neighbours.
#[derive(Clone, Debug, Default)]
struct Seen {
    spans: ArrayVec<(u32, u32), FRAGMENT_SPANS>,
    /// Where the packet ends, once its last fragment was seen.
    end: Option<u32>,
}

impl Seen {
    /// Takes note of a fragment; says whether the packet is complete.
    fn add<F: Family>(&mut self, piece: &Piece<F>) -> Result<bool, DropReason> {
        let (start, end) = (u32::from(piece.offset), piece.end() as u32);
        let farthest = self.spans.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let contradicts = match self.end {
            Some(known) => end > known || !piece.more && end != known,
            None => !piece.more && farthest > end,
        };
        if self.spans.iter().any(|(from, to)| start < *to && *from < end) {
            return Err(DropReason::FragmentOverlap);
        }
        if contradicts {
            return Err(DropReason::FragmentBad);
        }
        let touches = |(from, to): &(u32, u32)| *to == start || *from == end;
        let (mut from, mut to) = (start, end);
        self.spans.retain(|span| {
            let joined = touches(span);
            if joined {
                (from, to) = (from.min(span.0), to.max(span.1));
            }
            !joined
        });
        self.spans.try_push((from, to)).map_err(|_| DropReason::FragmentScattered)?;
        if !piece.more {
            self.end = Some(end);
        }
        Ok(self.end.is_some_and(|end| self.spans.first() == Some(&(0, end))))
    }
}

/// What a worker knows of packets in parts, of both families.
#[derive(Debug)]
pub(crate) struct InParts<B> {
    pub(crate) v4: Fragments<V4>,
    pub(crate) v6: Fragments<V6>,
    pub(crate) waiting: Waiting<B>,
}

impl<B: Frame> InParts<B> {
    pub(crate) fn new(keyed: Keyed) -> Self {
        Self { v4: Fragments::default(), v6: Fragments::default(), waiting: Waiting::new(keyed) }
    }
}

/// A fragment that came before the first of its packet.
#[derive(Debug)]
struct Early<B> {
    frame: B,
    nic: NicId,
    packet: u64,
    since: Tick,
}

/// The fragments of one worker that wait for the first of their packets, the oldest first.
#[derive(Debug)]
pub(crate) struct Waiting<B> {
    early: ArrayVec<Early<B>, FRAGMENTS_WAITING>,
    keyed: Keyed,
}

impl<B: Frame> Waiting<B> {
    pub(crate) fn new(keyed: Keyed) -> Self {
        Self { early: ArrayVec::new(), keyed }
    }

    pub(crate) fn len(&self) -> usize {
        self.early.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.early.is_empty()
    }

    /// The frame that came to wait last.
    pub(crate) fn newest(&self) -> Option<&B> {
        self.early.last().map(|early| &early.frame)
    }

    /// Keeps a fragment; gives it back if too many wait, in all or of its packet.
    pub(crate) fn keep(&mut self, frame: B, nic: NicId, now: Tick) -> Result<(), B> {
        let Some(packet) = self.packet(&frame) else {
            return Err(frame);
        };
        let same = self.early.iter().filter(|early| early.packet == packet);
        if same.count() >= FRAGMENTS_WAITING_PER_PACKET {
            return Err(frame);
        }
        let early = Early { frame, nic, packet, since: now };
        self.early.try_push(early).map_err(|full| full.element().frame)
    }

    /// Takes out, in their order, up to a batch of those whose packets' first fragments have come.
    pub(crate) fn follow(&mut self, come: &[u64], mut out: impl FnMut(B, NicId)) {
        let mut kept = ArrayVec::new();
        let mut followed = 0;
        for early in self.early.drain(..) {
            if followed < BATCH && come.contains(&early.packet) {
                followed += 1;
                out(early.frame, early.nic);
            } else {
                kept.push(early);
            }
        }
        self.early = kept;
    }

    /// Takes out those that waited too long.
    pub(crate) fn give_up(&mut self, now: Tick, mut out: impl FnMut(B, NicId)) {
        let due = |early: &Early<B>| now.since(early.since) >= FRAGMENT_WAIT_MS;
        let count = self.early.iter().take_while(|early| due(early)).count();
        self.early.drain(..count).for_each(|early| out(early.frame, early.nic));
    }

    fn packet(&self, frame: &B) -> Option<u64> {
        match parse(frame.head(), frame.len()) {
            Outcome::Fragment(Fragment::V4(piece)) => {
                Some(Name::<V4>::of(&piece).hash(&self.keyed))
            }
            Outcome::Fragment(Fragment::V6(piece)) => {
                Some(Name::<V6>::of(&piece).hash(&self.keyed))
            }
            _ => None,
        }
    }
}
