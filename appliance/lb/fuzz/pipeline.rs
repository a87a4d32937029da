// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes → frames through a director of one to four workers with all modes in both families.
//!
//! The first byte says how many workers there are, what is known of the NICs' hashing, and who owns
//! requests. Then
//! follow records: three bytes, and a frame or the words of one (see [`Record`]). Nothing may
//! panic; no frame may be lost or counted twice; a batch of frames with right checksums leaves with
//! right checksums; nothing leaves that is longer than the MTU, or for an address that is neither
//! a server's nor that of somebody who sent.

mod frames;
pub mod rules;
pub mod world;

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use lb::catalog::{Catalog, Change};
use lb::ensemble::{Ensemble, Outlet};
use lb::ids::{NicId, Tick};
use lb::limits::{FRAGMENT_WAIT_MS, HELD_MS};
use wire::verify::Fault;
use wire::{Eth, VecFrame};
use zerocopy::FromBytes;

pub use rules::Words;
use world::{LIMITS, MTUS, NICS, VIPS};

/// Frames that left and can be answered.
const ANSWERABLE: usize = 8;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A frame as it is.
    Frame,
    /// The words of a frame.
    Made,
    /// The words of an answer.
    Answer,
    /// The words of a change of rules, or of neighbours.
    Change,
}

/// What three bytes before a frame or words say.
#[derive(Clone, Copy, Debug)]
struct Record([u8; 3]);

impl Record {
    fn kind(self) -> Kind {
        match self.0[0] >> 6 {
            0 => Kind::Frame,
            1 => Kind::Made,
            2 => Kind::Change,
            _ => Kind::Answer,
        }
    }

    /// By which NIC it arrives, if its addresses do not say.
    fn nic(self) -> NicId {
        NicId(u16::from(self.0[0] & 1))
    }

    /// Whether it is addressed to that NIC and gets right checksums.
    fn mends(self) -> bool {
        self.0[0] & 2 == 0
    }

    /// How many of its bytes lie in a second segment, in sixteenths.
    fn tail(self) -> usize {
        usize::from(self.0[0] >> 2 & 0xf)
    }

    /// Milliseconds since the frame before; frames of one moment are one batch.
    fn wait_ms(self) -> u64 {
        match self.0[1] {
            0..=127 => 0,
            more => 1 << (more - 128).min(36),
        }
    }

    /// Bytes that follow.
    fn len(self) -> usize {
        match self.kind() {
            Kind::Frame => 8 * usize::from(self.0[2]),
            Kind::Made | Kind::Change | Kind::Answer => size_of::<Words>(),
        }
    }
}

/// A record of a frame, as [`run`] reads it.
#[cfg_attr(not(test), allow(dead_code))]
pub fn record(nic: u8, wait: u8, frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes.resize(frame.len().next_multiple_of(8), 0);
    [&[nic, wait, (bytes.len() / 8) as u8], bytes.as_slice()].concat()
}

/// A record of words: a frame's (0x40), a change's (0x80), or an answer's (0xc0).
#[cfg_attr(not(test), allow(dead_code))]
pub fn words(kind: u8, wait: u8, words: Words) -> Vec<u8> {
    [&[kind, wait, 0], words.as_slice()].concat()
}

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let workers = u16::from(first % 4) + 1;
    let mut memory = Ensemble::memory(&LIMITS, workers);
    let wiring = world::wiring(workers, first >> 2);
    let start = Tick::default();
    let ensemble = Ensemble::new(wiring, &LIMITS, world::network(), &mut memory, start);
    let mut director = Director::new(ensemble.unwrap());
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let record = Record(*head);
        let (bytes, after) = after.split_at(record.len().min(after.len()));
        let words = bytes.first_chunk().copied().unwrap_or_default();
        if record.wait_ms() != 0 || record.kind() == Kind::Change {
            director.receive();
            director.now_ms += record.wait_ms();
        }
        match record.kind() {
            Kind::Frame => director.arrive(record, record.nic(), bytes),
            Kind::Made => {
                let frame = frames::made(words);
                director.arrive(record, frames::nic_of(&frame), &frame);
            }
            Kind::Answer => director.answer(record, words),
            Kind::Change => director.change(words),
        }
        rest = after;
    }
    director.receive();
    director.now_ms += 1 << 33;
    director.receive();
    assert_eq!(director.ensemble.connections(start), [], "a connection outlives every timeout");
}

struct Director<'m> {
    ensemble: Ensemble<'m>,
    catalog: Catalog,
    now_ms: u64,
    /// Until when frames with wrong checksums may wait in the director.
    broken_until_ms: u64,
    batch: Vec<(NicId, VecFrame)>,
    sent: VecDeque<Vec<u8>>,
    /// Addresses that packets may go to: every server's that there was, and every sender's.
    known: HashSet<IpAddr>,
}

impl<'m> Director<'m> {
    fn new(ensemble: Ensemble<'m>) -> Self {
        let catalog = rules::catalog();
        let servers = catalog.services().flat_map(|service| &service.servers);
        let mut director = Self {
            ensemble,
            known: servers.map(|server| server.key.address).collect(),
            catalog,
            now_ms: 0,
            broken_until_ms: 0,
            batch: Vec::new(),
            sent: VecDeque::new(),
        };
        director.ensemble.publish(&director.catalog);
        director
    }

    fn arrive(&mut self, record: Record, nic: NicId, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if record.mends() {
            if let Ok((eth, _)) = Eth::mut_from_prefix(&mut bytes) {
                eth.dst = NICS[nic.index()];
            }
            frames::mend(&mut bytes);
        }
        self.known.extend(frames::ends(&bytes).map(|(src, _)| src));
        // An error about a reply that nobody sent may open a connection of whom it was for.
        self.known.extend(frames::quoted_ends(&bytes).map(|(_, dst)| dst));
        let tail = bytes.len() * record.tail() / 16;
        self.batch.push((nic, VecFrame::chained(&bytes, tail)));
    }

    fn answer(&mut self, record: Record, words: Words) {
        let [which, how, bits, ..] = words;
        self.receive();
        let Some(sent) = self.sent.get(usize::from(which) % ANSWERABLE) else { return };
        let frame = frames::answer(sent, how, bits);
        self.arrive(record, frames::nic_of(&frame), &frame);
    }

    fn receive(&mut self) {
        if self.batch.iter().any(|(_, frame)| wire::verify(frame.bytes()) != Ok(())) {
            self.broken_until_ms = self.now_ms + HELD_MS.max(FRAGMENT_WAIT_MS);
        }
        let intact = self.now_ms > self.broken_until_ms || self.broken_until_ms == 0;
        let now = Tick::from_millis(self.now_ms);
        self.ensemble.receive(self.batch.drain(..), now);
        let Outlet { sent, .. } = self.ensemble.take();
        for (nic, frame) in &sent {
            let bytes = frame.bytes();
            let ends = frames::ends(bytes);
            assert!(ends.is_some_and(|(_, dst)| self.may_go(*nic, dst)), "{ends:?} {frame:?}");
            assert!(bytes.len() <= 14 + usize::from(MTUS[nic.index()]), "too long: {frame:?}");
            let verified = wire::verify(bytes);
            // GUE that was told to have no checksum has none over IPv6 either (RFC 6935).
            let unsummed = verified == Err(Fault::UdpWithoutChecksum) && frames::is_gue(bytes);
            assert!(!intact || unsummed || verified == Ok(()), "{verified:?} {frame:?}");
        }
        let leaving = sent.into_iter().map(|(_, frame)| frame.bytes().to_vec());
        leaving.for_each(|frame| self.sent.push_front(frame));
        self.sent.truncate(ANSWERABLE);
        let figures = self.ensemble.figures();
        for worker in figures.workers() {
            let (entered, left) = worker.frames.balance();
            assert_eq!(entered, left, "a frame was lost or counted twice");
        }
        let slots = 0..LIMITS.servers;
        let counted: u64 = slots.map(|slot| figures.counts().total(slot)).sum();
        let live: u64 = figures.workers().iter().map(|worker| worker.connections.value()).sum();
        assert_eq!(counted, live, "connections of servers, connections in tables");
        self.catalog.sweep(figures.counts(), now);
    }

    /// Whether a packet may leave by a NIC for an address; DR leaves the VIP in place.
    fn may_go(&self, nic: NicId, to: IpAddr) -> bool {
        let mut vips = VIPS.iter().flatten();
        self.known.contains(&to) || nic == NicId(1) && vips.any(|vip| world::ip(vip) == to)
    }

    fn change(&mut self, words: Words) {
        let [what, of, at, ..] = words;
        if what & 0x80 != 0 {
            let (v6, which) = (usize::from(of & 1), usize::from(at & 7));
            return self.ensemble.rewire(|network| {
                world::neighbour(network, v6, which, what & 1 != 0);
            });
        }
        let change = rules::change(&self.catalog, words);
        if let Change::AddServer(_, server, _) = change {
            self.known.insert(server.address);
        }
        // A refusal is as good as no change.
        if let Ok(applied) = self.catalog.apply(change)
            && let Some((id, thresholds)) = applied.thresholds
        {
            self.ensemble.figures().counts().set_thresholds(id.slot, thresholds);
        }
        self.ensemble.publish(&self.catalog);
    }
}
