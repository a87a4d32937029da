// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Internet checksum: in full (RFC 1071) and incrementally (RFC 1624).
//!
//! Sums are taken over 16-bit words in the order of memory, whatever the machine's is: a
//! one's-complement sum of swapped words is the swapped sum (RFC 1071 §2(B)). So words are loaded
//! without swapping and only numbers that are not in memory yet (a length, a protocol) are
//! swapped. A sum of bytes counts only if its bytes start at an even offset of the packet.
//!
//! One's complement has two zeros, and the checksum field shows which: over data that is not all
//! zero the sum is never +0 (0x0000), so a full computation never yields 0xffff. RFC 1624 eqn. 3,
//! HC' = ~(~HC + ~m + m'), keeps that. A [`Delta`] is `~m + m'` with -0 written as +0, so that a
//! change of nothing leaves any field as it was, 0x0000 and 0xffff included.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An unfinished one's-complement sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds a number as one 16-bit word of the packet.
    #[inline]
    #[must_use]
    pub const fn word(self, number: u16) -> Self {
        Self(self.0 + number.to_be() as u64)
    }

    /// Adds another part of the packet, one that starts at an even offset.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Adds another part of the packet, one that starts at an odd offset (RFC 1071 §2(B)).
    #[inline]
    #[must_use]
    pub const fn plus_odd(self, other: Self) -> Self {
        Self(self.0 + other.fold().swap_bytes() as u64)
    }

    /// The sum of eight bytes, in the order of memory, that start at an even offset.
    #[inline]
    #[must_use]
    pub const fn of_eight(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Adds another part of the packet that starts at an even offset, however large both sums are:
    /// the carry goes round, as 2^64 is 1 modulo 2^16 - 1.
    #[inline]
    #[must_use]
    pub const fn carry(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        Self(sum + carry as u64)
    }

    /// Whether a part that contains its own checksum is intact (RFC 1071 §1(3)): its sum is -0,
    /// which of the multiples of 2^16 - 1 all but 0 itself fold to.
    #[inline]
    #[must_use]
    pub const fn is_intact(self) -> bool {
        // The inverse of 2^16 - 1 modulo 2^64 takes its multiples, and them alone, to quotients.
        const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
        self.0.wrapping_mul(INVERSE).wrapping_sub(1) < u64::MAX / 0xffff
    }

    /// The checksum field of a packet with this sum, taken with the field zero.
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> U16 {
        U16::from_bytes((!self.fold()).to_ne_bytes())
    }

    /// The sum as one word in memory order.
    const fn fold(self) -> u16 {
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        let sum = sum + carry as u32;
        // The lower halves' carry goes into the upper ones, where it has to come round to.
        (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
    }
}

/// Sums bytes of any length; an odd last byte is padded with zero (RFC 1071 §4.1).
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> Sum {
    let (words, rest) = bytes.as_chunks::<4>();
    let whole: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    Sum(whole + u64::from(u32::from_ne_bytes(last)))
}

/// What a change of bytes does to a checksum over them; zero if it does nothing.
///
/// Plain old data of alignment 1, kept ready in each connection's actions.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Delta([u8; 2]);

impl Delta {
    /// No change: leaves every checksum as it is.
    pub const NONE: Self = Self([0; 2]);

    /// The change of `old` to `new`, both at an even offset of the packet; their lengths may
    /// differ, as those of pseudo-headers of two families do.
    #[inline]
    #[must_use]
    pub fn between(old: &[u8], new: &[u8]) -> Self {
        Self::of(Sum(u64::from(!sum(old).fold())).plus(sum(new)))
    }

    /// The change of one 16-bit number to another.
    #[must_use]
    pub const fn of_words(old: u16, new: u16) -> Self {
        Self::of(Sum(!old.to_be() as u64 + new.to_be() as u64))
    }

    /// Both changes, in either order.
    #[inline]
    #[must_use]
    pub const fn combine(self, other: Self) -> Self {
        Self::of(Sum(self.word() as u64 + other.word() as u64))
    }

    /// The change back.
    #[inline]
    #[must_use]
    pub const fn inverse(self) -> Self {
        match self.0 {
            [0, 0] => self,
            [a, b] => Self([!a, !b]),
        }
    }

    /// The checksum field after the change (RFC 1624 eqn. 3): ~(~HC + d) is HC - d, where a borrow
    /// goes round as the carry of the sum does.
    #[inline]
    #[must_use]
    pub const fn apply(self, csum: U16) -> U16 {
        let old = u16::from_ne_bytes(csum.to_bytes());
        let (difference, borrow) = old.overflowing_sub(self.word());
        U16::from_bytes(difference.wrapping_sub(borrow as u16).to_ne_bytes())
    }

    /// The UDP checksum field after the change: zero, "none", stays so, and a sum that comes out
    /// as zero is sent as 0xffff (RFC 768).
    #[inline]
    #[must_use]
    pub fn apply_udp(self, csum: U16) -> U16 {
        if csum == U16::ZERO { csum } else { nonzero(self.apply(csum)) }
    }

    const fn of(sum: Sum) -> Self {
        let word = sum.fold();
        Self(if word == 0xffff { [0; 2] } else { word.to_ne_bytes() })
    }

    const fn word(self) -> u16 {
        u16::from_ne_bytes(self.0)
    }
}

/// A computed UDP checksum as it is sent: 0xffff for zero (RFC 768).
#[inline]
#[must_use]
pub fn nonzero(csum: U16) -> U16 {
    if csum == U16::ZERO { U16::new(0xffff) } else { csum }
}

#[cfg(test)]
mod tests;
