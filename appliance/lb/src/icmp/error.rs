// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP errors that tell a sender why its packet was dropped (RFC 792, RFC 1191, RFC 4443).
//!
//! The dropped frame itself becomes the answer: its packet is quoted where it lies, headers are put
//! before it, and it goes back to the link-layer address that sent it. So an answer needs no
//! memory. Answers are rate limited per worker and peer, as the kernel's are per machine and peer.

use wire::{
    Eth, Family, Frame, Icmp, Icmp6, Ipv4, Ipv6, Mac, V4, V6, csum, icmp, icmp6, ipv4, ipv6,
};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::ids::Tick;

/// What a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no route to the destination's network.
    NetUnreachable,
    /// There is no way to the destination.
    HostUnreachable,
    /// The destination does not speak the protocol.
    ProtocolUnreachable,
    /// A filter on the way forbids it.
    Prohibited,
    /// Nobody serves the port.
    PortUnreachable,
    /// The packet is too big for the way on; the largest that fits, in bytes.
    TooBig(u16),
    /// The TTL or hop limit ran out.
    TimeExceeded,
}

/// A family with its ICMP.
pub trait IcmpFamily: Family {
    /// Bytes of the answer's IP and ICMP headers.
    const HEADERS_LEN: usize;
    /// Longest answer in bytes, from the IP header on.
    const ANSWER_MAX: usize;

    /// Writes IP and ICMP headers at the start of `l3`, around the quoted packet behind them.
    fn write_headers(l3: &mut [u8], source: Self::Addr, to: Self::Addr, error: Error) -> bool;
}

/// Turns a frame into the answer about it, sent from `source` out of a NIC with address `nic`;
/// false if there is no headroom for it or it may not be answered, with the frame unusable.
pub fn answer<F: IcmpFamily>(
    frame: &mut impl Frame,
    ip_len: usize,
    source: F::Addr,
    nic: Mac,
    error: Error,
) -> bool {
    let Ok((eth, _)) = Eth::ref_from_prefix(frame.head()) else {
        return false;
    };
    if eth.dst.is_multicast() {
        return false;
    }
    let eth = Eth { dst: eth.src, src: nic, ethertype: U16::new(F::ETHERTYPE) };
    wrap::<F>(frame, ip_len, source, error) && eth.write_to_prefix(frame.head_mut()).is_ok()
}

/// Puts the headers of an error from `source` to its sender before the packet of a frame, of which
/// `ip_len` bytes are there; the Ethernet header is left to the caller. False if there is no
/// headroom for it, with the frame unusable.
pub fn wrap<F: IcmpFamily>(
    frame: &mut impl Frame,
    ip_len: usize,
    source: F::Addr,
    error: Error,
) -> bool {
    let eth_len = size_of::<Eth>();
    let Some(l3) = frame.head().get(eth_len..) else {
        return false;
    };
    let Some((to, _)) = F::addresses(l3) else {
        return false;
    };
    let quoted = ip_len.min(F::ANSWER_MAX - F::HEADERS_LEN).min(l3.len());
    if !frame.truncate(eth_len + quoted) || frame.push_front(F::HEADERS_LEN).is_none() {
        return false;
    }
    let l3 = frame.head_mut().get_mut(eth_len..);
    l3.is_some_and(|l3| F::write_headers(l3, source, to, error))
}

impl IcmpFamily for V4 {
    const HEADERS_LEN: usize = size_of::<Ipv4>() + size_of::<Icmp>();
    const ANSWER_MAX: usize = 576;

    fn write_headers(l3: &mut [u8], source: Self::Addr, to: Self::Addr, error: Error) -> bool {
        let (kind, code, mtu) = match error {
            Error::NetUnreachable => (icmp::UNREACHABLE, icmp::NET_UNREACHABLE, 0),
            Error::HostUnreachable => (icmp::UNREACHABLE, icmp::HOST_UNREACHABLE, 0),
            Error::ProtocolUnreachable => (icmp::UNREACHABLE, icmp::PROTOCOL_UNREACHABLE, 0),
            Error::Prohibited => (icmp::UNREACHABLE, icmp::PROHIBITED, 0),
            Error::PortUnreachable => (icmp::UNREACHABLE, icmp::PORT_UNREACHABLE, 0),
            Error::TooBig(mtu) => (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, mtu),
            Error::TimeExceeded => (icmp::TIME_EXCEEDED, 0, 0),
        };
        let mut ip = Ipv4 {
            version_ihl: ipv4::VERSION_IHL,
            tos: TOS,
            total_len: U16::new(l3.len() as u16),
            id: U16::ZERO,
            frag: U16::ZERO,
            ttl: TTL,
            protocol: ipv4::PROTOCOL_ICMP,
            csum: U16::ZERO,
            src: source,
            dst: to,
        };
        ip.csum = ip.checksum();
        let Ok((header, message)) = Ipv4::mut_from_prefix(l3) else {
            return false;
        };
        *header = ip;
        let error =
            Icmp { kind, code, csum: U16::ZERO, id: U16::ZERO, sequence_or_mtu: U16::new(mtu) };
        if error.write_to_prefix(message).is_err() {
            return false;
        }
        let checksum = csum::sum(message).checksum();
        Icmp::mut_from_prefix(message).map(|(icmp, _)| icmp.csum = checksum).is_ok()
    }
}

impl IcmpFamily for V6 {
    const HEADERS_LEN: usize = size_of::<Ipv6>() + size_of::<Icmp6>();
    const ANSWER_MAX: usize = 1280;

    fn write_headers(l3: &mut [u8], source: Self::Addr, to: Self::Addr, error: Error) -> bool {
        let (kind, code, mtu) = match error {
            Error::NetUnreachable => (icmp6::UNREACHABLE, icmp6::NO_ROUTE, 0),
            // ICMPv6 has no word for the other one that a tunnel could use (RFC 2473 §8.3).
            Error::HostUnreachable | Error::ProtocolUnreachable => {
                (icmp6::UNREACHABLE, icmp6::ADDRESS_UNREACHABLE, 0)
            }
            Error::Prohibited => (icmp6::UNREACHABLE, icmp6::PROHIBITED, 0),
            Error::PortUnreachable => (icmp6::UNREACHABLE, icmp6::PORT_UNREACHABLE, 0),
            Error::TooBig(mtu) => (icmp6::PACKET_TOO_BIG, 0, u32::from(mtu.max(ipv6::MTU_MIN))),
            Error::TimeExceeded => (icmp6::TIME_EXCEEDED, 0, 0),
        };
        let Some(message_len) = l3.len().checked_sub(size_of::<Ipv6>()) else {
            return false;
        };
        let ip = Ipv6 {
            version_class_label: Ipv6::word(0, 0),
            payload_len: U16::new(message_len as u16),
            next_header: ipv6::NEXT_ICMP6,
            hop_limit: TTL,
            src: source,
            dst: to,
        };
        let Ok((header, message)) = Ipv6::mut_from_prefix(l3) else {
            return false;
        };
        *header = ip;
        let error = Icmp6 { kind, code, csum: U16::ZERO, mtu_or_echo: U32::new(mtu) };
        if error.write_to_prefix(message).is_err() {
            return false;
        }
        let pseudo = Self::pseudo_header_sum(source, to, message_len, ipv6::NEXT_ICMP6);
        let checksum = pseudo.plus(csum::sum(message)).checksum();
        Icmp6::mut_from_prefix(message).map(|(icmp, _)| icmp.csum = checksum).is_ok()
    }
}

/// Precedence of ICMP errors: internetwork control (RFC 1812 §4.3.2.5).
const TOS: u8 = 0xc0;
const TTL: u8 = 64;

/// How many errors a worker may send: in all, and to each peer but for those about sizes, which
/// path MTU discovery cannot do without; the defaults of the kernel's `icmp_msgs_burst`,
/// `icmp_msgs_per_sec` and `icmp_ratelimit`. TCP resets are as many at most.
#[derive(Clone, Debug)]
pub struct RateLimit {
    all: Bucket,
    sizes: Bucket,
    resets: Bucket,
    rounds: Bucket,
    peers: Box<[Peer]>,
}

/// The bucket of the peer that last took its place.
#[derive(Clone, Copy, Debug)]
struct Peer {
    hash: u64,
    bucket: Bucket,
}

impl RateLimit {
    /// Places for peers; one whose place another one took begins with a full bucket.
    const PEERS: usize = 256;

    /// Full buckets.
    pub fn new(now: Tick) -> Self {
        let peer = Peer { hash: 0, bucket: Bucket::full(&PER_PEER, now) };
        Self {
            all: Bucket::full(&PER_WORKER, now),
            sizes: Bucket::full(&PER_WORKER, now),
            resets: Bucket::full(&PER_WORKER, now),
            rounds: Bucket::full(&PER_WORKER, now),
            peers: std::iter::repeat_n(peer, Self::PEERS).collect(),
        }
    }

    /// Takes what an error costs, if there is enough; `peer` is a hash of its receiver.
    ///
    /// Errors about size have a bucket of their own, since a flood that causes others must not let
    /// connections stall, which wait for them: the kernel's `icmpv4_global_allow` passes them.
    pub fn allows(&mut self, peer: u64, error: Error, now: Tick) -> bool {
        match error {
            Error::TooBig(_) => self.sizes.take(&PER_WORKER, now),
            _ => self.allows_peer(peer, now) && self.all.take(&PER_WORKER, now),
        }
    }

    /// Takes what a TCP reset costs, if there is enough; resets leave nothing less for errors.
    pub fn allows_reset(&mut self, now: Tick) -> bool {
        self.resets.take(&PER_WORKER, now)
    }

    /// Takes what it costs that all workers are asked for the flow of an error that came in, if
    /// there is enough.
    pub fn allows_round(&mut self, now: Tick) -> bool {
        self.rounds.take(&PER_WORKER, now)
    }

    fn allows_peer(&mut self, hash: u64, now: Tick) -> bool {
        let Some(peer) = self.peers.get_mut(hash as usize % Self::PEERS) else {
            return false;
        };
        if peer.hash != hash {
            *peer = Peer { hash, bucket: Bucket::full(&PER_PEER, now) };
        }
        peer.bucket.take(&PER_PEER, now)
    }
}

/// How fast a bucket fills.
struct Rate {
    burst: u64,
    ms_per_token: u64,
}

const PER_WORKER: Rate = Rate { burst: 50, ms_per_token: 1 };
const PER_PEER: Rate = Rate { burst: 6, ms_per_token: 1000 };

/// A token bucket that counts in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    saved_ms: u64,
    filled: Tick,
}

impl Bucket {
    fn full(rate: &Rate, now: Tick) -> Self {
        Self { saved_ms: rate.burst * rate.ms_per_token, filled: now }
    }

    fn take(&mut self, rate: &Rate, now: Tick) -> bool {
        let earned = now.since(self.filled);
        let full = rate.burst * rate.ms_per_token;
        self.saved_ms = self.saved_ms.saturating_add(earned).min(full);
        self.filled = now;
        match self.saved_ms.checked_sub(rate.ms_per_token) {
            Some(left) => {
                self.saved_ms = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_come_in_a_burst_of_50_and_then_one_a_millisecond() {
        let start = Tick::from_secs(9);
        let mut limit = RateLimit::new(start);
        let mut sent = |now| {
            let error = Error::PortUnreachable;
            (0..100).filter(|peer| limit.allows(*peer, error, now)).count()
        };
        assert_eq!(sent(start), 50);
        assert_eq!(sent(Tick::from_millis(9003)), 3);
    }

    #[test]
    fn a_flood_of_other_errors_leaves_those_about_size_their_rate() {
        let start = Tick::from_secs(9);
        let mut limit = RateLimit::new(start);
        let mut sent = |error| (0..100).filter(|peer| limit.allows(*peer, error, start)).count();
        assert_eq!(sent(Error::TimeExceeded), 50);
        assert_eq!(sent(Error::TimeExceeded), 0);
        assert_eq!(sent(Error::TooBig(1400)), 50);
    }

    #[test]
    fn a_peer_gets_six_at_once_and_then_one_a_second() {
        let start = Tick::from_secs(9);
        let mut limit = RateLimit::new(start);
        let mut sent = |peer, error, now| (0..9).filter(|_| limit.allows(peer, error, now)).count();
        assert_eq!(sent(1, Error::PortUnreachable, start), 6);
        assert_eq!(sent(2, Error::TimeExceeded, start), 6, "another peer");
        assert_eq!(sent(1, Error::TooBig(1400), start), 9, "sizes");
        assert_eq!(sent(1, Error::HostUnreachable, Tick::from_millis(9999)), 0);
        assert_eq!(sent(1, Error::HostUnreachable, Tick::from_secs(11)), 2);
    }
}
