// SPDX-License-Identifier: MIT OR Apache-2.0
//! UDP header, RFC 768.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Port;

/// UDP header, RFC 768.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Udp {
    /// Source port.
    pub src: Port,
    /// Destination port.
    pub dst: Port,
    /// Length in bytes, header included.
    pub len: U16,
    /// Checksum over pseudo-header, header and data; zero means none on IPv4 and is not valid on
    /// IPv6 (RFC 8200 §8.1), outer headers of tunnels apart (RFC 6935).
    pub csum: U16,
}

const _: () = assert!(size_of::<Udp>() == 8);
