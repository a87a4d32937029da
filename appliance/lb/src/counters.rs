// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters: one writer each, any number of readers, no lock.
//!
//! A worker is the only writer of its [`WorkerCounters`] (a relaxed load and store, no locked
//! instruction). [`ServerCounts`] is what all workers share. [`Figures`] sums what operators see.
//!
//! A packet is counted once, at its server; a connection also at the service that was asked, which
//! need not be the server's own: two services may share a client's persistence template. So does
//! the kernel (`ip_vs_conn_stats`, `ip_vs_in_stats`, `ip_vs_out_stats`).

mod figures;
pub mod last_drops;
mod membership;
mod rates;
mod server_counts;

pub use figures::Figures;
pub use rates::{ESTIMATE_MS, Rates};
pub use server_counts::{ServerCounts, Thresholds};

use std::ops::{Add, AddAssign, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wire::Frame;

use crate::conn::Direction;
use crate::counters::last_drops::LastDrops;
use crate::ids::{NicId, Tick, WorkerId};
use crate::limits::{Limits, NEXT_HOPS};
use crate::verdict::DropReason;

/// A counter with a single writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the one writer may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the value; only the one writer may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What `--stats` shows of a service or a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from servers that came back through the director.
    pub out_packets: u64,
    /// Bytes from clients: IP total length as received.
    pub in_bytes: u64,
    /// Bytes from servers that came back through the director: IP total length as received.
    pub out_bytes: u64,
}

impl Traffic {
    fn combine(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            conns: op(self.conns, other.conns),
            in_packets: op(self.in_packets, other.in_packets),
            out_packets: op(self.out_packets, other.out_packets),
            in_bytes: op(self.in_bytes, other.in_bytes),
            out_bytes: op(self.out_bytes, other.out_bytes),
        }
    }
}

/// Counters wrap.
impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, u64::wrapping_add)
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Counters wrap.
impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.combine(earlier, u64::wrapping_sub)
    }
}

/// One worker's [`Traffic`] of a server: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct TrafficCounters {
    /// Connections scheduled.
    pub conns: Counter,
    /// Packets from clients.
    pub requests: WayCounters,
    /// Packets from servers.
    pub replies: WayCounters,
}

/// The packets of one direction.
#[derive(Debug, Default)]
pub struct WayCounters {
    /// How many.
    pub packets: Counter,
    /// The sum of their IP total lengths, in bytes.
    pub bytes: Counter,
}

impl WayCounters {
    /// Counts a packet of `bytes` bytes, which are its IP total length.
    #[inline(always)]
    pub fn add(&self, bytes: u64) {
        self.packets.add(1);
        self.bytes.add(bytes);
    }
}

impl TrafficCounters {
    /// The packets of a direction.
    #[inline(always)]
    pub fn way(&self, way: Direction) -> &WayCounters {
        match way {
            Direction::Request => &self.requests,
            Direction::Reply => &self.replies,
        }
    }

    fn read(&self) -> Traffic {
        Traffic {
            conns: self.conns.value(),
            in_packets: self.requests.packets.value(),
            out_packets: self.replies.packets.value(),
            in_bytes: self.requests.bytes.value(),
            out_bytes: self.replies.bytes.value(),
        }
    }
}

/// Where frames came from and what became of them, for one worker.
#[derive(Debug, Default)]
pub struct FrameCounters {
    /// Received from NICs.
    pub received: Counter,
    /// Handed in by other workers: frames of flows that are ours, and frames to send for them.
    pub handed_in: Counter,
    /// Given by the host to be sent.
    pub from_host: Counter,
    /// Made here: answers to dropped frames, and fragments of a packet beyond the first.
    pub originated: Counter,
    /// Given to a NIC.
    pub sent: Counter,
    /// Given to the host.
    pub punted: Counter,
    /// Handed to other workers.
    pub handed_off: Counter,
    /// Waiting now: for a next hop's link-layer address, or for the first fragment of their packet.
    pub held: Counter,
    dropped: PerReason,
}

/// A counter for each reason.
#[derive(Debug)]
struct PerReason([Counter; DropReason::COUNT]);

impl Default for PerReason {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl FrameCounters {
    /// Counts `n` frames dropped for `reason`.
    #[inline]
    pub fn drop(&self, reason: DropReason, n: u64) {
        if let Some(counter) = self.dropped.0.get(reason.index()) {
            counter.add(n);
        }
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.0.get(reason.index()).map_or(0, Counter::value)
    }

    /// Frames that entered, and frames that left or wait here; equal between two batches, and
    /// otherwise a frame was lost or counted twice.
    pub fn balance(&self) -> (u64, u64) {
        let entered = [&self.received, &self.handed_in, &self.from_host, &self.originated];
        let left = [&self.sent, &self.punted, &self.handed_off, &self.held];
        let sum = |counters: &[&Counter]| counters.iter().map(|c| c.value()).sum::<u64>();
        let dropped = self.dropped.0.iter().map(Counter::value).sum::<u64>();
        (sum(&entered), sum(&left) + dropped)
    }
}

/// Which next hops a worker has sent to since somebody asked, by place.
#[derive(Debug)]
pub struct NextHopUse(Box<NextHopMarks>);

/// A mark for each next hop.
#[derive(Debug)]
pub(crate) struct NextHopMarks([AtomicBool; NEXT_HOPS]);

impl NextHopMarks {
    /// Notes that a frame goes to the next hop in a place.
    #[inline(always)]
    pub(crate) fn mark(&self, place: u16) {
        if let Some(used) = self.0.get(usize::from(place)) {
            used.store(true, Ordering::Relaxed);
        }
    }
}

impl NextHopUse {
    /// All marks, at hand for a whole batch.
    #[inline]
    pub(crate) fn marks(&self) -> &NextHopMarks {
        &self.0
    }

    /// Notes that a frame goes to the next hop in a place.
    #[inline]
    pub fn mark(&self, place: u16) {
        self.0.mark(place);
    }

    /// Whether the next hop in a place was sent to; asking forgets it.
    pub fn take(&self, place: u16) -> bool {
        let used = self.0.0.get(usize::from(place));
        used.is_some_and(|used| used.swap(false, Ordering::Relaxed))
    }
}

impl Default for NextHopUse {
    fn default() -> Self {
        Self(Box::new(NextHopMarks([const { AtomicBool::new(false) }; NEXT_HOPS])))
    }
}

/// Everything one worker counts.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Whose counters these are.
    pub worker: WorkerId,
    /// Frames by origin and fate.
    pub frames: FrameCounters,
    /// The last frame dropped for each reason.
    pub last_drops: LastDrops,
    /// Connections in the tables now.
    pub connections: Counter,
    /// Connections that ended by timeout since the start.
    pub expired: Counter,
    /// Half-open connections now.
    pub half_open: Counter,
    /// Half-open connections that made room for newer ones.
    pub recycled: Counter,
    /// Connections that `drop_entry` ended.
    pub defence: Counter,
    /// Next hops that were sent to.
    pub next_hops: NextHopUse,
    opened: Box<[Counter]>,
    servers: Box<[TrafficCounters]>,
}

impl WorkerCounters {
    /// Zeroed counters for one worker.
    pub fn new(worker: WorkerId, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            worker,
            frames: FrameCounters::default(),
            last_drops: LastDrops::default(),
            connections: Counter::default(),
            expired: Counter::default(),
            half_open: Counter::default(),
            recycled: Counter::default(),
            defence: Counter::default(),
            next_hops: NextHopUse::default(),
            opened: (0..limits.services).map(|_| Counter::default()).collect(),
            servers: (0..limits.servers).map(|_| TrafficCounters::default()).collect(),
        })
    }

    /// Counts a frame dropped for `reason`, and keeps it as the last one.
    pub fn dropped(&self, reason: DropReason, nic: NicId, now: Tick, frame: &impl Frame) {
        self.frames.drop(reason, 1);
        self.last_drops.note(reason, nic, now, frame);
    }

    /// The counters of all servers, by slot.
    #[inline]
    pub fn servers(&self) -> &[TrafficCounters] {
        &self.servers
    }

    /// Connections that were asked of the service in `slot` and scheduled.
    #[inline]
    pub fn opened(&self, slot: u32) -> Option<&Counter> {
        self.opened.get(slot as usize)
    }

    /// The counters of the server in `slot`.
    #[inline]
    pub fn server(&self, slot: u32) -> Option<&TrafficCounters> {
        self.servers.get(slot as usize)
    }
}
