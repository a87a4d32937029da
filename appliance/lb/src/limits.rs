// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every fixed size, and how they hang together.

/// Frames taken from a queue at once.
pub const BATCH: usize = 32;
/// Frames of a worker that wait for a next hop's link-layer address at most.
pub const HELD_MAX: usize = 256;
/// How long a frame waits for a next hop's link-layer address at most, in milliseconds.
pub const HELD_MS: u64 = 1000;
/// Connections that one call of expiry looks at, at most.
pub const EXPIRE_PER_POLL: usize = 64;
/// Ports that are tried for one FULLNAT connection, over all local addresses.
pub const PORT_PROBES: usize = 256;
/// Next hops that there can be at once.
pub const NEXT_HOPS: usize = 1 << 16;
/// Workers that there can be at most.
pub const WORKERS_MAX: u16 = 64;
/// NICs that there can be at most.
pub const NICS_MAX: usize = 16;

const _: () = assert!(BATCH.is_power_of_two());
const _: () = assert!(HELD_MAX >= BATCH);

/// The sizes that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services at most.
    pub services: u32,
    /// Real servers of all services together at most.
    pub servers: u32,
    /// Connections per worker at most, of each address family.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: 1 << 14, servers: 1 << 17, connections: 1 << 20 }
    }
}
