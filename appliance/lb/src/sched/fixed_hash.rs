// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hash functions of sh, dh and mh: without a secret, so that the kernel, every worker and
//! every director choose the same server.

use std::net::IpAddr;

/// An address as one word; IPv6 by the exclusive or of its four words.
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            octets.as_chunks::<4>().0.iter().fold(0, |all, word| all ^ u32::from_be_bytes(*word))
        }
    }
}

/// The upper eight bits of the product with the golden ratio (`hash_32` of the kernel).
pub(super) fn golden8(word: u32) -> u8 {
    (word.wrapping_mul(0x61C8_8647) >> 24) as u8
}

/// SipHash-1-3 of one word, cut to 32 bits; both halves of the key are `key` (`hsiphash` of a
/// 64-bit kernel).
pub(super) fn sip13(word: u32, key: u64) -> u32 {
    const INITIAL: [u64; 4] = [
        0x736F_6D65_7073_6575,
        0x646F_7261_6E64_6F6D,
        0x6C79_6765_6E65_7261,
        0x7465_6462_7974_6573,
    ];
    let mut state = INITIAL.map(|initial| initial ^ key);
    // The last block carries the length in bytes in its top byte.
    let block = 4 << 56 | u64::from(word);
    state[3] ^= block;
    state = sip_round(state);
    state[0] ^= block;
    state[2] ^= 0xFF;
    let [a, b, c, d] = sip_round(sip_round(sip_round(state)));
    (a ^ b ^ c ^ d) as u32
}

fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}
