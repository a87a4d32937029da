// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory from the heap for connection tables: for tests and replay. The appliance brings its own.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// One cache line.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Zeroed memory that starts at a cache line.
pub struct TableMemory(Vec<Line>);

impl TableMemory {
    /// At least `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self(vec![Line::new_zeroed(); bytes.div_ceil(size_of::<Line>())])
    }

    /// The memory.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_bytes()
    }
}
