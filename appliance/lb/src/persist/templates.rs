// SPDX-License-Identifier: MIT OR Apache-2.0
//! Persistence templates: which server a client's connections go to. One table for all workers.
//!
//! Fixed size, no lock: a template is linked at the head of its bucket's chain by compare-and-swap
//! of the head as it was before the search, so two workers never link the same key; the loser
//! searches again and takes the winner's server. Each bucket has one worker that unlinks, so that
//! a chain has many who push and one who removes. An entry is reused in a new incarnation; who
//! found it under the old one cannot hold it any more.
//!
//! A template lives `-p` seconds from the last new connection, and 60 s more whenever that is over
//! while connections are under it (`ip_vs_conn_expire`).

mod entry;
mod key;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::ids::{ServerId, Tick};
use crate::limits::{Limits, TEMPLATE_CHAIN_MAX, TEMPLATE_SWEEP_MAX};
use entry::{Entry, Life};

pub use entry::TemplateRecord;
pub use key::{CallId, TemplateKey};

/// A template that a connection is under; it stays as long as the connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateId(NonZeroU32);

impl TemplateId {
    fn new(index: u32) -> Option<Self> {
        NonZeroU32::new(index.wrapping_add(1)).map(Self)
    }

    fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// A template and the server that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The template, with one more connection under it.
    pub id: TemplateId,
    /// Where the client's connections go.
    pub server: ServerId,
}

/// Every place of the table is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How a connection leaves its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It ended, or was one packet.
    Ended,
    /// It was removed to make room: a template that never had an established connection goes too.
    Dropped,
}

/// Where a worker's sweep goes on.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    bucket: usize,
    stride: usize,
    at: Tick,
    /// Buckets that are due.
    owed: u64,
}

impl Sweep {
    /// The sweep of one of `workers` workers, which must not have the same number.
    pub fn new(worker: u16, workers: u16, now: Tick) -> Self {
        Self { bucket: worker.into(), stride: workers.max(1).into(), at: now, owed: 0 }
    }
}

/// In how many milliseconds a sweep comes by every bucket.
const TURN_MS: u64 = 4096;
/// Contended attempts before a worker gives up.
const ATTEMPTS: usize = 64;
/// The end of a chain.
const END: u32 = u32::MAX;

/// The templates of all workers.
#[derive(Debug)]
pub struct Templates {
    entries: Box<[Entry]>,
    /// Head of each chain: version (upper half) and entry; the version moves with every change.
    heads: Box<[AtomicU64]>,
    /// Head of the list of free entries, in the same form.
    free: AtomicU64,
    /// Templates of each server.
    of_server: Box<[AtomicU32]>,
}

impl Templates {
    /// An empty table.
    pub fn new(limits: &Limits) -> Self {
        let entries: Box<[Entry]> =
            (0..limits.templates).map(|index| Entry::free(index + 1)).collect();
        if let Some(last) = entries.last() {
            last.next.store(END, Ordering::Relaxed);
        }
        let buckets = entries.len().next_power_of_two();
        Self {
            heads: (0..buckets).map(|_| AtomicU64::new(END.into())).collect(),
            free: AtomicU64::new(if entries.is_empty() { END.into() } else { 0 }),
            of_server: (0..limits.servers).map(|_| AtomicU32::new(0)).collect(),
            entries,
        }
    }

    /// Templates that name the server in `slot`.
    pub fn of_server(&self, slot: u32) -> u32 {
        self.of_server.get(slot as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Templates of all servers.
    pub fn live(&self) -> u64 {
        self.of_server.iter().map(|count| u64::from(count.load(Ordering::Relaxed))).sum()
    }

    /// Finds the template of a key and puts a connection under it.
    pub fn enter(&self, key: &TemplateKey, now: Tick) -> Option<Held> {
        let bucket = self.bucket(key)?;
        self.search(bucket, bucket.load(Ordering::Acquire), key, now)
    }

    /// Makes a template with a connection under it; if another worker was first, its template and
    /// server are taken.
    ///
    /// # Errors
    /// [`Full`] if there is no place for it.
    pub fn bind(
        &self,
        key: &TemplateKey,
        server: ServerId,
        timeout_s: u32,
        now: Tick,
    ) -> Result<Held, Full> {
        let bucket = self.bucket(key).ok_or(Full)?;
        let mut fresh = None;
        for _ in 0..ATTEMPTS {
            let head = bucket.load(Ordering::Acquire);
            if let Some(held) = self.search(bucket, head, key, now) {
                if let Some(unused) = fresh {
                    self.give_back(unused);
                }
                return Ok(held);
            }
            let id = match fresh {
                Some(id) => id,
                None => self.take().ok_or(Full)?,
            };
            fresh = Some(id);
            let entry = self.entry(id).ok_or(Full)?;
            entry.write(key, server, timeout_s, now);
            entry.next.store(head as u32, Ordering::Relaxed);
            let linked = next_version(head) | u64::from(id);
            if bucket.compare_exchange(head, linked, Ordering::Release, Ordering::Relaxed).is_ok() {
                entry.life.fetch_or(Life::ALIVE, Ordering::Release);
                self.count(server, |count| count.fetch_add(1, Ordering::Relaxed));
                return Ok(Held { id: TemplateId::new(id).ok_or(Full)?, server });
            }
        }
        if let Some(unused) = fresh {
            self.give_back(unused);
        }
        Err(Full)
    }

    /// Gives a held template another server instead of one that takes no connections any more; if
    /// another worker did so first, its server is taken.
    pub fn rebind(&self, held: Held, server: ServerId, timeout_s: u32, now: Tick) -> Held {
        let Some(entry) = self.entry(held.id.index()) else {
            return held;
        };
        let (old, new) = (entry::server_word(held.server), entry::server_word(server));
        match entry.server.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                entry.begin(timeout_s, now);
                entry.life.fetch_and(!Life::ASSURED, Ordering::Relaxed);
                self.count(server, |count| count.fetch_add(1, Ordering::Relaxed));
                self.count(held.server, |count| count.fetch_sub(1, Ordering::Relaxed));
                Held { server, ..held }
            }
            Err(found) => Held { server: entry::server_of(found), ..held },
        }
    }

    /// Lets a held template live its whole time from now on: a new connection was put under it.
    pub fn restart(&self, held: Held, now: Tick) {
        if let Some(entry) = self.entry(held.id.index()) {
            entry.restart(now);
        }
    }

    /// Notes that a connection under the template is established.
    pub fn assure(&self, id: TemplateId) {
        if let Some(entry) = self.entry(id.index()) {
            entry.life.fetch_or(Life::ASSURED, Ordering::Relaxed);
        }
    }

    /// Takes a connection from under its template.
    pub fn leave(&self, id: TemplateId, leaving: Leaving, now: Tick) {
        let Some(entry) = self.entry(id.index()) else {
            return;
        };
        entry.prolong(now);
        let life = Life(entry.life.fetch_sub(1, Ordering::AcqRel)).left();
        if leaving == Leaving::Dropped && life.is_unused() && !life.is_assured() {
            self.end(entry, life);
        }
    }

    /// Ends templates whose time is up, among the buckets of one sweep; work per call is bounded.
    /// Says whether there may be more to do at this moment.
    pub fn sweep(&self, sweep: &mut Sweep, now: Tick) -> bool {
        if sweep.owed == 0 && sweep.at == now {
            return false;
        }
        let share = self.heads.len().div_ceil(sweep.stride) as u64;
        let due = now.since(sweep.at).min(TURN_MS) * share / TURN_MS;
        if due > 0 {
            sweep.at = now;
            // After a leap of time one turn comes by every bucket.
            sweep.owed = (sweep.owed + due).min(share);
        }
        let count = sweep.owed.min(TEMPLATE_SWEEP_MAX);
        for _ in 0..count {
            if sweep.bucket >= self.heads.len() {
                sweep.bucket %= sweep.stride;
            }
            self.clean(sweep.bucket, now);
            sweep.bucket += sweep.stride;
        }
        sweep.owed -= count;
        sweep.owed > 0
    }

    /// Lists up to `max` entries from the one numbered `from` on; says where to go on, none when
    /// all were listed.
    pub fn list(
        &self,
        from: u32,
        max: u32,
        now: Tick,
        mut out: impl FnMut(TemplateRecord),
    ) -> Option<u32> {
        let end = from.saturating_add(max).min(self.entries.len() as u32);
        let entries = self.entries.get(from as usize..end as usize).unwrap_or_default();
        entries.iter().filter_map(|entry| entry.record(now)).for_each(&mut out);
        ((end as usize) < self.entries.len()).then_some(end)
    }

    /// Searches a chain from its head as it was read; holds what it finds.
    fn search(&self, bucket: &AtomicU64, head: u64, key: &TemplateKey, now: Tick) -> Option<Held> {
        let mut at = head as u32;
        for _ in 0..TEMPLATE_CHAIN_MAX {
            let entry = self.entry(at)?;
            let life = Life(entry.life.load(Ordering::Acquire));
            if life.is_present() && entry.is_of(key) {
                // An entry whose link is not confirmed is in this chain only if that is unchanged.
                if !life.is_alive() && bucket.load(Ordering::Acquire) != head {
                    return None;
                }
                if life.is_unused() && entry.is_over(now) {
                    self.end(entry, life);
                } else if entry.hold(life) {
                    let server = entry::server_of(entry.server.load(Ordering::Acquire));
                    return Some(Held { id: TemplateId::new(at)?, server });
                }
                // It is over now, or others changed it meanwhile.
                continue;
            }
            at = entry.next.load(Ordering::Acquire);
        }
        None
    }

    /// Ends a template that nobody is under; its sweep unlinks it.
    fn end(&self, entry: &Entry, life: Life) {
        let server = entry::server_of(entry.server.load(Ordering::Acquire));
        if entry.end(life) {
            self.count(server, |count| count.fetch_sub(1, Ordering::Relaxed));
        }
    }

    /// Unlinks the templates of a bucket that are over. Only one worker may clean a bucket.
    fn clean(&self, bucket: usize, now: Tick) {
        let Some(bucket) = self.heads.get(bucket) else {
            return;
        };
        let mut head = bucket.load(Ordering::Acquire);
        let (mut at, mut before) = (head as u32, None);
        for _ in 0..TEMPLATE_CHAIN_MAX {
            let Some(entry) = self.entry(at) else {
                return;
            };
            let life = Life(entry.life.load(Ordering::Acquire));
            if life.is_alive() && life.is_unused() && entry.is_over(now) {
                self.end(entry, life);
            }
            let next = entry.next.load(Ordering::Acquire);
            if Life(entry.life.load(Ordering::Acquire)).is_present() {
                (before, at) = (Some(entry), next);
                continue;
            }
            match before {
                Some(before) => {
                    before.next.store(next, Ordering::Release);
                    // Who is on the way through this entry must not link by the head it read.
                    bucket.fetch_add(VERSION, Ordering::AcqRel);
                }
                None => {
                    let rest = next_version(head) | u64::from(next);
                    let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
                    if bucket.compare_exchange(head, rest, success, failure).is_err() {
                        return;
                    }
                    head = rest;
                }
            }
            self.give_back(at);
            at = next;
        }
    }

    fn take(&self) -> Option<u32> {
        let mut head = self.free.load(Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            let next = self.entry(head as u32)?.next.load(Ordering::Relaxed);
            let rest = next_version(head) | u64::from(next);
            match self.free.compare_exchange(head, rest, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(head as u32),
                Err(found) => head = found,
            }
        }
        None
    }

    fn give_back(&self, id: u32) {
        let Some(entry) = self.entry(id) else {
            return;
        };
        entry.retire();
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            entry.next.store(head as u32, Ordering::Relaxed);
            let freed = next_version(head) | u64::from(id);
            match self.free.compare_exchange(head, freed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(found) => head = found,
            }
        }
    }

    fn bucket(&self, key: &TemplateKey) -> Option<&AtomicU64> {
        self.heads.get(key.hash() as usize & (self.heads.len().wrapping_sub(1)))
    }

    fn entry(&self, id: u32) -> Option<&Entry> {
        self.entries.get(id as usize)
    }

    fn count(&self, server: ServerId, change: impl FnOnce(&AtomicU32) -> u32) {
        if let Some(count) = self.of_server.get(server.slot as usize) {
            change(count);
        }
    }
}

/// One version of a head.
const VERSION: u64 = 1 << 32;

/// The version after that of `head`, without an entry.
fn next_version(head: u64) -> u64 {
    (head & !(VERSION - 1)).wrapping_add(VERSION)
}

#[cfg(test)]
mod tests;
