// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz target's corpus and past findings, run without a fuzzer.

#[path = "../fuzz/pipeline.rs"]
mod pipeline;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use lb::knobs::Knob;
use pipeline::world::{ENDS, VIPS};
use pipeline::{record, rules, words};
use wire::{TcpFlags, build};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frame_pipeline");

/// Wait a millisecond, or not.
const SOON: u8 = 128;
const AT_ONCE: u8 = 0;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A connection to a service from its first packet to its last, with what a server would answer.
fn connection(v6: usize, which: usize) -> Vec<u8> {
    let client = ip(ENDS[v6][5]);
    let (vip, server) = (ip(VIPS[v6][which]), ip(ENDS[v6][which % 4]));
    let request = |flags: TcpFlags, len: usize| {
        let segment = build::eth().ip(client, vip).dont_fragment().tcp(40000, 80);
        record(0, SOON, &segment.flags(flags).payload(&vec![7; len]))
    };
    let reply = |flags: TcpFlags| {
        let segment = build::eth().ip(server, client).tcp(80, 40000);
        record(1, SOON, &segment.flags(flags).payload(b"reply"))
    };
    let (ack, fin) = (TcpFlags::ACK, TcpFlags::ACK | TcpFlags::FIN);
    let mut bytes = vec![which as u8];
    bytes.extend(request(TcpFlags::SYN, 0));
    bytes.extend(reply(TcpFlags::SYN | ack));
    bytes.extend(request(ack, 100));
    bytes.extend(request(ack, 1444));
    bytes.extend(request(fin, 0));
    bytes.extend(reply(fin));
    bytes.extend(request(TcpFlags::SYN, 0));
    bytes
}

fn datagrams(v6: usize) -> Vec<u8> {
    let (client, mut bytes) = (ip(ENDS[v6][5]), vec![3]);
    for vip in VIPS[v6].into_iter().take(5) {
        let datagram = build::eth().ip(client, ip(vip)).udp(5353, 80);
        let unsummed = datagram.clone().checksum(0).payload(b"without a checksum");
        bytes.extend(record(0, AT_ONCE, &datagram.payload(b"with one")));
        bytes.extend(record(0, AT_ONCE, &unsummed));
    }
    bytes
}

/// One of each thing that is not a whole segment to a service.
fn others(v6: usize) -> Vec<u8> {
    let (client, vip) = (ip(ENDS[v6][5]), ip(VIPS[v6][0]));
    let packet = || build::eth().ip(client, vip);
    let frames = [
        packet().icmp(8, 0).payload(b"ping"),
        packet().fragment(0, true).udp(5353, 80).payload(&[7; 64]),
        packet().fragment(64, false).payload(&[7; 64]),
        packet().ttl(1).tcp(1, 80).flags(TcpFlags::SYN).payload(b""),
        packet().tcp(1, 80).data_offset(15).payload(b""),
        packet().udp(1, 80).length(3).payload(b"a lie"),
        build::eth().ip(vip, vip).tcp(80, 80).flags(TcpFlags::SYN).payload(b""),
        build::eth().payload(b"of no known kind"),
    ];
    let mut bytes = vec![1];
    frames.iter().for_each(|frame| bytes.extend(record(0, AT_ONCE, frame)));
    bytes
}

/// A short packet in a frame that is longer than the way on allows, in one segment and in two.
fn trailer(v6: usize) -> Vec<u8> {
    let (client, mut bytes) = (ip(ENDS[v6][5]), vec![0]);
    for vip in VIPS[v6] {
        for (flags, tail) in [(TcpFlags::SYN, 0), (TcpFlags::ACK, 0), (TcpFlags::ACK, 12 << 2)] {
            let segment = build::eth().ip(client, ip(vip)).tcp(40000, 80).flags(flags);
            let mut frame = segment.payload(b"");
            frame.resize(1904, 0);
            bytes.extend(record(tail, SOON, &frame));
        }
    }
    bytes
}

/// What the director sent is answered: by a mirror image with these control bits.
fn answered(which: u8, bits: u8) -> Vec<u8> {
    words(0xc0, SOON, [which, 0, bits, 0, 0])
}

/// An error about what the director sent.
fn complained_of(which: u8, kind: u8, bits: u8) -> Vec<u8> {
    words(0xc0, SOON, [which, kind << 2 | 2, bits, 0, 0])
}

/// A connection of each protocol through each service of a family, from words alone, with errors
/// about it in both directions; `protocol` as in frames of words.
fn told_in_words(workers: u8, v6: u8, protocol: u8) -> Vec<u8> {
    let mut bytes = vec![workers];
    let opening = if protocol == 2 { 1 } else { 2 };
    for vip in 0..6 {
        let from_client =
            |flags, len| words(0x40, SOON, [protocol | v6 << 2, vip, 8 * vip, flags, len]);
        bytes.extend(from_client(opening, 0));
        bytes.extend(answered(0, 0x12));
        bytes.extend(from_client(0x10, 12));
        bytes.extend(complained_of(0, 0, 150));
        bytes.extend(complained_of(0, 3, 3));
        bytes.extend(answered(1, 0x11));
        bytes.extend(from_client(0x11, 185));
        bytes.extend(answered(0, 0x10));
        bytes.extend(words(0x40, AT_ONCE, [protocol | v6 << 2 | 0x10, vip, 8 * vip, 0x10, 4]));
        bytes.extend(words(0x40, AT_ONCE, [1 | v6 << 2 | 0x20, vip, 8 * vip, 5, 4]));
    }
    bytes
}

/// Every service of a family and protocol edited, and a server added, before it is used.
fn with_options(workers: u8, v6: u8, first: u8, second: u8, server: u8) -> Vec<u8> {
    let mut bytes = vec![workers];
    for protocol in 0..3 {
        for vip in 0..6 {
            let of = v6 | vip << 1 | protocol << 6;
            bytes.extend(words(0x80, AT_ONCE, [6, of | 0x20, 0, first, second]));
            bytes.extend(words(0x80, AT_ONCE, [8, of, 0, first, second]));
            bytes.extend(words(0x80, AT_ONCE, [1, of, 4 | server & 0x38, server, 0x27]));
        }
    }
    (0..3).for_each(|protocol| bytes.extend(told_in_words(workers, v6, protocol).split_off(1)));
    bytes
}

/// Every setting changed once, with connections in between.
fn with_settings(value: u8) -> Vec<u8> {
    let mut bytes = vec![3];
    for (number, knob) in Knob::ALL.iter().enumerate() {
        bytes.extend(words(0x80, AT_ONCE, rules::knob_words(*knob, value)));
        let (v6, protocol) = (number as u8 & 1, number as u8 % 3);
        bytes.extend(told_in_words(3, v6, protocol).split_off(1));
        bytes.extend(words(0x80, SOON + 10, rules::knob_words(*knob, knob.default_value() as u8)));
    }
    bytes
}

/// What the fuzzer starts from.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (v6, family) in ["v4", "v6"].into_iter().enumerate() {
        for (which, mode) in ["nat", "fullnat", "tun", "dr", "mixed"].into_iter().enumerate() {
            seeds.insert(format!("{mode}_{family}"), connection(v6, which));
        }
        seeds.insert(format!("udp_{family}"), datagrams(v6));
        seeds.insert(format!("others_{family}"), others(v6));
        seeds.insert(format!("trailer_{family}"), trailer(v6));
    }
    for (protocol, name) in ["tcp", "udp", "sctp"].into_iter().enumerate() {
        for v6 in 0..2 {
            let kind = 4 * protocol as u8 + 3;
            let told = told_in_words(kind, v6, protocol as u8);
            seeds.insert(format!("{name}_in_words_v{}", 4 + 2 * v6), told);
            let landed = told_in_words(0x13 | v6 << 3, v6, protocol as u8);
            seeds.insert(format!("{name}_landed_v{}", 4 + 2 * v6), landed);
        }
    }
    for number in 0..16u8 {
        let (first, second) = (number | number << 5, number.wrapping_mul(37) | 1);
        let bytes = with_options(number * 5, number & 1, first, second, number << 2 | 2);
        seeds.insert(format!("options_{number}"), bytes);
    }
    (1..=3).for_each(|value| drop(seeds.insert(format!("settings_{value}"), with_settings(value))));
    let mut changes = connection(0, 4);
    for number in 0..=u8::MAX {
        let change = [number, number, number >> 4, number << 1, number ^ 0x55];
        changes.extend(words(0x80, AT_ONCE, change));
        changes.extend(connection(usize::from(number & 1), 4).split_off(1));
        changes.truncate(24_000);
    }
    seeds.insert("rule_changes".to_owned(), changes);
    seeds
}

#[test]
fn the_corpus_and_past_findings_break_nothing() {
    let mut count = 0;
    for entry in fs::read_dir(CORPUS).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        pipeline::run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= seeds().len(), "{CORPUS} has {count} files");
}

/// Set `POINTSMAN_WRITE_SEEDS` to write them anew.
#[test]
fn the_seeds_of_the_corpus_are_made_here() {
    for (name, bytes) in seeds() {
        let path = format!("{CORPUS}/{name}");
        if std::env::var_os("POINTSMAN_WRITE_SEEDS").is_some() {
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{path}");
    }
}
