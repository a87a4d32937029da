// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place with `unsafe` here: telling the cache what will be read soon.
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
