// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every fixed size, and how they hang together.

/// Frames taken from a queue at once.
pub const BATCH: usize = 64;
/// Frames of a worker that wait for a next hop's link-layer address at most.
pub const HELD_MAX: usize = 256;
/// Frames of a worker that wait for the same link-layer address at most.
pub const HELD_PER_NEIGHBOUR: usize = 64;
/// How long a frame waits for a next hop's link-layer address at most, in milliseconds.
pub const HELD_MS: u64 = 1000;
/// Packets that come in parts which a worker knows of at once, per family.
pub const FRAGMENTED_PACKETS: usize = 1 << 13;
/// How long a packet may take to come in all its parts, in milliseconds.
pub const FRAGMENT_MS: u64 = 5000;
/// How long a packet that came in all its parts is remembered, in milliseconds.
pub const FRAGMENT_DONE_MS: u64 = 100;
/// Pieces between holes of a packet that comes in parts, at most.
pub const FRAGMENT_SPANS: usize = 8;
/// Fragments of a worker that wait for the first of their packet at most.
pub const FRAGMENTS_WAITING: usize = 256;
/// Fragments of one packet that wait for the first: 64 KiB in pieces of 1280 bytes, and some more.
pub const FRAGMENTS_WAITING_PER_PACKET: usize = 64;
/// How long a fragment waits for the first of its packet at most, in milliseconds.
pub const FRAGMENT_WAIT_MS: u64 = 1000;
/// Connections that one call of expiry looks at, at most.
pub const EXPIRE_PER_POLL: usize = 2 * BATCH;
/// Ports that are tried for one FULLNAT connection, over all local addresses.
pub const PORT_PROBES: u32 = 256;
/// Ports that are tried for all FULLNAT connections of one batch, so that exhausted ports do not
/// slow down established connections.
pub const PORT_PROBES_PER_BATCH: u32 = 16 * BATCH as u32;
/// Connections that a core's own cache holds, at some hundred bytes each.
pub const NEAR: u32 = 1 << 15;
/// Next hops that there can be at once.
pub const NEXT_HOPS: usize = 1 << 16;
/// Workers that there can be at most.
pub const WORKERS_MAX: u16 = 64;
/// NICs that there can be at most.
pub const NICS_MAX: usize = 16;

/// Rules that mark packets, at most.
pub const MARK_RULES_MAX: usize = 256;
/// Persistence templates of one chain that are looked at, at most.
pub const TEMPLATE_CHAIN_MAX: usize = 256;
/// Chains of persistence templates that one call of expiry looks at, at most.
pub const TEMPLATE_SWEEP_MAX: u64 = 16;

const _: () = assert!(BATCH.is_power_of_two());
const _: () = assert!(HELD_MAX >= BATCH && HELD_PER_NEIGHBOUR <= HELD_MAX);
const _: () = assert!(PORT_PROBES_PER_BATCH >= PORT_PROBES);

/// The sizes that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services at most.
    pub services: u32,
    /// Real servers of all services together at most.
    pub servers: u32,
    /// Connections per worker at most, of each address family.
    pub connections: u32,
    /// Half-open connections per worker at most, of each address family.
    pub half_open: u32,
    /// Persistence templates of all workers together at most.
    pub templates: u32,
}

impl Limits {
    /// What holds where the configuration says nothing.
    pub const DEFAULT: Self = Self {
        services: 1 << 14,
        servers: 1 << 17,
        connections: 1 << 20,
        half_open: 1 << 18,
        templates: 1 << 16,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
