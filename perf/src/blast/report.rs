// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run says: a line per second, a table of trials, and the same as JSON.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use wire::Mac;

use super::books::{Books, Summary};
use super::frames::Frames;
use super::options::{Options, Target};
use super::rate::Rate;
use crate::traffic::Segment;

/// Everything that a reader needs to judge the figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What was sent, as the command line had it.
    pub load: Option<LoadFacts>,
    /// Opening of the flows, stage by stage.
    pub opening: Vec<Summary>,
    /// The trial, or those of the search.
    pub trials: Vec<Summary>,
    /// What servers alone did.
    pub servers: Option<Summary>,
    /// Of a search: the trial at the highest rate without loss.
    pub no_drop: Option<Summary>,
    is_search: bool,
}

/// What was sent.
#[derive(Clone, Debug, Serialize)]
pub struct LoadFacts {
    /// The NIC of the clients.
    pub wan: String,
    /// The NIC of the servers.
    pub lan: Option<String>,
    /// Whether the servers answer.
    pub reflect: bool,
    /// The director's address on the clients' side.
    pub dst_mac: String,
    /// Protocol.
    pub protocol: String,
    /// Number of flows.
    pub flows: u32,
    /// Mean length of frames, FCS included, in bytes.
    pub mean_bytes: f64,
}

impl Report {
    /// Whether each trial that counts lost nothing: the only one, or the one that was found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let opened = self.opening.iter().all(Summary::is_whole);
        let rest = if self.is_search { self.no_drop.as_ref() } else { self.trials.last() };
        opened && (self.servers.is_some() || rest.is_some_and(Summary::is_whole))
    }

    pub(super) fn load(&mut self, options: &Options, target: &Target, frames: &Frames, mac: Mac) {
        let mean_bytes = frames.mean_bytes() + f64::from(super::FCS);
        let facts = LoadFacts {
            wan: options.wan.clone().unwrap_or_default(),
            lan: options.lan.clone(),
            reflect: options.reflect,
            dst_mac: mac.to_string(),
            protocol: format!("{:?}", options.protocol).to_lowercase(),
            flows: target.flows.count(),
            mean_bytes,
        };
        println!(
            "{} flows of {} from {} to {} at {mac}, frames of {mean_bytes:.0} bytes, {}",
            facts.flows, facts.protocol, target.clients, target.vips, target.rate
        );
        if frames.is_raised() {
            println!("frames are longer than asked for: headers and stamp need it");
        }
        self.load = Some(facts);
    }

    pub(super) fn opening(&mut self, segment: Segment, summary: Summary) {
        println!(
            "opening: {} of {} frames came ({segment:?}), {:.0} a second",
            summary.received, summary.sent, summary.sent_pps
        );
        self.opening.push(summary);
    }

    pub(super) fn trial(&mut self, rate: Rate, summary: Summary) {
        print!("\n{rate}\n{summary}");
        self.trials.push(summary);
    }

    pub(super) fn servers(&mut self, summary: Summary) {
        println!("{} requests answered, {} lost by us", summary.reflected, summary.our_losses);
        self.servers = Some(summary);
    }

    pub(super) fn found(&mut self, is_found: bool) {
        self.is_search = true;
        let whole = self.trials.iter().filter(|trial| trial.is_whole() && is_found);
        let best = whole.max_by(|a, b| a.asked_pps.total_cmp(&b.asked_pps)).cloned();
        match &best {
            Some(best) => println!(
                "\nno-drop rate: {:.0} frames a second, {:.3} Gbit/s on the wire",
                best.sent_pps,
                best.sent_bits_per_s / 1e9
            ),
            None => println!("\nno rate without loss was found"),
        }
        self.no_drop = best;
    }

    pub(super) fn lines(&self, is_quiet: bool) -> Lines {
        Lines { is_quiet, second: 0, before: [0; 3] }
    }
}

/// The line of each second.
pub struct Lines {
    is_quiet: bool,
    second: u64,
    /// Frames sent, received and answered.
    before: [u64; 3],
}

impl Lines {
    /// The line of the time since the last.
    pub fn next(&mut self, books: &Books, span: Duration) {
        let now = [&books.sent, &books.received, &books.reflected].map(|count| count.value());
        let [sent, received, _] = now;
        let of_span = |place: usize| (now[place] - self.before[place]) as f64 / span.as_secs_f64();
        if !self.is_quiet {
            if self.second == 0 {
                println!(" second       sent/s   received/s   answered/s      missing");
            }
            println!(
                "{:>7} {:>12.0} {:>12.0} {:>12.0} {:>12}",
                self.second + 1,
                of_span(0),
                of_span(1),
                of_span(2),
                sent.saturating_sub(received)
            );
        }
        (self.second, self.before) = (self.second + 1, now);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = if self.sent > 0 { self.lost as f64 / self.sent as f64 * 100.0 } else { 0.0 };
        writeln!(
            f,
            "  sent       {} in {:.2} s: {:.0}/s, {:.3} Gbit/s on the wire",
            self.sent,
            self.seconds,
            self.sent_pps,
            self.sent_bits_per_s / 1e9
        )?;
        writeln!(f, "  received   {}", self.received)?;
        writeln!(f, "  lost       {} ({share:.4} %)", self.lost)?;
        let mut rest = String::new();
        for (name, count) in [
            ("duplicated", self.duplicated),
            ("out of order", self.out_of_order),
            ("too late", self.too_late),
            ("foreign", self.foreign),
            ("bad checksums", self.bad_checksums),
            ("lost by us", self.our_losses),
        ] {
            write!(rest, "{}{count} {name}", if rest.is_empty() { "" } else { ", " })?;
        }
        writeln!(f, "  of note    {rest}; {} frames verified", self.verified)?;
        if let Some(way) = self.way {
            let us = |ns: u64| ns as f64 / 1000.0;
            writeln!(
                f,
                "  way, us    min {:.1}, p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
                us(way.min_ns),
                us(way.p50_ns),
                us(way.p99_ns),
                us(way.p999_ns),
                us(way.max_ns)
            )?;
        }
        if self.is_slow() {
            writeln!(
                f,
                "  slow       {:.0}/s were asked for: this machine's limit",
                self.asked_pps
            )?;
        }
        Ok(())
    }
}
