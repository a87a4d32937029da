// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

const REFERENCE: &str = include_str!("../../../../configs/reference.toml");
const NIC: &str = "[[nic]]\nname = \"wan\"\ndevice = \"0000:3b:00.0\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "lb.toml")
}

fn accepted(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}\nin:\n{text}"))
}

#[test]
fn reference_file_shows_the_defaults() {
    assert_eq!(accepted(REFERENCE), accepted(NIC));
}

#[test]
fn reference_file_mentions_every_key_in_its_section_with_a_comment() {
    for (section, keys) in keys::SECTIONS {
        let lines = reference_section(section);
        for key in keys.iter().filter(|key| **key != "neighbour") {
            let is_key =
                |line: &&str| line.trim_start_matches('#').starts_with(&format!("{key} ="));
            let at = lines.iter().position(is_key);
            let at = at.unwrap_or_else(|| panic!("no `{key}` under `{section}`"));
            let above = at.checked_sub(1).and_then(|above| lines.get(above));
            assert!(above.is_some_and(|line| line.starts_with("# ")), "`{key}` has no comment");
        }
    }
    for name in keys::TOP.1 {
        assert!(!reference_section(name).is_empty(), "no section `{name}`");
    }
}

fn reference_section(name: &str) -> Vec<&'static str> {
    let headers = [format!("[{name}]"), format!("[[{name}]]")];
    let is_header = |line: &&str| line.trim_start_matches('#').starts_with('[');
    let lines = REFERENCE.lines();
    let from = lines.skip_while(|line| headers.iter().all(|h| line.trim_start_matches('#') != h));
    from.skip(1).take_while(|line| !is_header(line)).collect()
}

/// The reference file with its examples in force, but the one that excludes others.
fn reference_with_examples() -> Vec<String> {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with("host_interface") => String::new(),
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    REFERENCE.lines().map(uncommented).collect()
}

#[test]
fn a_date_in_place_of_any_value_is_refused_on_its_line() {
    let right = reference_with_examples();
    for (index, line) in right.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let mut wrong = right.clone();
        wrong[index] = format!("{key} = 1970-01-01");
        let error = parse(&wrong.join("\n")).unwrap_err().to_string();
        let place = format!("lb.toml:{}: ", index + 1);
        let said = error.contains(&format!("{key}: a date is here; "));
        assert!(error.starts_with(&place) && said, "{place}{key}: {error}");
    }
}

#[test]
fn a_file_without_any_one_of_its_lines_is_read_or_refused_with_a_line() {
    let whole = reference_with_examples();
    for index in 0..whole.len() {
        let mut lines = whole.clone();
        lines.remove(index);
        match parse(&lines.join("\n")) {
            Ok(_) => {}
            Err(ConfigError::Key { line, .. } | ConfigError::Syntax { line, .. }) => {
                assert!((1..=lines.len()).contains(&line), "line {line}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn examples_in_the_reference_file_are_right() {
    let text = reference_with_examples();
    let config = accepted(&text.join("\n"));
    assert_eq!((config.routes.len(), config.marks.len()), (1, 1));
    assert_eq!(config.nics[0].neighbours.len(), 1);
    assert!(config.metrics.is_some() && config.rules.file.is_some());
}

/// Every key, with a value that is not the default.
const EVERY_KEY: &str = r#"
eal = { lcores = "1,3-4", hugepages = "off", memory_mb = 256, args = ["--log-level=8"] }
workers.count = 3
workers.owner = "landing"
workers.idle = 50
workers.rss_key = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"
connections = { capacity = 1000 }
limits = { services = 16, servers = 32, templates = 64 }
timeouts = { tcp_established = 3600, udp = 30 }
local_ports = { range = "5000-5999" }
host = { vital_ring = 64, other_ring = 128, punt_rate = 1000 }
control = { socket = "./c.sock" }
metrics = { listen = "[::1]:9650" }
rules = { file = "/etc/pointsman/saved.rules", persist = true }
[[nic]]
name = "wan"
device = "net_tap0,iface=wan-nic"
queues = 1
descriptors = 256
mac = "02:00:00:00:00:01"
mtu = 1400
rss = "source"
rss_preset = true
addresses = ["198.51.100.1/24", "192.0.2.1/32", "2001:db8::1/64"]
neighbour = [{ address = "198.51.100.254", mac = "02:00:00:00:00:fe" }]
[[nic]]
name = "lan"
device = "3B:00.1"
host_interface = "lan0"
[[mark]]
mark = 5
protocol = "tcp"
source = "198.51.100.0/24"
destination = "192.0.2.7"
ports = "8000-8079"
nic = "wan"
[[mark]]
mark = 4294967295
[[route]]
to = "203.0.113.0/24"
via = "198.51.100.254"
nic = "wan"
src = "192.0.2.1"
"#;

#[test]
fn values_of_sections_reach_their_places() {
    let config = accepted(EVERY_KEY);
    let lcores = Some("1,3-4".to_owned());
    let args = vec!["--log-level=8".to_owned()];
    assert_eq!(config.eal, Eal { lcores, hugepages: Hugepages::Off, memory_mb: 256, args });
    let workers = Workers {
        count: 3,
        owner: Owner::Landing,
        idle: Idle::Sleep(50),
        rss_key: Some(vec![15; 40]),
    };
    assert_eq!(config.workers, workers);
    assert_eq!(
        config.capacity,
        Capacity { connections: 1000, half_open: 250, services: 16, servers: 32, templates: 64 }
    );
    assert_eq!(
        config.limits(),
        Limits { services: 16, servers: 32, connections: 334, templates: 64, half_open: 84 }
    );
    let mut timeouts = Timeouts::default();
    timeouts.set(lb::conn::tcp_state::State::Established, 3600);
    timeouts.set(lb::conn::tcp_state::State::Udp, 30);
    assert_eq!(config.timeouts, timeouts);
    assert_eq!(config.local_ports, 5000..=5999);
    assert_eq!(config.host, Host { vital_ring: 64, other_ring: 128, punt_rate: 1000 });
    assert_eq!(config.control.socket, Path::new("./c.sock"));
    assert_eq!(config.metrics, "[::1]:9650".parse().ok());
    assert_eq!(config.rules.file.as_deref(), Some(Path::new("/etc/pointsman/saved.rules")));
    assert!(config.rules.persist);
}

#[test]
fn values_of_nics_and_routes_reach_their_places() {
    let config = accepted(EVERY_KEY);
    let [wan, lan] = config.nics.as_slice() else { panic!("two NICs") };
    assert_eq!((wan.device.name(), wan.device.is_virtual()), ("net_tap0", true));
    assert_eq!(wan.device.to_string(), "net_tap0,iface=wan-nic");
    assert_eq!((wan.queues, wan.descriptors, wan.mtu), (1, 256, 1400));
    assert_eq!(wan.mac, Some(Mac([2, 0, 0, 0, 0, 1])));
    assert_eq!(wan.addresses.len(), 3);
    let mac = Mac([2, 0, 0, 0, 0, 0xfe]);
    let address: IpAddr = [198, 51, 100, 254].into();
    assert_eq!(wan.neighbours, [StaticNeighbour { address, mac }]);
    assert_eq!((lan.device.name(), lan.device.is_virtual()), ("0000:3b:00.1", false));
    assert_eq!((lan.queues, lan.host_interface.as_deref()), (3, Some("lan0")));
    let to = Prefix { address: [203, 0, 113, 0].into(), len: 24 };
    let src = Some([192, 0, 2, 1].into());
    let route = Route { to, via: Some(address), nic: Some(NicId(0)), src };
    assert_eq!(config.routes, [route]);
}

#[test]
fn rules_of_marks_keep_their_order_and_what_is_absent_fits_all() {
    let config = accepted(EVERY_KEY);
    let wan = Some(NicId(0));
    let source = Some(Prefix { address: [198, 51, 100, 0].into(), len: 24 });
    let destination = Some(Prefix { address: [192, 0, 2, 7].into(), len: 32 });
    let ports = 8000..=8079;
    let protocol = Some(wire::L4::Tcp);
    let first = MarkRule { protocol, source, destination, ports, nic: wan, mark: 5 };
    let (protocol, source, destination, ports, nic) = (None, None, None, 0..=65535, None);
    let last = MarkRule { protocol, source, destination, ports, nic, mark: u32::MAX };
    assert_eq!(config.marks, [first, last]);
}

#[test]
fn segments_of_own_addresses_are_routes_and_single_addresses_are_not() {
    let nic = format!("{NIC}addresses = [\"198.51.100.1/25\", \"192.0.2.1/32\"]\n");
    let routes = accepted(&nic).all_routes();
    let to = Prefix { address: [198, 51, 100, 0].into(), len: 25 };
    let src = Some([198, 51, 100, 1].into());
    assert_eq!(routes, [Route { to, via: None, nic: Some(NicId(0)), src }]);
}

#[test]
fn default_route_takes_the_family_of_its_gateway() {
    let nic = format!("{NIC}addresses = [\"2001:db8::1/64\"]\n");
    let route = "[[route]]\nto = \"default\"\nvia = \"2001:db8::fe\"\nnic = \"wan\"\n";
    let config = accepted(&format!("{nic}{route}"));
    let to = Prefix { address: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), len: 0 };
    assert_eq!(config.routes[0].to, to);
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_said_plainly() {
    let said = |path: &Path| Config::load(path).unwrap_err().to_string();
    let missing = "/nonexistent/lb.toml: no such file; configs/reference.toml shows";
    assert!(said(Path::new("/nonexistent/lb.toml")).starts_with(missing));
    let path = std::env::temp_dir().join(format!("pointsman-config-{}", std::process::id()));
    std::fs::write(&path, b"[eal]\n# caf\xe9\n").unwrap();
    let right = format!("{}:2: not UTF-8 text; save the file as UTF-8", path.display());
    assert_eq!(said(&path), right);
    std::fs::remove_file(path).unwrap();
    assert_eq!(said(Path::new("/")), "/: cannot be read: is a directory");
}

#[test]
fn what_differs_in_a_newer_reading_is_named() {
    let first = accepted(&format!("{NIC}[timeouts]\nudp = 30\ntcp_close = 5\n"));
    let same = accepted(&format!("{NIC}[timeouts]\nudp = 30\ntcp_close = 5\n"));
    assert_eq!((first.changed_timeouts(&same), first.changed_sections(&same)), (vec![], vec![]));
    let newer = format!("[limits]\nservers = 9\n{NIC}mtu = 1400\n[timeouts]\nudp = 31\n");
    let newer = accepted(&newer);
    let changed: Vec<_> = first.changed_timeouts(&newer);
    let changed: Vec<_> = changed.iter().map(|new| (new.key, new.seconds)).collect();
    assert_eq!(changed, [("tcp_close", 10), ("udp", 31)]);
    assert_eq!(first.changed_sections(&newer), ["[[nic]]", "[limits]"]);
}

/// Lines put before, into and after the one `[[nic]]`, and what is said about them.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    // before, in the NIC, after, the error without the file
    ("[workrs]", "", "", "1: workrs: unknown section; the nearest valid one is `workers`"),
    ("\ncount = 4", "", "", "2: count: not a key of this section; its place is `workers`"),
    ("[workers]\ncapacity = 4", "", "", "2: [workers] capacity: not a key of this section; its place is `connections`"),
    ("[workers]\ncuont = 4", "", "", "2: [workers] cuont: unknown key; the nearest valid one is `count`"),
    ("[eal]\nargs = 3\nmemory = 1", "", "", "3: [eal] memory: unknown key; the nearest valid one is `memory_mb`"),
    ("[worker]", "", "", "1: worker: unknown section; the nearest valid one is `workers`"),
    ("[keepalived]", "", "", "1: keepalived: unknown section; the valid ones are eal, workers, nic, route, mark, connections, limits, timeouts, ipvs, local_ports, host, control, metrics, rules"),
    ("[metrics]\nprometheus = 1", "", "", "2: [metrics] prometheus: unknown key; the valid ones are listen"),
    ("[workers]\ncores = 4", "", "", "2: [workers] cores: unknown key; the valid ones are count, owner, idle, rss_key"),
    ("", "quees = 1", "", "4: [[nic]] quees: unknown key; the nearest valid one is `queues`"),
    ("[workers", "", "", "1: not TOML: unclosed table, expected `]`"),
    ("workers = 4", "", "", "1: [workers]: an integer is here; a table is right"),
    ("[[workers]]", "", "", "1: [workers]: an array is here; a table is right"),
    ("[workers]\ncount = \"4\"", "", "", "2: [workers] count: a string is here; an integer is right"),
    ("[workers]\ncount = 0", "", "", "2: [workers] count: 0 is out of range; 1 to 64 is right"),
    ("[workers]\ncount = -1", "", "", "2: [workers] count: -1 is out of range; 1 to 64 is right"),
    ("[workers]\ncount = 0x1_00", "", "", "2: [workers] count: 0x100 is out of range; 1 to 64 is right"),
    ("[workers]\nowner = \"rss\"", "", "", "2: [workers] owner: \"rss\" is not hash or landing; for example: \"hash\""),
    ("[workers]\nidle = \"sleep\"", "", "", "2: [workers] idle: \"sleep\" is not spin, yield or a number; for example: \"spin\", or 50"),
    ("[workers]\nidle = 0", "", "", "2: [workers] idle: 0 is out of range; 1 to 10000 microseconds is right"),
    ("[workers]\nidle = true", "", "", "2: [workers] idle: true or false is here; \"spin\", \"yield\" or an integer is right"),
    ("[eal]\nhugepages = true", "", "", "2: [eal] hugepages: true or false is here; a string is right"),
    ("[eal]\nhugepages = \"yes\"", "", "", "2: [eal] hugepages: \"yes\" is not auto, on or off; for example: \"auto\""),
    ("[eal]\nlcores = \"all\"", "", "", "2: [eal] lcores: \"all\" is not a set of cores as DPDK's --lcores has it; for example: 0-3"),
    ("[eal]\nmemory_mb = 1.5", "", "", "2: [eal] memory_mb: a float is here; an integer is right"),
    ("[eal]\nargs = [\n\"--log-level=8\",\n\"-l0-3\"]", "", "", "4: [eal] args: \"-l0-3\" is set by Pointsman; use `[eal] lcores`"),
    ("[eal]\nargs = [\"--no-huge\"]", "", "", "2: [eal] args: \"--no-huge\" is set by Pointsman; use `[eal] hugepages`"),
    ("[eal]\nargs = [\"--vdev=net_null0\"]", "", "", "2: [eal] args: \"--vdev=net_null0\" is set by Pointsman; use `[[nic]] device`"),
    ("[eal]\nargs = [1]", "", "", "2: [eal] args: an integer is here; a string is right"),
    ("[workers]\nrss_key = \"6d5a\"", "", "", "2: [workers] rss_key: \"6d5a\" is not a key of 40 to 52 bytes, two hexadecimal digits each; for example: \"6d5a56da255b0ec2...\""),
    ("", "rss = \"both\"", "", "4: [[nic]] rss: \"both\" is not auto, tuple, source or destination; for example: \"auto\""),
    ("", "rss_preset = true", "", "4: [[nic]] rss_preset: true needs to be told what was set; give the NIC's `rss` (tuple, source or destination) and `[workers] rss_key`"),
    ("[connections]\ncapacity = 134217729", "", "", "2: [connections] capacity: 134217729 is out of range; 1 to 134217728 connections is right"),
    ("[limits]\nservices = 0", "", "", "2: [limits] services: 0 is out of range; 1 to 1048576 is right"),
    ("[timeouts]\nudp = 0", "", "", "2: [timeouts] udp: 0 is out of range; 1 to 2678400 seconds is right"),
    ("[local_ports]\nrange = \"5000\"", "", "", "2: [local_ports] range: \"5000\" is not a range of ports, 1 to 65535; for example: \"1025-32767\""),
    ("[local_ports]\nrange = \"0-99\"", "", "", "2: [local_ports] range: \"0-99\" is not a range of ports, 1 to 65535; for example: \"1025-32767\""),
    ("[workers]\ncount = 3\n[local_ports]\nrange = \"5000-5001\"", "", "", "4: [local_ports] range: fewer ports (2) than workers (3); at least one per worker is right"),
    ("[host]\nother_ring = 1000", "", "", "2: [host] other_ring: 1000 is not a power of two; 1024 is"),
    ("[control]\nsocket = \"\"", "", "", "2: [control] socket: \"\" is not the path of a file; for example: /run/pointsman/control.sock"),
    ("[control]\nnetlink = \"/run/pointsman/netlink.sock\"", "", "", "2: [control] netlink: not available in this release; leave it out"),
    ("[metrics]\nlisten = \"127.0.0.1\"", "", "", "2: [metrics] listen: \"127.0.0.1\" is not an address with a port; for example: \"127.0.0.1:9650\""),
    ("[rules]\npersist = true", "", "", "2: [rules] persist: true needs a file to save to; set `[rules] file`"),
    ("", "name = \"lan\"", "", "4: not TOML: duplicate key"),
    ("", "device.x = 1", "", "4: not TOML: cannot extend value of type string with a dotted key"),
    ("", "mtu = 100", "", "4: [[nic]] mtu: 100 is out of range; 1280 to 9216 bytes is right"),
    ("", "mac = \"ff:ff:ff:ff:ff:ff\"", "", "4: [[nic]] mac: \"ff:ff:ff:ff:ff:ff\" is not the MAC address of one station; for example: \"02:00:00:00:00:01\""),
    ("", "queues = 2", "", "4: [[nic]] queues: more receive queues (2) than workers (1); at most one per worker is right"),
    ("", "descriptors = 1000", "", "4: [[nic]] descriptors: 1000 is not a power of two; 1024 is"),
    ("", "host_interface = \"pointsman-uplink\"", "", "4: [[nic]] host_interface: \"pointsman-uplink\" is too long; at most 15 bytes are right"),
    ("", "host_interface = \"a/b\"", "", "4: [[nic]] host_interface: \"a/b\" is not a name of letters, digits, '-', '_' and '.'; for example: \"wan\""),
    ("", "addresses = [\"198.51.100.1\"]", "", "4: [[nic]] addresses: \"198.51.100.1\" is not an address with a prefix length; for example: \"198.51.100.1/24\""),
    ("", "addresses = [\"198.51.100.1/33\"]", "", "4: [[nic]] addresses: \"198.51.100.1/33\" is not an address with a prefix length; for example: \"198.51.100.1/24\""),
    ("", "addresses = [\"198.51.100.0/24\"]", "", "4: [[nic]] addresses: 198.51.100.0 is not a unicast address; an address of one machine is right"),
    ("", "addresses = [\n\"2001:db8::1/64\",\n\"2001:db8::1/128\"]", "", "6: [[nic]] addresses: \"2001:db8::1\" is already used on line 5; each NIC needs its own"),
    ("", "host_interface = \"wan\"\naddresses = [\"198.51.100.1/24\"]", "", "5: [[nic]] addresses: NIC \"wan\" has a host interface; give it to the kernel instead: ip addr add 198.51.100.1/24 dev wan"),
    ("", "host_interface = \"lo\"", "", "4: [[nic]] host_interface: \"lo\" is the kernel's own interface; a name that no interface has is right"),
    ("", "", "[[nic]]", "4: [[nic]] name: missing; for example: name = \"wan\""),
    ("", "", "[[nic]]\nname = \"lan\"", "4: [[nic]] device: missing; for example: device = \"0000:3b:00.0\""),
    ("", "", "[[nic]]\nname = \"wan\"\ndevice = \"net_null0\"", "5: [[nic]] name: \"wan\" is already used on line 2; each NIC needs its own"),
    ("", "", "[[nic]]\nname = \"lan\"\ndevice = \"3b:00.0,x=1\"", "6: [[nic]] device: \"0000:3b:00.0\" is already used on line 3; each NIC needs its own"),
    ("", "", "[[nic]]\nname = \"lan\"\ndevice = \"eth0\"", "6: [[nic]] device: \"eth0\" is not a PCI address or the name of a DPDK virtual device; for example: \"0000:3b:00.0\", or \"net_tap0,iface=wan-nic\""),
    ("", "", "[[nic]]\nname = \"lan\"\ndevice = \"3b.00:0\"", "6: [[nic]] device: \"3b.00:0\" is not a PCI address or the name of a DPDK virtual device; for example: \"0000:3b:00.0\", or \"net_tap0,iface=wan-nic\""),
    ("", "addresses = [\"10.0.0.1/24\"]", "[[nic.neighbour]]\nmac = \"02:00:00:00:00:01\"", "5: [[nic.neighbour]] address: missing; for example: address = \"198.51.100.254\""),
    ("", "addresses = [\"10.0.0.1/24\"]", "[[nic.neighbour]]\naddress = \"10.0.1.9\"\nmac = \"02:00:00:00:00:01\"", "6: [[nic.neighbour]] address: 10.0.1.9 is on no segment of NIC \"wan\"; an address in 10.0.0.0/24 is right"),
    ("", "addresses = [\"10.0.0.1/24\"]", "[[nic.neighbour]]\naddress = \"10.0.0.1\"\nmac = \"02:00:00:00:00:01\"", "6: [[nic.neighbour]] address: 10.0.0.1 is the director's own address; another machine's is right"),
    ("", "", "[[nic.neighbour]]\naddress = \"10.0.0.9\"\nmac = \"02:00:00:00:00:01\"", "5: [[nic.neighbour]] address: 10.0.0.9 is on no segment of NIC \"wan\"; give the NIC an address there with `[[nic]] addresses`"),
    ("", "host_interface = \"wan\"", "[[nic.neighbour]]\naddress = \"10.0.0.9\"\nmac = \"02:00:00:00:00:01\"", "5: [[nic.neighbour]]: NIC \"wan\" has a host interface; give it to the kernel instead: ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev wan"),
    ("", "", "[[mark]]\nports = \"80\"", "4: [[mark]] mark: missing; for example: mark = 5"),
    ("", "", "[[mark]]\nmark = 5\nports = \"81-80\"", "6: [[mark]] ports: \"81-80\" is not a port or a range of ports; for example: \"8000-8079\""),
    ("", "", "[[mark]]\nmark = 5\nnic = \"lan\"", "6: [[mark]] nic: there is no NIC \"lan\"; the NICs are: wan"),
    ("", "", "[[mark]]\nmark = 5\nsource = \"10.0.0.1/24\"", "6: [[mark]] source: the prefix has bits beyond its length; 10.0.0.0/24 is right"),
    ("", "", "[[mark]]\nmark = 5\nsource = \"10.0.0.1\"\ndestination = \"2001:db8::1\"", "7: [[mark]] destination: not of the family of `source`, 10.0.0.1/32; an address of the same family is right"),
    ("", "", "[[route]]\nnic = \"wan\"", "4: [[route]] to: missing; for example: to = \"default\""),
    ("", "", "[[route]]\nto = \"default\"\nnic = \"lan\"", "6: [[route]] nic: there is no NIC \"lan\"; the NICs are: wan"),
    ("", "", "[[route]]\nto = \"default\"\nnic = \"wan\"", "5: [[route]] to: \"default\" without via has no address family; 0.0.0.0/0 or ::/0 is right"),
    ("", "", "[[route]]\nto = \"10.0.0.1/24\"\nnic = \"wan\"", "5: [[route]] to: the prefix has bits beyond its length; 10.0.0.0/24 is right"),
    ("", "", "[[route]]\nto = \"10.0.0.0/24\"\nnic = \"wan\"\nvia = \"2001:db8::fe\"", "7: [[route]] via: 2001:db8::fe is not of the route's address family; use an address of the same family as `to`"),
    ("", "addresses = [\"192.0.2.9/24\"]", "[[route]]\nto = \"10.0.0.0/24\"\nnic = \"wan\"\nvia = \"198.51.100.9\"", "8: [[route]] via: 198.51.100.9 is on no segment of NIC \"wan\"; an address in 192.0.2.0/24 is right"),
    ("", "", "[[route]]\nto = \"10.0.0.0/24\"\nnic = \"wan\"\nsrc = \"192.0.2.9\"", "7: [[route]] src: 192.0.2.9 is no address of a NIC here; one of [[nic]] addresses is right"),
    ("", "", "[[route]]\nto = \"10.0.0.0/8\"\nnic = \"wan\"\n[[route]]\nto = \"10.0.0.0/8\"\nnic = \"wan\"", "8: [[route]] to: \"10.0.0.0/8\" is already used on line 5; one route for each destination is right"),
    ("", "host_interface = \"wan\"", "[[route]]\nto = \"10.0.0.0/8\"\nnic = \"wan\"", "5: [[route]]: NIC \"wan\" has a host interface; give it to the kernel instead: ip route add 10.0.0.0/8 dev wan"),
    ("", "host_interface = \"wan\"", "[[route]]\nto = \"default\"\nvia = \"10.0.0.9\"\nsrc = \"10.0.0.1\"\nnic = \"wan\"", "5: [[route]]: NIC \"wan\" has a host interface; give it to the kernel instead: ip route add default via 10.0.0.9 dev wan src 10.0.0.1"),
];

#[test]
fn every_mistake_is_named_with_its_line_and_what_is_right() {
    let mut wrong = Vec::new();
    for (before, within, after, expected) in MISTAKES {
        let parts = [*before, NIC.trim_end(), *within, *after];
        let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
        let said = parse(&text).map_or_else(|e| e.to_string(), |_| "nothing".to_owned());
        if said != format!("lb.toml:{expected}") {
            wrong.push(format!("said:  {said}\nright: lb.toml:{expected}\nin:\n{text}\n"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_configuration_without_a_nic_is_refused() {
    let example = "[[nic]] with name = \"wan\" and device = \"0000:3b:00.0\"";
    let error = parse("[workers]\ncount = 1\n").unwrap_err().to_string();
    assert_eq!(error, format!("lb.toml:1: [[nic]]: missing; for example: {example}"));
}

#[test]
fn a_socket_path_that_the_kernel_would_refuse_is_refused() {
    let path = "/x".repeat(54);
    let error = parse(&format!("{NIC}[control]\nsocket = \"{path}\"\n")).unwrap_err().to_string();
    let right = "is too long; at most 107 bytes are right";
    assert_eq!(error, format!("lb.toml:5: [control] socket: \"{path}\" {right}"));
}

#[test]
fn more_nics_than_workers_can_poll_are_refused() {
    let nic = |n: usize| format!("[[nic]]\nname = \"n{n}\"\ndevice = \"net_null{n}\"\n");
    let nics = |count: usize| (0..count).map(nic).collect::<String>();
    assert_eq!(accepted(&nics(16)).nics.len(), 16);
    let error = parse(&nics(17)).unwrap_err().to_string();
    assert_eq!(error, "lb.toml:49: [[nic]]: 17 is out of range; 1 to 16 NICs is right");
}
