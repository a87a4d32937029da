// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers that repeat from their seed, for choices that nobody needs to be kept from
//! guessing (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).

use crate::ids::{Seed, WorkerId};

/// A stream of random words.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a worker.
    pub fn new(seed: Seed, worker: WorkerId) -> Self {
        let [low, high] = seed.words();
        Self(low ^ high.rotate_left(32).wrapping_add(u64::from(worker.0) << 48))
    }

    /// The next word.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
