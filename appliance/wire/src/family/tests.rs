// SPDX-License-Identifier: MIT OR Apache-2.0
use zerocopy::FromBytes;

use super::*;
use crate::{build, verify};

fn v4(ttl: u8) -> Vec<u8> {
    build::eth().ipv4([198, 51, 100, 7], [192, 0, 2, 1]).ttl(ttl).id(0xbeef).udp(5, 6).payload(b"x")
}

fn v6(ttl: u8) -> Vec<u8> {
    let (client, vip) = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1]);
    build::eth().ipv6(client, vip).ttl(ttl).udp(5, 6).payload(b"x")
}

#[test]
fn a_hop_less_is_the_packet_built_with_a_hop_less() {
    for ttl in 1..=u8::MAX {
        let (mut four, mut six) = (v4(ttl), v6(ttl));
        assert!(V4::decrement_ttl(&mut four[14..]) && V6::decrement_ttl(&mut six[14..]));
        assert_eq!((four, six), (v4(ttl - 1), v6(ttl - 1)), "from {ttl}");
    }
}

#[test]
fn a_wrong_header_checksum_stays_wrong() {
    for id in 0..=u16::MAX {
        let packet = build::packet([1, 2, 3, 4], [5, 6, 7, 8]).id(id.into()).bad_checksum();
        let mut bytes = packet.payload(b"");
        assert!(V4::decrement_ttl(&mut bytes));
        let (ip, _) = Ipv4::ref_from_prefix(&bytes).unwrap();
        assert_ne!(ip.csum, ip.checksum(), "id {id}");
    }
}

#[test]
fn no_hop_left_is_refused_and_nothing_changed() {
    let (mut four, mut six) = (v4(0), v6(0));
    assert!(!V4::decrement_ttl(&mut four[14..]) && !V6::decrement_ttl(&mut six[14..]));
    assert_eq!((four, six), (v4(0), v6(0)));
}

#[test]
fn new_addresses_and_their_delta_make_a_sound_header() {
    let mut frame = v4(64);
    let old = V4::addresses(&frame[14..]).unwrap();
    assert_eq!((old.0.to_string(), old.1.to_string()), ("198.51.100.7".into(), "192.0.2.1".into()));
    let (src, dst) = (Addr4([10, 0, 0, 2]), Addr4([10, 0, 0, 11]));
    assert!(V4::write_addresses(&mut frame[14..], src, dst));
    let delta = Delta::between(&[old.0.0, old.1.0].concat(), &[src.0, dst.0].concat());
    assert_eq!(verify(&frame), Err(verify::Fault::Ipv4Header));
    assert!(V4::adjust_header_checksum(&mut frame[14..], delta));
    assert_eq!(verify(&frame), Err(verify::Fault::Udp));
    let csum = U16::from_bytes([frame[40], frame[41]]);
    frame[40..42].copy_from_slice(&delta.apply_udp(csum).to_bytes());
    assert_eq!(verify(&frame), Ok(()));
}

#[test]
fn a_checksum_in_full_is_that_of_the_packet_built() {
    let mut four = v4(64);
    let built = [four[40], four[41]];
    four[40..42].fill(0);
    let (src, dst) = V4::addresses(&four[14..]).unwrap();
    assert_eq!(V4::l4_checksum(src, dst, L4::Udp, &four[34..]).to_bytes(), built);
    let mut six = v6(64);
    let built = [six[60], six[61]];
    six[60..62].fill(0);
    let (src, dst) = V6::addresses(&six[14..]).unwrap();
    assert_eq!(V6::l4_checksum(src, dst, L4::Udp, &six[54..]).to_bytes(), built);
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_ones_in_udp_only() {
    let (src, dst) = (Addr4([0; 4]), Addr4([0; 4]));
    // 17 and 2 of the pseudo-header, then what makes up the rest to 0xffff; 6 and 2 likewise.
    assert_eq!(V4::l4_checksum(src, dst, L4::Udp, &[0xff, 0xec]), U16::new(0xffff));
    assert_eq!(V4::l4_checksum(src, dst, L4::Tcp, &[0xff, 0xf7]), U16::new(0));
}

#[test]
fn a_pseudo_header_lies_as_rfc_8200_draws_it() {
    let (src, dst) = (Addr6([0x20; 16]), Addr6([0xfd; 16]));
    let mut drawn = [&src.0[..], &dst.0].concat();
    drawn.extend([0, 1, 0, 2, 0, 0, 0, 17]);
    let pseudo = V6::pseudo_header_sum(src, dst, 0x1_0002, 17);
    assert_eq!(pseudo.checksum(), csum::sum(&drawn).checksum());
}

#[test]
fn a_slice_shorter_than_the_header_is_refused() {
    fn refuses<F: Family>() {
        let mut short = vec![0x45; F::HEADER_LEN - 1];
        assert!(F::addresses(&short).is_none());
        assert!(!F::write_addresses(&mut short, F::Addr::default(), F::Addr::default()));
        assert!(!F::decrement_ttl(&mut short));
        assert!(!F::adjust_header_checksum(&mut short, Delta::NONE));
        assert!(short.iter().all(|byte| *byte == 0x45));
    }
    refuses::<V4>();
    refuses::<V6>();
}

#[test]
fn an_address_belongs_to_one_family() {
    let (four, six) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    assert_eq!((V4::from_ip(four).map(IpAddr::from), V4::from_ip(six)), (Some(four), None));
    assert_eq!((V6::from_ip(six).map(IpAddr::from), V6::from_ip(four)), (Some(six), None));
}
