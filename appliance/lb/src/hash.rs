// SPDX-License-Identifier: MIT OR Apache-2.0
//! One keyed hash for everything that a stranger can choose: flows, addresses, local ports.
//!
//! Words are mixed with secret keys and folded by a 64 x 64 -> 128 bit multiplication (the
//! construction of wyhash). Without the seed nobody can aim many flows at one bucket.

use std::hash::{BuildHasher, Hasher};

use wire::{Family, FlowKey};
use zerocopy::IntoBytes;

use crate::ids::Seed;

/// A hash function chosen by a seed.
#[derive(Clone, Copy, Debug)]
pub struct Keyed([u64; 2]);

impl Keyed {
    /// The hash function of `seed`.
    pub fn new(seed: Seed) -> Self {
        let [low, high] = seed.words();
        Self([low ^ 0xA076_1D64_78BD_642F, high ^ 0xE703_7ED1_A0B4_28DB])
    }

    /// Hashes bytes of any length; quick on 12 and 36.
    #[inline]
    pub fn bytes(&self, bytes: &[u8]) -> u64 {
        self.bytes_of(bytes.len() as u64, bytes)
    }

    /// Hashes a key: its tuple in whole words, the protocol for the length.
    #[inline]
    pub fn key<F: Family>(&self, key: &FlowKey<F>) -> u64 {
        self.bytes_of(key.protocol.number().into(), key.tuple.as_bytes())
    }

    /// Hashes bytes of a kind, of which all have the same length.
    #[inline]
    fn bytes_of(&self, kind: u64, bytes: &[u8]) -> u64 {
        let [low, high] = self.0;
        let (pairs, rest) = bytes.as_chunks::<16>();
        let mut state = high ^ kind;
        for pair in pairs {
            let wide = u128::from_ne_bytes(*pair);
            state = fold(wide as u64 ^ low, (wide >> 64) as u64 ^ state);
        }
        let mut last = [0; 16];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let wide = u128::from_ne_bytes(last);
        let state = fold(wide as u64 ^ low, (wide >> 64) as u64 ^ state);
        fold(state ^ high, low)
    }

    /// Hashes two words.
    #[inline]
    pub fn words(&self, a: u64, b: u64) -> u64 {
        let [low, high] = self.0;
        fold(fold(a ^ low, b ^ high) ^ high, low)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hasher of maps whose keys come from packets.
#[derive(Clone, Copy, Debug)]
pub struct KeyedHasher {
    keyed: Keyed,
    state: u64,
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { keyed: *self, state: 0 }
    }
}

impl Hasher for KeyedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.state = self.keyed.words(self.state, self.keyed.bytes(bytes));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_every_byte_counts() {
        let (one, other) = (Keyed::new(Seed::fixed(1)), Keyed::new(Seed::fixed(2)));
        for len in [1, 12, 16, 36] {
            let mut bytes = vec![0; len];
            let plain = one.bytes(&bytes);
            assert_ne!(plain, other.bytes(&bytes));
            for i in 0..len {
                bytes[i] = 1;
                assert_ne!(plain, one.bytes(&bytes), "byte {i} of {len}");
                bytes[i] = 0;
            }
        }
    }

    #[test]
    fn flows_of_one_client_spread_over_buckets() {
        let keyed = Keyed::new(Seed::fixed(3));
        let mut buckets = [0; 64];
        for port in 0..6400_u16 {
            let mut tuple = [198, 51, 100, 7, 192, 0, 2, 1, 0, 0, 0, 80];
            tuple[8..10].copy_from_slice(&port.to_be_bytes());
            buckets[keyed.bytes(&tuple) as usize % 64] += 1;
        }
        assert!(buckets.iter().all(|n| (50..=160).contains(n)), "{buckets:?}");
    }
}
