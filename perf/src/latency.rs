// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long frames stay in a worker, as a histogram with sixteen classes per doubling.

use serde::Serialize;

/// Classes per doubling of the time: each is 4 to 6 % wide.
const CLASSES: u64 = 16;

/// Times with how many frames had them.
#[derive(Clone, Debug)]
pub struct Histogram(Vec<u64>);

/// What is said about a histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the frames stay no longer.
    pub p50_ns: u64,
    /// 99 % of the frames stay no longer.
    pub p99_ns: u64,
    /// 99.9 % of the frames stay no longer.
    pub p999_ns: u64,
    /// No frame stays longer.
    pub max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; class(u64::MAX) + 1])
    }
}

impl Histogram {
    /// Counts `frames` frames that stayed `ns` nanoseconds.
    pub fn add(&mut self, ns: u64, frames: u64) {
        self.0[class(ns)] += frames;
    }

    /// The percentiles; none if no frame was counted.
    pub fn latency(&self) -> Option<Latency> {
        let max = self.0.iter().rposition(|frames| *frames > 0)?;
        Some(Latency {
            p50_ns: self.at(0.5),
            p99_ns: self.at(0.99),
            p999_ns: self.at(0.999),
            max_ns: upper(max),
        })
    }

    fn at(&self, share: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let class = self.0.iter().position(|frames| {
            seen += frames;
            seen >= wanted
        });
        class.map_or(0, upper)
    }
}

fn class(ns: u64) -> usize {
    if ns < CLASSES {
        return ns as usize;
    }
    let doubling = u64::from(ns.ilog2()) - 4;
    (CLASSES * doubling + (ns >> doubling)) as usize
}

/// The longest time of a class.
fn upper(class: usize) -> u64 {
    let class = class as u64;
    if class < CLASSES {
        return class;
    }
    let doubling = class / CLASSES - 1;
    ((class - CLASSES * doubling + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ends_where_the_next_begins() {
        for class_of in 0..400 {
            let end = upper(class_of);
            assert_eq!((class(end), class(end + 1)), (class_of, class_of + 1));
        }
    }

    #[test]
    fn percentiles_count_frames_not_turns() {
        let mut times = Histogram::default();
        times.add(10, 989);
        times.add(1000, 10);
        times.add(100_000, 1);
        let latency = times.latency().unwrap();
        assert_eq!(latency.p50_ns, 10);
        assert!((1000..1064).contains(&latency.p99_ns), "{latency:?}");
        assert!(latency.max_ns >= 100_000);
        assert_eq!(Histogram::default().latency(), None);
    }
}
