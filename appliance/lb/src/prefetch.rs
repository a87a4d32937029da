// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place with `unsafe` here: telling the cache what will be read soon, and comparing the
//! eight tags of a bucket at once.
#![allow(unsafe_code)]

/// Asks for the cache line at the start of `value`; never faults and never changes anything.
#[inline(always)]
pub fn read<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 is a hint that may be given for any address; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// As [`read`], of every cache line that `value` lies in.
#[inline(always)]
pub fn whole<T>(value: &T) {
    const LINE: usize = 64;
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of::<T>()).step_by(LINE) {
        // SAFETY: as in `read`.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().wrapping_add(at));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, LINE);
}

/// Tags of a bucket.
pub(crate) const WAYS: usize = 8;

/// A bit for each of the tags that is `tag`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn matching(tags: [u16; WAYS], tag: u16) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        _mm_setzero_si128,
    };
    let tags: __m128i = zerocopy::transmute!(tags);
    // SAFETY: these need SSE2, which is part of x86-64, and touch no memory.
    unsafe {
        let equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(tag as i16));
        _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) as u32
    }
}

/// A bit for each of the tags that is `tag`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn matching(tags: [u16; WAYS], tag: u16) -> u32 {
    let ways = tags.iter().enumerate();
    ways.fold(0, |found, (way, other)| found | u32::from(*other == tag) << way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_equal_tag_has_its_bit() {
        let tags = [7, 0, 0xffff, 7, 0x0700, 0x8000, 0, 7];
        assert_eq!(matching(tags, 7), 0b1000_1001);
        assert_eq!(matching(tags, 0), 0b0100_0010);
        assert_eq!(matching(tags, 0xffff), 0b0000_0100);
        assert_eq!(matching(tags, 0x8000), 0b0010_0000);
        assert_eq!(matching(tags, 1), 0);
    }
}
