// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reset that answers a TCP segment of no connection (RFC 9293 §3.10.7.1).
//!
//! As with ICMP errors the segment's own frame becomes the answer, and goes back to the link-layer
//! address that sent it.

use wire::{Eth, Family, Frame, Ipv4, Ipv6, L4, Mac, Parsed, Tcp, TcpFlags, V4, V6, ipv4};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

/// A family with packets that a reset is in.
pub trait ResetFamily: Family {
    /// Writes the header of a packet with nothing but a TCP header at the start of `l3`.
    fn write_header(l3: &mut [u8], source: Self::Addr, to: Self::Addr) -> bool;
}

/// Turns the frame of a segment, which lies in it as a whole, into the reset that answers it, sent
/// out of a NIC with address `nic`; false if that cannot be, with the frame unusable.
pub(crate) fn answer<F: ResetFamily>(frame: &mut impl Frame, parsed: &Parsed<F>, nic: Mac) -> bool {
    let Ok((eth, _)) = Eth::ref_from_prefix(frame.head()) else {
        return false;
    };
    let Some(reset) = reset(frame.head(), parsed) else {
        return false;
    };
    let eth = Eth { dst: eth.src, src: nic, ethertype: U16::new(F::ETHERTYPE) };
    let (eth_len, ip_len) = (size_of::<Eth>(), F::HEADER_LEN + size_of::<Tcp>());
    if !frame.truncate(eth_len + ip_len) || eth.write_to_prefix(frame.head_mut()).is_err() {
        return false;
    }
    let (from, to) = (parsed.key().tuple.dst, parsed.key().tuple.src);
    let reset = Tcp { csum: F::l4_checksum(from, to, L4::Tcp, reset.as_bytes()), ..reset };
    let l3 = frame.head_mut().get_mut(eth_len..).unwrap_or_default();
    F::write_header(l3, from, to)
        && l3.get_mut(F::HEADER_LEN..).is_some_and(|l4| reset.write_to_prefix(l4).is_ok())
}

/// The reset, its checksum zero: in sequence for the sender of an acknowledgement, and else an
/// acknowledgement of all that came.
fn reset<F: Family>(head: &[u8], parsed: &Parsed<F>) -> Option<Tcp> {
    let (segment, _) = Tcp::ref_from_prefix(head.get(parsed.l4()..)?).ok()?;
    let header_len = parsed.l4() - parsed.l3() + segment.header_len();
    let data_len = parsed.ip_len().checked_sub(header_len)? as u32;
    let controls = u32::from(segment.flags.syn()) + u32::from(segment.flags.fin());
    let (seq, ack, flags) = match segment.flags.ack() {
        true => (segment.ack, U32::ZERO, TcpFlags::RST),
        false => {
            let next = segment.seq.get().wrapping_add(data_len).wrapping_add(controls);
            (U32::ZERO, U32::new(next), TcpFlags::RST | TcpFlags::ACK)
        }
    };
    Some(Tcp {
        src: segment.dst,
        dst: segment.src,
        seq,
        ack,
        data_offset: (size_of::<Tcp>() as u8 / 4) << 4,
        flags,
        window: U16::ZERO,
        csum: U16::ZERO,
        urgent: U16::ZERO,
    })
}

impl ResetFamily for V4 {
    fn write_header(l3: &mut [u8], source: Self::Addr, to: Self::Addr) -> bool {
        let mut ip = Ipv4 {
            version_ihl: ipv4::VERSION_IHL,
            tos: 0,
            total_len: U16::new(l3.len() as u16),
            id: U16::ZERO,
            frag: U16::new(ipv4::DONT_FRAGMENT),
            ttl: TTL,
            protocol: L4::Tcp.number(),
            csum: U16::ZERO,
            src: source,
            dst: to,
        };
        ip.csum = ip.checksum();
        ip.write_to_prefix(l3).is_ok()
    }
}

impl ResetFamily for V6 {
    fn write_header(l3: &mut [u8], source: Self::Addr, to: Self::Addr) -> bool {
        let ip = Ipv6 {
            version_class_label: Ipv6::word(0, 0),
            payload_len: U16::new(size_of::<Tcp>() as u16),
            next_header: L4::Tcp.number(),
            hop_limit: TTL,
            src: source,
            dst: to,
        };
        ip.write_to_prefix(l3).is_ok()
    }
}

const TTL: u8 = 64;
