// SPDX-License-Identifier: MIT OR Apache-2.0
//! Applies one direction of a connection to a packet; checksums by RFC 1624, eqn. 3.

use wire::{Family, L4, Parsed, Port, Sctp, Tcp, Tuple, Udp, crc32c};
use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use crate::action::Action;

/// Writes the action's addresses and ports, takes a hop off the packet's life, and mends the
/// checksums; false if the headers that
/// `parsed` vouches for are not there.
///
/// A UDP checksum of zero ("none", RFC 768) stays zero, or is computed over the whole datagram if
/// `fill` asks for it and the datagram lies in `head`: a fragment's, and a jumbo frame's, do not.
#[inline]
pub fn rewrite<F: Family>(
    head: &mut [u8],
    parsed: &Parsed<F>,
    action: &Action<F>,
    fill: bool,
) -> bool {
    let Some((l3, l4)) = split(head, parsed) else {
        return rewrite_later(head, parsed, action);
    };
    let tuple = &action.tuple;
    if !F::forward(l3, tuple.src, tuple.dst, action.header_delta) {
        return false;
    }
    match parsed.key().protocol {
        L4::Tcp => {
            let Ok((tcp, _)) = Tcp::mut_from_prefix(l4) else {
                return false;
            };
            (tcp.src, tcp.dst) = (tuple.sport, tuple.dport);
            tcp.csum = action.l4_delta.apply(tcp.csum);
        }
        L4::Udp => {
            let Ok((udp, _)) = Udp::mut_from_prefix(l4) else {
                return false;
            };
            (udp.src, udp.dst) = (tuple.sport, tuple.dport);
            if udp.csum == U16::ZERO && fill {
                let l4_len = parsed.ip_len().saturating_sub(parsed.l4() - parsed.l3());
                fill_checksum(l4, l4_len, tuple);
            } else {
                udp.csum = action.l4_delta.apply_udp(udp.csum);
            }
        }
        L4::Sctp => return rewrite_sctp(l4, parsed, tuple),
    }
    true
}

/// Writes the ports, which alone of all that changes the CRC covers, over the length of the whole
/// packet: a fragment comes here only if its ports stay ([`DropReason::FragmentSctp`]).
///
/// [`DropReason::FragmentSctp`]: crate::verdict::DropReason::FragmentSctp
#[cold]
fn rewrite_sctp<F: Family>(l4: &mut [u8], parsed: &Parsed<F>, tuple: &Tuple<F>) -> bool {
    let Ok((sctp, _)) = Sctp::mut_from_prefix(l4) else {
        return false;
    };
    let len = (parsed.l3() + parsed.ip_len()).saturating_sub(parsed.l4());
    let ports = |src: Port, dst: Port| {
        let [[a, b], [c, d]] = [src, dst].map(|port| port.get().to_be_bytes());
        [a, b, c, d]
    };
    let (old, new) = (ports(sctp.src, sctp.dst), ports(tuple.sport, tuple.dport));
    let behind = len.saturating_sub(old.len());
    (sctp.src, sctp.dst) = (tuple.sport, tuple.dport);
    sctp.csum = crc32c::changed(sctp.csum.get(), old, new, behind).into();
    true
}

/// As [`rewrite`], of a fragment that has no ports.
#[cold]
fn rewrite_later<F: Family>(head: &mut [u8], parsed: &Parsed<F>, action: &Action<F>) -> bool {
    let tuple = &action.tuple;
    let l3 = head.get_mut(parsed.l3()..).filter(|_| parsed.is_later_part());
    l3.is_some_and(|l3| F::forward(l3, tuple.src, tuple.dst, action.header_delta))
}

/// `l4_len` is how much of the datagram the packet has: a first fragment has not all of it.
fn fill_checksum<F: Family>(l4: &mut [u8], l4_len: usize, tuple: &Tuple<F>) {
    let Ok((udp, _)) = Udp::ref_from_prefix(l4) else {
        return;
    };
    let len = usize::from(udp.len.get());
    let Some(datagram) = l4.get(..len).filter(|_| len <= l4_len) else {
        return;
    };
    let sum = F::l4_checksum(tuple.src, tuple.dst, L4::Udp, datagram);
    if let Ok((udp, _)) = Udp::mut_from_prefix(l4) {
        udp.csum = sum;
    }
}

fn split<'a, F: Family>(
    head: &'a mut [u8],
    parsed: &Parsed<F>,
) -> Option<(&'a mut [u8], &'a mut [u8])> {
    let header_bytes = parsed.l4().checked_sub(parsed.l3())?;
    head.get_mut(parsed.l3()..)?.split_at_mut_checked(header_bytes)
}
