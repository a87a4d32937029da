// SPDX-License-Identifier: MIT OR Apache-2.0
//! The moment of a worker's turn.
//!
//! Reading the system's clock costs as much as a packet, and a turn with frames takes a few
//! microseconds, where everything that is timed here counts in milliseconds. So while turns have
//! frames, several in a row share a moment.

use std::time::Instant;

use lb::ids::Tick;

/// Turns with frames, at most, that share a moment.
const TURNS: u8 = 16;

/// Tells a worker what time it is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    now: Tick,
    turns_left: u8,
}

impl Clock {
    /// A clock that shows the time since `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, now: Tick::default(), turns_left: 0 }
    }

    /// The moment of a turn; `was_busy` says whether the one before had frames.
    #[inline]
    pub fn turn(&mut self, was_busy: bool) -> Tick {
        if was_busy && self.turns_left > 0 {
            self.turns_left -= 1;
        } else {
            self.now = Tick::from_millis(self.start.elapsed().as_millis() as u64);
            self.turns_left = TURNS - 1;
        }
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_turn_after_an_idle_one_has_its_own_moment_and_so_has_each_sixteenth() {
        let start = Instant::now().checked_sub(Duration::from_secs(5));
        let mut clock = Clock::new(start.expect("the machine runs for longer than that"));
        assert!(clock.turn(true) >= Tick::from_secs(5), "the first is read");
        let earlier = Clock { now: Tick::from_secs(1), ..clock };
        clock = earlier;
        assert!((1..TURNS).all(|_| clock.turn(true) == Tick::from_secs(1)));
        assert!(clock.turn(true) >= Tick::from_secs(5));
        clock = earlier;
        assert!(clock.turn(false) >= Tick::from_secs(5));
    }
}
