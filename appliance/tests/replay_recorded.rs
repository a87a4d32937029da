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
use wire::{Delta, Eth, Ipv4, L4, TcpFlags, U16, Udp};
use zerocopy::FromBytes;

const CONFIG: &str = r#"
    [connections]
    capacity = 256
    [limits]
    services = 64
    servers = 64

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
        { address = "10.2.0.12", mac = "02:00:00:00:02:12" },
        { address = "fd00:2::11", mac = "02:00:00:00:02:11" },
    ]
"#;

/// As [`CONFIG`], with a host that has the addresses.
const WITH_HOST: &str = r#"
    [connections]
    capacity = 256
    [limits]
    services = 64
    servers = 64

    [[nic]]
    name = "wan"
    device = "net_null0"
    mac = "02:00:00:00:01:01"
    host_interface = "wan"
    [[nic]]
    name = "lan"
    device = "net_null1"
    mac = "02:00:00:00:02:01"
    host_interface = "lan"
"#;

/// Where GUE servers listen.
const GUE_PORT: u16 = 6080;

/// Services over TCP and UDP: VIP, port, and how the server is reached.
const SERVICES: [(&str, u16, &str); 10] = [
    ("10.1.0.80", 9000, "10.2.0.11:9500 -m"),
    ("10.1.0.81", 9001, "10.2.0.11 -g"),
    ("10.1.0.82", 9002, "10.2.0.11 -i"),
    ("10.1.0.82", 9003, "10.2.0.11 -i --tun-type gre"),
    ("10.1.0.82", 9004, "10.2.0.11 -i --tun-type gre --tun-csum"),
    ("10.1.0.82", 9005, "10.2.0.11 -i --tun-type gue --tun-port 6080"),
    ("10.1.0.82", 9006, "10.2.0.11 -i --tun-type gue --tun-port 6080 --tun-csum"),
    ("10.1.0.82", 9007, "10.2.0.11 -i --tun-type gue --tun-port 6080 --tun-remcsum"),
    ("10.1.0.82", 9200, "[fd00:2::11]:9200 -i"),
    ("[fd00:1::80]", 9100, "[fd00:2::11]:9500 -m"),
];
const SERVICES_V6: [(&str, u16, &str); 6] = [
    ("[fd00:1::81]", 9101, "[fd00:2::11]:9101 -g"),
    ("[fd00:1::82]", 9102, "[fd00:2::11]:9102 -i"),
    ("[fd00:1::82]", 9103, "10.2.0.11:9103 -i"),
    ("[fd00:1::82]", 9104, "[fd00:2::11]:9104 -i --tun-type gre --tun-csum"),
    ("[fd00:1::82]", 9105, "[fd00:2::11]:9105 -i --tun-type gue --tun-port 6080 --tun-csum"),
    ("[fd00:1::82]", 9106, "[fd00:2::11]:9106 -i --tun-type gue --tun-port 6080"),
];

/// Services of one-packet scheduling.
const ONE_PACKET: &str = "\
-A -u 10.1.0.80:9300 -s rr -o
-a -u 10.1.0.80:9300 -r 10.2.0.11:9500 -m
-a -u 10.1.0.80:9300 -r 10.2.0.12:9500 -m
-A -u 10.1.0.81:9300 -s rr -o
-a -u 10.1.0.81:9300 -r 10.2.0.11 -g
-a -u 10.1.0.81:9300 -r 10.2.0.12 -g
";

fn rules() -> String {
    let services = SERVICES.iter().chain(&SERVICES_V6);
    let both = services.flat_map(|service| ["-t", "-u"].map(|protocol| (protocol, service)));
    both.map(|(protocol, (vip, port, server))| {
        format!("-A {protocol} {vip}:{port} -s rr\n-a {protocol} {vip}:{port} -r {server}\n")
    })
    .chain([ONE_PACKET.to_owned()])
    .collect()
}

/// What opened the connections of recorded packets without being recorded: VIP, its port, client's.
const OPENED: [([u8; 4], u16, u16); 12] = [
    ([10, 1, 0, 80], 9000, 46000),
    ([10, 1, 0, 81], 9001, 46001),
    ([10, 1, 0, 82], 9002, 46002),
    ([10, 1, 0, 82], 9003, 46003),
    ([10, 1, 0, 82], 9004, 46004),
    ([10, 1, 0, 82], 9005, 46005),
    ([10, 1, 0, 80], 9000, 47000),
    ([10, 1, 0, 80], 9000, 49001),
    ([10, 1, 0, 81], 9001, 49002),
    ([10, 1, 0, 82], 9002, 49003),
    ([10, 1, 0, 82], 9003, 49004),
    ([10, 1, 0, 82], 9005, 49005),
];

/// Cases that the director is deliberately better at, by the beginning of their titles, and why;
/// they go through the replay, and must leave otherwise than they left the kernel.
const DEVIATIONS: [(&str, &str); 5] = [
    ("from the server: parameter problem", "translated: the kernel shows the server's address"),
    ("from the server: redirect", "dropped: the kernel shows the server's address"),
    ("with the outer and inner headers", "tells the MTU just learned: the kernel the one before"),
    ("TUN ipip UDP of 2008 bytes", "a fragment each in a tunnel: the kernel puts them together"),
    ("TUN ipip the same, second", "a fragment each in a tunnel: the kernel puts them together"),
];

fn deviation(case: &Case) -> Option<&'static str> {
    let found = DEVIATIONS.iter().find(|(start, _)| case.title.starts_with(start));
    found.map(|(_, why)| *why)
}

/// Why a case is not put through a replay; none if it is.
fn out_of_scope(case: &Case) -> Option<String> {
    let unread = case.frames.iter().find_map(|line| line.frame.as_ref().err())?;
    match unread.as_str() {
        "frag" => Some("a recording that does not show what is in fragments".to_owned()),
        other => panic!("{}: no word for {other}", case.title),
    }
}

/// Whether what left the kernel was the host's: its answer, or what it forwards as any router.
fn is_hosts(case: &Case) -> bool {
    let hosts = [
        "from a server address",
        "nat_icmp_send 1, RST",
        "nat_icmp_send 1, another port",
        "unknown connection inside",
        "echo",
        "a reply of the server",
    ];
    hosts.iter().any(|start| case.title.starts_with(start))
}

/// The keys of `[ipvs]` that make the director as odd as the kernel was in a case.
fn knobs(case: &Case) -> String {
    let mut settings = case.settings.clone();
    const ODD: [&str; 3] = ["pmtu_disc = 0", "nat_icmp_send = 1", "schedule_icmp = 1"];
    settings.retain(|setting| ODD.contains(&setting.as_str()));
    format!("[ipvs]\n{}\n", settings.join("\n"))
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
        // The flow label of an ICMPv6 error; that of an outer header is 0 in both.
        let label = expected.iter_mut().zip(left).skip(15).take(3);
        label.enumerate().for_each(|(i, (to, from))| {
            let mask = if i == 0 { 0x0f } else { 0xff };
            *to = *to & !mask | from & mask;
        });
        return adopt_source_port(expected, left, 14 + 40, 14 + 6);
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
    adopt_source_port(expected, left, 14 + 20, 14 + 9);
}

/// The source port of GUE, with what it does to a UDP checksum.
fn adopt_source_port(expected: &mut [u8], left: &[u8], udp_at: usize, protocol_at: usize) {
    let is_udp = expected.get(protocol_at) == Some(&L4::Udp.number());
    let from = Udp::ref_from_prefix(left.get(udp_at..).unwrap_or_default());
    let to = Udp::mut_from_prefix(expected.get_mut(udp_at..).unwrap_or_default());
    if let (true, Ok((from, _)), Ok((to, _))) = (is_udp, from, to)
        && to.dst.get() == GUE_PORT
    {
        let delta = Delta::of_words(to.src.get(), from.src.get());
        (to.src, to.csum) = (from.src, delta.apply_udp(to.csum));
    }
}

/// What a replay sent for a case by each NIC, and what the kernel sent.
struct Outcome {
    sent: [Vec<Vec<u8>>; 2],
    expected: [Vec<Vec<u8>>; 2],
}

/// Puts cases of the same settings through one replay.
fn replayed(cases: &[(usize, &Case)], settings: &str) -> Vec<Outcome> {
    let mut inputs = [openers(), Vec::new()];
    for (index, case) in cases {
        for line in case.frames.iter().filter(|line| line.arrives) {
            let input = &mut inputs[usize::from(line.nic == "lan")];
            input.push((at(*index, 10), line.frame.clone().unwrap()));
        }
    }
    let folder = Folder::new(&format!("recorded-{}", settings.len()));
    let [wan, lan] = &inputs;
    let config = config(&format!("{settings}{CONFIG}"));
    folder.replay(&config, &rules(), [wan, lan], 1).unwrap();
    let sent = ["wan", "lan"].map(|nic| folder.sent(nic));
    let outcome = |(index, case): &(usize, &Case)| {
        let mut outcome = Outcome { sent: Default::default(), expected: Default::default() };
        for (place, nic) in ["wan", "lan"].into_iter().enumerate() {
            let lines = case.frames.iter().filter(|line| !line.arrives && line.nic == nic);
            outcome.expected[place] = lines.map(|line| line.frame.clone().unwrap()).collect();
            let sent = sent[place].iter().filter(|(time, _)| *time == at(*index, 10));
            outcome.sent[place] = sent.map(|(_, frame)| frame.clone()).collect();
            for (expected, left) in outcome.expected[place].iter_mut().zip(&outcome.sent[place]) {
                adopt_free_choices(expected, left);
            }
        }
        outcome
    };
    cases.iter().map(outcome).collect()
}

/// Whether the frames of a case go to the host, and nothing leaves.
fn is_punted(case: &Case) -> bool {
    let mut inputs = [Vec::new(), Vec::new()];
    let mut arrived = 0;
    for line in case.frames.iter().filter(|line| line.arrives) {
        inputs[usize::from(line.nic == "lan")].push((at(0, 0), line.frame.clone().unwrap()));
        arrived += 1;
    }
    let folder = Folder::new("recorded-host");
    let [wan, lan] = &inputs;
    let summary = folder.replay(&config(WITH_HOST), &rules(), [wan, lan], 1).unwrap();
    summary.punted == arrived && ["wan", "lan"].iter().all(|nic| folder.sent(nic).is_empty())
}

#[test]
fn what_leaves_is_what_left_the_kernel() {
    let text = include_str!("recordings/packets.jsonl");
    let (mut all, mut left_out) = (0, BTreeMap::<String, usize>::new());
    let (mut same, mut hosts, mut taken) = (0, 0, Vec::new());
    for (_, stdout) in recorded::sections(text) {
        for case in recorded::cases(&stdout) {
            all += 1;
            match out_of_scope(&case) {
                Some(reason) => *left_out.entry(reason).or_default() += 1,
                None if is_hosts(&case) => {
                    hosts += 1;
                    assert!(is_punted(&case), "{} is for the host", case.title);
                }
                None => taken.push(case),
            }
        }
    }
    let mut by_settings = BTreeMap::<String, Vec<(usize, &Case)>>::new();
    for (index, case) in taken.iter().enumerate() {
        by_settings.entry(knobs(case)).or_default().push((index, case));
    }
    let (mut better, mut wrong) = (Vec::new(), Vec::new());
    for (settings, cases) in &by_settings {
        for ((_, case), outcome) in cases.iter().zip(replayed(cases, settings)) {
            match (outcome.sent == outcome.expected, deviation(case)) {
                (true, None) => same += 1,
                (false, Some(why)) => better.push((&case.title, why)),
                (true, Some(_)) => wrong.push(format!("{}: no deviation any more", case.title)),
                (false, None) => {
                    let Outcome { sent, expected } = outcome;
                    wrong.push(format!(
                        "{}\nsent {sent:02x?}\nexpected {expected:02x?}",
                        case.title
                    ));
                }
            }
        }
    }
    println!("{same} of {all} recorded packets leave as they left the kernel");
    println!("{hosts} are given to the host, which answered or forwarded them; deviations:");
    better.iter().for_each(|(title, why)| println!("  {title}: {why}"));
    println!("left out:");
    left_out.iter().for_each(|(reason, count)| println!("  {count:3} {reason}"));
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same >= 210, "only {same} cases were read");
    assert_eq!(better.len(), DEVIATIONS.len());
}
