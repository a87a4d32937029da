// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames from scratch, for tests, fuzzing and tools; never for the packet path.
//!
//! Layers are named from the outside in and closed by a payload. Every length and checksum is
//! computed in full, and every field can be set to something else afterwards:
//!
//! ```
//! use wire::{TcpFlags, build};
//!
//! let frame = build::eth()
//!     .ipv4([198, 51, 100, 7], [192, 0, 2, 1])
//!     .ttl(63)
//!     .tcp(40000, 80)
//!     .flags(TcpFlags::SYN)
//!     .payload(b"");
//! assert_eq!(wire::verify(&frame), Ok(()));
//! ```

mod ip;
mod transport;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::IntoBytes;
use zerocopy::network_endian::U16;

pub use ip::IpPacket;
pub use transport::{IcmpMessage, TcpSegment, UdpDatagram};

use crate::{Arp, Eth, Mac, csum, eth};

/// Starts a frame from 02:00:00:00:00:01 to 02:00:00:00:00:02.
pub const fn eth() -> EthFrame {
    let src = Mac([2, 0, 0, 0, 0, 1]);
    let dst = Mac([2, 0, 0, 0, 0, 2]);
    EthFrame { src, dst, ethertype: None, padded: false }
}

/// Starts a packet without a frame, as ICMP errors quote them; mixed families become IPv6.
pub fn packet(src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> IpPacket {
    IpPacket::new(ip::Below::Nothing, src.into(), dst.into())
}

/// An Ethernet frame whose content is still to be named.
#[derive(Clone, Debug)]
#[must_use]
pub struct EthFrame {
    src: Mac,
    dst: Mac,
    ethertype: Option<u16>,
    padded: bool,
}

impl EthFrame {
    /// Sets the source.
    pub const fn src(self, src: Mac) -> Self {
        Self { src, ..self }
    }

    /// Sets the destination.
    pub const fn dst(self, dst: Mac) -> Self {
        Self { dst, ..self }
    }

    /// Sets the EtherType, whatever the frame carries.
    pub const fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype: Some(ethertype), ..self }
    }

    /// Pads the frame with zeros to the 60 bytes that Ethernet wants.
    pub const fn padded(self) -> Self {
        Self { padded: true, ..self }
    }

    /// Carries an IPv4 packet.
    pub fn ipv4(self, src: impl Into<Ipv4Addr>, dst: impl Into<Ipv4Addr>) -> IpPacket {
        self.ip(src.into(), dst.into())
    }

    /// Carries an IPv6 packet.
    pub fn ipv6(self, src: impl Into<Ipv6Addr>, dst: impl Into<Ipv6Addr>) -> IpPacket {
        self.ip(src.into(), dst.into())
    }

    /// Carries a packet of the addresses' family; mixed families become IPv6.
    pub fn ip(self, src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> IpPacket {
        IpPacket::new(ip::Below::Frame(self), src.into(), dst.into())
    }

    /// The frame of an ARP packet.
    #[must_use]
    pub fn arp(self, arp: &Arp) -> Vec<u8> {
        self.wrap(eth::ARP, arp.as_bytes())
    }

    /// The frame of arbitrary bytes, EtherType 0x88b5 ("local experimental", RFC 9542) unless set.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Vec<u8> {
        self.wrap(0x88b5, payload)
    }

    fn wrap(self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let ethertype = U16::new(self.ethertype.unwrap_or(ethertype));
        let header = Eth { dst: self.dst, src: self.src, ethertype };
        let mut frame = [header.as_bytes(), payload].concat();
        if self.padded && frame.len() < eth::FRAME_MIN {
            frame.resize(eth::FRAME_MIN, 0);
        }
        frame
    }
}

/// What is put into a checksum field.
#[derive(Clone, Copy, Debug)]
enum Checksum {
    Right,
    Wrong,
    Fixed(u16),
}

impl Checksum {
    /// The field, where `right` would be correct; a wrong one is never zero ("none" in UDP).
    fn field(self, right: U16) -> U16 {
        match self {
            Self::Right => right,
            Self::Wrong => csum::nonzero(U16::new(right.get() ^ 0x0100)),
            Self::Fixed(number) => U16::new(number),
        }
    }
}

#[cfg(test)]
mod tests;
