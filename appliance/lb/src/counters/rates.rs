// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rates as the kernel estimates them (`ip_vs_est.c`): every two seconds an average moves a
//! quarter of the way to the rate of the last two.

use super::Traffic;

/// Parts in which services and servers are estimated.
pub(super) const PARTS: usize = 20;
/// Milliseconds from one part to the next; each service and server has its turn every two seconds.
pub const ESTIMATE_MS: u64 = 2000 / PARTS as u64;

/// What `--rate` shows of a service or a server, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from servers.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes from servers.
    pub out_bytes: u64,
}

/// Averages of the rates, in fixed point.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Average {
    sampled: Traffic,
    /// As [`Traffic`], each times two to the power of its scale.
    scaled: Traffic,
}

/// Scale of connections and packets.
const PACKET_SCALE: u32 = 10;
/// Scale of bytes.
const BYTE_SCALE: u32 = 5;

impl Average {
    /// Takes a sample, two seconds after the one before.
    pub(super) fn sample(&mut self, now: Traffic) {
        let passed = now - self.sampled;
        let of = |scale| move |average, passed| towards(average, passed, scale);
        let packets = self.scaled.combine(passed, of(PACKET_SCALE));
        let bytes = self.scaled.combine(passed, of(BYTE_SCALE));
        let Traffic { in_bytes, out_bytes, .. } = bytes;
        *self = Self { sampled: now, scaled: Traffic { in_bytes, out_bytes, ..packets } };
    }

    /// The last sample.
    pub(super) fn sampled(&self) -> Traffic {
        self.sampled
    }

    /// The averages in whole numbers, rounded as the kernel does.
    pub(super) fn rates(&self) -> Rates {
        let packets = |scaled: u64| (scaled + (1 << (PACKET_SCALE - 1)) - 1) >> PACKET_SCALE;
        let bytes = |scaled: u64| (scaled + (1 << (BYTE_SCALE - 1)) - 1) >> BYTE_SCALE;
        let Traffic { conns, in_packets, out_packets, in_bytes, out_bytes } = self.scaled;
        Rates {
            conns: packets(conns),
            in_packets: packets(in_packets),
            out_packets: packets(out_packets),
            in_bytes: bytes(in_bytes),
            out_bytes: bytes(out_bytes),
        }
    }
}

impl From<Traffic> for Average {
    /// No rate after a first sample.
    fn from(sampled: Traffic) -> Self {
        Self { sampled, scaled: Traffic::default() }
    }
}

/// A quarter of the way from an average to what passed in two seconds.
fn towards(average: u64, passed: u64, scale: u32) -> u64 {
    let rate = passed << (scale - 1);
    let step = rate.wrapping_sub(average) as i64 >> 2;
    average.wrapping_add(step as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(conns: u64, in_packets: u64, in_bytes: u64) -> Traffic {
        Traffic { conns, in_packets, in_bytes, ..Traffic::default() }
    }

    #[test]
    fn a_burst_fades_as_the_kernel_shows_it() {
        let mut average = Average::default();
        let shown: Vec<_> = (0..8)
            .map(|_| {
                average.sample(traffic(60, 360, 20_000));
                let Rates { conns, in_packets, in_bytes, .. } = average.rates();
                (conns, in_packets, in_bytes)
            })
            .collect();
        let conns: Vec<_> = shown.iter().map(|(conns, ..)| *conns).collect();
        assert_eq!(conns, [7, 6, 4, 3, 2, 2, 1, 1]);
        assert_eq!(shown[0], (7, 45, 2500));
        (0..100).for_each(|_| average.sample(traffic(60, 360, 20_000)));
        assert_eq!(average.rates(), Rates::default());
    }

    #[test]
    fn a_steady_rate_is_reached_from_below() {
        let mut average = Average::default();
        for seconds in 1..=150 {
            let [conns, packets, bytes] = [200, 2_000_000, 20_000_000_000].map(|n| n * seconds);
            average.sample(traffic(conns, packets, bytes));
        }
        let Rates { conns, in_packets, in_bytes, .. } = average.rates();
        assert_eq!((conns, in_packets, in_bytes), (100, 1_000_000, 10_000_000_000));
    }
}
