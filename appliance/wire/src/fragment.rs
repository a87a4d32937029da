// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts of packets: what a fragment says of itself and of the packet it belongs to.
//!
//! Only the first fragment carries ports; the others are known to be of the same packet by source,
//! destination and identification (RFC 791 §2.3, RFC 8200 §4.5). A fragment becomes a [`Parsed`]
//! when its ports are known: from its own bytes, or from the first one's.
//!
//! Standards: RFC 791, RFC 8200, RFC 1858 and RFC 3128 (tiny fragments), RFC 6946 (atomic ones,
//! which are whole packets and never come here).

use zerocopy::FromBytes;
use zerocopy::network_endian::{U16, U32};

use crate::parse::{Malformed, Parsed, Transport};
use crate::{Delta, Eth, Family, FamilyId, FlowKey, Ipv4, Ipv6Fragment, L4, Port, Tuple, V4, V6};

/// A part of a TCP or UDP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// Of an IPv4 packet.
    V4(Piece<V4>),
    /// Of an IPv6 packet.
    V6(Piece<V6>),
}

/// One fragment: which packet it is of, and which bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece<F: Family> {
    /// Source.
    pub src: F::Addr,
    /// Destination.
    pub dst: F::Addr,
    /// Identification: 16 bits on IPv4, 32 on IPv6.
    pub id: u32,
    /// Protocol of the whole packet.
    pub protocol: L4,
    /// Where its bytes belong in the packet's payload; a multiple of 8.
    pub offset: u16,
    /// How many bytes of the packet's payload it carries.
    pub len: u16,
    /// Whether more fragments follow behind it.
    pub more: bool,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    /// Offset in the frame of the bytes it carries.
    pub(crate) at: u16,
}

/// Payload that a packet can have at most, in bytes.
const PAYLOAD_MAX_V4: usize = 65_535 - size_of::<Ipv4>();
const PAYLOAD_MAX_V6: usize = 65_535;

impl<F: Family> Piece<F> {
    /// Whether it carries the beginning of the packet.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Where the packet's payload goes on behind it, in bytes.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.offset as usize + self.len as usize
    }

    /// Bytes of its headers, from the IP header to the bytes it carries.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.at as usize - size_of::<Eth>()
    }

    /// Sees whether it can be a part of an honest packet, wherever the others are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Malformed> {
        let payload_max = match F::ID {
            FamilyId::V4 => PAYLOAD_MAX_V4,
            FamilyId::V6 => PAYLOAD_MAX_V6,
        };
        if self.end() > payload_max {
            return Err(Malformed::OversizeFragment);
        }
        if self.len == 0 || self.more && !self.len.is_multiple_of(8) {
            return Err(Malformed::BadFragment);
        }
        // Behind such an offset are the flags of a TCP header (RFC 3128).
        if self.offset == 8 && self.protocol == L4::Tcp {
            return Err(Malformed::TinyFragment);
        }
        Ok(())
    }

    /// The first fragment with the ports that it carries; `head` is the frame's first segment.
    ///
    /// # Errors
    /// [`Malformed::TinyFragment`] if the transport header is not whole in it, or what is wrong
    /// with that header.
    pub fn first(&self, head: &[u8]) -> Result<Parsed<F>, Malformed> {
        let l4 = head.get(usize::from(self.at)..).ok_or(Malformed::SplitHeaders)?;
        let transport = Transport::read_first(self.protocol, l4, self.len.into())?;
        let key = transport.key(self.src, self.dst);
        Ok(self.parsed(key, self.at, transport.flags))
    }

    /// A later fragment with the ports that the first one carried.
    #[must_use]
    pub fn later(&self, sport: Port, dport: Port) -> Parsed<F> {
        let tuple = Tuple { src: self.src, dst: self.dst, sport, dport };
        let key = FlowKey { tuple, protocol: self.protocol };
        self.parsed(key, 0, crate::TcpFlags::NONE)
    }

    /// Gives the fragment another identification; false if its headers are not there.
    pub fn renumber(&self, head: &mut [u8], id: u32) -> bool {
        let at = usize::from(self.at);
        match F::ID {
            FamilyId::V4 => {
                let Some(l3) = head.get_mut(size_of::<Eth>()..) else { return false };
                let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) else { return false };
                ip.csum = Delta::of_words(ip.id.get(), id as u16).apply(ip.csum);
                ip.id = U16::new(id as u16);
            }
            FamilyId::V6 => {
                let Some(header) = head.get_mut(at.saturating_sub(size_of::<Ipv6Fragment>())..)
                else {
                    return false;
                };
                let Ok((header, _)) = Ipv6Fragment::mut_from_prefix(header) else { return false };
                header.id = U32::new(id);
            }
        }
        true
    }

    fn parsed(&self, key: FlowKey<F>, l4: u16, tcp_flags: crate::TcpFlags) -> Parsed<F> {
        Parsed {
            key,
            ip_len: (self.header_len() + usize::from(self.len)) as u32,
            l4,
            ttl: self.ttl,
            tcp_flags,
            dont_fragment: self.dont_fragment,
        }
    }
}
