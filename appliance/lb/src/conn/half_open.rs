// SPDX-License-Identifier: MIT OR Apache-2.0
//! The half-open connections of one family, the oldest first, with a bound of their own.
//!
//! A flood of SYNs must not take the places of connections that are established. So each new
//! half-open connection beyond the bound takes the place of the oldest one, which an honest client
//! has completed long since. The list runs through an array beside the table: every step is O(1),
//! nothing is searched.

use crate::ids::ConnId;

const END: u32 = u32::MAX;

/// A list of connections by age.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    links: Box<[Links]>,
    oldest: u32,
    youngest: u32,
    count: u32,
    max: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Links {
    older: u32,
    younger: u32,
}

impl HalfOpen {
    /// An empty list of at most `max` of a table's `capacity` connections.
    pub(crate) fn new(capacity: u32, max: u32) -> Self {
        let links = vec![Links::default(); capacity as usize].into();
        Self { links, oldest: END, youngest: END, count: 0, max: max.clamp(1, capacity.max(1)) }
    }

    /// Connections in the list.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether the next one must take the place of the oldest.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= self.max
    }

    /// The connection that became half-open first.
    pub(crate) fn oldest(&self) -> Option<ConnId> {
        (self.oldest != END).then_some(ConnId(self.oldest))
    }

    /// Those that make room if `more` become half-open, the oldest first.
    pub(crate) fn leaving(&self, more: u32) -> impl Iterator<Item = ConnId> {
        let excess = (self.count + more).saturating_sub(self.max);
        let first = self.oldest();
        let younger = |id: &ConnId| {
            let links = self.links.get(id.index())?;
            (links.younger != END).then_some(ConnId(links.younger))
        };
        std::iter::successors(first, younger).take(excess as usize)
    }

    /// Adds a connection that is not in the list, as the youngest.
    pub(crate) fn push(&mut self, id: ConnId) {
        let Some(links) = self.links.get_mut(id.index()) else {
            return;
        };
        *links = Links { older: self.youngest, younger: END };
        let youngest = std::mem::replace(&mut self.youngest, id.0);
        match self.links.get_mut(youngest as usize) {
            Some(links) => links.younger = id.0,
            None => self.oldest = id.0,
        }
        self.count += 1;
    }

    /// Takes a connection that is in the list out of it.
    pub(crate) fn remove(&mut self, id: ConnId) {
        let Some(Links { older, younger }) = self.links.get(id.index()).copied() else {
            return;
        };
        match self.links.get_mut(older as usize) {
            Some(links) => links.younger = younger,
            None => self.oldest = younger,
        }
        match self.links.get_mut(younger as usize) {
            Some(links) => links.older = older,
            None => self.youngest = older,
        }
        debug_assert!(self.count > 0, "removed from an empty list");
        self.count = self.count.saturating_sub(1);
    }

    /// Panics unless the list holds exactly the connections that are `expected`, each once.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self, expected: impl Iterator<Item = ConnId>) {
        let (mut at, mut older, mut listed) = (self.oldest, END, Vec::new());
        while let Some(links) = self.links.get(at as usize) {
            assert_eq!(links.older, older, "broken list at {at}");
            assert!(listed.len() < self.links.len(), "the list is a ring");
            listed.push(at);
            (older, at) = (at, links.younger);
        }
        assert_eq!((self.youngest, self.count as usize), (older, listed.len()));
        listed.sort_unstable();
        assert!(listed.into_iter().eq(expected.map(|id| id.0)), "half-open connections are lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_whoever_leaves() {
        let mut list = HalfOpen::new(8, 4);
        for id in [3, 1, 7, 0] {
            list.push(ConnId(id));
        }
        assert!(list.is_full());
        list.check([0, 1, 3, 7].into_iter().map(ConnId));
        for (leaves, oldest) in [(1, Some(3)), (3, Some(7)), (0, Some(7)), (7, None)] {
            list.remove(ConnId(leaves));
            assert_eq!(list.oldest(), oldest.map(ConnId), "after {leaves}");
        }
        list.check(std::iter::empty());
    }

    #[test]
    fn there_is_always_room_for_one() {
        assert!(!HalfOpen::new(4, 0).is_full());
    }
}
