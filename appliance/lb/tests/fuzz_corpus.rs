// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz target's corpus and past findings, run without a fuzzer.

#[path = "../fuzz/pipeline.rs"]
mod pipeline;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use pipeline::{ENDS, VIPS, record};
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
    for vip in VIPS[v6] {
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

/// What the fuzzer starts from.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (v6, family) in ["v4", "v6"].into_iter().enumerate() {
        for (which, mode) in ["nat", "fullnat", "tun", "dr", "mixed"].into_iter().enumerate() {
            seeds.insert(format!("{mode}_{family}"), connection(v6, which));
        }
        seeds.insert(format!("udp_{family}"), datagrams(v6));
        seeds.insert(format!("others_{family}"), others(v6));
    }
    let mut changes = connection(0, 4);
    for number in 0..=u8::MAX {
        changes.extend([0x80, AT_ONCE, number]);
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
