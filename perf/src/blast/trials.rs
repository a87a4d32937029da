// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole run: NICs, the director's address, opening, and one trial or a search.

use std::process;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use dpdk::{Cpu, Eal};
use wire::Mac;

use super::books::{Summary, Times};
use super::end::{End, Role};
use super::flows::{Addresses, Flows};
use super::frames::{Frames, Kind};
use super::neighbours::Station;
use super::nics;
use super::options::{Options, OptionsError, Protocol, Target};
use super::rate::{Rate, wire_bits};
use super::report::Report;
use super::search::Search;
use super::settle::{LOOK, Settling};
use super::stage::{Load, Sender, Stage, Until, now_ns};
use crate::row::Failure;
use crate::traffic::Segment;

/// How long a link may take to come up.
const LINK_PATIENCE: Duration = Duration::from_secs(10);
/// Time between two lines of a trial.
const LINE: Duration = Duration::from_secs(1);

/// Why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    /// The command line.
    #[error("{0}")]
    Options(#[from] OptionsError),
    /// A device or DPDK.
    #[error("{device}: {failure}")]
    Device {
        /// As it was named.
        device: String,
        /// What is wrong.
        failure: Failure,
    },
    /// Nobody has the VIP.
    #[error(
        "nobody says on --wan who has {0}; give the director's address with --dst-mac, or see \
         whether the director is up and the VIP on its interface"
    )]
    NoDirector(std::net::IpAddr),
    /// A thread of ours.
    #[error("{0}")]
    Thread(Failure),
    /// The result could not be written.
    #[error("{0}")]
    File(Failure),
}

impl From<dpdk::EalError> for BlastError {
    fn from(error: dpdk::EalError) -> Self {
        Self::Thread(error.into())
    }
}

/// A run under way.
pub struct Run<'a> {
    options: &'a Options,
    eal: Eal,
    marker: u16,
    wan: Option<Playing>,
    lan: Option<Playing>,
    /// Number of the next frame.
    number: u64,
    report: Report,
}

/// A NIC, and what it sends.
struct Playing {
    end: End,
    sender: Option<Sender>,
    cpu: Option<Cpu>,
}

/// Does what the command line says; the report says what came of it.
///
/// # Errors
/// It could not be done.
pub fn run(options: &Options) -> Result<Report, BlastError> {
    let target = options.target()?;
    let devices: Vec<&str> =
        [&options.wan, &options.lan].into_iter().flatten().map(String::as_str).collect();
    let eal = nics::start(&devices, options.pages, &options.eal);
    let eal = eal.map_err(|failure| BlastError::Device { device: devices.join(" "), failure })?;
    let mut run = Run::new(options, eal, target.as_ref())?;
    run.await_links();
    match &target {
        Some(target) => run.load(target)?,
        None => run.serve()?,
    }
    Ok(run.report)
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, eal: Eal, target: Option<&Target>) -> Result<Self, BlastError> {
        let mut clients: Vec<Addresses> = target.map(|target| target.clients).into_iter().collect();
        clients.extend(options.router.map(|router| Addresses::new(router, 1)));
        let (wan_role, lan_role) = match (&options.lan, options.reflect) {
            (None, _) | (_, true) => (Role::Count, Role::Reflect),
            (Some(_), false) => (Role::Watch, Role::Count),
        };
        if options.lan.is_none() {
            clients.extend(&options.server);
        }
        let open = |device: &Option<String>, own: Vec<Addresses>, role, place: usize| {
            let Some(device) = device else { return Ok(None) };
            let cpu = options.cpus.get(place).map(|cpu| Cpu(*cpu));
            let opened = nics::open(&eal, device);
            let mac = opened.and_then(|opened| Ok((opened.0.mac()?, opened)));
            match mac {
                Ok((mac, opened)) => {
                    let end = End::new(opened, Station { mac, own }, role, options.verify);
                    Ok(Some(Playing { end, sender: None, cpu }))
                }
                Err(failure) => Err(BlastError::Device { device: device.clone(), failure }),
            }
        };
        let wan = open(&options.wan, clients, wan_role, 0)?;
        let lan_place = usize::from(options.wan.is_some());
        let lan = open(&options.lan, options.server.clone(), lan_role, lan_place)?;
        let marker = (u64::from(process::id()) ^ now_ns() >> 10) as u16;
        Ok(Self { options, eal, marker, wan, lan, number: 0, report: Report::default() })
    }

    /// Waits a while for links; one that stays down may be one that cannot say.
    fn await_links(&self) {
        let begun = Instant::now();
        for (name, playing) in [("wan", &self.wan), ("lan", &self.lan)] {
            let Some(playing) = playing else { continue };
            while !playing.end.is_linked() && begun.elapsed() < LINK_PATIENCE {
                sleep(LOOK);
            }
            if !playing.end.is_linked() {
                eprintln!("pointsman-blast: no link on --{name} yet; going on");
            }
        }
    }

    /// Plays servers for a time.
    fn serve(&mut self) -> Result<(), BlastError> {
        let flows = Flows::nobody();
        let rate = Rate::Frames(1.0);
        let load = Load { segment: Segment::Data, rate, until: Until::Frames(0) };
        let stage = Arc::new(self.stage(flows, load));
        let began = Instant::now();
        let seconds = Duration::from_secs_f64(self.options.seconds.unwrap_or(1.0));
        let (_, summary) = self.play(&stage, 0.0, |_| began.elapsed() >= seconds)?;
        self.report.servers(summary);
        Ok(())
    }

    fn load(&mut self, target: &Target) -> Result<(), BlastError> {
        let mac = self.director(target)?;
        let Some(wan) = &mut self.wan else { return Ok(()) };
        let kind = Kind {
            family: target.flows.family(),
            protocol: self.options.protocol.l4(),
            src: wan.end.station.mac,
            dst: mac,
        };
        let frames = Frames::new(kind, &self.options.size);
        self.report.load(self.options, target, &frames, mac);
        let mean = frames.mean_bytes();
        wan.sender = Some(Sender::new(frames));
        self.open(target)?;
        let segment = match self.options.protocol {
            Protocol::Syn => Segment::Open,
            Protocol::Udp | Protocol::Tcp => Segment::Data,
        };
        if self.options.rfc2544 {
            self.search(target, segment, mean)
        } else {
            let until = match (self.options.packets, self.options.seconds) {
                (Some(frames), _) => Until::Frames(frames),
                (None, seconds) => Until::Nanoseconds((seconds.unwrap_or(1.0) * 1e9) as u64),
            };
            let load = Load { segment, rate: target.rate, until };
            let summary = self.trial(target.flows, load, mean)?;
            self.report.trial(target.rate, summary);
            Ok(())
        }
    }

    /// Where frames for the VIPs are to be sent.
    fn director(&mut self, target: &Target) -> Result<Mac, BlastError> {
        if let Some(mac) = self.options.dst_mac {
            return Ok(mac);
        }
        let from = self.options.router.unwrap_or(target.clients.first());
        let vip = target.vips.first();
        let found = self.wan.as_mut().and_then(|wan| wan.end.find(from, vip));
        found.ok_or(BlastError::NoDirector(vip))
    }

    /// Opens each flow once: TCP by SYN and ACK, and before a search UDP by its first datagram.
    fn open(&mut self, target: &Target) -> Result<(), BlastError> {
        let segments: &[Segment] = match self.options.protocol {
            Protocol::Tcp => &[Segment::Open, Segment::Data],
            Protocol::Udp if self.options.rfc2544 => &[Segment::Data],
            Protocol::Udp | Protocol::Syn => &[],
        };
        for segment in segments {
            let until = Until::Frames(target.flows.count().into());
            let load = Load { segment: *segment, rate: self.options.open_rate, until };
            let summary = self.trial(target.flows, load, 60.0)?;
            self.report.opening(*segment, summary);
        }
        Ok(())
    }

    fn search(&mut self, target: &Target, segment: Segment, mean: f64) -> Result<(), BlastError> {
        let mut search = Search::new(self.options.resolution / 100.0);
        let until = Until::Nanoseconds((self.options.trial * 1e9) as u64);
        while let Some(share) = search.next() {
            let rate = target.rate.times(share);
            let summary = self.trial(target.flows, Load { segment, rate, until }, mean)?;
            search.note(share, summary.is_whole());
            self.report.trial(rate, summary);
        }
        self.report.found(search.passed() > 0.0);
        Ok(())
    }

    /// Sends, waits for late frames, and counts.
    fn trial(&mut self, flows: Flows, load: Load, mean: f64) -> Result<Summary, BlastError> {
        let stage = Arc::new(self.stage(flows, load));
        let mut settling = Settling::new(Duration::from_secs_f64(self.options.settle));
        let mut looked = Instant::now();
        let (times, mut summary) = self.play(&stage, mean, |stage| {
            let passed = looked.elapsed();
            looked += passed;
            let (sent, received) = (stage.books.sent.value(), stage.books.received.value());
            stage.is_all_sent() && settling.look(passed, sent, received)
        })?;
        self.number = stage.next();
        summary.asked_pps = load.rate.frames_per_s(mean);
        summary.way = times.way();
        Ok(summary)
    }

    fn stage(&self, flows: Flows, load: Load) -> Stage {
        let idle_us = self.options.idle_us;
        let pause = (idle_us > 0).then(|| Duration::from_micros(idle_us));
        Stage::new(self.marker, flows, load, self.number, pause)
    }

    /// Runs the NICs' threads until `is_over`, with a line per second.
    fn play(
        &mut self,
        stage: &Arc<Stage>,
        mean: f64,
        mut is_over: impl FnMut(&Stage) -> bool,
    ) -> Result<(Times, Summary), BlastError> {
        let missed = self.missed();
        let mut threads = Vec::new();
        for (name, playing) in [("lan", self.lan.take()), ("wan", self.wan.take())] {
            let Some(mut playing) = playing else { continue };
            let (stage, cpu) = (Arc::clone(stage), playing.cpu);
            let thread = self.eal.spawn(name, cpu, move |_| {
                let times = stage.run(&mut playing.end, playing.sender.as_mut());
                (playing, times)
            })?;
            threads.push((name, thread));
        }
        let mut lines = self.report.lines(self.options.quiet);
        let mut line_at = Instant::now() + LINE;
        while !is_over(stage) {
            sleep(LOOK);
            if Instant::now() >= line_at {
                lines.next(&stage.books, LINE);
                line_at += LINE;
            }
        }
        stage.end();
        let mut counted = Times::default();
        for (name, thread) in threads {
            let joined = thread.join().map_err(|_| BlastError::Thread(Failure::Thread))?;
            let (playing, times) = joined;
            if times.way().is_some() {
                counted = times;
            }
            *(if name == "wan" { &mut self.wan } else { &mut self.lan }) = Some(playing);
        }
        let mut summary = summary(stage, mean);
        summary.our_losses += self.missed() - missed;
        Ok((counted, summary))
    }

    fn missed(&self) -> u64 {
        [&self.wan, &self.lan].into_iter().flatten().map(|playing| playing.end.missed()).sum()
    }
}

fn summary(stage: &Stage, mean: f64) -> Summary {
    let books = &stage.books;
    let (sent, received) = (books.sent.value(), books.received.value());
    let seconds = stage.sending_ns() as f64 / 1e9;
    let sent_pps = if seconds > 0.0 { sent as f64 / seconds } else { 0.0 };
    let bytes = if sent > 0 { books.sent_bytes.value() as f64 / sent as f64 } else { mean };
    Summary {
        sent_pps,
        sent_bits_per_s: sent_pps * wire_bits(bytes),
        seconds,
        sent,
        received,
        lost: sent.saturating_sub(received),
        duplicated: books.duplicated.value(),
        out_of_order: books.out_of_order.value(),
        too_late: books.too_late.value(),
        foreign: books.foreign.value(),
        verified: books.verified.value(),
        bad_checksums: books.bad_checksums.value(),
        reflected: books.reflected.value(),
        our_losses: books.unanswered.value(),
        ..Summary::default()
    }
}
