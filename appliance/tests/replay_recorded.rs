// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames recorded on both sides of the kernel's IPVS (Linux 6.1), put through a replay: what
//! leaves must be what left the kernel, but for identifications and flow labels of its own choice.

mod captures;
mod recorded;

use std::collections::BTreeMap;
use std::time::Duration;

use captures::{Folder, Seen, config};
use recorded::Case;
use wire::build;
use wire::{Eth, Ipv4, TcpFlags, U16};
use zerocopy::FromBytes;

const CONFIG: &str = r#"
    [connections]
    capacity = 256
    [limits]
    services = 16
    servers = 16

    [[nic]]
    name = "wan"
    device = "net_null0"
    mac = "02:00:00:00:01:01"
    addresses = ["10.1.0.1/24", "fd00:1::1/64"]
    neighbour = [
        { address = "10.1.0.2", mac = "02:00:00:00:01:02" },
        { address = "fd00:1::2", mac = "02:00:00:00:01:02" },
    ]
    [[nic]]
    name = "lan"
    device = "net_null1"
    mac = "02:00:00:00:02:01"
    addresses = ["10.2.0.1/24", "fd00:2::1/64"]
    neighbour = [
        { address = "10.2.0.11", mac = "02:00:00:00:02:11" },
        { address = "fd00:2::11", mac = "02:00:00:00:02:11" },
    ]
"#;

const RULES: &str = "\
-A -t 10.1.0.80:9000 -s rr
-a -t 10.1.0.80:9000 -r 10.2.0.11:9500 -m
-A -u 10.1.0.80:9000 -s rr
-a -u 10.1.0.80:9000 -r 10.2.0.11:9500 -m
-A -t 10.1.0.81:9001 -s rr
-a -t 10.1.0.81:9001 -r 10.2.0.11:9001 -g
-A -u 10.1.0.81:9001 -s rr
-a -u 10.1.0.81:9001 -r 10.2.0.11:9001 -g
-A -t 10.1.0.82:9002 -s rr
-a -t 10.1.0.82:9002 -r 10.2.0.11:9002 -i
-A -u 10.1.0.82:9002 -s rr
-a -u 10.1.0.82:9002 -r 10.2.0.11:9002 -i
-A -t [fd00:1::80]:9100 -s rr
-a -t [fd00:1::80]:9100 -r [fd00:2::11]:9500 -m
-A -t [fd00:1::81]:9101 -s rr
-a -t [fd00:1::81]:9101 -r [fd00:2::11]:9101 -g
-A -t [fd00:1::82]:9102 -s rr
-a -t [fd00:1::82]:9102 -r [fd00:2::11]:9102 -i
";

/// What opened the connections of recorded packets without being recorded: VIP, its port, client's.
const OPENED: [([u8; 4], u16, u16); 4] = [
    ([10, 1, 0, 80], 9000, 46000),
    ([10, 1, 0, 81], 9001, 46001),
    ([10, 1, 0, 82], 9002, 46002),
    ([10, 1, 0, 80], 9000, 47000),
];

/// Why a case is not put through a replay; none if it is.
fn out_of_scope(section: &str, case: &Case) -> Option<String> {
    let later = [("one-packet", "one-packet scheduling"), ("ICMP errors", "errors about flows")];
    if let Some((_, what)) = later.iter().find(|(start, _)| section.starts_with(start)) {
        return Some((*what).to_owned());
    }
    let defaults = ["pmtu_disc = 1", "nat_icmp_send = 0"];
    let setting = case.settings.iter().find(|s| !defaults.contains(&s.as_str()));
    if let Some(setting) = setting {
        return Some(format!("the kernel's {setting}"));
    }
    // Of encapsulations the error about a packet that is too big is an answer without a tunnel.
    let titled = |word| case.title.split(' ').any(|part| part == word);
    if titled("gre") || titled("gue") || titled("v4") || case.title.starts_with("tos b8 no DF") {
        return Some("GRE, GUE and tunnels between families".to_owned());
    }
    if section.starts_with("IPv6") && case.title.starts_with("1500") {
        return Some("GRE, GUE and tunnels between families".to_owned());
    }
    let answered_by_host = ["no connection", "the same, DR", "RST to", "from a server address"];
    if answered_by_host.iter().any(|start| case.title.starts_with(start)) {
        return Some("the host's own answer or forwarding".to_owned());
    }
    let unread = case.frames.iter().find_map(|line| line.frame.as_ref().err())?;
    match unread.as_str() {
        "MF" | "off" | "frag" => Some("fragments".to_owned()),
        other => panic!("{}: no word for {other}", case.title),
    }
}

fn at(case: usize, step: u64) -> Duration {
    Duration::from_millis(1_700_000_000_000 + case as u64 * 100 + step)
}

/// SYNs and a datagram that open the connections of [`OPENED`].
fn openers() -> Vec<Seen> {
    let packet = |vip: [u8; 4]| {
        let ether = build::eth().src("02:00:00:00:01:02".parse().unwrap());
        ether.dst("02:00:00:00:01:01".parse().unwrap()).ipv4([10, 1, 0, 2], vip)
    };
    let syns = OPENED.iter().map(|(vip, port, client)| {
        (at(0, 0), packet(*vip).tcp(*client, *port).flags(TcpFlags::SYN).payload(b""))
    });
    let datagram = packet([10, 1, 0, 80]).udp(47001, 9000).payload(b"abc");
    syns.chain([(at(0, 0), datagram)]).collect()
}

/// Makes an expected frame's fields of the director's own choice those of the frame that left.
fn adopt_free_choices(expected: &mut [u8], left: &[u8]) {
    let Ok((eth, _)) = Eth::ref_from_prefix(expected) else { return };
    if eth.ethertype.get() == wire::eth::IPV6 {
        // The flow label of an ICMPv6 error; ip6ip6's is 0 in both.
        let label = expected.iter_mut().zip(left).skip(15).take(3);
        label.enumerate().for_each(|(i, (to, from))| {
            let mask = if i == 0 { 0x0f } else { 0xff };
            *to = *to & !mask | from & mask;
        });
        return;
    }
    let from = Ipv4::ref_from_prefix(left.get(14..).unwrap_or_default());
    let to = Ipv4::mut_from_prefix(expected.get_mut(14..).unwrap_or_default());
    if let (Ok((from, _)), Ok((to, _))) = (from, to)
        && to.id != U16::ZERO
    {
        to.id = from.id;
        to.csum = U16::ZERO;
        to.csum = to.checksum();
    }
}

#[test]
fn what_leaves_is_what_left_the_kernel() {
    let text = include_str!("recordings/packets.jsonl");
    let (mut all, mut left_out) = (0, BTreeMap::<String, usize>::new());
    let mut taken = Vec::new();
    for (section, stdout) in recorded::sections(text) {
        for case in recorded::cases(&stdout) {
            all += 1;
            match out_of_scope(&section, &case) {
                Some(reason) => *left_out.entry(reason).or_default() += 1,
                None => taken.push(case),
            }
        }
    }
    let mut inputs = [openers(), Vec::new()];
    for (index, case) in taken.iter().enumerate() {
        for line in case.frames.iter().filter(|line| line.arrives) {
            let input = &mut inputs[usize::from(line.nic == "lan")];
            input.push((at(index, 10), line.frame.clone().unwrap()));
        }
    }
    let folder = Folder::new("recorded");
    let [wan, lan] = &inputs;
    folder.replay(&config(CONFIG), RULES, [wan, lan], 1).unwrap();
    let sent = ["wan", "lan"].map(|nic| folder.sent(nic));
    for (index, case) in taken.iter().enumerate() {
        for (nic, sent) in ["wan", "lan"].into_iter().zip(&sent) {
            let lines = case.frames.iter().filter(|line| !line.arrives && line.nic == nic);
            let mut expected: Vec<Vec<u8>> =
                lines.map(|line| line.frame.clone().unwrap()).collect();
            let sent = sent.iter().filter(|(time, _)| *time == at(index, 10));
            let sent: Vec<Vec<u8>> = sent.map(|(_, frame)| frame.clone()).collect();
            for (expected, left) in expected.iter_mut().zip(&sent) {
                adopt_free_choices(expected, left);
            }
            assert_eq!(sent, expected, "{} at {nic}", case.title);
        }
    }
    println!("{} of {all} recorded packets leave as they left the kernel; left out:", taken.len());
    left_out.iter().for_each(|(reason, count)| println!("  {count:3} {reason}"));
    assert!(taken.len() >= 60, "only {} cases were read", taken.len());
}
