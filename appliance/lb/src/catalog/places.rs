// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places in tables of fixed size.

use std::collections::VecDeque;

/// Places in a table of fixed size, each with a count of its incarnations.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: VecDeque<u32>,
    generations: Vec<u32>,
}

impl Places {
    pub(super) fn new(capacity: u32) -> Self {
        Self { free: (0..capacity).collect(), generations: vec![0; capacity as usize] }
    }

    pub(super) fn take(&mut self) -> Option<(u32, u32)> {
        let slot = self.free.pop_front()?;
        let generation = self.generations.get_mut(slot as usize)?;
        *generation = generation.wrapping_add(1);
        Some((slot, *generation))
    }

    /// Frees a place that nobody refers to; it is taken first, so that tables stay short.
    pub(super) fn give_back(&mut self, slot: u32) {
        self.free.push_front(slot);
    }

    /// Frees a place that workers may still count for a moment; it is taken last.
    pub(super) fn retire(&mut self, slot: u32) {
        self.free.push_back(slot);
    }

    pub(super) fn capacity(&self) -> u32 {
        self.generations.len() as u32
    }

    pub(super) fn generation(&self, slot: u32) -> Option<u32> {
        self.generations.get(slot as usize).copied()
    }
}
