// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of many flows, kept as what differs between them.
//!
//! A flow takes 16 bytes (IPv6: 38): addresses, ports and checksums. A frame is a template of
//! headers with a flow laid over it. So ten million flows stream through the cache a quarter line
//! each, and what is measured are the balancer's cache misses, not the generator's. Every checksum
//! is right.

use std::net::{IpAddr, SocketAddr};

use dpdk::Mbuf;
use wire::csum::Delta;
use wire::{FamilyId, Frame, L4, Mac, TcpFlags, build};
use zerocopy::network_endian::U16;

use crate::row::Failure;

/// From whom to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The sender.
    pub src: SocketAddr,
    /// The receiver.
    pub dst: SocketAddr,
}

/// What TCP says; UDP says the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// ACK: what established connections send.
    Data,
    /// SYN.
    Open,
    /// FIN and ACK.
    Close,
}

impl Segment {
    const ALL: [Self; 3] = [Self::Data, Self::Open, Self::Close];

    fn flags(self) -> TcpFlags {
        match self {
            Self::Data => TcpFlags::ACK,
            Self::Open => TcpFlags::SYN,
            Self::Close => TcpFlags::FIN | TcpFlags::ACK,
        }
    }
}

/// What all flows of a [`Traffic`] have in common.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// Address family.
    pub family: FamilyId,
    /// Transport protocol.
    pub protocol: L4,
    /// The NIC that frames are sent to.
    pub to: Mac,
    /// Bytes of the frames, FCS apart, in turn; raised to what the headers need.
    pub sizes: &'a [u16],
}

/// Flows of one kind, and the templates of their frames.
#[derive(Debug)]
pub enum Traffic {
    /// Over IPv4.
    V4(Compact<54, 14>),
    /// Over IPv6.
    V6(Compact<74, 36>),
}

/// Calls the same method of either kind.
macro_rules! either {
    ($traffic:expr, $compact:ident => $call:expr) => {
        match $traffic {
            Traffic::V4($compact) => $call,
            Traffic::V6($compact) => $call,
        }
    };
}

impl Traffic {
    /// No flows yet.
    pub fn new(kind: Kind<'_>) -> Self {
        match kind.family {
            FamilyId::V4 => Self::V4(Compact::new(kind)),
            FamilyId::V6 => Self::V6(Compact::new(kind)),
        }
    }

    /// Adds a flow.
    pub fn push(&mut self, flow: Flow) {
        either!(self, compact => compact.push(flow));
    }

    /// Number of flows.
    pub fn len(&self) -> usize {
        either!(self, compact => compact.records.len())
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the longest frame.
    pub fn frame_bytes(&self) -> u16 {
        either!(self, compact => compact.frame_bytes())
    }

    /// Puts the flows into an order that has nothing to do with theirs: another for each seed.
    pub fn shuffle(&mut self, seed: u64) {
        either!(self, compact => compact.shuffle(seed));
    }

    /// Makes blank frames those of the flows from `from` on, in turn; returns where to go on.
    ///
    /// # Errors
    /// A frame is too short for the headers.
    pub fn fill(
        &self,
        from: usize,
        frames: &mut [Mbuf],
        segment: Segment,
    ) -> Result<usize, Failure> {
        either!(self, compact => compact.fill(from, frames, segment))
    }
}

/// Flows whose headers are `HEAD` bytes up to the end of TCP's, of which `SPAN` differ: checksum of
/// IPv4, addresses and ports, one after the other.
#[derive(Debug)]
pub struct Compact<const HEAD: usize, const SPAN: usize> {
    /// By segment, then in the order of sizes.
    templates: [Vec<Template<HEAD>>; 3],
    records: Vec<Record<SPAN>>,
    /// Where the checksum of TCP or UDP is.
    csum_at: usize,
    protocol: L4,
}

#[derive(Clone, Debug)]
struct Template<const HEAD: usize> {
    head: [u8; HEAD],
    len: u16,
    /// From the first template's checksums to this one's.
    ip: Delta,
    l4: Delta,
}

#[derive(Clone, Copy, Debug)]
struct Record<const SPAN: usize> {
    span: [u8; SPAN],
    l4: [u8; 2],
}

/// Bytes behind the ports in a TCP header.
const BEHIND_PORTS: usize = 16;

impl<const HEAD: usize, const SPAN: usize> Compact<HEAD, SPAN> {
    const SPAN_AT: usize = HEAD - BEHIND_PORTS - SPAN;
    const IP_CSUM: bool = SPAN == 14;

    fn new(kind: Kind<'_>) -> Self {
        let csum_at = HEAD - if kind.protocol == L4::Tcp { 4 } else { 14 };
        let mut traffic = Self {
            templates: Default::default(),
            records: Vec::new(),
            csum_at,
            protocol: kind.protocol,
        };
        let nobody: SocketAddr = match kind.family {
            FamilyId::V4 => ([0, 0, 0, 0], 0).into(),
            FamilyId::V6 => ([0; 8], 0).into(),
        };
        let flow = Flow { src: nobody, dst: nobody };
        for (segment, templates) in Segment::ALL.into_iter().zip(&mut traffic.templates) {
            for size in kind.sizes {
                let len = usize::from(*size).max(HEAD);
                templates.push(Template::new(kind, flow, segment, len));
            }
        }
        let first = traffic.templates[0][0].clone();
        for template in traffic.templates.iter_mut().flatten() {
            // A checksum is the complement of the sum that changes.
            let sum = |of: &Template<HEAD>, at| csum(of, at).map(|byte: u8| !byte);
            let change = |at| Delta::between(&sum(&first, at), &sum(template, at));
            let ip = if Self::IP_CSUM { change(Self::SPAN_AT) } else { Delta::NONE };
            (template.l4, template.ip) = (change(csum_at), ip);
        }
        traffic
    }

    fn push(&mut self, flow: Flow) {
        let first = &self.templates[0][0];
        let mut span = [0; SPAN];
        let csum_bytes = if Self::IP_CSUM { 2 } else { 0 };
        let addresses = &mut span[csum_bytes..];
        let half = (addresses.len() - 4) / 2;
        put_address(&mut addresses[..half], flow.src.ip());
        put_address(&mut addresses[half..2 * half], flow.dst.ip());
        addresses[2 * half..2 * half + 2].copy_from_slice(&flow.src.port().to_be_bytes());
        addresses[2 * half + 2..].copy_from_slice(&flow.dst.port().to_be_bytes());
        let before = &first.head[Self::SPAN_AT + csum_bytes..HEAD - BEHIND_PORTS];
        let l4 = Delta::between(before, &span[csum_bytes..]);
        if Self::IP_CSUM {
            let end = SPAN - 4;
            let ip = Delta::between(&before[..end - 2], &span[2..end]);
            let csum = ip.apply(U16::from_bytes(csum(first, Self::SPAN_AT)));
            span[..2].copy_from_slice(&csum.to_bytes());
        }
        let old = U16::from_bytes(csum(first, self.csum_at));
        let l4 = match self.protocol {
            L4::Tcp => l4.apply(old),
            L4::Udp => l4.apply_udp(old),
            // Only the ports count, which the packets of a flow share.
            L4::Sctp => old,
        };
        self.records.push(Record { span, l4: l4.to_bytes() });
    }

    fn frame_bytes(&self) -> u16 {
        self.templates[0].iter().map(|template| template.len).max().unwrap_or(0)
    }

    fn shuffle(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        for index in (1..self.records.len()).rev() {
            let other = random.below(index as u64 + 1) as usize;
            self.records.swap(index, other);
        }
    }

    #[inline]
    fn fill(&self, from: usize, frames: &mut [Mbuf], segment: Segment) -> Result<usize, Failure> {
        let templates = &self.templates[segment as usize];
        let longest = self.frame_bytes();
        let mut next = from;
        for frame in frames {
            let record = &self.records[next];
            let template = match templates.as_slice() {
                [only] => only,
                several => &several[next % several.len()],
            };
            self.write(template, record, frame)?;
            if template.len < longest {
                frame.truncate(template.len.into());
            }
            next = if next + 1 == self.records.len() { 0 } else { next + 1 };
        }
        Ok(next)
    }

    #[inline]
    fn write(
        &self,
        template: &Template<HEAD>,
        record: &Record<SPAN>,
        frame: &mut Mbuf,
    ) -> Result<(), Failure> {
        let got = frame.len();
        let head = frame.head_mut().first_chunk_mut::<HEAD>();
        self.lay(template, record, head.ok_or(Failure::Buffers { wanted: HEAD, got })?);
        Ok(())
    }

    /// Lays a flow over a template.
    #[inline]
    fn lay(&self, template: &Template<HEAD>, record: &Record<SPAN>, head: &mut [u8; HEAD]) {
        *head = template.head;
        head[Self::SPAN_AT..HEAD - BEHIND_PORTS].copy_from_slice(&record.span);
        let csum = &mut head[self.csum_at..self.csum_at + 2];
        csum.copy_from_slice(&record.l4);
        if template.l4 != Delta::NONE {
            let sum = template.l4.apply(U16::from_bytes(record.l4));
            csum.copy_from_slice(&sum.to_bytes());
        }
        if template.ip != Delta::NONE {
            let ip_csum = &mut head[Self::SPAN_AT..Self::SPAN_AT + 2];
            let sum = template.ip.apply(U16::from_bytes([record.span[0], record.span[1]]));
            ip_csum.copy_from_slice(&sum.to_bytes());
        }
    }
}

impl<const HEAD: usize> Template<HEAD> {
    fn new(kind: Kind<'_>, flow: Flow, segment: Segment, len: usize) -> Self {
        let ip = build::eth().dst(kind.to).padded().ip(flow.src.ip(), flow.dst.ip());
        let bytes = match kind.protocol {
            L4::Tcp if len <= HEAD + 6 => ip.tcp(0, 0).flags(segment.flags()).payload(&[]),
            L4::Tcp => ip.tcp(0, 0).flags(segment.flags()).payload(&vec![0; len - HEAD]),
            L4::Udp => ip.udp(0, 0).payload(&vec![0; len - (HEAD - 12)]),
            L4::Sctp => ip.sctp(0, 0, wire::SctpEvent::Data, &vec![0; len - (HEAD - 4)]),
        };
        let mut head = [0; HEAD];
        head.copy_from_slice(&bytes[..HEAD]);
        Self { head, len: len as u16, ip: Delta::NONE, l4: Delta::NONE }
    }
}

/// A sequence of numbers that look random and repeat with their seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        number % bound
    }
}

/// The sender and receiver in a frame of ours.
pub fn flow_of(head: &[u8], family: FamilyId) -> Option<Flow> {
    let (at, half) = match family {
        FamilyId::V4 => (26, 4),
        FamilyId::V6 => (22, 16),
    };
    let span = head.get(at..at + 2 * half + 4)?;
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        match family {
            FamilyId::V4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            FamilyId::V6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        }
    };
    let port = |at: usize| Some(u16::from_be_bytes(*span.get(at..)?.first_chunk()?));
    Some(Flow {
        src: SocketAddr::new(address(&span[..half])?, port(2 * half)?),
        dst: SocketAddr::new(address(&span[half..2 * half])?, port(2 * half + 2)?),
    })
}

fn put_address(to: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(v4) => to.copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => to.copy_from_slice(&v6.octets()),
    }
}

fn csum<const HEAD: usize>(template: &Template<HEAD>, at: usize) -> [u8; 2] {
    [template.head[at], template.head[at + 1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(kind: Kind<'_>, flow: Flow) -> impl Iterator<Item = Vec<u8>> {
        fn all<const HEAD: usize, const SPAN: usize>(
            compact: &Compact<HEAD, SPAN>,
        ) -> Vec<Vec<u8>> {
            let templates = compact.templates.iter().flatten();
            let frame = |template: &Template<HEAD>| {
                let mut bytes = vec![0; template.len.into()];
                let head = bytes.first_chunk_mut().unwrap();
                compact.lay(template, &compact.records[0], head);
                bytes
            };
            templates.map(frame).collect()
        }
        let mut traffic = Traffic::new(kind);
        traffic.push(flow);
        either!(&traffic, compact => all(compact)).into_iter()
    }

    #[test]
    fn every_frame_is_intact_whatever_it_says_and_however_long_it_is() {
        let sizes = [60, 570, 1514];
        let flows = [
            (FamilyId::V4, "20.0.0.9:1027", "203.0.0.1:80"),
            (FamilyId::V6, "[2001:db8:c:14::7]:65535", "[2001:db8:80::1]:80"),
        ];
        for (family, src, dst) in flows {
            let flow = Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() };
            for protocol in [L4::Tcp, L4::Udp] {
                let kind = Kind { family, protocol, to: Mac([2, 0, 0, 0, 0, 1]), sizes: &sizes };
                for frame in frames(kind, flow) {
                    assert_eq!(wire::verify(&frame), Ok(()), "{protocol:?} {}", frame.len());
                    assert_eq!(flow_of(&frame, family), Some(flow));
                }
            }
        }
    }

    #[test]
    fn shuffling_loses_no_flow() {
        let address = |n: u16| SocketAddr::from(([10, 0, 0, 1], n));
        let sizes = [60];
        let kind =
            Kind { family: FamilyId::V4, protocol: L4::Tcp, to: Mac::default(), sizes: &sizes };
        let Traffic::V4(mut traffic) = Traffic::new(kind) else { unreachable!() };
        for n in 0..100 {
            traffic.push(Flow { src: address(n), dst: address(80) });
        }
        traffic.shuffle(1);
        let ports = traffic.records.iter().map(|record| record.span[11]);
        let ports: Vec<u8> = ports.collect();
        assert!(!ports.is_sorted());
        let mut sorted = ports;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<u8>>());
    }
}
