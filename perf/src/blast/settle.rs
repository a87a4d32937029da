// SPDX-License-Identifier: MIT OR Apache-2.0
//! When late frames are given up: after a time in which none came.
//!
//! Only time that somebody watched counts. On a machine that stood still for a second everything
//! else stood still too, and frames wait in rings that nobody has looked into yet.

use std::time::Duration;

/// Time between two looks.
pub const LOOK: Duration = Duration::from_millis(5);
/// What a look that came late counts for at most.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// The wait after the last frame left.
#[derive(Clone, Debug)]
pub struct Settling {
    patience: Duration,
    quiet: Duration,
    received: u64,
}

impl Settling {
    /// Gives up after `patience` without an arrival.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self { patience, quiet: Duration::ZERO, received: 0 }
    }

    /// Looks, `passed` after the last look; true if there is nothing to wait for any more.
    pub fn look(&mut self, passed: Duration, sent: u64, received: u64) -> bool {
        if received != self.received {
            (self.received, self.quiet) = (received, Duration::ZERO);
            return false;
        }
        self.quiet += passed.min(LOOK_MAX);
        // When all are there, a doubled one may still follow at once.
        self.quiet >= if received == sent { LOOK } else { self.patience }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settling() -> Settling {
        Settling::new(Duration::from_millis(100))
    }

    #[test]
    fn late_frames_are_waited_for_as_long_as_some_come() {
        let mut settling = settling();
        for received in 1..100 {
            assert!(!settling.look(Duration::from_millis(20), 200, received));
        }
        let looks = (0..100).take_while(|_| !settling.look(LOOK, 200, 99)).count();
        assert_eq!(looks, 19, "100 ms of 5 each");
    }

    #[test]
    fn a_machine_that_stood_still_has_not_waited() {
        let mut settling = settling();
        settling.look(LOOK, 200, 1);
        assert!(!settling.look(Duration::from_secs(5), 200, 1));
    }

    #[test]
    fn when_all_have_come_nothing_is_waited_for() {
        let mut settling = settling();
        assert!(!settling.look(LOOK, 200, 200));
        assert!(settling.look(LOOK, 200, 200));
    }
}
