// SPDX-License-Identifier: MIT OR Apache-2.0
//! CRC32c, the checksum of SCTP (RFC 9260 appendix A): in full, and after a change of the ports.
//!
//! A CRC is linear: changing bits of a packet changes its CRC by the CRC (begun with zero) of the
//! changed bits followed by as many zeros as there are bytes behind them. Following bytes of zero
//! is a multiplication by a power of x, found in a few steps for any length. So a rewritten port
//! costs the same in a packet of any length, spread over any number of buffers, and a CRC that was
//! wrong stays wrong for the receiver to find.

/// The polynomial of Castagnoli, its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The polynomial 1, its bits reversed.
const ONE: u32 = 1 << 31;

/// What each byte does to the register.
#[expect(clippy::indexing_slicing, reason = "a constant: out of range is an error of the build")]
const BYTES: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut register, mut bit) = (byte as u32, 0);
        while bit < 8 {
            register = times_x(register);
            bit += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
};

/// x to the power of 8, 16, 32 and so on: one, two, four bytes of zero.
#[expect(clippy::indexing_slicing, reason = "a constant: out of range is an error of the build")]
const ZEROS: [u32; 17] = {
    let mut powers = [0; 17];
    let mut power = ONE >> 8;
    let mut index = 0;
    while index < powers.len() {
        powers[index] = power;
        power = product(power, power);
        index += 1;
    }
    powers
};

const fn times_x(polynomial: u32) -> u32 {
    (polynomial >> 1) ^ if polynomial & 1 == 1 { POLYNOMIAL } else { 0 }
}

/// The product of two polynomials.
const fn product(one: u32, mut other: u32) -> u32 {
    let (mut sum, mut bit) = (0, ONE);
    while bit != 0 {
        if one & bit != 0 {
            sum ^= other;
        }
        other = times_x(other);
        bit >>= 1;
    }
    sum
}

/// The CRC of bytes.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    !register(!0, bytes)
}

/// The CRC after `old` became `new`, with `behind` bytes after them, 131071 at most.
#[must_use]
pub fn changed(crc: u32, old: [u8; 4], new: [u8; 4], behind: usize) -> u32 {
    let bits = u32::from_ne_bytes(old) ^ u32::from_ne_bytes(new);
    if bits == 0 {
        return crc;
    }
    let shifts = ZEROS.iter().enumerate().filter(|(bit, _)| behind >> bit & 1 == 1);
    crc ^ shifts.fold(register(0, &bits.to_ne_bytes()), |sum, (_, shift)| product(sum, *shift))
}

fn register(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |register, byte| {
        let index = (register as u8 ^ byte) as usize;
        BYTES.get(index).copied().unwrap_or(0) ^ register >> 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_the_published_one() {
        // RFC 3720 appendix B.4: 32 bytes of zero; and the catalogue's "123456789".
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn a_change_is_as_if_computed_from_scratch_at_any_length() {
        for behind in [0, 1, 7, 8, 100, 1491, 65_523] {
            let mut bytes: Vec<u8> = (0..4 + behind).map(|i| (i * 7 + i / 251) as u8).collect();
            let before = crc32c(&bytes);
            let old = [bytes[0], bytes[1], bytes[2], bytes[3]];
            let new = [0x1f, 0x90, old[2], old[3]];
            bytes[..4].copy_from_slice(&new);
            assert_eq!(changed(before, old, new, behind), crc32c(&bytes), "{behind} behind");
            assert_eq!(changed(before, old, old, behind), before);
            assert_ne!(changed(before ^ 1, old, new, behind), crc32c(&bytes), "wrong stays wrong");
        }
    }
}
