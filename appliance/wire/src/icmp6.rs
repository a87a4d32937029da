// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMPv6 header, RFC 4443, and the types the balancer meets.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 1;
/// Type of "packet too big".
pub const PACKET_TOO_BIG: u8 = 2;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 3;
/// Type of "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;

/// Code of [`UNREACHABLE`]: no route.
pub const NO_ROUTE: u8 = 0;
/// Code of [`UNREACHABLE`]: a filter forbids it.
pub const PROHIBITED: u8 = 1;
/// Code of [`UNREACHABLE`]: no way to the address.
pub const ADDRESS_UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: no such port.
pub const PORT_UNREACHABLE: u8 = 4;
/// Code of [`PARAMETER_PROBLEM`]: a next header that the receiver does not know.
pub const UNKNOWN_NEXT_HEADER: u8 = 1;

/// ICMPv6 header, RFC 4443 §2.1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Icmp6 {
    /// Type of message.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum over pseudo-header and message.
    pub csum: U16,
    /// MTU in [`PACKET_TOO_BIG`]; identifier and sequence number of an echo.
    pub mtu_or_echo: U32,
}

const _: () = assert!(size_of::<Icmp6>() == 8);
