// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MSS that the two ends of a connection learn, lowered where the service says so (`--mss`).
//!
//! A SYN says how long segments to its sender may be (RFC 9293 §3.7.1). Only SYNs that pass by can
//! be changed: both directions with NAT and FULLNAT, the client's with DR and TUN, whose servers
//! answer by themselves. A SYN without the option stays so: its sender takes 536 bytes, or 1220
//! over IPv6.

use wire::{Delta, Frame, L4, Tcp};
use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use crate::family::Balanced;
use crate::lane::Item;
use crate::service::Mss;
use crate::snapshot::ServerView;
use crate::stage::Stage;
use crate::witness::{Fact, Witness};

/// Lowers the MSS option at the start of a SYN's TCP header to `most` bytes; says whether it did.
pub fn clamp(tcp: &mut [u8], most: u16) -> bool {
    option_at(tcp).and_then(|at| lower(tcp, at, most)).is_some()
}

/// Where the value of the MSS option is in the header.
fn option_at(tcp: &[u8]) -> Option<usize> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MSS: (u8, u8) = (2, 4);
    let (header, _) = Tcp::ref_from_prefix(tcp).ok()?;
    let options = tcp.get(..header.header_len())?;
    let mut at = size_of::<Tcp>();
    loop {
        at += match *options.get(at)? {
            END => return None,
            NO_OPERATION => 1,
            kind => match *options.get(at + 1)? {
                len if (kind, len) == MSS => return (at + 4 <= options.len()).then_some(at + 2),
                len if len >= 2 => usize::from(len),
                _ => return None,
            },
        };
    }
}

fn lower(tcp: &mut [u8], at: usize, most: u16) -> Option<()> {
    let value = tcp.get_mut(at..at + 2)?;
    let old = U16::read_from_bytes(value).ok()?.get();
    if old <= most {
        return None;
    }
    value.copy_from_slice(&most.to_be_bytes());
    // At an odd place its bytes count in each other's half of a word (RFC 1071 §2(B)).
    let word = |number: u16| if at.is_multiple_of(2) { number } else { number.swap_bytes() };
    let (header, _) = Tcp::mut_from_prefix(tcp).ok()?;
    header.csum = Delta::of_words(word(old), word(most)).apply(header.csum);
    Some(())
}

impl<W: Witness> Stage<'_, W> {
    /// Lowers the MSS that a SYN tells, if its service says so; `room` is what the way on carries.
    #[cold]
    pub(crate) fn clamp_mss<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        server: Option<&ServerView>,
        room: Option<usize>,
        frame: &mut B,
    ) {
        // An SCTP INIT counts as a SYN elsewhere.
        let mss = server.and_then(|view| view.mss);
        let most = match mss.filter(|_| item.parsed.key().protocol == L4::Tcp) {
            None => return,
            Some(Mss::Bytes(bytes)) => Some(bytes),
            // What its answers come by counts as well as the way on.
            Some(Mss::Auto) => {
                let ways = [room, self.snapshot.network.mtu(item.nic()).map(usize::from)];
                let headers = F::HEADER_LEN + size_of::<Tcp>();
                let most =
                    ways.into_iter().flatten().min().map(|room| room.saturating_sub(headers));
                most.and_then(|most| u16::try_from(most).ok())
            }
        };
        if let Some((most, tcp)) = most.zip(frame.head_mut().get_mut(item.parsed.l4()..))
            && clamp(tcp, most)
        {
            self.witness.note(item.index(), || Fact::Clamped(most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{TcpFlags, build};

    fn syn(options: &[u8]) -> Vec<u8> {
        let ip = build::eth().ipv4([198, 51, 100, 7], [192, 0, 2, 1]);
        ip.tcp(40000, 80).flags(TcpFlags::SYN).options(options).payload(b"")
    }

    fn clamped(options: &[u8], most: u16) -> (bool, Vec<u8>) {
        let mut frame = syn(options);
        let done = clamp(&mut frame[34..], most);
        (done, frame)
    }

    #[test]
    fn an_mss_is_lowered_wherever_it_stands_and_the_checksum_stays_right() {
        for before in [&[][..], &[1], &[1, 1], &[8, 10, 0, 0, 0, 1, 0, 0, 0, 0], &[3, 3, 7]] {
            let with = |mss: u16| [before, &[2, 4], &mss.to_be_bytes()].concat();
            assert_eq!(clamped(&with(1460), 1440), (true, syn(&with(1440))), "{before:?}");
            assert_eq!(clamped(&with(1440), 1440), (false, syn(&with(1440))), "{before:?}");
            assert_eq!(clamped(&with(536), 1440), (false, syn(&with(536))), "{before:?}");
        }
    }

    #[test]
    fn options_that_lie_are_left_alone() {
        let lies: [&[u8]; 6] = [
            &[2, 3, 5, 180],
            &[2, 0, 5, 180],
            &[3, 0, 2, 4],
            &[0, 2, 4, 255],
            &[9],
            &[3, 60, 2, 4],
        ];
        for options in lies {
            assert_eq!(clamped(options, 100), (false, syn(options)), "{options:?}");
        }
        let cut = &mut syn(&[2, 4, 5, 180])[34..56].to_vec();
        assert!(!clamp(cut, 100), "the option is not in the first segment");
    }
}
