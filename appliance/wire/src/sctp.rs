// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCTP common header and chunk header, RFC 9260 §3; what a packet means for its association.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian};

use crate::{Port, TcpFlags};

/// SCTP common header, RFC 9260 §3.1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Sctp {
    /// Source port.
    pub src: Port,
    /// Destination port.
    pub dst: Port,
    /// Names the association to its receiver.
    pub verification_tag: U32,
    /// CRC32c over the packet with this field zero, in the order of RFC 9260 appendix A.
    pub csum: little_endian::U32,
}

const _: () = assert!(size_of::<Sctp>() == 12);

/// The header of each chunk, RFC 9260 §3.2.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SctpChunk {
    /// What it is.
    pub kind: u8,
    /// What depends on that.
    pub flags: u8,
    /// Length in bytes, this header included and the padding to 4 bytes not.
    pub len: U16,
}

const _: () = assert!(size_of::<SctpChunk>() == 4);

/// What a packet means for its association; all that changes nothing is like data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SctpEvent {
    /// DATA, SACK, HEARTBEAT and all others.
    #[default]
    Data,
    /// INIT.
    Init,
    /// INIT ACK.
    InitAck,
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK.
    CookieAck,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// ERROR.
    Error,
    /// ABORT.
    Abort,
}

impl SctpEvent {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every event.
    pub const ALL: [Self; 10] = [
        Self::Data,
        Self::Init,
        Self::InitAck,
        Self::CookieEcho,
        Self::CookieAck,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::ShutdownComplete,
        Self::Error,
        Self::Abort,
    ];

    /// The chunk type that means this, RFC 9260 §3.2.
    #[must_use]
    pub const fn kind(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Init => 1,
            Self::InitAck => 2,
            Self::Abort => 6,
            Self::Shutdown => 7,
            Self::ShutdownAck => 8,
            Self::Error => 9,
            Self::CookieEcho => 10,
            Self::CookieAck => 11,
            Self::ShutdownComplete => 14,
        }
    }

    /// What the chunks of a packet mean: the first one, or an ABORT behind a cookie chunk, the two
    /// that may come before it; none if there is no chunk.
    pub(crate) fn of_chunks(chunks: &[u8]) -> Option<Self> {
        let (first, _) = SctpChunk::ref_from_prefix(chunks).ok()?;
        let event = Self::of_kind(first.kind);
        if matches!(event, Self::CookieEcho | Self::CookieAck) {
            let next = usize::from(first.len.get()).next_multiple_of(4);
            let behind = chunks.get(next.max(size_of::<SctpChunk>())..);
            let second = behind.and_then(|bytes| SctpChunk::ref_from_prefix(bytes).ok());
            if second.is_some_and(|(chunk, _)| chunk.kind == Self::Abort.kind()) {
                return Some(Self::Abort);
            }
        }
        Some(event)
    }

    fn of_kind(kind: u8) -> Self {
        Self::ALL.into_iter().find(|event| event.kind() == kind).unwrap_or_default()
    }

    /// The event as control bits: SYN for INIT and RST for ABORT, so that what opens and what
    /// aborts is the same bit as in TCP, and which event it is in the upper half.
    pub(crate) const fn as_flags(self) -> TcpFlags {
        let bits = match self {
            Self::Init => TcpFlags::SYN.0,
            Self::Abort => TcpFlags::RST.0,
            _ => 0,
        };
        TcpFlags((self as u8) << 4 | bits)
    }

    /// The event of such control bits.
    #[must_use]
    pub fn from_flags(flags: TcpFlags) -> Self {
        Self::ALL.get(usize::from(flags.0 >> 4)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_as_control_bits() {
        for event in SctpEvent::ALL {
            let flags = event.as_flags();
            assert_eq!(SctpEvent::from_flags(flags), event);
            assert_eq!(flags.syn(), event == SctpEvent::Init);
            assert_eq!(flags.rst(), event == SctpEvent::Abort);
        }
    }

    #[test]
    fn the_first_chunk_counts_and_an_abort_behind_a_cookie() {
        let event = |bytes: &[u8]| SctpEvent::of_chunks(bytes);
        assert_eq!(event(&[0, 0, 0]), None);
        assert_eq!(event(&[3, 0, 0, 4]), Some(SctpEvent::Data), "SACK");
        assert_eq!(event(&[0, 0, 0, 4, 6, 0, 0, 4]), Some(SctpEvent::Data));
        assert_eq!(event(&[10, 0, 0, 6, 1, 2, 0, 0, 6, 0, 0, 4]), Some(SctpEvent::Abort));
        assert_eq!(event(&[11, 0, 0, 4, 0, 0, 0, 4]), Some(SctpEvent::CookieAck));
        assert_eq!(event(&[10, 0, 0xff, 0xff]), Some(SctpEvent::CookieEcho), "a length that lies");
    }
}
