// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a packet came undamaged: asked only of one that is to be answered.
//!
//! What passes through is not verified, its checksums stay as right or wrong as they were. A packet
//! may lie in several segments, which are summed where they are (RFC 1071 §2).

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use crate::{Family, FamilyId, Frame, L4, Parsed, Udp, csum};

/// Whether the checksums of a TCP segment or UDP datagram, its IPv4 header's among them, are right;
/// of SCTP it is not known.
pub fn is_intact<F: Family>(frame: &impl Frame, parsed: &Parsed<F>) -> bool {
    let (l3, l4) = (parsed.l3(), parsed.l4());
    let Some((header, body)) = frame.head().get(l3..).and_then(|ip| ip.split_at_checked(l4 - l3))
    else {
        return false;
    };
    if F::ID == FamilyId::V4 && !csum::sum(header).is_intact() {
        return false;
    }
    let key = parsed.key();
    let len = match key.protocol {
        L4::Tcp => parsed.ip_len() - (l4 - l3),
        L4::Udp => match Udp::ref_from_prefix(body) {
            Ok((udp, _)) if udp.csum == U16::ZERO => return F::ID == FamilyId::V4,
            Ok((udp, _)) => udp.len.get().into(),
            Err(_) => return false,
        },
        L4::Sctp => return false,
    };
    let (src, dst) = (key.tuple.src, key.tuple.dst);
    let mut sum = F::pseudo_header_sum(src, dst, len, key.protocol.number());
    let mut done = 0;
    for segment in std::iter::once(body).chain(frame.tail()) {
        let part = segment.get(..segment.len().min(len - done)).unwrap_or_default();
        let of_part = csum::sum(part);
        sum = if done.is_multiple_of(2) { sum.plus(of_part) } else { sum.plus_odd(of_part) };
        done += part.len();
    }
    done == len && sum.is_intact()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, VecFrame, build, parse};

    fn is_intact_in_two(bytes: &[u8], tail_len: usize) -> bool {
        let frame = VecFrame::chained(bytes, tail_len);
        match parse(frame.head(), frame.len()) {
            Outcome::V4(parsed) => is_intact(&frame, &parsed),
            Outcome::V6(parsed) => is_intact(&frame, &parsed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_byte_counts_wherever_the_chain_is_divided() {
        let data: Vec<u8> = (0..=200).collect();
        let v4 = build::eth().ipv4([198, 51, 100, 7], [192, 0, 2, 1]);
        let [client, vip]: [std::net::IpAddr; 2] =
            ["2001:db8::7", "2001:db8::1"].map(|text| text.parse().unwrap());
        let v6 = build::eth().ip(client, vip);
        let frames = [
            v4.clone().tcp(4000, 80).payload(&data),
            v4.udp(4000, 80).payload(&data),
            v6.clone().tcp(4000, 80).payload(&data),
            v6.udp(4000, 80).payload(&data),
        ];
        for frame in frames {
            for tail_len in 0..=data.len() {
                assert!(is_intact_in_two(&frame, tail_len), "{tail_len}");
                let mut damaged = frame.clone();
                let at = frame.len() - 1 - tail_len / 2;
                damaged[at] ^= 0x10;
                assert!(!is_intact_in_two(&damaged, tail_len), "{tail_len}");
            }
        }
    }

    #[test]
    fn udp_over_ipv4_alone_may_have_no_checksum() {
        let v4 = build::eth().ipv4([198, 51, 100, 7], [192, 0, 2, 1]);
        assert!(is_intact_in_two(&v4.udp(4000, 80).checksum(0).payload(b"x"), 0));
        let [client, vip]: [std::net::IpAddr; 2] =
            ["2001:db8::7", "2001:db8::1"].map(|text| text.parse().unwrap());
        let v6 = build::eth().ip(client, vip);
        assert!(!is_intact_in_two(&v6.udp(4000, 80).checksum(0).payload(b"x"), 0));
    }

    #[test]
    fn what_lies_behind_the_packet_in_its_frame_does_not_count() {
        let mut frame = build::eth().ipv4([1, 1, 1, 1], [2, 2, 2, 2]).udp(1, 2).payload(b"odd");
        frame.extend([7; 20]);
        for tail_len in 0..=23 {
            assert!(is_intact_in_two(&frame, tail_len), "{tail_len}");
        }
    }
}
