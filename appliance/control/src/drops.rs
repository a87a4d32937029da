// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--drops`: every frame that was lost, why, how long ago, and what to do about it.
//!
//! Workers count their drops by reason ([`DropReason`]); NICs and the host thread lose frames that
//! no worker ever had ([`beside_workers`]). When a loss was last seen to grow is known as exactly
//! as somebody looks: [`History::note`] is called every few seconds.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use lb::counters::Figures;
use lb::ids::Tick;
use lb::verdict::DropReason;

use crate::metrics::{HostStats, NicStats};

/// Frames lost for one cause, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The cause: a [`DropReason`]'s name, or `COUNTER/NIC`.
    pub cause: Cow<'static, str>,
    /// How many frames.
    pub frames: u64,
    /// What an operator can do about it.
    pub remedy: &'static str,
}

/// What the workers dropped.
pub(crate) fn by_workers(figures: &Figures) -> Vec<Loss> {
    let loss = |reason: &DropReason| Loss {
        cause: reason.name().into(),
        frames: figures.dropped(*reason),
        remedy: reason.remedy(),
    };
    DropReason::ALL.iter().map(loss).collect()
}

/// What NICs and the way to the host lost.
pub fn beside_workers(nics: &[NicStats], host: HostStats) -> Vec<Loss> {
    let of_nic = |nic: &NicStats| {
        [
            ("nic_missed", nic.rx_missed, MISSED),
            ("nic_no_buffer", nic.rx_nombuf, NO_BUFFER),
            ("nic_rx_errors", nic.rx_errors, RX_ERRORS),
            ("nic_tx_errors", nic.tx_errors, TX_ERRORS),
        ]
        .map(|(counter, frames, remedy)| Loss {
            cause: format!("{counter}/{}", nic.name).into(),
            frames,
            remedy,
        })
    };
    let of_host = [
        ("host_lost/to", host.to_host_lost, TO_HOST),
        ("host_lost/from", host.from_host_lost, FROM_HOST),
    ]
    .map(|(cause, frames, remedy)| Loss { cause: cause.into(), frames, remedy });
    nics.iter().flat_map(of_nic).chain(of_host).collect()
}

const MISSED: &str = "Workers are too slow: use more workers and queues, or larger descriptors.";
const NO_BUFFER: &str = "Packet buffers ran out: raise [eal] memory_mb.";
const RX_ERRORS: &str = "Frames came in damaged: check cable, transceiver and duplex.";
const TX_ERRORS: &str = "The driver could not send: look at the log and the link.";
const TO_HOST: &str =
    "The host interface is down (`ip link`), or the host is too slow for a flood.";
const FROM_HOST: &str =
    "Raise [eal] memory_mb; or the host sends faster than the worker of that NIC takes.";

/// When each loss was last seen to grow.
#[derive(Debug, Default)]
pub struct History {
    seen: HashMap<Cow<'static, str>, Seen>,
    noted: Tick,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    frames: u64,
    grew: Tick,
}

impl History {
    /// Notes which losses grew since the last call.
    pub fn note(&mut self, losses: &[Loss], now: Tick) {
        for loss in losses {
            if self.grew(loss) {
                let seen = Seen { frames: loss.frames, grew: now };
                self.seen.insert(loss.cause.clone(), seen);
            }
        }
        self.noted = now;
    }

    /// Seconds since a loss grew.
    fn age_s(&self, loss: &Loss) -> u64 {
        match self.seen.get(&loss.cause) {
            Some(seen) if !self.grew(loss) => self.noted.since(seen.grew) / 1000,
            _ => 0,
        }
    }

    fn grew(&self, loss: &Loss) -> bool {
        loss.frames > self.seen.get(&loss.cause).map_or(0, |seen| seen.frames)
    }
}

/// The table of the losses that there are.
pub(crate) fn listing(losses: &[Loss], history: &History) -> String {
    let mut out = String::new();
    put(&mut out, ["Reason", "Frames", "Last seen", "What to do"]);
    for loss in losses.iter().filter(|loss| loss.frames > 0) {
        let (frames, age) = (loss.frames.to_string(), age(history.age_s(loss)));
        put(&mut out, [&loss.cause, &frames, &age, loss.remedy]);
    }
    let total: u64 = losses.iter().map(|loss| loss.frames).sum();
    put(&mut out, ["total", &total.to_string(), "", ""]);
    out
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

fn put(out: &mut String, [cause, frames, age, remedy]: [&str; 4]) {
    let line = format!("{cause:<22} {frames:>12}  {age:<10}  {remedy}");
    let written = writeln!(out, "{}", line.trim_end());
    debug_assert!(written.is_ok(), "a String takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_as_old_as_the_last_look_that_saw_it_grow() {
        let mut history = History::default();
        let loss = |frames| Loss { cause: "no_route".into(), frames, remedy: "" };
        assert_eq!(history.age_s(&loss(1)), 0, "nobody has looked yet");
        history.note(&[loss(1)], Tick::from_secs(10));
        history.note(&[loss(1)], Tick::from_secs(16));
        assert_eq!(history.age_s(&loss(1)), 6);
        assert_eq!(history.age_s(&loss(2)), 0, "it grew since the last look");
        history.note(&[loss(2)], Tick::from_secs(18));
        assert_eq!(history.age_s(&loss(2)), 0);
    }

    #[test]
    fn an_age_is_as_coarse_as_it_is_long() {
        assert_eq!(
            [0, 119, 120, 7199, 7200].map(age),
            ["0 s ago", "119 s ago", "2 min ago", "119 min ago", "2 h ago"]
        );
    }

    #[test]
    fn what_no_worker_saw_is_listed_by_nic() {
        let nic = NicStats { name: "wan".into(), rx_missed: 7, ..NicStats::default() };
        let host = HostStats { from_host_lost: 2, ..HostStats::default() };
        let text = listing(&beside_workers(&[nic], host), &History::default());
        assert_eq!(
            text,
            format!(
                "Reason                       Frames  Last seen   What to do\n\
                 nic_missed/wan                    7  0 s ago     {MISSED}\n\
                 host_lost/from                    2  0 s ago     {FROM_HOST}\n\
                 total                             9\n"
            )
        );
    }
}
