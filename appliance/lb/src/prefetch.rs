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
    place(std::slice::from_ref(value), 0);
}

/// As [`whole`], of the value in a place of `values`, if there is such a place.
#[inline(always)]
pub fn place<T>(values: &[T], at: usize) {
    const LINE: usize = 64;
    let value = values.as_ptr().wrapping_add(at);
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of::<T>()).step_by(LINE) {
        // SAFETY: as in `read`, for any address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(value.cast::<i8>().wrapping_add(line));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, LINE);
}

/// Tags of a bucket.
pub(crate) const WAYS: usize = 8;

/// The tag of a hash: its upper bits, and never 0.
#[inline]
pub(crate) fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16 | 1
}

/// A bit for each of the tags that is the [`tag`] of `hash`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn matching(tags: [u16; WAYS], hash: u64) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_cvtsi64_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_packs_epi16, _mm_set1_epi16, _mm_setzero_si128, _mm_shuffle_epi32, _mm_shufflelo_epi16,
    };
    /// Each of four words is the last one.
    const LAST: i32 = 0b1111_1111;
    let tags: __m128i = zerocopy::transmute!(tags);
    // SAFETY: these need SSE2, which is part of x86-64, and touch no memory.
    unsafe {
        let four = _mm_shufflelo_epi16::<LAST>(_mm_cvtsi64_si128(hash as i64));
        let tag = _mm_or_si128(_mm_shuffle_epi32::<0>(four), _mm_set1_epi16(1));
        let equal = _mm_cmpeq_epi16(tags, tag);
        _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) as u32
    }
}

/// A bit for each of the tags that is the [`tag`] of `hash`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn matching(tags: [u16; WAYS], hash: u64) -> u32 {
    let ways = tags.iter().enumerate();
    ways.fold(0, |found, (way, other)| found | u32::from(*other == tag(hash)) << way)
}

/// A bit for each of the tags that marks a free way.
#[inline]
pub(crate) fn free(tags: [u16; WAYS]) -> u32 {
    let ways = tags.iter().enumerate();
    ways.fold(0, |found, (way, tag)| found | u32::from(*tag == 0) << way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_equal_tag_has_its_bit() {
        let tags = [7, 0, 0xffff, 7, 0x0701, 0x8001, 0, 7];
        let matching = |tag: u64| matching(tags, tag << 48 | 0x7_0007_0007);
        assert_eq!(matching(7), 0b1000_1001);
        assert_eq!(matching(6), 0b1000_1001, "the last bit is always set");
        assert_eq!(matching(0xffff), 0b0000_0100);
        assert_eq!(matching(0x8000), 0b0010_0000);
        assert_eq!(matching(0), 0);
        assert_eq!(free(tags), 0b0100_0010);
    }
}
