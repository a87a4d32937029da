// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman replay`: the balancer over capture files.

mod captures;

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use appliance::replay::{ReplayError, replay};
use captures::{Folder, Form, PLAIN, Seen, config, nic_file};
use lb::verdict::DropReason;
use pcap_file::{Endianness, TsResolution};
use wire::build::{self, EthFrame};
use wire::{Mac, TcpFlags};

const CONFIG: &str = r#"
    [connections]
    capacity = 256
    [limits]
    services = 16
    servers = 64
    [local_ports]
    range = "5000-5999"

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
"#;

const WAN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const LAN: Mac = Mac([2, 0, 0, 0, 0, 2]);
const CLIENT: Mac = Mac([6, 0, 0, 0, 0, 7]);
const SERVER: Mac = Mac([6, 0, 0, 0, 0, 0x11]);

type End<'a> = (&'a str, u16);

/// A segment of TCP in a frame from one machine to another.
fn segment(macs: [Mac; 2], from: End<'_>, to: End<'_>, flags: TcpFlags, ttl: u8) -> Vec<u8> {
    tcp(ether(macs), from, to, flags, ttl)
}

fn tcp(ether: EthFrame, from: End<'_>, to: End<'_>, flags: TcpFlags, ttl: u8) -> Vec<u8> {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let packet = ether.ip(ip(from.0), ip(to.0)).ttl(ttl).dont_fragment();
    packet.tcp(from.1, to.1).flags(flags).seq(100).payload(b"data")
}

fn ether([from, to]: [Mac; 2]) -> EthFrame {
    build::eth().src(from).dst(to)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(1_700_000_000_000 + count)
}

const SYN: TcpFlags = TcpFlags::SYN;
const SYN_ACK: TcpFlags = TcpFlags(0x12);
const UP: [Mac; 2] = [CLIENT, WAN];
const DOWN: [Mac; 2] = [LAN, SERVER];
const BACK: [Mac; 2] = [SERVER, LAN];
const HOME: [Mac; 2] = [WAN, CLIENT];

/// A request and a reply with what they become; port 5000 and more stand for a FULLNAT port.
struct Mode {
    rules: String,
    request: Vec<u8>,
    at_server: Vec<u8>,
    /// The reply as the server sends it and as the client gets it, if it comes back this way.
    reply: Option<(Vec<u8>, Vec<u8>)>,
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn mode(name: &str, client: &str, vip: &str, server: &str, local: &str) -> Mode {
    let (client, vip_end) = ((client, 40000), (vip, 80));
    let port = if matches!(name, "-m" | "-b") { 8080 } else { 80 };
    let server_end = (server, port);
    let (service, member) = (format!("-t {}:80", bracketed(vip)), bracketed(server));
    let mut rules = format!("-A {service} -s rr\n-a {service} -r {member}:{port} {name}\n");
    let request = segment(UP, client, vip_end, SYN, 64);
    let reply_as_client_sees_it = segment(HOME, vip_end, client, SYN_ACK, 63);
    let (at_server, reply) = match name {
        "-m" => (
            segment(DOWN, client, server_end, SYN, 63),
            Some((segment(BACK, server_end, client, SYN_ACK, 64), reply_as_client_sees_it)),
        ),
        "-b" => {
            rules += &format!("-P {service} -z {local}\n");
            let local = (local, 5000);
            (
                segment(DOWN, local, server_end, SYN, 63),
                Some((segment(BACK, server_end, local, SYN_ACK, 64), reply_as_client_sees_it)),
            )
        }
        "-g" => (segment(DOWN, client, vip_end, SYN, 63), None),
        _ => {
            let ip = |text: &str| text.parse::<IpAddr>().unwrap();
            let outer = ether(DOWN).ip(ip("10.0.0.1"), ip(server)).ttl(63).dont_fragment();
            let inner = outer.ip(ip(client.0), ip(vip)).ttl(63).dont_fragment();
            let inner = inner.tcp(client.1, 80).flags(SYN).seq(100);
            (inner.payload(b"data"), None)
        }
    };
    Mode { rules, request, at_server, reply }
}

/// Replays one connection with one FULLNAT port to choose from.
fn opens(folder: &str, mode: &Mode) {
    let folder = Folder::new(folder);
    let config = config(&CONFIG.replace("5000-5999", "5000-5000"));
    let request = [(ms(0), mode.request.clone())];
    let reply: Vec<Seen> = mode.reply.iter().map(|(sent, _)| (ms(3), sent.clone())).collect();
    let summary = folder.replay(&config, &mode.rules, [&request, &reply], 1).unwrap();
    assert_eq!(folder.sent("lan"), [(ms(0), mode.at_server.clone())]);
    let got: Vec<Seen> = mode.reply.iter().map(|(_, got)| (ms(3), got.clone())).collect();
    assert_eq!(folder.sent("wan"), got);
    assert_eq!((summary.received, summary.opened, summary.live), (1 + reply.len() as u64, 1, 1));
    assert_eq!((summary.punted, summary.dropped), (0, vec![]));
}

#[test]
fn a_connection_opens_in_each_mode_over_ipv4() {
    for name in ["-m", "-b", "-g", "-i"] {
        let mode = mode(name, "198.51.100.7", "192.0.2.1", "10.0.0.11", "10.0.0.2");
        opens(&format!("mode4{name}"), &mode);
    }
}

#[test]
fn a_connection_opens_by_nat_fullnat_and_dr_over_ipv6() {
    for name in ["-m", "-b", "-g"] {
        let ends = ("2001:db8:51::7", "2001:db8:2::1", "2001:db8:10::11", "2001:db8:10::2");
        opens(&format!("mode6{name}"), &mode(name, ends.0, ends.1, ends.2, ends.3));
    }
}

const RULES: &str = "\
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m
-A -t 192.0.2.2:80 -s rr
-a -t 192.0.2.2:80 -r 10.0.0.11:80 -g
-A -t 192.0.2.3:80 -s rr
-a -t 192.0.2.3:80 -r 10.0.0.11:80 -i
-A -t 192.0.2.4:80 -s rr
-P -t 192.0.2.4:80 -z 10.0.0.2
-a -t 192.0.2.4:80 -r 10.0.0.11:80 -b
-A -t [2001:db8:2::1]:80 -s rr
-a -t [2001:db8:2::1]:80 -r [2001:db8:10::11]:80 -m
";

/// Many clients of the services up to `last`, four to a millisecond, and replies to NAT's.
fn crowd(last: u8) -> [Vec<Seen>; 2] {
    let (mut wan, mut lan) = (Vec::new(), Vec::new());
    for number in 0..48u16 {
        let (at, port) = (ms(u64::from(number / 4)), 40000 + number);
        let vip = format!("192.0.2.{}", u8::try_from(number).unwrap() % last + 1);
        wan.push((at, segment(UP, ("198.51.100.7", port), (&vip, 80), SYN, 64)));
        if vip == "192.0.2.1" {
            let reply = segment(BACK, ("10.0.0.11", 8080), ("198.51.100.7", port), SYN_ACK, 64);
            lan.push((at + Duration::from_millis(2), reply));
        }
    }
    [wan, lan]
}

#[test]
fn the_same_input_gives_the_same_output_byte_by_byte() {
    let [wan, lan] = crowd(4);
    let run = |name: &str| {
        let folder = Folder::new(name);
        let summary = folder.replay(&config(CONFIG), RULES, [&wan, &lan], 4).unwrap();
        let bytes = ["wan.out", "lan.out"].map(|file| fs::read(folder.path(file)).unwrap());
        (bytes, summary)
    };
    let (bytes, summary) = run("same-1");
    assert_eq!((bytes, summary.clone()), run("same-2"));
    assert_eq!((summary.opened, summary.dropped), (48, vec![]));
    assert!(summary.handed_off > 0, "four workers, and no frame landed on the wrong one");
}

#[test]
fn as_many_workers_as_may_be_send_the_same_frames() {
    // FULLNAT ports are the worker's own, so its service stays out.
    let [wan, lan] = crowd(3);
    let run = |workers: u16| {
        let folder = Folder::new(&format!("workers-{workers}"));
        let summary = folder.replay(&config(CONFIG), RULES, [&wan, &lan], workers).unwrap();
        assert_eq!(summary.dropped, vec![]);
        let mut sent = [folder.sent("wan"), folder.sent("lan")];
        sent.iter_mut().for_each(|frames| frames.sort());
        sent
    };
    let one = run(1);
    assert_eq!((one[0].len(), one[1].len()), (16, 48));
    assert_eq!(one, run(2));
    assert_eq!(one, run(4));
}

#[test]
fn captures_of_either_byte_order_and_resolution_say_the_same() {
    let at = |ns: u64| Duration::from_nanos(1_700_000_000_123_456_000 + ns);
    let mode = mode("-g", "198.51.100.7", "192.0.2.1", "10.0.0.11", "");
    for (number, endianness) in [Endianness::Little, Endianness::Big].into_iter().enumerate() {
        for (resolution, ns) in [(TsResolution::MicroSecond, 0), (TsResolution::NanoSecond, 789)] {
            let folder = Folder::new(&format!("form-{number}-{ns}"));
            let form = Form(endianness, resolution);
            let input = folder.capture("in", form, &[(at(ns), mode.request.clone())]);
            let inputs = [nic_file("wan", &input)];
            replay(&config(CONFIG), &mode.rules, &inputs, &folder.outputs(), 1).unwrap();
            assert_eq!(folder.sent("lan"), [(at(ns), mode.at_server.clone())]);
        }
    }
}

#[test]
fn inputs_are_merged_by_time_and_then_in_the_order_of_the_arguments() {
    let mode = mode("-g", "198.51.100.7", "192.0.2.1", "10.0.0.11", "");
    let request = |port| segment(UP, ("198.51.100.7", port), ("192.0.2.1", 80), SYN, 64);
    let folder = Folder::new("merge");
    let first = [(ms(5), request(1)), (ms(7), request(2))];
    let second = [(ms(0), request(3)), (ms(5), request(4)), (ms(6), request(5))];
    let inputs = [
        nic_file("wan", &folder.capture("first", PLAIN, &first)),
        nic_file("wan", &folder.capture("second", PLAIN, &second)),
    ];
    replay(&config(CONFIG), &mode.rules, &inputs, &folder.outputs(), 1).unwrap();
    let sent = folder.sent("lan");
    let ports: Vec<u16> = sent.iter().map(|(_, f)| u16::from_be_bytes([f[34], f[35]])).collect();
    assert_eq!(ports, [3, 1, 4, 5, 2]);
}

#[test]
fn time_never_goes_back() {
    let mode = mode("-g", "198.51.100.7", "192.0.2.1", "10.0.0.11", "");
    let folder = Folder::new("order");
    let frames = [7, 3, 8].map(|at| (ms(at), mode.request.clone()));
    let summary = folder.replay(&config(CONFIG), &mode.rules, [&frames, &[]], 1).unwrap();
    let times: Vec<Duration> = folder.sent("lan").into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [ms(7), ms(7), ms(8)]);
    assert_eq!(summary.out_of_order, 1);
}

#[test]
fn connections_end_by_the_time_of_the_capture() {
    let mode = mode("-g", "198.51.100.7", "192.0.2.1", "10.0.0.11", "");
    let folder = Folder::new("time");
    let years = Duration::from_secs(10 * 365 * 86_400);
    let frames = [ms(0), ms(59_000), ms(180_000), ms(0) + years];
    let frames = frames.map(|at| (at, mode.request.clone()));
    let summary = folder.replay(&config(CONFIG), &mode.rules, [&frames, &[]], 1).unwrap();
    assert_eq!((summary.opened, summary.expired, summary.live), (3, 2, 1));
}

#[test]
fn a_frame_for_an_unknown_neighbour_is_dropped_after_a_second() {
    let rules = "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.99 -g\n";
    let request = segment(UP, ("198.51.100.7", 40000), ("192.0.2.1", 80), SYN, 64);
    let folder = Folder::new("held");
    let summary = folder.replay(&config(CONFIG), rules, [&[(ms(0), request)], &[]], 1).unwrap();
    assert_eq!(summary.dropped, [(DropReason::NoNeighbour, 1)]);
    let text = summary.to_string();
    assert!(text.contains("no_neighbour    1"), "{text}");
    assert!(text.contains("connections       1 opened, 0 expired, 1 live"), "{text}");
}

#[test]
fn a_frame_of_which_the_capture_has_only_the_beginning_is_left_out() {
    let mode = mode("-g", "198.51.100.7", "192.0.2.1", "10.0.0.11", "");
    let folder = Folder::new("short");
    let input = folder.capture("in", PLAIN, &[(ms(0), mode.request.clone())]);
    let mut bytes = fs::read(&input).unwrap();
    let whole = bytes.clone();
    bytes[24 + 12] += 1;
    bytes.extend_from_slice(&whole[24..]);
    fs::write(&input, bytes).unwrap();
    let inputs = [nic_file("wan", &input)];
    let summary = replay(&config(CONFIG), &mode.rules, &inputs, &folder.outputs(), 1).unwrap();
    assert_eq!((summary.cut_short, summary.received), (1, 1));
    assert!(summary.to_string().contains("1 cut short by the capture; `tcpdump -s 0`"));
}

#[test]
fn jumbo_frames_pass_where_the_mtu_lets_them() {
    let config = config(&CONFIG.replace("name = ", "mtu = 9000\n    name = "));
    let mode = mode("-g", "198.51.100.7", "192.0.2.1", "10.0.0.11", "");
    let jumbo = |macs, ttl| {
        let packet = ether(macs).ipv4([198, 51, 100, 7], [192, 0, 2, 1]).ttl(ttl);
        packet.tcp(40000, 80).flags(SYN).payload(&[7; 8960])
    };
    let folder = Folder::new("jumbo");
    folder.replay(&config, &mode.rules, [&[(ms(0), jumbo(UP, 64))], &[]], 1).unwrap();
    assert_eq!(folder.sent("lan"), [(ms(0), jumbo(DOWN, 63))]);
}

/// What a replay of these bytes as the capture of `wan` ends with.
fn failure(name: &str, bytes: &[u8]) -> String {
    let folder = Folder::new(name);
    let input = folder.path("in.pcap");
    fs::write(&input, bytes).unwrap();
    let inputs = [nic_file("wan", &input)];
    let failed = replay(&config(CONFIG), "", &inputs, &folder.outputs(), 1).unwrap_err();
    failed.to_string().rsplit_once("in.pcap").unwrap().1.to_owned()
}

#[test]
fn a_bad_capture_is_named_with_what_would_be_right() {
    let folder = Folder::new("good");
    let frame = segment(UP, ("198.51.100.7", 40000), ("192.0.2.1", 80), SYN, 64);
    let frames = [(ms(0), frame.clone()), (ms(1), frame)];
    let good = fs::read(folder.capture("good", PLAIN, &frames)).unwrap();
    let record_len = (good.len() - 24) / 2;
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let no_capture = ": is no pcap capture; `editcap -F pcap` makes one of a pcapng";
    assert_eq!(failure("empty", b""), no_capture);
    assert_eq!(failure("pcapng", b"\x0a\x0d\x0d\x0a0123456789012345678901234567890"), no_capture);
    assert_eq!(
        failure("cooked", &changed(20, 113)),
        ": was not captured on Ethernet; capture on the NIC, not on \"any\""
    );
    let second = ": frame 2 is damaged or cut off; `editcap` saves the frames before it";
    assert_eq!(failure("cut", &good[..good.len() - 1]), second);
    assert_eq!(failure("fraction", &changed(24 + record_len + 6, 0xff)), second);
    assert_eq!(failure("huge", &changed(24 + record_len + 11, 0x7f)), second);
}

#[test]
fn arguments_that_do_not_fit_the_configuration_are_refused() {
    let folder = Folder::new("arguments");
    let input = folder.capture("in", PLAIN, &[]);
    let wan = [nic_file("wan", &input)];
    let run = |text: &str, rules: &str, inputs: &[_], outputs: &[_]| {
        replay(&config(text), rules, inputs, outputs, 1).unwrap_err()
    };
    let unknown = run(CONFIG, "", &[nic_file("eth0", &input)], &[]);
    assert_eq!(unknown.to_string(), "the configuration has no NIC eth0; it has: wan, lan");
    let no_mac = CONFIG.replace("    mac = \"02:00:00:00:00:02\"\n", "");
    assert_eq!(run(&no_mac, "", &wan, &[]), ReplayError::NoMac { nic: "lan".to_owned() });
    assert!(matches!(run(CONFIG, "", &wan, &wan), ReplayError::Overwritten { .. }));
    let [output, _] = folder.outputs();
    let other = nic_file("wan", &folder.path("other"));
    let twice = run(CONFIG, "", &wan, &[output.clone(), other]);
    assert_eq!(twice, ReplayError::TwoOutputs { nic: "wan".to_owned() });
    let same = nic_file("lan", &output.file);
    assert!(matches!(run(CONFIG, "", &wan, &[output, same]), ReplayError::Overwritten { .. }));
    let refused = run(CONFIG, "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -m\n", &wan, &[]);
    assert!(refused.to_string().starts_with("rules, line 2: "), "{refused}");
    let missing = run(CONFIG, "", &[nic_file("wan", &folder.path("none"))], &[]);
    assert!(missing.to_string().ends_with("none: cannot be read: entity not found"), "{missing}");
    assert!(fs::metadata(&input).unwrap().len() > 0, "an input was overwritten");
}
