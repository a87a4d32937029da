// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman replay --explain`: each story is told as the file of its name says.
//!
//! A story is a few frames and the text of what became of them. With `STORIES=write` in the
//! environment the texts are written anew, to be read in a diff.

mod captures;

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use appliance::replay::explain;
use captures::{Folder, PLAIN, Seen, config, nic_file};
use wire::build::{self, EthFrame};
use wire::{Mac, SctpEvent, TcpFlags};

const CONFIG: &str = r#"
    [connections]
    capacity = 64
    [limits]
    services = 16
    servers = 64
    [local_ports]
    range = "5000-5000"

    [[nic]]
    name = "wan"
    device = "net_null0"
    mac = "02:00:00:00:00:01"
    addresses = ["198.51.100.1/24", "2001:db8:51::1/64"]
    neighbour = [
        { address = "198.51.100.7", mac = "06:00:00:00:00:07" },
        { address = "2001:db8:51::7", mac = "06:00:00:00:00:07" },
    ]
    [[nic]]
    name = "lan"
    device = "net_null1"
    mac = "02:00:00:00:00:02"
    addresses = ["10.0.0.1/24", "2001:db8:10::1/64"]
    neighbour = [
        { address = "10.0.0.11", mac = "06:00:00:00:00:11" },
        { address = "2001:db8:10::11", mac = "06:00:00:00:00:11" },
    ]
    [[nic]]
    name = "side"
    device = "net_null2"
    mac = "02:00:00:00:00:03"
    host_interface = "side0"
    [[route]]
    to = "172.16.0.0/16"
    via = "10.0.0.11"
    nic = "lan"
    src = "10.0.0.1"
    [[route]]
    to = "172.17.0.0/16"
    via = "10.0.0.11"
    nic = "lan"
    [[mark]]
    mark = 9
    protocol = "udp"
    [[mark]]
    mark = 7
    destination = "192.0.2.7"
"#;

const WAN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const LAN: Mac = Mac([2, 0, 0, 0, 0, 2]);
const SIDE: Mac = Mac([2, 0, 0, 0, 0, 3]);
const PEER: Mac = Mac([6, 0, 0, 0, 0, 7]);
const CLIENT: (&str, u16) = ("198.51.100.7", 40000);
const VIP: (&str, u16) = ("192.0.2.1", 80);
const SYN: TcpFlags = TcpFlags::SYN;
const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn by(nic: Mac) -> EthFrame {
    build::eth().src(PEER).dst(nic)
}

fn tcp(nic: Mac, from: (&str, u16), to: (&str, u16), flags: TcpFlags) -> Vec<u8> {
    let packet = by(nic).ip(ip(from.0), ip(to.0)).dont_fragment();
    packet.tcp(from.1, to.1).flags(flags).payload(b"data")
}

fn syn() -> Vec<u8> {
    tcp(WAN, CLIENT, VIP, SYN)
}

/// Replays frames a second apart, each by the NIC with this address, and compares what is told.
fn story(name: &str, workers: u16, rules: &str, frames: &[(Mac, Vec<u8>)]) {
    story_of(CONFIG, SECOND, name, workers, rules, frames);
}

/// As [`story`], with another configuration, or frames that are as far apart.
fn story_of(
    text: &str,
    apart: Duration,
    name: &str,
    workers: u16,
    rules: &str,
    frames: &[(Mac, Vec<u8>)],
) {
    let folder = Folder::new(&format!("story-{name}"));
    let at = |number: usize| Duration::from_secs(1_700_000_000) + apart * number as u32;
    let of = |nic| -> Vec<Seen> {
        let numbered = frames.iter().enumerate().filter(|(_, (by, _))| *by == nic);
        numbered.map(|(number, (_, frame))| (at(number), frame.clone())).collect()
    };
    let inputs = [
        nic_file("wan", &folder.capture("wan.in", PLAIN, &of(WAN))),
        nic_file("lan", &folder.capture("lan.in", PLAIN, &of(LAN))),
        nic_file("side", &folder.capture("side.in", PLAIN, &of(SIDE))),
    ];
    let rules: String = rules.split("; ").map(|rule| format!("{rule}\n")).collect();
    let mut told = Vec::new();
    let files: [&[_]; 2] = [&inputs, &folder.outputs()];
    explain(&config(text), &rules, files, workers, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/stories/{name}.txt"));
    if std::env::var_os("STORIES").is_some_and(|what| what == "write") {
        fs::write(&file, &told).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(told == expected, "{} says otherwise:\n{told}", file.display());
}

const NAT: &str = "-A -t 192.0.2.1:80 -s wrr; -a -t 192.0.2.1:80 -r 10.0.0.12:8080 -m -w 0; \
                   -a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m";
const FULLNAT: &str = "-A -t 192.0.2.1:80 -s wlc; -P -t 192.0.2.1:80 -z 10.0.0.2; \
                       -a -t 192.0.2.1:80 -r 10.0.0.11:8080 -b";
const TUN: &str = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 172.16.0.9 -i";
const DR: &str = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 10.0.0.11 -g";

#[test]
fn nat_opens_and_the_reply_goes_home() {
    let reply = tcp(LAN, ("10.0.0.11", 8080), CLIENT, TcpFlags(0x12));
    let data = tcp(WAN, CLIENT, VIP, TcpFlags::ACK);
    story("nat", 1, NAT, &[(WAN, syn()), (LAN, reply), (WAN, data)]);
}

#[test]
fn what_is_explained_leaves_as_if_it_were_not() {
    let at = Duration::from_secs;
    let frames = [(at(1), syn()), (at(2), tcp(WAN, CLIENT, VIP, TcpFlags::ACK))];
    let replies = [(at(1), tcp(LAN, ("10.0.0.11", 8080), CLIENT, TcpFlags(0x12)))];
    let (folder, rules) = (Folder::new("explained"), NAT.replace("; ", "\n"));
    folder.replay(&config(CONFIG), &rules, [&frames, &replies], 2).unwrap();
    let plain = ["wan", "lan"].map(|nic| folder.sent(nic));
    assert_eq!(plain.each_ref().map(Vec::len), [1, 2]);
    let inputs = ["wan", "lan"].map(|nic| nic_file(nic, &folder.path(&format!("{nic}.in"))));
    let files: [&[_]; 2] = [&inputs, &folder.outputs()];
    explain(&config(CONFIG), &rules, files, 2, &mut std::io::sink()).unwrap();
    assert_eq!(["wan", "lan"].map(|nic| folder.sent(nic)), plain);
}

#[test]
fn fullnat_speaks_to_the_server_from_a_local_address() {
    let reply = tcp(LAN, ("10.0.0.11", 8080), ("10.0.0.2", 5000), TcpFlags(0x12));
    story("fullnat", 1, FULLNAT, &[(WAN, syn()), (LAN, reply)]);
}

#[test]
fn a_tunnel_adds_an_outer_header() {
    story("tun", 1, TUN, &[(WAN, syn())]);
}

#[test]
fn direct_routing_changes_the_link_layer_only() {
    story("dr", 1, DR, &[(WAN, syn())]);
}

#[test]
fn over_ipv6_the_story_is_the_same() {
    let rules = "-A -t [2001:db8::1]:80 -s rr; -a -t [2001:db8::1]:80 -r [2001:db8:10::11]:8080 -m";
    let syn = tcp(WAN, ("2001:db8:51::7", 40000), ("2001:db8::1", 80), SYN);
    story("nat6", 1, rules, &[(WAN, syn)]);
}

#[test]
fn what_is_not_balanced_is_for_the_host() {
    let closed = tcp(SIDE, CLIENT, ("192.0.2.1", 443), SYN);
    let late = tcp(SIDE, CLIENT, VIP, TcpFlags::ACK);
    let ping = by(SIDE).ip(ip(CLIENT.0), ip(VIP.0)).icmp(8, 0).payload(b"ping");
    let no_host = tcp(LAN, ("10.0.0.50", 1), ("10.0.0.1", 22), SYN);
    story("host", 1, DR, &[(SIDE, closed), (SIDE, late), (SIDE, ping), (LAN, no_host)]);
}

#[test]
fn a_service_without_a_server_refuses_and_says_so() {
    let rules = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 10.0.0.11 -g -w 0";
    story("no_server", 1, rules, &[(WAN, syn())]);
    story("no_servers", 1, "-A -t 192.0.2.1:80", &[(WAN, syn())]);
}

#[test]
fn a_packet_without_hops_left_ends_here() {
    let last_hop = by(WAN).ip(ip(CLIENT.0), ip(VIP.0)).ttl(1).tcp(CLIENT.1, VIP.1).flags(SYN);
    story("ttl_1", 1, DR, &[(WAN, last_hop.payload(b"data"))]);
}

#[test]
fn a_packet_that_fits_no_tunnel_is_answered() {
    let packet = by(WAN).ip(ip(CLIENT.0), ip(VIP.0)).dont_fragment();
    let long = packet.tcp(CLIENT.1, VIP.1).flags(SYN).payload(&[7; 1460]);
    story("too_big", 1, TUN, &[(WAN, long)]);
}

#[test]
fn a_server_without_a_route_gets_nothing() {
    let rules = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 203.0.113.9 -g";
    story("no_route", 1, rules, &[(WAN, syn())]);
    let rules = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 172.17.0.9 -i";
    story("no_tunnel_source", 1, rules, &[(WAN, syn())]);
}

#[test]
fn a_frame_waits_a_second_for_an_unknown_neighbour() {
    let rules = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 10.0.0.99 -g";
    story("no_neighbour", 1, rules, &[(WAN, syn())]);
}

#[test]
fn bad_checksums_are_told_apart() {
    let damaged = |at: usize| {
        let mut frame = syn();
        frame[at] ^= 1;
        frame
    };
    story("bad_checksum", 1, DR, &[(WAN, damaged(14 + 10)), (WAN, damaged(14 + 20 + 16))]);
}

#[test]
fn a_frame_for_another_machine_is_dropped() {
    let other = tcp(Mac([2, 0, 0, 0, 9, 9]), CLIENT, VIP, SYN);
    story("other_host", 1, DR, &[(WAN, other), (WAN, syn()[..20].to_vec())]);
}

#[test]
fn a_flow_of_another_worker_is_followed_there() {
    let requests = [40000, 40001, 40002].map(|port| (WAN, tcp(WAN, (CLIENT.0, port), VIP, SYN)));
    story("workers", 2, DR, &requests);
}

#[test]
fn a_marked_packet_is_told_with_its_rule() {
    let rules = "-A -f 7 -s rr; -a -f 7 -r 10.0.0.11 -g";
    let other = tcp(SIDE, CLIENT, VIP, SYN);
    story("mark", 1, rules, &[(WAN, tcp(WAN, CLIENT, ("192.0.2.7", 81), SYN)), (SIDE, other)]);
}

#[test]
fn a_template_is_made_and_names_the_server_of_the_next_connection() {
    let rules = "-A -t 192.0.2.1:80 -s rr -p 300; -a -t 192.0.2.1:80 -r 10.0.0.12 -g; \
                 -a -t 192.0.2.1:80 -r 10.0.0.11 -g";
    story("persistence", 1, rules, &[(WAN, syn()), (WAN, tcp(WAN, (CLIENT.0, 40001), VIP, SYN))]);
}

#[test]
fn a_service_of_all_ports_or_of_ftp_takes_packets_to_other_ports() {
    let frames = [(WAN, tcp(WAN, CLIENT, ("192.0.2.1", 8081), SYN))];
    let persistent = "-A -t 192.0.2.1:0 -p 300; -a -t 192.0.2.1:0 -r 10.0.0.11 -g";
    story("all_ports", 1, persistent, &frames);
    let ftp = "-A -t 192.0.2.1:21 -p 300; -a -t 192.0.2.1:21 -r 10.0.0.11 -g";
    story("ftp_data", 1, ftp, &frames);
    let beside = tcp(SIDE, CLIENT, ("192.0.2.1", 8081), SYN);
    let alone = "-A -t 192.0.2.1:21; -a -t 192.0.2.1:21 -r 10.0.0.11 -g";
    story("beside_ftp", 1, alone, &[(SIDE, beside)]);
}

#[test]
fn an_sctp_association_opens_with_init() {
    let rules =
        "-A --sctp-service 192.0.2.1:80 -s rr; -a --sctp-service 192.0.2.1:80 -r 10.0.0.11:8080 -m";
    let packet =
        |event, body: &[u8]| by(WAN).ip(ip(CLIENT.0), ip(VIP.0)).sctp(CLIENT.1, VIP.1, event, body);
    let init = packet(SctpEvent::Init, &[7; 16]);
    story("sctp", 1, rules, &[(WAN, init), (WAN, packet(SctpEvent::CookieEcho, &[7; 8]))]);
}

#[test]
fn later_fragments_wait_for_the_first_and_follow_it() {
    let rules = "-A -u 192.0.2.1:80 -s rr; -a -u 192.0.2.1:80 -r 10.0.0.11 -g";
    let packet = || by(WAN).ip(ip(CLIENT.0), ip(VIP.0)).id(7);
    let later = packet().fragment(72, false).protocol(17).payload(&[7; 40]);
    let first = packet().fragment(0, true).udp(CLIENT.1, VIP.1).length(112).payload(&[7; 64]);
    let frames = [later.clone(), first, later.clone()].map(|frame| (WAN, frame));
    story_of(CONFIG, Duration::from_millis(1), "fragments", 2, rules, &frames);
    story("fragment_alone", 1, rules, &[(WAN, later)]);
}

#[test]
fn a_packet_that_may_be_fragmented_leaves_so() {
    let rules = "-A -u 192.0.2.1:80 -s rr; -a -u 192.0.2.1:80 -r 172.16.0.9 -i";
    let long = by(WAN).ip(ip(CLIENT.0), ip(VIP.0)).udp(CLIENT.1, VIP.1).payload(&[7; 1460]);
    story("in_fragments", 1, rules, &[(WAN, long)]);
}

#[test]
fn an_mss_that_is_lowered_is_told() {
    let rules = "-A -t 192.0.2.1:80 -s rr --mss auto; -a -t 192.0.2.1:80 -r 172.16.0.9 -i";
    let packet = by(WAN).ip(ip(CLIENT.0), ip(VIP.0)).tcp(CLIENT.1, VIP.1).flags(SYN);
    story("mss", 1, rules, &[(WAN, packet.options(&[2, 4, 5, 180]).payload(&[]))]);
}

#[test]
fn tunnels_of_gre_and_gue_have_headers_of_their_own() {
    let add = "-A -t 192.0.2.1:80 -s rr; -a -t 192.0.2.1:80 -r 172.16.0.9 -i --tun-type";
    story("gre", 1, &format!("{add} gre --tun-csum"), &[(WAN, syn())]);
    story("gue", 1, &format!("{add} gue --tun-port 6080"), &[(WAN, syn())]);
}

#[test]
fn an_icmp_error_about_a_connection_follows_it() {
    let quoted = build::packet(ip(CLIENT.0), ip("10.0.0.11"));
    let quoted = quoted.dont_fragment().tcp(CLIENT.1, 8080).flags(SYN).payload(b"data");
    let error = by(LAN).ip(ip("10.0.0.11"), ip(CLIENT.0)).icmp(3, 3).payload(&quoted);
    let unknown = by(SIDE).ip(ip("10.0.0.11"), ip(CLIENT.0)).icmp(3, 3).payload(&quoted[..24]);
    story("icmp_error", 1, NAT, &[(WAN, syn()), (LAN, error), (SIDE, unknown)]);
}

#[test]
fn the_oldest_half_open_connection_gives_way() {
    let text = CONFIG.replace("services = 16", "half_open = 1\nservices = 16");
    let syns = [40000, 40001].map(|port| (WAN, tcp(WAN, (CLIENT.0, port), VIP, SYN)));
    story_of(&text, SECOND, "half_open", 1, DR, &syns);
}

#[test]
fn a_connection_that_is_over_ends_for_the_next_one() {
    let opens = syn();
    let [goes_on, reset] = [TcpFlags::ACK, TcpFlags::RST].map(|flags| tcp(WAN, CLIENT, VIP, flags));
    let frames = [opens.clone(), goes_on, reset, opens].map(|frame| (WAN, frame));
    story("reuse", 1, DR, &frames);
}
