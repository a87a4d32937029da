// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments cut out of whole packets, as a router or a sender makes them.

use wire::{Eth, FamilyId, Ipv4, Ipv6, Ipv6Fragment, U16, U32, eth, ipv4, ipv6};
use zerocopy::{FromBytes, IntoBytes};

/// Which bytes of a packet's payload a fragment is to carry.
pub struct Part {
    /// The first of them; a multiple of 8.
    pub offset: usize,
    /// How many, at most.
    pub len: usize,
    /// Identification; an IPv4 packet has its own.
    pub id: u32,
}

/// The fragment of a frame with a whole packet.
pub fn cut(frame: &[u8], part: Part) -> Result<Vec<u8>, String> {
    let (eth, l3) = Eth::ref_from_prefix(frame).map_err(|_| "too short to be cut")?;
    let family = match eth.ethertype.get() {
        eth::IPV4 => FamilyId::V4,
        eth::IPV6 => FamilyId::V6,
        _ => return Err("only IP packets can be cut".to_owned()),
    };
    let header_len = match family {
        FamilyId::V4 => usize::from(l3[0] & 15) * 4,
        FamilyId::V6 => size_of::<Ipv6>() + unfragmentable(l3[6], &l3[size_of::<Ipv6>()..])?,
    };
    let (header, payload) = l3.split_at(header_len);
    let end = (part.offset + part.len).min(payload.len());
    let more = end < payload.len();
    let bytes = payload.get(part.offset..end).ok_or("the packet ends before the part")?;
    let packet = match family {
        FamilyId::V4 => cut_v4(header, bytes, &part, more),
        FamilyId::V6 => cut_v6(header, bytes, &part, more),
    };
    Ok([eth.as_bytes(), &packet].concat())
}

fn cut_v4(header: &[u8], bytes: &[u8], part: &Part, more: bool) -> Vec<u8> {
    let mut header = header.to_vec();
    let header_len = header.len();
    let (ip, _) = Ipv4::mut_from_prefix(&mut header).unwrap();
    ip.total_len = U16::new((header_len + bytes.len()) as u16);
    let flags = ip.frag.get() & ipv4::DONT_FRAGMENT;
    let more = if more { ipv4::MORE_FRAGMENTS } else { 0 };
    ip.frag = U16::new(flags | more | (part.offset / 8) as u16);
    ip.csum = U16::ZERO;
    let csum = wire::csum::sum(&header).checksum();
    Ipv4::mut_from_prefix(&mut header).unwrap().0.csum = csum;
    [&header, bytes].concat()
}

/// The fragment header goes behind the extension headers that the packet has.
fn cut_v6(header: &[u8], bytes: &[u8], part: &Part, more: bool) -> Vec<u8> {
    let mut header = header.to_vec();
    let mut fragment = Ipv6Fragment {
        next_header: 0,
        reserved: 0,
        offset_more: U16::new(part.offset as u16 | u16::from(more)),
        id: U32::new(part.id),
    };
    let extensions_len = header.len() - size_of::<Ipv6>();
    let payload_len = extensions_len + size_of::<Ipv6Fragment>() + bytes.len();
    let mut number_at = 6;
    let mut at = size_of::<Ipv6>();
    while at < header.len() {
        number_at = at;
        at += (usize::from(header[at + 1]) + 1) * 8;
    }
    fragment.next_header = std::mem::replace(&mut header[number_at], ipv6::NEXT_FRAGMENT);
    Ipv6::mut_from_prefix(&mut header).unwrap().0.payload_len = U16::new(payload_len as u16);
    [&header, fragment.as_bytes(), bytes].concat()
}

/// Length of the extension headers, all of which stay in front of the fragment header here.
fn unfragmentable(next_header: u8, payload: &[u8]) -> Result<usize, String> {
    match ipv6::walk(next_header, payload, payload.len()) {
        Ok(ipv6::Walked::Transport { at, .. }) => Ok(at),
        other => Err(format!("not a packet to be cut: {other:?}")),
    }
}
