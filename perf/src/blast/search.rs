// SPDX-License-Identifier: MIT OR Apache-2.0
//! The highest rate at which nothing is lost (RFC 2544 §26.1, "throughput"), by halving.
//!
//! The whole rate is tried first; then the middle of the interval whose lower end lost nothing
//! and whose upper end lost something, until it is no wider than the resolution.

/// A search under way; shares are of the highest rate, 0 to 1.
#[derive(Clone, Debug)]
pub struct Search {
    passed: f64,
    failed: Option<f64>,
    resolution: f64,
}

impl Search {
    /// Nothing tried yet; `resolution` is a share above 0.
    #[must_use]
    pub const fn new(resolution: f64) -> Self {
        Self { passed: 0.0, failed: None, resolution }
    }

    /// The share to try next; none if the search is over.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        match self.failed {
            None if self.passed < 1.0 => Some(1.0),
            None => None,
            Some(failed) if failed - self.passed <= self.resolution => None,
            Some(failed) => Some(f64::midpoint(self.passed, failed)),
        }
    }

    /// Notes what became of a trial.
    pub fn note(&mut self, share: f64, lost_nothing: bool) {
        if lost_nothing {
            self.passed = self.passed.max(share);
        } else {
            self.failed = Some(self.failed.map_or(share, |failed| failed.min(share)));
        }
    }

    /// The highest share that lost nothing, 0 if there was none.
    #[must_use]
    pub const fn passed(&self) -> f64 {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search finds on a system that carries `truth`, and in how many trials.
    fn search(truth: f64, resolution: f64) -> (f64, u32) {
        let (mut search, mut trials) = (Search::new(resolution), 0);
        while let Some(share) = search.next() {
            search.note(share, share <= truth);
            trials += 1;
            assert!(trials < 100, "no end");
        }
        (search.passed(), trials)
    }

    #[test]
    fn a_search_ends_within_its_resolution_below_the_truth() {
        for truth in [0.0, 0.003, 0.37, 0.5, 0.731, 0.999] {
            let (found, trials) = search(truth, 0.01);
            assert!(found <= truth && truth - found <= 0.01, "{found} of {truth}");
            assert!(trials <= 8, "{trials} trials");
        }
    }

    #[test]
    fn the_whole_rate_is_tried_first_and_may_be_enough() {
        assert_eq!(search(1.0, 0.01), (1.0, 1));
    }
}
