// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--drops`: every frame that was lost, why, how fast, since when, and what to do about it.
//!
//! Workers count their drops by reason ([`DropReason`]) and keep the last frame of each; NICs and
//! the host thread lose frames that no worker ever had ([`beside_workers`]). When a loss began to
//! grow, and how fast, is known as exactly as somebody looks: [`History::note`] is called every few
//! seconds.

mod history;

use std::borrow::Cow;
use std::fmt::{self, Write};

use lb::counters::Figures;
use lb::counters::last_drops::LastDrop;
use lb::ids::WorkerId;
use lb::verdict::DropReason;
use wire::glance;

use crate::metrics::{HostStats, NicStats};
pub use history::History;

/// Frames lost for one cause, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The cause: a [`DropReason`]'s name, or `COUNTER/NIC`.
    pub cause: Cow<'static, str>,
    /// How many frames.
    pub frames: u64,
    /// What an operator can do about it.
    pub remedy: &'static str,
    /// The last of the frames, and the worker that dropped it.
    pub last: Option<(WorkerId, LastDrop)>,
}

/// What the workers dropped.
pub(crate) fn by_workers(figures: &Figures) -> Vec<Loss> {
    let last = |reason: DropReason| {
        let workers = figures.workers().iter();
        let last =
            workers.filter_map(|worker| Some((worker.worker, worker.last_drops.last(reason)?)));
        last.max_by_key(|(_, last)| last.at)
    };
    let loss = |reason: &DropReason| Loss {
        cause: reason.name().into(),
        frames: figures.dropped(*reason),
        remedy: reason.remedy(),
        last: last(*reason),
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
            last: None,
        })
    };
    let of_host = [
        ("host_lost/to", host.to_host_lost, TO_HOST),
        ("host_lost/from", host.from_host_lost, FROM_HOST),
    ]
    .map(|(cause, frames, remedy)| Loss { cause: cause.into(), frames, remedy, last: None });
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

/// The table of the losses that there are. Its columns are parted by spaces and only the last one
/// has any in it; `-` stands for what is not known.
pub(crate) fn listing(losses: &[Loss], history: &History, nics: &[String]) -> String {
    let mut out = String::new();
    let put = |out: &mut String, row: &Row<'_>| {
        let written = writeln!(out, "{}", row.to_string().trim_end());
        debug_assert!(written.is_ok(), "a String takes all text");
    };
    put(&mut out, &Row::HEADING);
    for loss in losses.iter().filter(|loss| loss.frames > 0) {
        let none = || "-".to_owned();
        let (worker, nic) = match &loss.last {
            Some((worker, last)) => (worker.to_string(), nic_name(last, nics)),
            None => (none(), none()),
        };
        let frame = loss
            .last
            .as_ref()
            .map_or([none(), none(), none()], |(_, last)| glance(last.head()).columns());
        let [frames, rate] = [loss.frames.to_string(), rate(history.rate(loss))];
        let [since, last] = [history.since_s(loss), history.age_s(loss)].map(age);
        put(
            &mut out,
            &Row {
                cause: &loss.cause,
                frames: &frames,
                rate: &rate,
                since: &since,
                last: &last,
                worker: &worker,
                nic: &nic,
                frame: frame.each_ref().map(String::as_str),
                remedy: loss.remedy,
            },
        );
    }
    let total: u64 = losses.iter().map(|loss| loss.frames).sum();
    put(&mut out, &Row { cause: "total", frames: &total.to_string(), ..Row::default() });
    out
}

/// One loss in full; none if there is no such cause.
pub(crate) fn detail(
    cause: &str,
    losses: &[Loss],
    history: &History,
    figures: &Figures,
    nics: &[String],
) -> Option<String> {
    let loss = losses.iter().find(|loss| loss.cause == cause)?;
    let reason = DropReason::ALL.iter().find(|reason| reason.name() == cause);
    let [since, last] = [history.since_s(loss), history.age_s(loss)].map(age);
    let mut rows = vec![("reason", cause.to_owned())];
    rows.extend(reason.map(|reason| ("meaning", reason.meaning().to_owned())));
    rows.push(("what to do", loss.remedy.to_owned()));
    rows.push(("frames", loss.frames.to_string()));
    if loss.frames > 0 {
        rows.push(("per second", rate(history.rate(loss))));
        rows.push(("since", format!("{since} ago")));
        rows.push(("last seen", format!("{last} ago")));
    }
    for (worker, reason) in figures.workers().iter().zip(reason.into_iter().cycle()) {
        let frames = worker.frames.dropped(*reason);
        let last = worker.last_drops.last(*reason).map_or_else(String::new, |last| {
            let frame = glance(last.head());
            format!(
                ", the last by {}: {frame}, {} bytes in all",
                nic_name(&last, nics),
                last.length
            )
        });
        if frames > 0 {
            rows.push(("worker", format!("{}: {frames} frames{last}", worker.worker)));
        }
    }
    Some(
        rows.into_iter()
            .fold(String::new(), |text, (name, value)| text + &format!("{name:<12} {value}\n")),
    )
}

fn nic_name(last: &LastDrop, nics: &[String]) -> String {
    nics.get(last.nic.index()).cloned().unwrap_or_else(|| last.nic.0.to_string())
}

/// A line of the table.
#[derive(Default)]
struct Row<'a> {
    cause: &'a str,
    frames: &'a str,
    rate: &'a str,
    since: &'a str,
    last: &'a str,
    worker: &'a str,
    nic: &'a str,
    frame: [&'a str; 3],
    remedy: &'a str,
}

impl Row<'static> {
    const HEADING: Self = Self {
        cause: "Reason",
        frames: "Frames",
        rate: "PerSecond",
        since: "Since",
        last: "Last",
        worker: "Worker",
        nic: "NIC",
        frame: ["Prot", "Source", "Destination"],
        remedy: "What to do",
    };
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, frames, rate, since, last, worker, nic, remedy, .. } = self;
        write!(f, "{cause:<22} {frames:>12} {rate:>9} {since:>6} {last:>6} {worker:>6}")?;
        let [protocol, source, destination] = self.frame;
        write!(f, " {nic:<8} {protocol:<6} {source:<21} {destination:<21} {remedy}")
    }
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
