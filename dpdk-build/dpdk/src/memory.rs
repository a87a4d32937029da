// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory for tables that live as long as the process, on 2 MiB pages where they can be had.
//!
//! A table of millions of connections is bound by address translation: 2 MiB pages halve the cost
//! of a look-up. Explicit huge pages are tried first, then the kernel is asked for transparent
//! ones. The memory is filled when it is made, so that a worker never waits for a page: make it on
//! the thread that will use it, and it lies on that thread's NUMA node.

use std::ffi::c_int;
use std::io;
use std::ptr;
use std::slice;

/// Zeroed memory, never given back to the system.
#[derive(Debug)]
pub struct Region {
    /// The memory; its address is a multiple of 4096.
    pub bytes: &'static mut [u8],
    /// What it lies on.
    pub pages: Pages,
}

/// The pages behind a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved pages of 2 MiB (`vm.nr_hugepages`).
    Huge,
    /// Ordinary memory that the kernel was asked to back with pages of 2 MiB.
    Transparent,
    /// Ordinary pages: the kernel offers no transparent huge pages.
    Ordinary,
}

impl Region {
    /// Maps `size_bytes` of zeroed memory.
    pub fn new(size_bytes: usize) -> Result<Self, RegionError> {
        if size_bytes == 0 {
            return Err(RegionError::Empty);
        }
        let mapped_bytes = size_bytes
            .checked_next_multiple_of(HUGE_PAGE)
            .ok_or(RegionError::NoMemory { size_bytes })?;
        if let Some(start) = map(mapped_bytes, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB) {
            return Self::fill(start, size_bytes, mapped_bytes, Pages::Huge);
        }
        // One page more than needed: transparent huge pages want an aligned start.
        let start = mapped_bytes
            .checked_add(HUGE_PAGE)
            .and_then(|bytes| map(bytes, 0))
            .ok_or(RegionError::NoMemory { size_bytes })?;
        let start = start.wrapping_add(start.align_offset(HUGE_PAGE));
        // SAFETY: the aligned range lies within the mapping that was just made.
        let advised = unsafe { libc::madvise(start.cast(), mapped_bytes, libc::MADV_HUGEPAGE) };
        let pages = if advised == 0 { Pages::Transparent } else { Pages::Ordinary };
        Self::fill(start, size_bytes, mapped_bytes, pages)
    }

    /// Makes every page present: a shortage shows now, not under traffic.
    fn fill(
        start: *mut u8,
        size_bytes: usize,
        mapped_bytes: usize,
        pages: Pages,
    ) -> Result<Self, RegionError> {
        // SAFETY: the range is a private mapping that nobody else knows of.
        let filled =
            unsafe { libc::madvise(start.cast(), mapped_bytes, libc::MADV_POPULATE_WRITE) };
        // A kernel before 5.14 does not know this advice; pages then come when first touched.
        let unknown = || io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL);
        if filled != 0 && !unknown() {
            // SAFETY: nothing refers to the range.
            unsafe { libc::munmap(start.cast(), mapped_bytes) };
            return Err(RegionError::NoMemory { size_bytes });
        }
        // SAFETY: the kernel gave zeroed pages to this mapping alone; it is never unmapped.
        let bytes = unsafe { slice::from_raw_parts_mut(start, size_bytes) };
        Ok(Self { bytes, pages })
    }
}

/// A private anonymous mapping, or `None` if the system has no room for it.
fn map(size_bytes: usize, flags: c_int) -> Option<*mut u8> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let start = unsafe { libc::mmap(ptr::null_mut(), size_bytes, access, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Why there is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// A region of no bytes.
    #[error("a region has at least one byte")]
    Empty,
    /// The system has not that much memory.
    #[error("{size_bytes} bytes of memory are not there; lower the capacity or add memory")]
    NoMemory {
        /// What was asked for.
        size_bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_zeroed_aligned_and_of_the_size_asked_for() {
        let region = Region::new(5 << 20).unwrap();
        assert_eq!(region.bytes.len(), 5 << 20);
        assert_eq!(region.bytes.as_ptr().align_offset(64), 0);
        assert!(region.bytes.iter().all(|byte| *byte == 0));
        region.bytes.fill(0xff);
    }

    #[test]
    fn regions_do_not_overlap() {
        let (a, b) = (Region::new(1).unwrap(), Region::new(1).unwrap());
        a.bytes[0] = 1;
        assert_eq!(b.bytes[0], 0);
    }

    #[test]
    fn an_impossible_size_is_an_error_not_a_crash() {
        for size_bytes in [usize::MAX, 1 << 60] {
            let error = Region::new(size_bytes).unwrap_err();
            assert_eq!(error, RegionError::NoMemory { size_bytes });
        }
        assert_eq!(Region::new(0).unwrap_err(), RegionError::Empty);
    }
}
