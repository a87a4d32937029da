// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::{TcpFlags, build, verify};

fn v4_error(quoted: &[u8]) -> Vec<u8> {
    build::eth().ipv4([10, 2, 0, 254], [10, 1, 0, 2]).icmp(3, 4).mtu(1400).payload(quoted)
}

fn quoted_udp() -> Vec<u8> {
    build::packet([10, 1, 0, 2], [10, 2, 0, 11]).ttl(63).udp(49000, 9500).payload(b"abc")
}

#[test]
fn an_error_names_the_flow_of_the_packet_it_quotes() {
    let frame = v4_error(&quoted_udp());
    assert!(is_error(&frame));
    let Some(AnyError::V4(error)) = read(&frame) else { panic!("not read") };
    assert_eq!((error.kind, error.code, error.rest), (3, 4, 1400));
    assert_eq!(error.quote.key.unwrap().to_string(), "UDP 10.1.0.2:49000 > 10.2.0.11:9500");
    assert!(error.is_intact(&frame));
}

#[test]
fn eight_bytes_behind_the_header_are_enough_and_seven_are_not() {
    for (len, known) in [(28, true), (27, false), (20, false)] {
        let frame = v4_error(&quoted_udp()[..len]);
        let Some(AnyError::V4(error)) = read(&frame) else { panic!("{len} bytes") };
        assert_eq!(error.quote.key.is_some(), known, "{len} bytes");
    }
    assert_eq!(read(&v4_error(&quoted_udp()[..19])), None);
}

#[test]
fn a_later_fragment_names_no_flow() {
    let quoted = build::packet([10, 1, 0, 2], [10, 2, 0, 11]).fragment(1480, false);
    let frame = v4_error(&quoted.protocol(17).payload(&[0; 64]));
    let Some(AnyError::V4(error)) = read(&frame) else { panic!("not read") };
    assert_eq!(error.quote.key, None);
}

#[test]
fn extension_headers_of_a_quoted_packet_are_stepped_over() {
    let [src, dst] = ["fd00::2", "fd00::1"].map(|text| text.parse::<std::net::Ipv6Addr>().unwrap());
    let error = |quoted: Vec<u8>| build::eth().ipv6(dst, src).icmp(1, 3).payload(&quoted);
    let packet = || build::packet(src, dst).extension(60, &[0; 6]);
    let whole = packet().udp(49000, 9500).payload(b"abc");
    let first = packet().fragment(0, true).udp(49000, 9500).payload(b"abcdefgh");
    let later = packet().fragment(1480, false).udp(49000, 9500).payload(b"abcdefgh");
    for (quoted, known) in [(whole, true), (first, true), (later, false)] {
        for cut in [false, true] {
            let len = if cut { 47 } else { quoted.len() };
            let Some(AnyError::V6(error)) = read(&error(quoted[..len].to_vec())) else {
                panic!("not read")
            };
            let flow = error.quote.key.map(|key| key.to_string());
            let name = "UDP [fd00::2]:49000 > [fd00::1]:9500".to_owned();
            assert_eq!(flow, (known && !cut).then_some(name), "{len} bytes");
        }
    }
}

#[test]
fn an_echo_a_fragment_and_a_lie_about_the_length_are_no_errors() {
    let ether = build::eth().ipv4([10, 2, 0, 254], [10, 1, 0, 2]);
    let frames = [
        ether.clone().icmp(8, 0).payload(&quoted_udp()),
        ether.clone().fragment(0, true).icmp(3, 3).payload(&quoted_udp()),
        ether.length(600).icmp(3, 3).payload(&quoted_udp()),
        vec![0; 13],
    ];
    for frame in frames {
        assert_eq!(read(&frame), None);
    }
}

#[test]
fn padding_behind_the_packet_is_not_quoted() {
    let mut frame = v4_error(&quoted_udp()[..24]);
    frame.extend([0; 20]);
    let Some(AnyError::V4(error)) = read(&frame) else { panic!("not read") };
    assert_eq!(error.quote.key, None);
    assert!(error.is_intact(&frame));
}

#[test]
fn a_damaged_message_is_noticed_in_both_families() {
    let mut v4 = v4_error(&quoted_udp());
    let v6 = build::packet(
        "fd00::2".parse::<std::net::Ipv6Addr>().unwrap(),
        "fd00::1".parse::<std::net::Ipv6Addr>().unwrap(),
    );
    let quoted = v6.tcp(1, 2).flags(TcpFlags::SYN).payload(b"");
    let ether = build::eth().ipv6(
        "fd00::9".parse::<std::net::Ipv6Addr>().unwrap(),
        "fd00::2".parse::<std::net::Ipv6Addr>().unwrap(),
    );
    let mut v6 = ether.icmp(2, 0).mtu(1400).payload(&quoted);
    for frame in [&mut v4, &mut v6] {
        let intact = |frame: &[u8]| match read(frame).unwrap() {
            AnyError::V4(error) => error.is_intact(frame),
            AnyError::V6(error) => error.is_intact(frame),
        };
        assert!(intact(frame));
        *frame.last_mut().unwrap() ^= 1;
        assert!(!intact(frame));
    }
}

#[test]
fn a_renamed_quote_has_a_right_header_checksum_and_its_own_l4_checksum() {
    let quoted = build::packet([10, 1, 0, 2], [10, 2, 0, 11]).options(&[1; 4]).ttl(63);
    let mut frame = v4_error(&quoted.udp(49000, 9500).payload(b"abc"));
    let Some(AnyError::V4(error)) = read(&frame) else { panic!("not read") };
    let mut tuple = error.quote.key.unwrap().tuple;
    (tuple.dst, tuple.dport) = ("10.1.0.80".parse().unwrap(), Port::new(9000));
    assert!(rename(&mut frame, &error.quote, &tuple));
    assert!(V4::sum_message(error.header.src, error.header.dst, &mut frame[34..]));
    verify(&frame).unwrap();
    let Some(AnyError::V4(renamed)) = read(&frame) else { panic!("not read") };
    assert_eq!(renamed.quote.key.unwrap().tuple, tuple);
    assert!(csum::sum(&frame[42..66]).is_intact());
    assert_eq!(frame[72..74], v4_error(&quoted_l4())[72..74]);
}

fn quoted_l4() -> Vec<u8> {
    let quoted = build::packet([10, 1, 0, 2], [10, 2, 0, 11]).options(&[1; 4]).ttl(63);
    quoted.udp(49000, 9500).payload(b"abc")
}
