// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Toeplitz hash of receive-side scaling, by table.
//!
//! The hash is linear: the XOR over all bytes of what each contributes at its place. A table for
//! every place makes one load and one XOR of a byte. The input is a packet's tuple in the order of
//! the headers (addresses, then ports), as NICs hash it; after Microsoft's "RSS hashing functions".

/// Bytes of the longest input: the tuple of an IPv6 packet.
const PLACES: usize = 36;

/// A Toeplitz hash function of one key.
pub struct Toeplitz {
    /// By place and byte.
    tables: Box<[[u32; 256]; PLACES]>,
}

impl Toeplitz {
    /// Shortest key in bytes: the longest input and a word more.
    pub const KEY_MIN: usize = PLACES + 4;

    /// The hash function of a key; none if that has fewer than [`Self::KEY_MIN`] bytes.
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() < Self::KEY_MIN {
            return None;
        }
        let mut tables = Box::new([[0; 256]; PLACES]);
        for (table, window) in tables.iter_mut().zip(key.windows(5)) {
            let window = window.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (byte, word) in (0_u8..=255).zip(table) {
                *word = (0..8)
                    .filter(|bit| byte & 0x80 >> bit != 0)
                    .fold(0, |hash, bit| hash ^ (window >> (8 - bit)) as u32);
            }
        }
        Some(Self { tables })
    }

    /// Hashes the bytes of a tuple or of a part of it.
    #[inline]
    pub fn hash(&self, input: &[u8]) -> u32 {
        self.tables.iter().zip(input).fold(0, |hash, (table, byte)| {
            hash ^ table.get(usize::from(*byte)).copied().unwrap_or_default()
        })
    }
}

impl std::fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Toeplitz")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and two vectors of Microsoft's "Verifying the RSS hash calculation".
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    const TUPLE: [u8; 12] = [66, 9, 149, 187, 161, 142, 100, 80, 10, 234, 6, 230];

    #[test]
    fn the_hash_is_the_one_of_the_published_vectors() {
        let hash = Toeplitz::new(&KEY).unwrap();
        assert_eq!(hash.hash(&TUPLE[..8]), 0x323e_8fc2);
        assert_eq!(hash.hash(&TUPLE), 0x51cc_c178);
    }

    #[test]
    fn a_key_must_cover_an_ipv6_tuple() {
        assert!(Toeplitz::new(&KEY[..39]).is_none());
    }
}
