// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names for things that would otherwise be bare integers.

use std::fmt;

/// One poll-mode worker, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// One NIC by its place in the configuration, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NicId(pub u16);

impl WorkerId {
    /// The worker as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

impl NicId {
    /// Stands for no NIC: there are never so many.
    pub(crate) const NONE: Self = Self(u16::MAX);

    /// The NIC as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in the service tables and the incarnation that lives there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    /// Index into every table kept per service.
    pub slot: u32,
    /// Which of the services that lived in the slot one after the other.
    pub generation: u32,
}

/// A place in the server tables and the incarnation that lives there; a stale id never matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    /// Index into every table kept per server.
    pub slot: u32,
    /// Which of the servers that lived in the slot one after the other.
    pub generation: u32,
}

/// A place in one worker's connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub u32);

impl ConnId {
    /// The connection as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A moment in milliseconds since an origin that the caller chooses; never read from a clock here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// A moment `ms` milliseconds after the origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// A moment `s` seconds after the origin.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1000)
    }

    /// Milliseconds since the origin.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to this moment, 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A seed from which keyed hashes and port probes derive their secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl Seed {
    /// A seed for tests and simulations that must repeat.
    pub const fn fixed(n: u64) -> Self {
        let low = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
        let high = low.rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self(((high as u128) << 64 | low as u128).to_ne_bytes())
    }

    /// The two halves of the seed.
    pub fn words(self) -> [u64; 2] {
        let wide = u128::from_ne_bytes(self.0);
        [wide as u64, (wide >> 64) as u64]
    }
}
