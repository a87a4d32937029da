// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP header, RFC 9293 §3.1; the flags ECE and CWR are RFC 3168's.

use std::ops::BitOr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Port;

/// TCP header without options, RFC 9293.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub src: Port,
    /// Destination port.
    pub dst: Port,
    /// Sequence number of the first byte.
    pub seq: U32,
    /// Next sequence number expected from the other side.
    pub ack: U32,
    /// Header length in words of 4 bytes (upper four bits); the rest is reserved.
    pub data_offset: u8,
    /// Control bits.
    pub flags: TcpFlags,
    /// Receive window, unscaled.
    pub window: U16,
    /// Checksum over pseudo-header, header and data.
    pub csum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

const _: () = assert!(size_of::<Tcp>() == 20);

impl Tcp {
    /// Length of the header in bytes, options included, as it claims: 0 to 60.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }
}

/// TCP control bits.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// None set; also what a UDP packet has.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Ends a connection at once.
    pub const RST: Self = Self(0x04);
    /// Data should be handed to the application at once.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// Congestion was met (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// The congestion window was reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether all of `flags` are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether ACK is set and nothing else that changes the state of a connection.
    #[inline]
    #[must_use]
    pub const fn is_only_ack(self) -> bool {
        self.0 & (Self::SYN.0 | Self::FIN.0 | Self::RST.0 | Self::ACK.0) == Self::ACK.0
    }

    /// Whether SYN is set.
    #[inline]
    #[must_use]
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Whether FIN is set.
    #[inline]
    #[must_use]
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Whether RST is set.
    #[inline]
    #[must_use]
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }

    /// Whether ACK is set.
    #[inline]
    #[must_use]
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_one_by_one() {
        let flags = TcpFlags::SYN | TcpFlags::ACK;
        assert_eq!(flags, TcpFlags(0x12));
        assert_eq!(
            (flags.syn(), flags.ack(), flags.fin(), flags.rst()),
            (true, true, false, false)
        );
        assert!(!TcpFlags::SYN.contains(flags), "SYN alone is not SYN and ACK");
    }

    #[test]
    fn reserved_bits_do_not_count_as_length() {
        let mut tcp = Tcp::read_from_bytes(&[0xff; 20]).unwrap();
        assert_eq!(tcp.header_len(), 60);
        tcp.data_offset = 0x5f;
        assert_eq!(tcp.header_len(), 20);
    }
}
