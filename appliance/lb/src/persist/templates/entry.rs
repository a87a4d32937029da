// SPDX-License-Identifier: MIT OR Apache-2.0
//! One place of the table of templates: words that any worker may read or change at any time.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use wire::L4;

use super::key::{self, KEY_WORDS, Named, TEXT_BYTES, TEXT_WORDS, TemplateKey};
use crate::ids::{ServerId, Tick};

/// How much longer a template lives whose connections outlive it, in seconds.
const MORE_S: u32 = 60;

/// What of a template changes at once: its incarnation, whether it is alive and assured, and how
/// many connections are under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life(pub(super) u64);

impl Life {
    const INCARNATION: u64 = 1 << 32;
    /// It is in its chain.
    pub(super) const ALIVE: u64 = 1 << 31;
    /// A connection under it was established.
    pub(super) const ASSURED: u64 = 1 << 30;
    /// It is in its chain, or about to be.
    const WRITTEN: u64 = 1 << 29;
    const COUNT: u64 = Self::WRITTEN - 1;

    /// Whether it is not over: in its chain, or about to be.
    pub(super) fn is_present(self) -> bool {
        self.0 & (Self::ALIVE | Self::WRITTEN) != 0
    }

    pub(super) fn is_alive(self) -> bool {
        self.0 & Self::ALIVE != 0
    }

    pub(super) fn is_assured(self) -> bool {
        self.0 & Self::ASSURED != 0
    }

    /// Whether no connection is under it.
    pub(super) fn is_unused(self) -> bool {
        self.0 & Self::COUNT == 0
    }

    /// The life after one connection has left.
    pub(super) fn left(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }
}

/// A place in the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) life: AtomicU64,
    pub(super) next: AtomicU32,
    pub(super) timeout_s: AtomicU32,
    pub(super) server: AtomicU64,
    /// Milliseconds since the origin of time.
    deadline: AtomicU64,
    key: [AtomicU64; KEY_WORDS],
    text: [AtomicU64; TEXT_WORDS],
}

impl Entry {
    /// A free entry.
    pub(super) fn free(next: u32) -> Self {
        Self {
            life: AtomicU64::new(0),
            next: AtomicU32::new(next),
            timeout_s: AtomicU32::new(0),
            server: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            key: Default::default(),
            text: Default::default(),
        }
    }

    /// Fills an entry that is in no chain, with one connection under it.
    pub(super) fn write(&self, key: &TemplateKey, server: ServerId, timeout_s: u32, now: Tick) {
        let life = self.life.load(Ordering::Relaxed);
        // Who still looks at the incarnation before sees its end before any of these words.
        fence(Ordering::Release);
        store(&self.key, key.words());
        if let Some(call) = key.call() {
            store(&self.text, call.text());
        }
        self.server.store(server_word(server), Ordering::Relaxed);
        self.begin(timeout_s, now);
        let incarnation = life & !(Life::INCARNATION - 1);
        self.life.store(incarnation | Life::WRITTEN | 1, Ordering::Release);
    }

    /// Gives it a time to live, and all of that from now on.
    pub(super) fn begin(&self, timeout_s: u32, now: Tick) {
        self.timeout_s.store(timeout_s, Ordering::Relaxed);
        let deadline = now.millis() + u64::from(timeout_s) * 1000;
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    /// Makes an entry that is in no chain one of a new incarnation, not alive yet.
    pub(super) fn retire(&self) {
        let life = self.life.load(Ordering::Relaxed);
        let incarnation = (life & !(Life::INCARNATION - 1)).wrapping_add(Life::INCARNATION);
        self.life.store(incarnation, Ordering::Release);
    }

    /// Whether the key is this one; true only of the incarnation that [`Self::hold`] then holds.
    pub(super) fn is_of(&self, key: &TemplateKey) -> bool {
        let pairs = self.key.iter().zip(key.words());
        let same = pairs.fold(true, |same, (a, b)| same & (a.load(Ordering::Relaxed) == *b));
        fence(Ordering::Acquire);
        same
    }

    /// Puts a connection under the template, unless it is not the one any more whose life was read.
    pub(super) fn hold(&self, read: Life) -> bool {
        let incarnation = |life: u64| life >> 32;
        let more = |life: u64| {
            let same = incarnation(life) == incarnation(read.0) && Life(life).is_present();
            (same && life & Life::COUNT < Life::COUNT).then(|| (life | Life::ALIVE) + 1)
        };
        self.life.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// Ends the template if nothing happened to it since its life was read.
    pub(super) fn end(&self, read: Life) -> bool {
        let incarnation = (read.0 & !(Life::INCARNATION - 1)).wrapping_add(Life::INCARNATION);
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.life.compare_exchange(read.0, incarnation, success, failure).is_ok()
    }

    /// Whether its time is up, without looking at the connections under it.
    pub(super) fn is_over(&self, now: Tick) -> bool {
        self.deadline.load(Ordering::Relaxed) <= now.millis()
    }

    /// Lets it live its whole time from now on.
    pub(super) fn restart(&self, now: Tick) {
        self.prolong(now);
        self.begin(self.timeout_s.load(Ordering::Relaxed), now);
    }

    /// Adds the minutes that connections kept it alive for beyond its time. From then on a new
    /// connection gives it no more than a minute either, as in the kernel.
    pub(super) fn prolong(&self, now: Tick) {
        let deadline = self.deadline.load(Ordering::Relaxed);
        let prolonged = prolonged(deadline, now);
        if prolonged != deadline {
            self.deadline.store(prolonged, Ordering::Relaxed);
            self.timeout_s.store(MORE_S, Ordering::Relaxed);
        }
    }

    /// The template as listings show it, if it is one.
    pub(super) fn record(&self, now: Tick) -> Option<TemplateRecord> {
        let life = Life(self.life.load(Ordering::Acquire));
        if !life.is_alive() || (life.is_unused() && self.is_over(now)) {
            return None;
        }
        let Named { client, protocol, vip, port, has_call } = key::named(&load(&self.key));
        let deadline = prolonged(self.deadline.load(Ordering::Relaxed), now);
        let record = TemplateRecord {
            protocol,
            client,
            vip,
            port,
            server: server_of(self.server.load(Ordering::Relaxed)),
            assured: life.is_assured(),
            expires_s: (deadline.saturating_sub(now.millis()) / 1000) as u32,
            call_id: has_call.then(|| bytes(&load(&self.text))),
        };
        fence(Ordering::Acquire);
        let same = self.life.load(Ordering::Relaxed) >> 32 == life.0 >> 32;
        same.then_some(record)
    }
}

/// A template as `-L -c` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRecord {
    /// Transport protocol; none for that of a mark.
    pub protocol: Option<L4>,
    /// The client, or the network that the mask makes of it.
    pub client: IpAddr,
    /// The virtual address; a mark stands in its first four bytes.
    pub vip: IpAddr,
    /// The virtual port; 0 where all ports belong together.
    pub port: u16,
    /// Where connections go.
    pub server: ServerId,
    /// Whether a connection under it was established.
    pub assured: bool,
    /// Seconds until it expires unless a connection comes.
    pub expires_s: u32,
    /// The beginning of the Call-ID, where the engine `sip` made it; filled up with zeros.
    pub call_id: Option<[u8; TEXT_BYTES]>,
}

impl TemplateRecord {
    /// The Call-ID as text, where the engine `sip` made the template.
    pub fn call(&self) -> Option<String> {
        let call = self.call_id.as_ref()?;
        let end = call.iter().position(|byte| *byte == 0).unwrap_or(call.len());
        let text = call.get(..end).unwrap_or_default();
        Some(
            text.iter()
                .map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' })
                .collect(),
        )
    }

    /// The port that connections of the template are sent to by a server at `own`; 0 where all
    /// ports belong together.
    pub fn server_port(&self, own: u16) -> u16 {
        if self.port == 0 { 0 } else { own }
    }
}

/// The first deadline after `now` in steps of a minute.
fn prolonged(deadline: u64, now: Tick) -> u64 {
    let more_ms = u64::from(MORE_S) * 1000;
    match now.millis().checked_sub(deadline) {
        Some(late) => deadline + (late / more_ms + 1) * more_ms,
        None => deadline,
    }
}

pub(super) fn server_word(server: ServerId) -> u64 {
    u64::from(server.slot) << 32 | u64::from(server.generation)
}

pub(super) fn server_of(word: u64) -> ServerId {
    ServerId { slot: (word >> 32) as u32, generation: word as u32 }
}

fn store<const N: usize>(to: &[AtomicU64; N], from: &[u64; N]) {
    to.iter().zip(from).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
}

fn load<const N: usize>(from: &[AtomicU64; N]) -> [u64; N] {
    let mut words = [0; N];
    words.iter_mut().zip(from).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
    words
}

fn bytes(words: &[u64; TEXT_WORDS]) -> [u8; TEXT_BYTES] {
    let mut bytes = [0; TEXT_BYTES];
    let (chunks, _) = bytes.as_chunks_mut::<8>();
    chunks.iter_mut().zip(words).for_each(|(to, from)| *to = from.to_ne_bytes());
    bytes
}
