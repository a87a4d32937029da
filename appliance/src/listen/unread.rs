// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of replies that clients have not read yet.
//!
//! A reply is made before anybody knows how fast its client reads, and a client that does not read
//! makes it stay. What all of them may keep together is limited, short replies apart: the answer to
//! a change always finds its way.

use std::cell::Cell;

/// The largest reply that is never refused, in bytes.
const SHORT: usize = 4096;

/// How many bytes of replies wait to be read.
#[derive(Debug)]
pub(super) struct Unread {
    bytes: Cell<usize>,
    max: usize,
}

impl Unread {
    /// At most `max` bytes, or one reply that is larger.
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Cell::new(0), max }
    }

    /// Counts a reply until what is returned is dropped; none if too many bytes wait already.
    pub(super) fn admit(&self, bytes: usize) -> Option<Waiting<'_>> {
        let before = self.bytes.get();
        let after = before.saturating_add(bytes);
        let fits = before == 0 || bytes <= SHORT || after <= self.max;
        fits.then(|| {
            self.bytes.set(after);
            Waiting { unread: self, bytes }
        })
    }
}

/// A reply that waits to be read.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    unread: &'a Unread,
    bytes: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let bytes = &self.unread.bytes;
        bytes.set(bytes.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reply_may_be_too_large_but_not_two_and_short_ones_always_pass() {
        let unread = Unread::new(100_000);
        let large = unread.admit(300_000).expect("the only one");
        assert!(unread.admit(5000).is_none());
        let short = unread.admit(SHORT).expect("short");
        drop(large);
        let fits = unread.admit(90_000).expect("room again");
        assert!(unread.admit(10_000).is_none());
        drop((short, fits));
        assert_eq!(unread.bytes.get(), 0);
    }
}
