// SPDX-License-Identifier: MIT OR Apache-2.0
//! One worker's connections of one family: fixed capacity, memory given by the caller.
//!
//! Entries are addressed by index and never move. The index is a bucketed tag table: 8 tags of 16
//! bits and 8 entry numbers per 64-byte bucket, two buckets per key, the second derived from the
//! first and the tag, so that an entry can be moved without its key. A connection whose replies we
//! see is in the index twice, once per direction. A hit touches one bucket and one entry; a batch
//! hashes all, prefetches all buckets, then all entries, then compares.

use std::num::NonZero;

use wire::FlowKey;
use zerocopy::native_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::conn::{Conn, ConnFamily, Direction};
use crate::hash::Keyed;
use crate::ids::{ConnId, Seed};
use crate::prefetch::{self, WAYS, free, matching};

/// A bucket of the index; a tag of 0 marks a free way.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct Bucket {
    tags: [u16; WAYS],
    entries: [u32; WAYS],
    reserved: [u32; 4],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// A look-up under way: the key's hash, which says which buckets and what tag in them, and what the
/// first way that has the tag points at, of the first bucket if one has it there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    hash: u64,
    first: u32,
}

impl Probe {
    fn new(hash: u64) -> Self {
        Self { hash, first: u32::MAX }
    }

    /// Whether no entry that was looked at looks like the key's.
    #[inline]
    pub(crate) fn is_miss(self) -> bool {
        self.first == u32::MAX
    }

    #[inline]
    fn tag(self) -> u16 {
        prefetch::tag(self.hash)
    }
}

/// The table is full, or both buckets of the key are and cannot be relieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Connections of one family, found by the tuple of either direction.
#[derive(Debug)]
pub struct ConnTable<'m, F: ConnFamily> {
    conns: &'m mut [Conn<F>],
    buckets: &'m mut [Bucket],
    keyed: Keyed,
    free: u32,
    live: u32,
}

/// The end of the list of free entries.
const END: u32 = u32::MAX;

impl<'m, F: ConnFamily> ConnTable<'m, F> {
    /// Bytes of memory that a table for `capacity` connections needs.
    pub fn memory_bytes(capacity: u32) -> usize {
        capacity as usize * size_of::<Conn<F>>() + bucket_count(capacity) * size_of::<Bucket>()
    }

    /// An empty table in `memory`; none if that is shorter than [`Self::memory_bytes`] or not
    /// aligned to 64 bytes, or the capacity is above 2^30.
    pub fn new(memory: &'m mut [u8], capacity: u32, seed: Seed) -> Option<Self> {
        if capacity > 1 << 30 {
            return None;
        }
        let bucket_bytes = bucket_count(capacity) * size_of::<Bucket>();
        let (index, rest) = memory.split_at_mut_checked(bucket_bytes)?;
        let entries = rest.get_mut(..capacity as usize * size_of::<Conn<F>>())?;
        index.fill(0);
        entries.fill(0);
        let buckets = <[Bucket]>::mut_from_bytes(index).ok()?;
        let conns = <[Conn<F>]>::mut_from_bytes(entries).ok()?;
        let mut next = END;
        for (number, conn) in conns.iter_mut().enumerate().rev() {
            conn.next = U32::new(next);
            next = number as u32;
        }
        Some(Self { conns, buckets, keyed: Keyed::new(seed), free: next, live: 0 })
    }

    /// Connections in the table.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Connections that may be added.
    pub fn free(&self) -> u32 {
        self.capacity() - self.live
    }

    /// Connections that fit the table.
    pub fn capacity(&self) -> u32 {
        self.conns.len() as u32
    }

    /// Whether there is no bucket, which is never so; who has asked spares each look-up the
    /// question.
    #[inline]
    pub(crate) fn is_void(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The connection of an id.
    #[inline]
    pub fn conn(&self, id: ConnId) -> Option<&Conn<F>> {
        self.conns.get(id.index())
    }

    /// The connection of an id, to be changed.
    #[inline]
    pub fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn<F>> {
        self.conns.get_mut(id.index())
    }

    /// All entries.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn entries(&self) -> &[Conn<F>] {
        self.conns
    }

    /// All entries, for the timer wheel.
    pub(crate) fn entries_mut(&mut self) -> &mut [Conn<F>] {
        self.conns
    }

    /// Begins to look a key up: hashes it and asks the cache for its bucket.
    #[inline]
    pub fn probe(&self, key: &FlowKey<F>) -> Probe {
        let probe = Probe::new(self.keyed.key(key));
        if let Some(bucket) = self.buckets.get(self.first_bucket(probe)) {
            prefetch::read(bucket);
        }
        probe
    }

    /// As [`Self::probe`], of a key that is probably in neither of its buckets.
    pub(crate) fn probe_both(&self, key: &FlowKey<F>) -> Probe {
        let probe = self.probe(key);
        let other = self.other_bucket(self.first_bucket(probe), probe.tag());
        if let Some(bucket) = self.buckets.get(other) {
            prefetch::read(bucket);
        }
        probe
    }

    /// The look-ups of the keys of a connection that is to be removed, begun.
    #[inline]
    pub(crate) fn probe_entry(&self, id: ConnId) -> [Probe; 2] {
        let Some(conn) = self.conn(id) else {
            return [Probe::default(); 2];
        };
        let request = self.probe(&conn.key(Direction::Request));
        let reply = conn.traits().sees_replies.then(|| self.probe(&conn.key(Direction::Reply)));
        [request, reply.unwrap_or_default()]
    }

    /// Goes on: compares the tags, and asks the cache for the first entry that they point at, or
    /// for the other bucket; says whether there is such an entry.
    #[inline]
    pub fn prefetch(&self, probe: &mut Probe) -> bool {
        let first = self.first_bucket(*probe);
        let points = self.point_in(first, probe);
        if !points && let Some(other) = self.buckets.get(self.other_bucket(first, probe.tag())) {
            prefetch::read(other);
        }
        points
    }

    /// As [`Self::prefetch`], in the other bucket of a key that nothing in the first looks like.
    #[cold]
    pub(crate) fn prefetch_from_other(&self, probe: &mut Probe) {
        self.point_in(self.other_bucket(self.first_bucket(*probe), probe.tag()), probe);
    }

    #[inline]
    fn point_in(&self, bucket: usize, probe: &mut Probe) -> bool {
        let Some(bucket) = self.buckets.get(bucket) else {
            return false;
        };
        let ways = NonZero::new(matching(bucket.tags, probe.hash));
        let way = ways.map(|ways| ways.trailing_zeros() as usize % WAYS);
        let Some(entry) = way.and_then(|way| bucket.entries.get(way)) else {
            return false;
        };
        probe.first = *entry;
        prefetch::place(self.conns, (entry >> 1) as usize);
        true
    }

    /// The connection that a look-up points at first after [`Self::prefetch`], and the direction;
    /// only a comparison of keys says whether the packet is of it.
    #[inline]
    pub fn candidate(&mut self, probe: Probe) -> Option<(Direction, &mut Conn<F>)> {
        let (id, direction) = unpack(probe.first);
        self.conn_mut(id).map(|conn| (direction, conn))
    }

    /// Ends a look-up: finds the connection of a packet and the packet's direction in it.
    #[inline]
    pub fn find(&self, key: &FlowKey<F>, probe: Probe) -> Option<(ConnId, Direction)> {
        let first = self.first_bucket(probe);
        let found = self.find_in(first, key, probe);
        found.or_else(|| self.find_in(self.other_bucket(first, probe.tag()), key, probe))
    }

    /// Looks a key up in one go.
    pub fn look_up(&self, key: &FlowKey<F>) -> Option<(ConnId, Direction)> {
        self.find(key, self.probe(key))
    }

    #[inline]
    fn find_in(
        &self,
        bucket: usize,
        key: &FlowKey<F>,
        probe: Probe,
    ) -> Option<(ConnId, Direction)> {
        let bucket = self.buckets.get(bucket)?;
        let mut ways = matching(bucket.tags, probe.hash);
        while ways != 0 {
            let entry = *bucket.entries.get(ways.trailing_zeros() as usize)?;
            let (id, direction) = unpack(entry);
            if self.conn(id)?.matches(direction, key) {
                return Some((id, direction));
            }
            ways &= ways - 1;
        }
        None
    }

    /// Adds a connection whose keys are not in the table.
    ///
    /// # Errors
    /// [`Full`]; the table is unchanged.
    pub fn insert(&mut self, conn: Conn<F>) -> Result<ConnId, Full> {
        let probes = [Direction::Request, Direction::Reply];
        let probes = probes.map(|direction| Probe::new(self.keyed.key(&conn.key(direction))));
        self.insert_by(conn, probes)
    }

    /// As [`Self::insert`], by look-ups of its two keys that found nothing; that of replies does
    /// not count where none are seen.
    pub(crate) fn insert_by(
        &mut self,
        conn: Conn<F>,
        [request, reply]: [Probe; 2],
    ) -> Result<ConnId, Full> {
        debug_assert_eq!(request.hash, self.keyed.key(&conn.key(Direction::Request)));
        debug_assert!(
            !conn.traits().sees_replies
                || reply.hash == self.keyed.key(&conn.key(Direction::Reply))
        );
        let id = ConnId(self.free);
        let entry = self.conns.get_mut(id.index()).ok_or(Full)?;
        let next_free = entry.next.get();
        *entry = conn;
        let mut inserted = self.index(pack(id, Direction::Request), request);
        if inserted.is_ok() && conn.traits().sees_replies {
            inserted = self.index(pack(id, Direction::Reply), reply);
            if inserted.is_err() {
                self.unindex(pack(id, Direction::Request), request);
            }
        }
        match inserted {
            Ok(()) => {
                self.free = next_free;
                self.live += 1;
                if let Some(next) = self.conns.get(next_free as usize) {
                    prefetch::whole(next);
                }
                Ok(id)
            }
            Err(Full) => {
                if let Some(entry) = self.conn_mut(id) {
                    entry.clear();
                    entry.next = U32::new(next_free);
                }
                Err(Full)
            }
        }
    }

    /// Removes a connection.
    pub fn remove(&mut self, id: ConnId) {
        self.remove_by(id, self.probe_entry(id));
    }

    /// As [`Self::remove`], by what [`Self::probe_entry`] began.
    pub(crate) fn remove_by(&mut self, id: ConnId, [request, reply]: [Probe; 2]) {
        let Some(conn) = self.conn(id).filter(|conn| conn.is_live()) else {
            debug_assert!(false, "removed twice: {id:?}");
            return;
        };
        let sees_replies = conn.traits().sees_replies;
        self.unindex(pack(id, Direction::Request), request);
        if sees_replies {
            self.unindex(pack(id, Direction::Reply), reply);
        }
        let free = self.free;
        if let Some(entry) = self.conn_mut(id) {
            entry.clear();
            entry.next = U32::new(free);
        }
        self.free = id.0;
        self.live -= 1;
    }

    /// Asks the cache for an entry.
    #[inline]
    pub(crate) fn prefetch_entry(&self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            prefetch::read(conn);
        }
    }

    fn index(&mut self, entry: u32, probe: Probe) -> Result<(), Full> {
        let tag = probe.tag();
        let first = self.first_bucket(probe);
        // The first bucket before the other: a look-up that finds its key there touches one.
        if self.put(first, tag, entry) {
            return Ok(());
        }
        let other = self.other_bucket(first, tag);
        if self.put(other, tag, entry) {
            return Ok(());
        }
        let relieved = if self.relieve(first) { first } else { other };
        if relieved == first || self.relieve(other) {
            let put = self.put(relieved, tag, entry);
            debug_assert!(put, "a relieved bucket has room");
            return Ok(());
        }
        Err(Full)
    }

    fn unindex(&mut self, wanted: u32, probe: Probe) {
        let first = self.first_bucket(probe);
        for bucket in [first, self.other_bucket(first, probe.tag())] {
            let Some(bucket) = self.buckets.get_mut(bucket) else {
                return;
            };
            let mut ways = matching(bucket.tags, probe.hash);
            while ways != 0 {
                let way = ways.trailing_zeros() as usize;
                if bucket.entries.get(way) == Some(&wanted)
                    && let Some(tag) = bucket.tags.get_mut(way)
                {
                    *tag = 0;
                    return;
                }
                ways &= ways - 1;
            }
        }
        debug_assert!(false, "not in the index: {wanted}");
    }

    /// Makes room in a full bucket by moving one of its entries to that entry's other bucket.
    fn relieve(&mut self, bucket: usize) -> bool {
        for way in 0..WAYS {
            let Some((tag, entry)) = self.way(bucket, way) else {
                return false;
            };
            let other = self.other_bucket(bucket, tag);
            if other != bucket && self.put(other, tag, entry) {
                if let Some(bucket) = self.buckets.get_mut(bucket)
                    && let Some(tag) = bucket.tags.get_mut(way)
                {
                    *tag = 0;
                }
                return true;
            }
        }
        false
    }

    fn put(&mut self, bucket: usize, tag: u16, entry: u32) -> bool {
        let Some(bucket) = self.buckets.get_mut(bucket) else {
            return false;
        };
        let way = free(bucket.tags).trailing_zeros() as usize;
        let Some((free, place)) = bucket.tags.get_mut(way).zip(bucket.entries.get_mut(way)) else {
            return false;
        };
        *free = tag;
        *place = entry;
        true
    }

    fn way(&self, bucket: usize, way: usize) -> Option<(u16, u32)> {
        let bucket = self.buckets.get(bucket)?;
        Some((*bucket.tags.get(way)?, *bucket.entries.get(way)?))
    }

    #[inline]
    fn first_bucket(&self, probe: Probe) -> usize {
        probe.hash as usize & (self.buckets.len() - 1)
    }

    /// The key's bucket that is not `bucket`; another one even where there are only two.
    #[inline]
    fn other_bucket(&self, bucket: usize, tag: u16) -> usize {
        let distance = usize::from(tag).wrapping_mul(0x5BD1_E995) | 1;
        (bucket ^ distance) & (self.buckets.len() - 1)
    }

    /// Panics if the index and the entries disagree.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        let indexed = self.buckets.iter().flat_map(|bucket| bucket.tags).filter(|tag| *tag != 0);
        let (mut live, mut keys) = (0, 0);
        for (number, conn) in self.conns.iter().enumerate().filter(|(_, conn)| conn.is_live()) {
            let id = ConnId(number as u32);
            live += 1;
            for direction in [Direction::Request, Direction::Reply] {
                if direction == Direction::Request || conn.traits().sees_replies {
                    keys += 1;
                    let key = conn.key(direction);
                    assert_eq!(self.look_up(&key), Some((id, direction)));
                    let mut probe = self.probe(&key);
                    if !self.prefetch(&mut probe) {
                        self.prefetch_from_other(&mut probe);
                    }
                    assert!(!probe.is_miss(), "of its two buckets neither points at it");
                }
            }
        }
        assert_eq!((live, keys), (self.live, indexed.count()), "live entries, keys in the index");
    }
}

/// Buckets for twice the capacity in keys, at most three quarters full; a power of two.
fn bucket_count(capacity: u32) -> usize {
    (capacity as usize).div_ceil(3).next_power_of_two()
}

fn pack(id: ConnId, direction: Direction) -> u32 {
    id.0 << 1 | u32::from(direction == Direction::Reply)
}

#[inline]
fn unpack(entry: u32) -> (ConnId, Direction) {
    let direction = if entry & 1 == 0 { Direction::Request } else { Direction::Reply };
    (ConnId(entry >> 1), direction)
}
