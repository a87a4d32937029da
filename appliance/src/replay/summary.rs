// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a replay did, in numbers and as a text.

use std::fmt;

use control::config::Config;
use lb::counters::{Counter, Figures, WorkerCounters};
use lb::verdict::DropReason;

use super::capture::{Arrivals, Sent};

/// What became of the frames of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Frames that the NICs received.
    pub received: u64,
    /// What each NIC sent, in the order of the configuration.
    pub nics: Vec<NicSummary>,
    /// Frames for the host.
    pub punted: u64,
    /// Frames that were dropped, and why.
    pub dropped: Vec<(DropReason, u64)>,
    /// Frames handed from one worker to another.
    pub handed_off: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that ended by timeout.
    pub expired: u64,
    /// Connections at the end.
    pub live: u64,
    /// Frames left out because the capture has only their beginning.
    pub cut_short: u64,
    /// Frames that were earlier than one before them, and came at its moment.
    pub out_of_order: u64,
}

/// What a NIC sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicSummary {
    /// Its name.
    pub name: String,
    /// Frames sent.
    pub sent: u64,
    /// Whether there was a file for them.
    pub written: bool,
}

impl Summary {
    pub(super) fn new(
        config: &Config,
        figures: &Figures,
        arrivals: &Arrivals,
        sent: &[Sent],
    ) -> Self {
        let workers = || figures.workers().iter();
        let sum = |pick: fn(&WorkerCounters) -> &Counter| -> u64 {
            workers().map(|worker| pick(worker).value()).sum()
        };
        let opened = |worker: &WorkerCounters| -> u64 {
            worker.servers().iter().map(|server| server.conns.value()).sum()
        };
        let nics = config.nics.iter().zip(sent).map(|(nic, sent)| NicSummary {
            name: nic.name.clone(),
            sent: sent.frames,
            written: sent.written,
        });
        let dropped = DropReason::ALL.iter().map(|reason| (*reason, figures.dropped(*reason)));
        Self {
            received: sum(|worker| &worker.frames.received),
            nics: nics.collect(),
            punted: sum(|worker| &worker.frames.punted),
            dropped: dropped.filter(|(_, count)| *count != 0).collect(),
            handed_off: sum(|worker| &worker.frames.handed_off),
            opened: workers().map(|worker| opened(worker)).sum(),
            expired: sum(|worker| &worker.expired),
            live: sum(|worker| &worker.connections),
            cut_short: arrivals.cut_short,
            out_of_order: arrivals.out_of_order,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "received          {}", self.received)?;
        for nic in &self.nics {
            let note = if nic.written { "" } else { ", to no file" };
            writeln!(f, "sent by {:<9} {}{note}", nic.name, nic.sent)?;
        }
        writeln!(f, "for the host      {}", self.punted)?;
        let dropped: u64 = self.dropped.iter().map(|(_, count)| count).sum();
        writeln!(f, "dropped           {dropped}")?;
        for (reason, count) in &self.dropped {
            writeln!(f, "  {:<15} {count}  {}", reason.name(), reason.meaning())?;
        }
        writeln!(f, "between workers   {}", self.handed_off)?;
        writeln!(
            f,
            "connections       {} opened, {} expired, {} live",
            self.opened, self.expired, self.live
        )?;
        if self.cut_short != 0 {
            writeln!(
                f,
                "left out          {} cut short by the capture; `tcpdump -s 0` takes whole frames",
                self.cut_short
            )?;
        }
        if self.out_of_order != 0 {
            writeln!(
                f,
                "out of order      {} earlier than the frame before; `reordercap` sorts a capture",
                self.out_of_order
            )?;
        }
        Ok(())
    }
}
