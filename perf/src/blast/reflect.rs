// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a real server would answer, made of the request itself: everything goes back where it came
//! from. Sums of checksums do not mind the order of their words, so only TCP's flags change any.

use wire::csum::Delta;
use wire::{Eth, FamilyId, L4, Mac, Outcome, Tcp, TcpFlags, parse};
use zerocopy::FromBytes;

/// Bytes of both MAC addresses.
const MACS: usize = 12;
/// Bytes of both ports.
const PORTS: usize = 4;

/// Makes a whole TCP or UDP packet for `mac` its answer: SYN is answered by SYN and ACK, all else
/// as it came. False, and unchanged, if it is nothing that a server would answer.
pub fn reflect(frame: &mut [u8], mac: Mac) -> bool {
    let is_ours = Eth::ref_from_prefix(frame).is_ok_and(|(ethernet, _)| ethernet.dst == mac);
    let (family, protocol, l4) = match parse(frame, frame.len()) {
        Outcome::V4(packet) if is_ours => (FamilyId::V4, packet.protocol(), packet.l4()),
        Outcome::V6(packet) if is_ours => (FamilyId::V6, packet.protocol(), packet.l4()),
        _ => return false,
    };
    let addresses = match family {
        FamilyId::V4 => 26..34,
        FamilyId::V6 => 22..54,
    };
    for pair in [0..MACS, addresses, l4..l4 + PORTS] {
        if let Some(bytes) = frame.get_mut(pair) {
            let half = bytes.len() / 2;
            bytes.rotate_left(half);
        }
    }
    if protocol == L4::Tcp
        && let Some(segment) = frame.get_mut(l4..)
        && let Ok((tcp, _)) = Tcp::mut_from_prefix(segment)
        && tcp.flags.syn()
    {
        let answer = tcp.flags | TcpFlags::ACK;
        tcp.csum = Delta::of_words(tcp.flags.0.into(), answer.0.into()).apply(tcp.csum);
        tcp.flags = answer;
    }
    true
}

#[cfg(test)]
mod tests {
    use wire::build;

    use super::*;

    const SERVER: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const DIRECTOR: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_request_goes_back_as_its_answer() {
        let (client, server) = ([198, 18, 0, 1], [10, 0, 0, 11]);
        let there = build::eth().src(DIRECTOR).dst(SERVER).ipv4(client, server);
        let back = build::eth().src(SERVER).dst(DIRECTOR).ipv4(server, client);
        let mut frame = there.clone().udp(1024, 53).payload(b"stamp of 14 b.");
        assert!(reflect(&mut frame, SERVER));
        assert_eq!(frame, back.clone().udp(53, 1024).payload(b"stamp of 14 b."));
        let mut frame = there.tcp(1024, 80).seq(5).flags(TcpFlags::SYN).payload(b"");
        assert!(reflect(&mut frame, SERVER));
        let flags = TcpFlags::SYN | TcpFlags::ACK;
        assert_eq!(frame, back.tcp(80, 1024).seq(5).flags(flags).payload(b""));
    }

    #[test]
    fn a_request_over_ipv6_goes_back_too() {
        let there = build::eth().src(DIRECTOR).dst(SERVER).ipv6([0x20; 16], [0x21; 16]);
        let mut frame = there.tcp(1024, 80).payload(b"data");
        assert!(reflect(&mut frame, SERVER));
        let back = build::eth().src(SERVER).dst(DIRECTOR).ipv6([0x21; 16], [0x20; 16]);
        assert_eq!(frame, back.tcp(80, 1024).payload(b"data"));
    }

    #[test]
    fn what_is_for_others_is_left_alone() {
        let others = build::eth().dst(DIRECTOR).ipv4([1; 4], [2; 4]).udp(1, 2).payload(b"");
        let echo = build::eth().dst(SERVER).ipv4([1; 4], [2; 4]).icmp(8, 0).payload(b"");
        for frame in [others, echo, vec![0; 60]] {
            let mut same = frame.clone();
            assert!(!reflect(&mut same, SERVER));
            assert_eq!(same, frame);
        }
    }
}
