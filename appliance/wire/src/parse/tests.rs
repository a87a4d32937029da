// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::build::{self, IpPacket};
use crate::{Addr4, Arp, Mac, ipv4};

fn ip4() -> IpPacket {
    build::eth().ipv4([198, 51, 100, 7], [192, 0, 2, 1])
}

fn ip6() -> IpPacket {
    let (client, vip) = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1]);
    build::eth().ipv6(client, vip)
}

fn whole(frame: &[u8]) -> Outcome {
    parse(frame, frame.len())
}

fn bad(reason: Malformed) -> Outcome {
    Outcome::Bad(reason)
}

#[test]
fn a_syn_is_read_as_it_was_built() {
    let frame = ip4().ttl(63).dont_fragment().tcp(40000, 80).flags(TcpFlags::SYN).payload(b"hello");
    let Outcome::V4(packet) = whole(&frame) else { panic!("{:?}", whole(&frame)) };
    assert_eq!(packet.key().to_string(), "TCP 198.51.100.7:40000 > 192.0.2.1:80");
    assert_eq!((packet.l3(), packet.l4(), packet.ip_len()), (14, 34, 45));
    assert_eq!((packet.ttl(), packet.dont_fragment()), (63, true));
    assert_eq!(packet.tcp_flags(), TcpFlags::SYN);
}

#[test]
fn a_datagram_over_ipv6_is_read_as_it_was_built() {
    let frame = ip6().ttl(2).udp(5353, 53).payload(b"abc");
    let Outcome::V6(packet) = whole(&frame) else { panic!("{:?}", whole(&frame)) };
    assert_eq!(packet.key().to_string(), "UDP [2001:db8::7]:5353 > [2001:db8:1::1]:53");
    assert_eq!((packet.l3(), packet.l4(), packet.ip_len()), (14, 54, 51));
    assert_eq!((packet.ttl(), packet.dont_fragment()), (2, true));
    assert_eq!(packet.tcp_flags(), TcpFlags::NONE);
}

#[test]
fn padding_is_not_part_of_the_packet() {
    let padded = build::eth().padded().ipv4([1, 2, 3, 4], [5, 6, 7, 8]).udp(1, 2).payload(b"");
    let Outcome::V4(packet) = whole(&padded) else { panic!("{:?}", whole(&padded)) };
    assert_eq!((padded.len(), packet.ip_len()), (60, 28));
}

#[test]
fn options_are_skipped() {
    for len in 1..=40 {
        let frame = ip4().options(&vec![1; len]).tcp(1, 2).payload(b"");
        let Outcome::V4(packet) = whole(&frame) else { panic!("{:?}", whole(&frame)) };
        assert_eq!(packet.l4(), 34 + len.next_multiple_of(4));
        assert_eq!(
            (packet.key().tuple.sport, packet.key().tuple.dport),
            (Port::new(1), Port::new(2))
        );
    }
}

#[test]
fn a_chain_is_read_from_its_first_segment() {
    let frame = ip4().tcp(1, 2).payload(&[0; 1000]);
    assert_eq!(parse(&frame[..54], frame.len()), whole(&frame));
    assert_eq!(parse(&frame[..53], frame.len()), bad(Malformed::SplitHeaders));
    for head_len in 0..53 {
        let outcome = parse(&frame[..head_len], frame.len());
        assert_eq!(outcome, bad(Malformed::SplitHeaders), "{head_len}");
    }
    assert_eq!(parse(&frame[..10], 14), bad(Malformed::SplitHeaders), "the chain just has it");
    assert_eq!(parse(&frame[..10], 13), bad(Malformed::TruncatedEthernet));
    assert_eq!(parse(&frame[..20], 34), bad(Malformed::SplitHeaders), "the chain just has it");
    assert_eq!(parse(&frame[..20], 33), bad(Malformed::TruncatedIp));
    let options = ip4().options(&[1; 8]).udp(1, 2).payload(b"");
    assert_eq!(parse(&options[..41], options.len()), bad(Malformed::SplitHeaders));
}

#[test]
fn a_frame_cut_short_is_bad_wherever_it_is_cut() {
    for frame in [ip4().tcp(1, 2).payload(b"x"), ip6().udp(1, 2).payload(b"x")] {
        for len in 0..frame.len() {
            let outcome = whole(&frame[..len]);
            let ip_end = if frame[12] == 8 { 34 } else { 54 };
            let reason = match len {
                ..14 => Malformed::TruncatedEthernet,
                _ if len < ip_end => Malformed::TruncatedIp,
                _ => Malformed::BadTotalLength,
            };
            assert_eq!(outcome, bad(reason), "cut to {len}");
        }
    }
}

#[test]
fn other_protocols_are_not_ours() {
    let arp = Arp::request(Mac([2; 6]), Addr4([10, 0, 0, 1]), Addr4([10, 0, 0, 2]));
    let frames = [
        build::eth().arp(&arp),
        build::eth().ethertype(0x8100).ipv4([1; 4], [2; 4]).tcp(1, 2).payload(b""),
        ip4().icmp(8, 0).echo(1, 1).payload(b"ping"),
        ip6().icmp(128, 0).echo(1, 1).payload(b"ping"),
        ip4().ipv4([1; 4], [2; 4]).tcp(1, 2).payload(b""),
        ip4().fragment(0, true).icmp(8, 0).payload(b"ping"),
        ip6().fragment(8, false).icmp(128, 0).payload(b"ping"),
        ip6().protocol(51).payload(&[0; 8]),
    ];
    for frame in frames {
        assert_eq!(whole(&frame), Outcome::NotOurs, "{frame:02x?}");
    }
}

fn piece4(frame: &[u8]) -> Piece<V4> {
    match whole(frame) {
        Outcome::Fragment(Fragment::V4(piece)) => piece,
        other => panic!("{other:?}"),
    }
}

fn piece6(frame: &[u8]) -> Piece<V6> {
    match whole(frame) {
        Outcome::Fragment(Fragment::V6(piece)) => piece,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_fragment_of_a_packet_names_the_same_packet() {
    let first = piece4(&ip4().id(0x1234).fragment(0, true).udp(1, 2).payload(&[0; 8]));
    let last = piece4(&ip4().id(0x1234).fragment(16, false).protocol(17).payload(b"x"));
    assert_eq!((first.id, first.protocol, first.dst), (0x1234, L4::Udp, Addr4([192, 0, 2, 1])));
    assert_eq!((first.offset, first.len, first.more), (0, 16, true));
    assert_eq!((last.id, last.protocol, last.dst), (first.id, first.protocol, first.dst));
    assert_eq!((last.offset, last.len, last.more), (16, 1, false));
    let first = piece6(&ip6().id(0x1234_5678).fragment(0, true).tcp(1, 2).payload(&[0; 4]));
    let last = piece6(&ip6().id(0x1234_5678).fragment(24, false).protocol(6).payload(b"x"));
    assert_eq!((first.id, first.protocol, last.id), (0x1234_5678, L4::Tcp, 0x1234_5678));
    assert_eq!((first.offset, first.len, first.more), (0, 24, true));
    assert_eq!((last.offset, last.len, last.more), (24, 1, false));
}

#[test]
fn a_first_fragment_has_ports_and_a_later_one_is_given_them() {
    let frame = ip4().fragment(0, true).udp(1, 2).length(3008).payload(&[0; 16]);
    let first = piece4(&frame).first(&frame).unwrap();
    assert_eq!(first.key().to_string(), "UDP 198.51.100.7:1 > 192.0.2.1:2");
    assert_eq!((first.l4(), first.ip_len()), (34, 44));
    let later = piece4(&ip4().fragment(24, false).protocol(17).payload(&[0; 100]));
    let later = later.later(Port::new(1), Port::new(2));
    assert_eq!((later.key(), later.l4(), later.ip_len()), (first.key(), 0, 120));
}

#[test]
fn fragments_that_hide_a_header_or_cannot_fit_are_bad() {
    use Malformed::*;
    let tcp = ip4().fragment(0, true).protocol(6);
    let first = |frame: &[u8]| piece4(frame).first(frame).map(|parsed| parsed.key());
    for len in [8, 16] {
        let frame = tcp.clone().payload(&vec![0x50; len]);
        assert_eq!(first(&frame), Err(TinyFragment), "{len} bytes");
    }
    let options = ip4().fragment(0, true).tcp(1, 2).data_offset(8).payload(&[0; 4]);
    assert_eq!(first(&options), Err(TinyFragment), "options lie in another fragment");
    let check = |ip: IpPacket, len| piece4(&ip.payload(&vec![0; len])).check();
    assert_eq!(check(ip4().protocol(6).fragment(8, true), 8), Err(TinyFragment));
    assert_eq!(check(ip4().protocol(17).fragment(8, true), 8), Ok(()));
    assert_eq!(check(ip4().protocol(17).fragment(8, true), 9), Err(BadFragment));
    assert_eq!(check(ip4().protocol(17).fragment(8, false), 9), Ok(()));
    assert_eq!(check(ip4().protocol(17).fragment(8, false), 0), Err(BadFragment));
    assert_eq!(check(ip4().protocol(17).fragment(65_512, false), 3), Ok(()));
    assert_eq!(check(ip4().protocol(17).fragment(65_512, false), 4), Err(OversizeFragment));
}

#[test]
fn a_renumbered_fragment_keeps_its_checksum_right() {
    let mut frame = ip4().id(7).fragment(8, false).protocol(17).payload(b"later");
    assert!(piece4(&frame).renumber(&mut frame, 0xfff7));
    assert_eq!(frame, ip4().id(0xfff7).fragment(8, false).protocol(17).payload(b"later"));
    let mut frame = ip6().id(7).fragment(8, false).protocol(17).payload(b"later");
    assert!(piece6(&frame).renumber(&mut frame, 0x8000_0001));
    assert_eq!(frame, ip6().id(0x8000_0001).fragment(8, false).protocol(17).payload(b"later"));
}

#[test]
fn extension_headers_of_a_host_are_stepped_over() {
    let packet = ip6().extension(0, &[0; 6]).extension(60, &[0; 14]).extension(43, &[0; 6]);
    let frame = packet.clone().tcp(1, 2).payload(b"x");
    let Outcome::V6(parsed) = whole(&frame) else { panic!("{:?}", whole(&frame)) };
    assert_eq!((parsed.l4(), parsed.ip_len()), (54 + 32, 40 + 32 + 21));
    assert_eq!(parsed.key().tuple.dport.get(), 2);
    let frame = packet.clone().id(9).fragment(0, true).udp(1, 2).payload(&[0; 8]);
    let piece = piece6(&frame);
    assert_eq!((piece.id, piece.len, piece.header_len()), (9, 16, 40 + 32 + 8));
    let atomic = packet.fragment(0, false).udp(1, 2).payload(b"all of it");
    let Outcome::V6(parsed) = whole(&atomic) else { panic!("{:?}", whole(&atomic)) };
    assert_eq!(parsed.l4(), 54 + 40);
}

#[test]
fn extension_headers_that_nobody_needs_are_not_followed() {
    let many = |count| {
        let ip = (0..count).fold(ip6(), |ip, _| ip.extension(60, &[0; 6]));
        ip.udp(1, 2).payload(b"")
    };
    assert!(matches!(whole(&many(8)), Outcome::V6(_)));
    assert_eq!(whole(&many(9)), bad(Malformed::TooManyExtensions));
    let frames = [
        ip6().extension(43, &[0, 1]).udp(1, 2).payload(b""),
        ip6().extension(60, &[]).extension(0, &[]).udp(1, 2).payload(b""),
        ip6().extension(60, &[]).protocol(59).payload(b""),
        ip6().fragment(0, true).protocol(60).payload(&[17; 16]),
    ];
    for frame in frames {
        assert_eq!(whole(&frame), Outcome::NotOurs, "{frame:02x?}");
    }
    let lies = ip6().protocol(60).payload(&[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(whole(&lies), bad(Malformed::TruncatedL4));
    let far = ip6().extension(60, &[0; 30]).udp(1, 2).payload(b"");
    for head_len in 54..far.len() {
        assert_eq!(parse(&far[..head_len], far.len()), bad(Malformed::SplitHeaders), "{head_len}");
    }
}

#[test]
fn lies_are_told_apart() {
    use Malformed::*;
    let tcp = |ip: IpPacket| ip.tcp(1, 2).payload(b"");
    let version = |mut frame: Vec<u8>, byte| {
        frame[14] = byte;
        frame
    };
    #[rustfmt::skip]
    let table = [
        (version(tcp(ip4()), 0x65),                       BadVersion),
        (version(tcp(ip6()), 0x40),                       BadVersion),
        (version(tcp(ip4()), 0x44),                       BadHeaderLength),
        (tcp(ip4().length(19)),                           BadTotalLength),
        (tcp(ip4().length(41)),                           BadTotalLength),
        (tcp(ip6().length(21)),                           BadTotalLength),
        (tcp(ip4().bad_checksum()),                       BadHeaderChecksum),
        (tcp(ip4().options(&[1; 4]).bad_checksum()),      BadHeaderChecksum),
        (tcp(ip4().length(39)),                           TruncatedL4),
        (tcp(ip6().length(19)),                           TruncatedL4),
        (ip4().udp(1, 2).length(7).payload(b""),          BadUdpLength),
        (ip4().udp(1, 2).length(9).payload(b""),          BadUdpLength),
        (ip4().length(27).udp(1, 2).payload(b""),         TruncatedL4),
        (ip6().protocol(44).payload(&[6; 7]),             TruncatedL4),
        (ip4().tcp(1, 2).data_offset(4).payload(b""),     BadTcpHeaderLength),
        (ip6().tcp(1, 2).data_offset(6).payload(b"abc"),  BadTcpHeaderLength),
    ];
    for (frame, reason) in table {
        assert_eq!(whole(&frame), bad(reason), "{frame:02x?}");
    }
}

#[test]
fn an_l4_checksum_is_left_to_the_receiver() {
    assert!(matches!(whole(&ip4().tcp(1, 2).bad_checksum().payload(b"")), Outcome::V4(_)));
    assert!(matches!(whole(&ip6().udp(1, 2).checksum(0).payload(b"")), Outcome::V6(_)));
}

#[test]
fn evil_bit_and_dont_fragment_make_no_fragment() {
    let mut frame = ip4().dont_fragment().udp(1, 2).payload(b"");
    let (ip, _) = Ipv4::mut_from_prefix(&mut frame[14..]).unwrap();
    ip.frag.set(ipv4::DONT_FRAGMENT | 0x8000);
    ip.csum = ip.checksum();
    assert!(matches!(whole(&frame), Outcome::V4(_)));
}

#[test]
fn each_reason_has_a_name_of_its_own_and_a_sentence() {
    let names: std::collections::BTreeSet<_> = Malformed::ALL.map(Malformed::name).into();
    assert_eq!(names.len(), Malformed::ALL.len());
    for reason in Malformed::ALL {
        assert!(reason.name().bytes().all(|c| c == b'_' || c.is_ascii_lowercase() || c == b'4'));
        assert!(reason.to_string().len() > 20, "{reason}");
    }
}

#[test]
fn a_parsed_packet_stays_small() {
    assert!(size_of::<Parsed<V4>>() <= 24);
    assert!(size_of::<Parsed<V6>>() <= 48);
}
