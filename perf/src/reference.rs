// SPDX-License-Identifier: MIT OR Apache-2.0
//! What forwarding costs without balancing: the loops `io` and `5tswap` of testpmd.
//!
//! `io` moves bursts and looks at nothing. `5tswap` swaps link-layer addresses, IP addresses and
//! ports (app/test-pmd/5tswap.c), for which no checksum changes: the least that any layer 4 device
//! does to a packet. Both take the frames that the subject takes, from the same kind of source.

use std::sync::Arc;

use dpdk::{Burst, Mbuf, RxQueue, TxQueue};
use wire::csum::Delta;
use wire::{Eth, Frame, Ipv4, Ipv6, Tcp, TcpFlags, eth};
use zerocopy::FromBytes;

use crate::cost::Lap;
use crate::row::Failure;
use crate::stand::{BenchEnds, Blanks, LoopEnds, Wire};
use crate::traffic::{Segment, Traffic};

/// Frames that the source gives at once: as many as the product takes.
pub const BURST: usize = lb::limits::BATCH;
/// Frames that a reference loop takes at once, as testpmd does unless told otherwise.
pub const REFERENCE_BURST: usize = 32;

const _: () = assert!(BURST.is_multiple_of(REFERENCE_BURST));

/// What the loop does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Io,
    /// Swaps addresses and ports.
    FiveTupleSwap,
}

/// A burst received, worked on and sent.
pub fn forward(rx: &mut RxQueue, tx: &mut TxQueue, burst: &mut Burst, work: Work) -> usize {
    let received = rx.receive(burst, REFERENCE_BURST);
    if work == Work::FiveTupleSwap {
        for frame in burst.as_mut_slice() {
            swap(frame);
        }
    }
    tx.send(burst);
    burst.clear();
    received
}

/// A reference loop between the bench's source and sink; no two share a cache line, nor a pair of
/// lines.
#[repr(align(128))]
pub struct Reference {
    ends: LoopEnds,
    bench: BenchEnds,
    blanks: Blanks,
    traffic: Arc<Traffic>,
    next: usize,
    work: Work,
    frames: Burst,
    burst: Burst,
    fed: u64,
    left: u64,
}

impl Reference {
    /// A loop over a traffic's frames.
    pub fn new((ends, bench): Wire, blanks: Blanks, traffic: Arc<Traffic>, work: Work) -> Self {
        Self {
            ends,
            bench,
            blanks,
            traffic,
            next: 0,
            work,
            frames: Burst::new(),
            burst: Burst::new(),
            fed: 0,
            left: 0,
        }
    }

    /// Gives back what it was made of.
    pub fn into_ends(self) -> (Wire, Blanks) {
        ((self.ends, self.bench), self.blanks)
    }

    /// Gives the loop a burst.
    ///
    /// # Errors
    /// The pool is empty, or the loop left frames there.
    #[inline]
    pub fn feed(&mut self) -> Result<(), Failure> {
        self.blanks.take(&mut self.frames, BURST)?;
        let frames = self.frames.as_mut_slice();
        self.next = self.traffic.fill(self.next, frames, Segment::Data)?;
        self.bench.feed(&mut self.frames)
    }

    /// As many turns of the loop as a burst of the source takes; returns how many frames they
    /// forwarded.
    #[inline]
    pub fn forward(&mut self) -> u64 {
        let LoopEnds { rx, tx } = &mut self.ends;
        let mut turn = || forward(rx, tx, &mut self.burst, self.work) as u64;
        let forwarded = (0..BURST / REFERENCE_BURST).map(|_| turn()).sum();
        self.fed += forwarded;
        forwarded
    }

    /// Takes and frees what the loop sent.
    #[inline]
    pub fn drain(&mut self) {
        self.left += self.bench.drain(&mut self.burst, |_| ());
    }

    /// Does other work from now on.
    pub fn set_work(&mut self, work: Work) {
        self.work = work;
    }
}

impl Lap for Reference {
    fn lap(&mut self) -> Result<u64, Failure> {
        self.feed()?;
        let forwarded = self.forward();
        self.drain();
        Ok(forwarded)
    }

    fn check(&mut self) -> Result<(), Failure> {
        let (fed, left) = (std::mem::take(&mut self.fed), std::mem::take(&mut self.left));
        let drops = "in the reference loop".to_owned();
        if fed == left { Ok(()) } else { Err(Failure::Lost { fed, left, drops }) }
    }
}

/// Makes what a server received its answer: SYN and FIN are answered by the same with ACK.
///
/// Returns whether there is an answer.
pub fn answer(frame: &mut Mbuf) -> bool {
    swap(frame);
    let head = frame.head_mut();
    let at = if head.get(12..14) == Some(&eth::IPV6.to_be_bytes()) { 54 } else { 34 };
    let Some((tcp, _)) = head.get_mut(at..).and_then(|l4| Tcp::mut_from_prefix(l4).ok()) else {
        return false;
    };
    let before = [tcp.data_offset, tcp.flags.0];
    tcp.flags = tcp.flags | TcpFlags::ACK;
    tcp.csum = Delta::between(&before, &[tcp.data_offset, tcp.flags.0]).apply(tcp.csum);
    tcp.flags.syn() || tcp.flags.fin()
}

/// Swaps source and destination on all three layers.
#[inline]
pub fn swap(frame: &mut Mbuf) {
    let Ok((ethernet, l3)) = Eth::mut_from_prefix(frame.head_mut()) else {
        return;
    };
    std::mem::swap(&mut ethernet.dst, &mut ethernet.src);
    let l4 = match ethernet.ethertype.get() {
        eth::IPV4 => {
            let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) else {
                return;
            };
            std::mem::swap(&mut ip.dst, &mut ip.src);
            let (header_len, protocol) = (ip.header_len(), ip.protocol);
            l3.get_mut(header_len..).filter(|_| has_ports(protocol))
        }
        eth::IPV6 => {
            let Ok((ip, l4)) = Ipv6::mut_from_prefix(l3) else {
                return;
            };
            std::mem::swap(&mut ip.dst, &mut ip.src);
            Some(l4).filter(|_| has_ports(ip.next_header))
        }
        _ => None,
    };
    if let Some([a, b, c, d]) = l4.and_then(|l4| l4.first_chunk_mut()) {
        std::mem::swap(a, c);
        std::mem::swap(b, d);
    }
}

fn has_ports(protocol: u8) -> bool {
    protocol == 6 || protocol == 17
}
