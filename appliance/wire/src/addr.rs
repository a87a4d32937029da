// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses as they lie on the wire: network order, alignment 1, every bit pattern legal.
//!
//! Ordering and equality are those of the numbers, since network order is big-endian.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An Ethernet (MAC) address, IEEE 802.
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
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations of the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set; true for broadcast as well.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address; six pairs of hexadecimal digits are: 02:00:00:00:00:01")]
pub struct NotAMac;

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut pairs = text.split(':');
        let mut mac = [0; 6];
        for byte in &mut mac {
            let pair = pairs.next().ok_or(NotAMac)?;
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAMac)?;
        }
        if pairs.next().is_some() {
            return Err(NotAMac);
        }
        Ok(Self(mac))
    }
}

/// A TCP or UDP port.
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
#[repr(transparent)]
pub struct Port(U16);

impl Port {
    /// The port of this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(U16::new(number))
    }

    /// The port's number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl From<u16> for Port {
    fn from(number: u16) -> Self {
        Self::new(number)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

/// An IPv4 address, RFC 791.
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
pub struct Addr4(pub [u8; 4]);

/// An IPv6 address, RFC 4291.
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
pub struct Addr6(pub [u8; 16]);

/// Conversions and text by way of the standard library's address type.
macro_rules! by_way_of {
    ($std:ident, $addr:ident) => {
        impl From<$std> for $addr {
            fn from(addr: $std) -> Self {
                Self(addr.octets())
            }
        }

        impl From<$addr> for $std {
            fn from(addr: $addr) -> Self {
                addr.0.into()
            }
        }

        impl From<$addr> for IpAddr {
            fn from(addr: $addr) -> Self {
                $std::from(addr).into()
            }
        }

        impl FromStr for $addr {
            type Err = std::net::AddrParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse::<$std>().map(Self::from)
            }
        }

        impl fmt::Display for $addr {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&$std::from(*self), f)
            }
        }

        impl fmt::Debug for $addr {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

by_way_of!(Ipv4Addr, Addr4);
by_way_of!(Ipv6Addr, Addr6);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_read_as_it_is_written() {
        let mac: Mac = "02:00:5e:10:00:fF".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        assert!(!mac.is_multicast());
        assert!(Mac::BROADCAST.is_multicast());
        for bad in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:f", "+2:00:00:00:00:00"]
        {
            assert_eq!(bad.parse::<Mac>(), Err(NotAMac), "{bad}");
        }
    }

    #[test]
    fn ports_and_addresses_order_as_numbers() {
        assert!(Port::new(0x00ff) < Port::new(0x0100));
        assert_eq!(Port::new(0x1f90).as_bytes(), [0x1f, 0x90]);
        assert!(Addr4([10, 0, 0, 255]) < Addr4([10, 0, 1, 0]));
        assert_eq!("2001:db8::1".parse::<Addr6>().unwrap().to_string(), "2001:db8::1");
    }
}
