// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP header, RFC 792, and the types the balancer meets.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Type of "source quench", which nobody sends any more (RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Type of "redirect".
pub const REDIRECT: u8 = 5;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;
/// Type of "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`UNREACHABLE`]: no route to the network.
pub const NET_UNREACHABLE: u8 = 0;
/// Code of [`UNREACHABLE`]: no way to the host.
pub const HOST_UNREACHABLE: u8 = 1;
/// Code of [`UNREACHABLE`]: the protocol is not spoken.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of [`UNREACHABLE`]: no such port.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: too big and not to be fragmented; the MTU follows (RFC 1191).
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of [`UNREACHABLE`]: a filter forbids it (RFC 1812 §5.2.7.1).
pub const PROHIBITED: u8 = 13;

/// ICMP header, RFC 792.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Icmp {
    /// Type of message.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum over the whole message.
    pub csum: U16,
    /// Identifier of an echo; unused in errors.
    pub id: U16,
    /// Sequence number of an echo; next-hop MTU in [`FRAGMENTATION_NEEDED`] (RFC 1191 §4).
    pub sequence_or_mtu: U16,
}

const _: () = assert!(size_of::<Icmp>() == 8);
