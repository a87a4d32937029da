// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast frames leave: a rate as it is written, and the bucket of tokens that keeps to it.
//!
//! Bits count as the wire does, preamble and gap of each frame included: 10 Gbit/s is the whole
//! of a 10G link. The bucket is shallow: a generator that was held up does not make up for it by
//! a burst that no queue behind it could hold.

use std::fmt;
use std::str::FromStr;

use super::{FCS, PREAMBLE_AND_GAP};

/// Frames that may leave at once after a pause.
const DEPTH_FRAMES: f64 = 64.0;

/// Frames or bits per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Frames per second.
    Frames(f64),
    /// Bits per second on the wire.
    Bits(f64),
}

/// What is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a rate; write frames like 200kpps or 1.5Mpps, or bits like 500Mbit or 10Gbit")]
pub struct NotARate(String);

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let wrong = || NotARate(text.to_owned());
        let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let (scale, unit) = match unit.as_bytes().first() {
            Some(b'k' | b'K') => (1e3, &unit[1..]),
            Some(b'M') => (1e6, &unit[1..]),
            Some(b'G') => (1e9, &unit[1..]),
            _ => (1.0, unit),
        };
        let number = number.parse::<f64>().map_err(|_| wrong())? * scale;
        match unit {
            _ if !(number.is_finite() && number > 0.0) => Err(wrong()),
            "pps" | "" => Ok(Self::Frames(number)),
            "bit" | "bit/s" | "bps" => Ok(Self::Bits(number)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self {
            Self::Frames(number) => (*number, "pps"),
            Self::Bits(number) => (*number, "bit/s"),
        };
        let (scale, prefix) = match number {
            _ if number >= 1e9 => (1e9, "G"),
            _ if number >= 1e6 => (1e6, "M"),
            _ if number >= 1e3 => (1e3, "k"),
            _ => (1.0, ""),
        };
        write!(f, "{:.3} {prefix}{unit}", number / scale)
    }
}

impl Rate {
    /// This share of the rate.
    #[must_use]
    pub fn times(self, share: f64) -> Self {
        match self {
            Self::Frames(number) => Self::Frames(number * share),
            Self::Bits(number) => Self::Bits(number * share),
        }
    }

    /// Frames per second, for frames of this mean length without FCS.
    #[must_use]
    pub fn frames_per_s(self, mean_bytes: f64) -> f64 {
        match self {
            Self::Frames(number) => number,
            Self::Bits(number) => number / wire_bits(mean_bytes),
        }
    }
}

/// Bits that a frame takes on the wire; its length is without FCS.
#[must_use]
pub fn wire_bits(bytes: f64) -> f64 {
    (bytes + f64::from(FCS + PREAMBLE_AND_GAP)) * 8.0
}

/// Tokens that frames are paid with.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    depth: f64,
    tokens: f64,
    filled_ns: u64,
}

impl Bucket {
    /// A bucket with nothing in it.
    #[must_use]
    pub fn new(rate: Rate, now_ns: u64) -> Self {
        let depth = match rate {
            Rate::Frames(_) => DEPTH_FRAMES,
            Rate::Bits(_) => DEPTH_FRAMES * wire_bits(60.0),
        };
        Self { rate, depth, tokens: 0.0, filled_ns: now_ns }
    }

    /// Lets tokens flow in up to a moment.
    pub fn fill(&mut self, now_ns: u64) {
        let (Rate::Frames(per_s) | Rate::Bits(per_s)) = self.rate;
        let passed_s = now_ns.saturating_sub(self.filled_ns) as f64 / 1e9;
        self.tokens = (self.tokens + per_s * passed_s).min(self.depth.max(1.0));
        self.filled_ns = now_ns;
    }

    /// Pays for a frame of a length without FCS; false if there is not enough yet.
    ///
    /// A frame may leave while there are tokens at all, and what it costs beyond them is owed.
    pub fn pay(&mut self, bytes: u16) -> bool {
        let price = match self.rate {
            Rate::Frames(_) => 1.0,
            Rate::Bits(_) => wire_bits(bytes.into()),
        };
        let enough = match self.rate {
            Rate::Frames(_) => self.tokens >= 1.0,
            Rate::Bits(_) => self.tokens > 0.0,
        };
        if enough {
            self.tokens -= price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that leave in a time, asked for every `step_ns`.
    fn leave(rate: &str, bytes: u16, ns: u64, step_ns: u64) -> u64 {
        let mut bucket = Bucket::new(rate.parse().unwrap(), 0);
        let mut frames = 0;
        for now in (0..=ns).step_by(step_ns as usize) {
            bucket.fill(now);
            while bucket.pay(bytes) {
                frames += 1;
            }
        }
        frames
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!("1500".parse(), Ok(Rate::Frames(1500.0)));
        assert_eq!("200kpps".parse(), Ok(Rate::Frames(200_000.0)));
        assert_eq!("1.5Mpps".parse(), Ok(Rate::Frames(1_500_000.0)));
        assert_eq!("10Gbit".parse(), Ok(Rate::Bits(1e10)));
        for wrong in ["", "fast", "10Gpackets", "-3kpps", "0"] {
            let error = wrong.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("200kpps"), "{error}");
        }
        assert_eq!(Rate::Frames(1_500_000.0).to_string(), "1.500 Mpps");
    }

    #[test]
    fn a_second_has_as_many_frames_as_the_rate_says() {
        assert!(leave("10kpps", 60, 1_000_000_000, 1000).abs_diff(10_000) <= 1);
        assert!(leave("1Mpps", 60, 1_000_000_000, 20_000).abs_diff(1_000_000) <= 1);
        // 14.88 million frames of 64 bytes fill 10 Gbit/s.
        assert!(leave("100Mbit", 60, 1_000_000_000, 1000).abs_diff(148_809) <= 1);
        assert!(leave("100Mbit", 1514, 1_000_000_000, 1000).abs_diff(8127) <= 1);
    }

    #[test]
    fn after_a_pause_only_a_burst_is_made_up_for() {
        let mut bucket = Bucket::new(Rate::Frames(1e6), 0);
        bucket.fill(1_000_000_000);
        let mut burst = 0;
        while bucket.pay(60) {
            burst += 1;
        }
        assert_eq!(burst, 64);
    }
}
