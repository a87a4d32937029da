// SPDX-License-Identifier: MIT OR Apache-2.0
//! One of our NICs: what comes by it is counted, answered or ignored.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use dpdk::{BURST_MAX, Burst, Mbuf, Nic, Pool, RxQueue, TxQueue};
use wire::{Frame, Mac, eth};

use super::arrivals::Arrivals;
use super::books::{Books, Times};
use super::neighbours::{Station, told};
use super::reflect::reflect;
use super::stage::Stage;
use super::stamp::Stamp;

/// Time between two questions for a neighbour.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Time after which a neighbour that does not answer is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is done with frames that come by a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// They are what was sent, and are counted.
    Count,
    /// They are requests, and go back as answers.
    Reflect,
    /// They are nothing; questions for neighbours are answered, as they are in all roles.
    Watch,
}

/// An open NIC with one queue each way.
#[derive(Debug)]
pub struct End {
    /// Its address and those that it plays.
    pub station: Station,
    role: Role,
    /// One of so many frames is verified.
    verify_every: u64,
    rx: RxQueue,
    tx: TxQueue,
    nic: Nic,
    pool: Pool,
    received: Burst,
    answers: Burst,
}

/// What counting needs beside the books.
pub struct Counting {
    arrivals: Arrivals,
    /// Times on the way.
    pub times: Times,
}

impl Counting {
    /// For a stage.
    #[must_use]
    pub fn new(stage: &Stage) -> Self {
        Self { arrivals: Arrivals::new(stage.flows, stage.first), times: Times::default() }
    }
}

impl End {
    /// A NIC in its role.
    #[must_use]
    pub fn new(
        (nic, rx, tx, pool): (Nic, RxQueue, TxQueue, Pool),
        station: Station,
        role: Role,
        verify_every: u64,
    ) -> Self {
        let (received, answers) = (Burst::new(), Burst::new());
        Self { station, role, verify_every, rx, tx, nic, pool, received, answers }
    }

    /// Frames that our NIC could not give us: we were too slow for it.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.nic.stats().map_or(0, |stats| stats.rx_missed + stats.rx_no_mbuf)
    }

    /// A frame with the bytes of a template; none if the pool is empty for now.
    #[must_use]
    pub fn blank(&self, template: &[u8]) -> Option<Mbuf> {
        let mut frame = self.pool.alloc()?;
        frame.append(template).then_some(frame)
    }

    /// Sends from the front of a burst what the NIC takes; returns how many frames that is.
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        if burst.is_empty() { 0 } else { self.tx.send(burst) }
    }

    /// Takes what has come, and does with it what the role says; returns how many frames came.
    pub fn receive(&mut self, stage: &Stage, counting: &mut Counting, now: u64) -> usize {
        let Self { station, role, verify_every, rx, pool, received, answers, .. } = self;
        // Answers that the NIC has no room for yet hold up what comes behind them.
        let room = BURST_MAX - answers.len();
        let came = if room > 0 { rx.receive(received, room) } else { 0 };
        for mut frame in received.drain() {
            let is_taken = match role {
                Role::Count => count(&frame, stage, counting, now, *verify_every),
                Role::Reflect => is_whole(&frame) && reflect(frame.head_mut(), station.mac),
                Role::Watch => false,
            };
            if is_taken && *role == Role::Reflect {
                // There is room: no more came than it has.
                let pushed = answers.push(frame);
                debug_assert!(pushed.is_ok(), "no more came than there is room for");
                stage.books.reflected.add(1);
            } else if !is_taken {
                match station.answer(frame.head()).and_then(|bytes| pool.alloc_from(&bytes)) {
                    Some(answer) => drop(answers.push(answer)),
                    None if is_ip(frame.head()) => stage.books.foreign.add(1),
                    None => {}
                }
            }
        }
        came
    }

    /// Sends answers to what came, as far as the NIC takes them.
    pub fn answer(&mut self) {
        if !self.answers.is_empty() {
            self.tx.send(&mut self.answers);
        }
    }

    /// Gives up answers that the NIC did not take, and counts them.
    pub fn give_up(&mut self, books: &Books) {
        books.unanswered.add(self.answers.len() as u64);
        self.answers.clear();
    }

    /// Asks who has an address, and waits for the answer; none if nobody says so for a while.
    pub fn find(&mut self, from: IpAddr, target: IpAddr) -> Option<Mac> {
        let begun = Instant::now();
        let mut asked: Option<Instant> = None;
        while begun.elapsed() < PATIENCE {
            if asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN) {
                asked = Some(Instant::now());
                let question = self.pool.alloc_from(&self.station.ask(from, target))?;
                drop(self.answers.push(question));
            }
            self.answer();
            self.rx.receive(&mut self.received, BURST_MAX);
            for frame in self.received.drain() {
                if let Some(mac) = told(frame.head(), target) {
                    return Some(mac);
                }
                let answer = self.station.answer(frame.head());
                if let Some(answer) = answer.and_then(|bytes| self.pool.alloc_from(&bytes)) {
                    drop(self.answers.push(answer));
                }
            }
            sleep(Duration::from_millis(1));
        }
        None
    }

    /// Whether the NIC has a link; one that cannot say has.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.nic.link().is_ok_and(|link| link.up)
    }
}

/// Counts a frame that has a stamp of this run; false for any other.
fn count(
    frame: &Mbuf,
    stage: &Stage,
    counting: &mut Counting,
    now: u64,
    verify_every: u64,
) -> bool {
    let Some(stamp) = Stamp::read(frame.head()) else {
        return false;
    };
    if stamp.marker != stage.marker {
        return false;
    }
    let arrival = counting.arrivals.note(stamp.number, stage.next());
    if stage.books.note(arrival, frame.len() as u64) {
        counting.times.note(stamp.age_ns(now));
    }
    if stamp.number.is_multiple_of(verify_every) && is_whole(frame) {
        stage.books.verified.add(1);
        stage.books.bad_checksums.add(wire::verify(frame.head()).is_err().into());
    }
    true
}

/// Whether all of a frame can be read.
fn is_whole(frame: &Mbuf) -> bool {
    frame.head().len() == frame.len()
}

fn is_ip(frame: &[u8]) -> bool {
    let ethertype = frame.get(12..14).and_then(|field| field.first_chunk::<2>());
    ethertype.is_some_and(|field| [eth::IPV4, eth::IPV6].contains(&u16::from_be_bytes(*field)))
}
