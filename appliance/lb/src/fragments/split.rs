// SPDX-License-Identifier: MIT OR Apache-2.0
//! A packet that is too long for its way on and may be taken apart leaves in fragments.
//!
//! As a router does it (RFC 791 §3.2) with IPv4 packets whose sender allows it, and as the sender
//! of a tunnel's outer packet may with both families (RFC 2003 §5.1, RFC 8200 §4.5). A packet that
//! is a fragment itself is taken apart further. The pieces are new frames; nothing is copied of a
//! packet that fits.

use arrayvec::ArrayVec;
use wire::{Delta, Eth, Frame, Ipv4, Ipv6, Ipv6Fragment, csum, eth, ipv4, ipv6};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::verdict::DropReason;

/// Fragments of one packet at most: more than a jumbo frame makes at an MTU of 256 bytes.
pub(crate) const FRAGMENTS_OUT: usize = 48;
/// Headers in front of a fragment at most: Ethernet, IPv4 with options.
const HEADERS_MAX: usize = size_of::<Eth>() + 60;

/// The fragments of one packet, in order.
pub(crate) type Pieces<B> = ArrayVec<B, FRAGMENTS_OUT>;

/// A packet to be taken apart: its headers, and how the rest is shared out.
struct Cut {
    /// Ethernet and IP header of the packet, and a fragment header.
    headers: ArrayVec<u8, HEADERS_MAX>,
    /// Where the bytes begin that are shared out, in the frame.
    start: usize,
    /// How many they are.
    len: usize,
    /// How many of them a fragment carries, a multiple of 8.
    each: usize,
    /// What the packet is itself.
    whole: Whole,
}

/// What the packet to be taken apart is itself.
#[derive(Clone, Copy)]
enum Whole {
    /// A packet, or a fragment with this place (in units of 8 bytes) and flag.
    V4 {
        offset: u16,
        more: bool,
    },
    V6,
}

/// Takes the packet of a complete frame apart, so that none of the pieces is longer than `mtu`
/// bytes. `id` names the packet if it has no identification yet; `piece` makes a frame of headers
/// and of so many bytes of the frame, from so far on.
pub(crate) fn cut<B: Frame>(
    frame: &B,
    mtu: u16,
    id: u32,
    mut piece: impl FnMut(&[u8], usize, usize) -> Option<B>,
) -> Result<Pieces<B>, DropReason> {
    let (eth, l3) = Eth::ref_from_prefix(frame.head()).map_err(|_| DropReason::Bug)?;
    let mut cut = match eth.ethertype.get() {
        eth::IPV4 => cut_v4(eth, l3, mtu)?,
        _ => cut_v6(eth, l3, mtu, id)?,
    };
    let mut pieces = Pieces::new();
    for done in (0..cut.len).step_by(cut.each) {
        let len = cut.each.min(cut.len - done);
        cut.place(done, len).ok_or(DropReason::Bug)?;
        let next = piece(&cut.headers, cut.start + done, len).ok_or(DropReason::NoBuffer)?;
        pieces.try_push(next).map_err(|_| DropReason::TooBig)?;
    }
    Ok(pieces)
}

impl Cut {
    /// Makes the headers those of the fragment that begins `done` bytes into what is shared out.
    fn place(&mut self, done: usize, len: usize) -> Option<()> {
        let is_last = done + len == self.len;
        let l3 = self.headers.get_mut(size_of::<Eth>()..)?;
        match self.whole {
            Whole::V4 { offset, more } => {
                if done > 0 {
                    silence_options(l3.get_mut(size_of::<Ipv4>()..)?);
                }
                let header_len = l3.len();
                let (ip, _) = Ipv4::mut_from_prefix(l3).ok()?;
                let flag = if more || !is_last { ipv4::MORE_FRAGMENTS } else { 0 };
                ip.frag = U16::new(flag | u16::try_from(usize::from(offset) + done / 8).ok()?);
                ip.total_len = U16::new(u16::try_from(header_len + len).ok()?);
                ip.csum = U16::ZERO;
                let checksum = csum::sum(l3).checksum();
                Ipv4::mut_from_prefix(l3).ok()?.0.csum = checksum;
            }
            Whole::V6 => {
                let (ip, rest) = Ipv6::mut_from_prefix(l3).ok()?;
                let (fragment, _) = Ipv6Fragment::mut_from_prefix(rest).ok()?;
                ip.payload_len = U16::new(u16::try_from(size_of::<Ipv6Fragment>() + len).ok()?);
                let offset = u16::try_from(done).ok()?;
                fragment.offset_more = U16::new(offset | u16::from(!is_last));
            }
        }
        Some(())
    }
}

fn cut_v4(eth: &Eth, l3: &[u8], mtu: u16) -> Result<Cut, DropReason> {
    let (ip, _) = Ipv4::ref_from_prefix(l3).map_err(|_| DropReason::Bug)?;
    let header = l3.get(..ip.header_len()).ok_or(DropReason::Bug)?;
    if ip.dont_fragment() {
        return Err(DropReason::TooBig);
    }
    let len = usize::from(ip.total_len.get()).checked_sub(header.len());
    let mut headers = ArrayVec::new();
    let copied = headers.try_extend_from_slice(eth.as_bytes());
    copied.and_then(|()| headers.try_extend_from_slice(header)).map_err(|_| DropReason::Bug)?;
    Ok(Cut {
        start: headers.len(),
        len: len.ok_or(DropReason::Bug)?,
        each: share(mtu, header.len())?,
        whole: Whole::V4 {
            offset: ip.frag.get() & ipv4::OFFSET,
            more: ip.frag.get() & ipv4::MORE_FRAGMENTS != 0,
        },
        headers,
    })
}

/// Only the outer packet of a tunnel is taken apart: it has no extension headers.
fn cut_v6(eth: &Eth, l3: &[u8], mtu: u16, id: u32) -> Result<Cut, DropReason> {
    let (ip, _) = Ipv6::ref_from_prefix(l3).map_err(|_| DropReason::Bug)?;
    let fragment = Ipv6Fragment {
        next_header: ip.next_header,
        reserved: 0,
        offset_more: U16::ZERO,
        id: U32::new(id),
    };
    let ip = Ipv6 { next_header: ipv6::NEXT_FRAGMENT, ..*ip };
    let len = l3.get(4..6).and_then(|len| U16::read_from_bytes(len).ok());
    let mut headers = ArrayVec::new();
    for part in [eth.as_bytes(), ip.as_bytes(), fragment.as_bytes()] {
        headers.try_extend_from_slice(part).map_err(|_| DropReason::Bug)?;
    }
    Ok(Cut {
        start: size_of::<Eth>() + size_of::<Ipv6>(),
        len: len.ok_or(DropReason::Bug)?.get().into(),
        each: share(mtu, size_of::<Ipv6>() + size_of::<Ipv6Fragment>())?,
        whole: Whole::V6,
        headers,
    })
}

/// How many bytes a fragment carries beside its headers.
fn share(mtu: u16, header_len: usize) -> Result<usize, DropReason> {
    let room = usize::from(mtu).saturating_sub(header_len) & !7;
    if room == 0 { Err(DropReason::TooBig) } else { Ok(room) }
}

/// Gives an IPv4 packet the identification that its fragments share.
pub(crate) fn identify(head: &mut [u8], id: u32) {
    let l3 = head.get_mut(size_of::<Eth>()..).unwrap_or_default();
    if let Ok((ip, _)) = Ipv4::mut_from_prefix(l3) {
        ip.csum = Delta::of_words(ip.id.get(), id as u16).apply(ip.csum);
        ip.id = U16::new(id as u16);
    }
}

/// Only some options belong in fragments but the first (RFC 791 §3.1): of the others no operations
/// are left.
fn silence_options(mut options: &mut [u8]) {
    const COPIED: u8 = 0x80;
    const NO_OPERATION: u8 = 1;
    while let Some(kind) = options.first().copied() {
        let len = match kind {
            0 => return,
            NO_OPERATION => 1,
            _ => options.get(1).map_or(0, |len| usize::from(*len)),
        };
        let Some((option, rest)) = options.split_at_mut_checked(len).filter(|_| len > 0) else {
            return;
        };
        if kind & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}
