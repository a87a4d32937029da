// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread between the rings of the workers and the host interfaces.
//!
//! Workers never touch a tap, and never wake this thread: it looks at its rings as often as the
//! traffic of late suggests, and waits on the taps in between. Frames of the host go by ring to the
//! worker that sends for the NIC, so that all that leaves by a NIC is counted in one place.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dpdk::{Burst, Consumer, Mbuf, Pool, Producer};
use lb::counters::Counter;
use lb::ids::NicId;
use lb::network::NicFacts;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::warn;
use wire::Frame;

use crate::host::HostInterface;

/// Frames taken from a ring or a tap before the next one's turn.
const FRAMES_PER_TURN: usize = 32;
/// The longest frame: an IP packet of 64 KiB with its Ethernet header.
const FRAME_MAX: usize = 65_536 + 18;
/// How long to wait between two looks at the rings: at first, and at most.
const WAIT_MIN: Duration = Duration::from_micros(50);
const WAIT_MAX: Duration = Duration::from_millis(1);
/// How long to wait after a deleted interface could not be made anew.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Frames between the host interfaces and the workers.
#[derive(Debug, Default)]
pub struct HostCounters {
    /// Given to a host interface.
    pub to_host: Counter,
    /// Not taken by a host interface: it is down, or its queue is full.
    pub to_host_refused: Counter,
    /// Taken from a host interface and given to a worker.
    pub from_host: Counter,
    /// Taken from a host interface and lost: no buffer was left, or the worker's ring was full.
    pub from_host_lost: Counter,
}

/// A NIC's host interface, and the worker that sends for it.
pub struct HostPort {
    /// The NIC.
    pub nic: NicId,
    /// What the host interface must have.
    pub facts: NicFacts,
    /// The host interface.
    pub interface: HostInterface,
    /// The ring of the worker that sends the host's frames.
    pub to_worker: Producer,
    /// When to try again to make a deleted interface anew.
    pub retry_at: Option<Instant>,
}

impl HostPort {
    /// Makes the host interface anew, which somebody deleted; not too often.
    fn reopen(&mut self) {
        if self.retry_at.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let name = self.interface.name().to_owned();
        match HostInterface::open(&name, self.facts.mac, self.facts.mtu) {
            Ok(interface) => {
                warn!("host interface {name} was deleted, with its addresses; it is there again");
                self.interface = interface;
            }
            Err(error) => {
                warn!("host interface {name} was deleted and cannot be made anew: {error}");
                self.retry_at = Some(Instant::now() + REOPEN_EVERY);
            }
        }
    }
}

/// Everything the thread works on.
pub struct HostThread {
    /// Frames that must not be lost.
    pub vital: Consumer,
    /// Other frames.
    pub other: Consumer,
    /// Host interfaces.
    pub ports: Vec<HostPort>,
    /// Buffers for the host's frames.
    pub pool: Pool,
    /// What it counts.
    pub counters: Arc<HostCounters>,
}

impl HostThread {
    /// Carries frames until `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut buffer = vec![0; FRAME_MAX];
        let mut wait = WAIT_MIN;
        while !stop.load(Ordering::Relaxed) {
            let carried = self.carry_to_host(&mut buffer) + self.carry_from_host(&mut buffer);
            wait = if carried > 0 { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
            if carried < FRAMES_PER_TURN {
                self.wait(wait);
            }
        }
    }

    fn carry_to_host(&mut self, buffer: &mut [u8]) -> usize {
        let mut burst = Burst::new();
        let mut carried = self.vital.dequeue(&mut burst, FRAMES_PER_TURN);
        carried += self.other.dequeue(&mut burst, FRAMES_PER_TURN);
        for frame in burst.drain() {
            let nic = NicId(frame.nic().index());
            let port = self.ports.iter().find(|port| port.nic == nic);
            let given =
                port.is_some_and(|port| port.interface.write_frame(whole(&frame, buffer)).is_ok());
            let counters = &self.counters;
            if given { &counters.to_host } else { &counters.to_host_refused }.add(1);
        }
        carried
    }

    fn carry_from_host(&mut self, buffer: &mut [u8]) -> usize {
        let mut carried = 0;
        for port in &mut self.ports {
            let mut burst = Burst::new();
            for _ in 0..FRAMES_PER_TURN {
                let length = match port.interface.read_frame(buffer) {
                    Ok(Some(length)) => length,
                    Ok(None) => break,
                    Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {
                        port.reopen();
                        break;
                    }
                    Err(_) => break,
                };
                carried += 1;
                let bytes = buffer.get(..length).unwrap_or_default();
                match self.pool.alloc_from(bytes) {
                    Some(mut frame) => {
                        frame.set_nic(dpdk::NicId::new(port.nic.0));
                        // The burst holds more than a turn's frames.
                        let _ = burst.push(frame);
                    }
                    None => self.counters.from_host_lost.add(1),
                }
            }
            let accepted = port.to_worker.enqueue(&mut burst);
            self.counters.from_host.add(accepted as u64);
            self.counters.from_host_lost.add(burst.len() as u64);
        }
        carried
    }

    fn wait(&self, time: Duration) {
        let mut fds: Vec<PollFd<'_>> = self
            .ports
            .iter()
            .map(|port| PollFd::from_borrowed_fd(descriptor(&port.interface), PollFlags::IN))
            .collect();
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        // A signal may end the wait early; the rings are looked at either way.
        let _ = poll(&mut fds, Some(&time));
    }
}

fn descriptor(interface: &HostInterface) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(interface)
}

/// The bytes of a frame: in place, or gathered in `buffer` if it is a chain.
fn whole<'a>(frame: &'a Mbuf, buffer: &'a mut [u8]) -> &'a [u8] {
    if frame.segment_count() == 1 {
        return frame.head();
    }
    let mut length = 0;
    for segment in frame.segments() {
        let Some(to) = buffer.get_mut(length..length + segment.len()) else { break };
        to.copy_from_slice(segment);
        length += segment.len();
    }
    buffer.get(..length).unwrap_or_default()
}
