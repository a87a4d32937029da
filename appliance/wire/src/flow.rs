// SPDX-License-Identifier: MIT OR Apache-2.0
//! What names a flow: endpoints, the tuple of two of them, the tuple with its protocol.
//!
//! All are plain bytes without padding, in the order of the headers (addresses, then ports), so
//! that a tuple can be hashed, compared and checksummed as one slice.

use std::fmt;
use std::net::SocketAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes, Unaligned};

use crate::{Family, FamilyId, Port, V4, V6};

/// An address and a port.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Endpoint<F: Family> {
    /// The address.
    pub addr: F::Addr,
    /// The port.
    pub port: Port,
}

const _: () = assert!(size_of::<Endpoint<V4>>() == 6 && size_of::<Endpoint<V6>>() == 18);

impl<F: Family> fmt::Display for Endpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.addr.into(), self.port.get()).fmt(f)
    }
}

impl<F: Family> fmt::Debug for Endpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The addresses and ports of a packet, as seen in one direction.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Tuple<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Source port.
    pub sport: Port,
    /// Destination port.
    pub dport: Port,
}

const _: () = assert!(size_of::<Tuple<V4>>() == 12 && size_of::<Tuple<V6>>() == 36);

impl<F: Family> Tuple<F> {
    /// The tuple of a packet from `source` to `destination`.
    #[inline]
    #[must_use]
    pub const fn new(source: Endpoint<F>, destination: Endpoint<F>) -> Self {
        Self {
            src: source.addr,
            dst: destination.addr,
            sport: source.port,
            dport: destination.port,
        }
    }

    /// Where the packet comes from.
    #[inline]
    #[must_use]
    pub const fn source(&self) -> Endpoint<F> {
        Endpoint { addr: self.src, port: self.sport }
    }

    /// Where the packet goes to.
    #[inline]
    #[must_use]
    pub const fn destination(&self) -> Endpoint<F> {
        Endpoint { addr: self.dst, port: self.dport }
    }

    /// The tuple of the answer: source and destination exchanged.
    #[inline]
    #[must_use]
    pub const fn mirror(&self) -> Self {
        Self::new(self.destination(), self.source())
    }

    /// Whether it is the tuple of the answer to `other`.
    #[inline]
    #[must_use]
    pub fn is_mirror_of(&self, other: &Self) -> bool {
        let ports = |tuple: &Self| -> u32 { zerocopy::transmute!([tuple.sport, tuple.dport]) };
        let is_mirrored = match F::ID {
            FamilyId::V4 => self.front().rotate_left(u32::BITS) == other.front(),
            FamilyId::V6 => self.src == other.dst && self.dst == other.src,
        };
        is_mirrored && ports(self) == ports(other).rotate_left(16)
    }

    /// The first eight bytes: of IPv4, both addresses.
    #[inline(always)]
    fn front(&self) -> u64 {
        u64::read_from_prefix(self.as_bytes()).map_or(0, |(front, _)| front)
    }
}

impl<F: Family> fmt::Display for Tuple<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.source(), self.destination())
    }
}

impl<F: Family> fmt::Debug for Tuple<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transport protocol that is balanced; the value is its IP protocol number.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Immutable,
    IntoBytes,
    KnownLayout,
    TryFromBytes,
    Unaligned,
)]
#[repr(u8)]
pub enum L4 {
    /// TCP, RFC 9293.
    Tcp = 6,
    /// UDP, RFC 768.
    Udp = 17,
    /// SCTP, RFC 9260.
    Sctp = 132,
}

impl L4 {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The IP protocol number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The protocol of this IP protocol number.
    #[inline]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for L4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// What a connection is found by: tuple and protocol.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Immutable,
    IntoBytes,
    KnownLayout,
    TryFromBytes,
    Unaligned,
)]
#[repr(C)]
pub struct FlowKey<F: Family> {
    /// Addresses and ports.
    pub tuple: Tuple<F>,
    /// Transport protocol.
    pub protocol: L4,
}

impl<F: Family> FlowKey<F> {
    /// The key of the answer's flow.
    #[inline]
    #[must_use]
    pub const fn mirror(&self) -> Self {
        Self { tuple: self.tuple.mirror(), protocol: self.protocol }
    }
}

impl<F: Family> fmt::Display for FlowKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.tuple)
    }
}

impl<F: Family> fmt::Debug for FlowKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_travels_the_mirrored_tuple() {
        let client =
            Endpoint::<V4> { addr: "198.51.100.7".parse().unwrap(), port: Port::new(40000) };
        let vip = Endpoint::<V4> { addr: "192.0.2.1".parse().unwrap(), port: Port::new(80) };
        let request = Tuple::new(client, vip);
        assert_eq!(request.to_string(), "198.51.100.7:40000 > 192.0.2.1:80");
        assert_eq!(request.mirror(), Tuple::new(vip, client));
        assert_eq!(request.mirror().mirror(), request);
        assert!(request.is_mirror_of(&request.mirror()) && !request.is_mirror_of(&request));
        for byte in 0..12 {
            let mut other = request.mirror();
            other.as_mut_bytes()[byte] ^= 1;
            assert!(!request.is_mirror_of(&other), "byte {byte}");
        }
    }

    #[test]
    fn a_tuple_lies_in_memory_as_in_the_headers() {
        let bytes: [u8; 12] = std::array::from_fn(|i| i as u8);
        let tuple = Tuple::<V4>::read_from_bytes(&bytes).unwrap();
        assert_eq!(tuple.destination().to_string(), "4.5.6.7:2571");
        assert_eq!(tuple.as_bytes(), bytes);
    }

    #[test]
    fn only_protocols_that_are_balanced_have_a_number() {
        for number in 0..=u8::MAX {
            let known = L4::from_number(number).map(L4::number);
            assert_eq!(known, [6, 17, 132].contains(&number).then_some(number));
        }
    }
}
