// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel is told and learns about host interfaces arrives in the mirror. Needs root.

mod host_netns;

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use appliance::host::{HostInterface, LocalAddress, Mirror, NetworkChange};
use host_netns::{PATIENCE, arp_reply, arp_request, frame, in_namespace, ip, sysctl};
use lb::ids::NicId;
use lb::network::{Neighbour, Prefix, Route};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::{Arp, Mac, build};

const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);
const WAN_MAC: Mac = Mac([0x02, 0x00, 0x5e, 0, 0, 0x01]);
const LAN_MAC: Mac = Mac([0x02, 0x00, 0x5e, 0, 0, 0x02]);
const SERVER: Mac = Mac([0x02, 0x00, 0x5e, 0, 1, 0x0b]);
const OTHER: Mac = Mac([0x02, 0x00, 0x5e, 0, 1, 0x0c]);

/// Two host interfaces with addresses, and the mirror with all that it has told.
struct Host {
    runtime: Runtime,
    mirror: Mirror,
    changes: mpsc::Receiver<NetworkChange>,
    routes: HashMap<Prefix, Route>,
    macs: HashMap<Neighbour, Mac>,
    addresses: Vec<LocalAddress>,
    wan: HostInterface,
    _lan: HostInterface,
}

impl Host {
    fn new() -> Self {
        Self::with(|| {})
    }

    /// A host for which `before` was done before it is mirrored.
    fn with(before: impl FnOnce()) -> Self {
        sysctl("ipv6/conf/default/accept_dad", "0");
        let wan = HostInterface::open("wan0", WAN_MAC, 1500).expect("wan0");
        let lan = HostInterface::open("lan0", LAN_MAC, 1500).expect("lan0");
        ip("address add 203.0.113.80/32 dev wan0");
        ip("address add 192.0.2.2/24 dev wan0");
        ip("address add 10.0.0.2/24 dev lan0");
        ip("-6 address add 2001:db8::2/64 dev wan0 nodad");
        before();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let names = vec![("wan0".to_owned(), WAN), ("lan0".to_owned(), LAN)];
        let (mirror, changes) = runtime.block_on(Mirror::start(names)).expect("a mirror");
        let (routes, macs, addresses) = (HashMap::new(), HashMap::new(), Vec::new());
        let mut this = Self { runtime, mirror, changes, routes, macs, addresses, wan, _lan: lan };
        let first = this.changes.try_recv().expect("the first change is ready");
        this.apply(first);
        this
    }

    fn apply(&mut self, change: NetworkChange) {
        assert_ne!(change, NetworkChange::default(), "a change without news");
        if let Some(routes) = change.routes {
            let count = routes.len();
            self.routes = routes.into_iter().map(|route| (route.to, route)).collect();
            assert_eq!(self.routes.len(), count, "one route for each prefix");
        }
        for (neighbour, mac) in change.neighbours {
            match mac {
                Some(mac) => drop(self.macs.insert(neighbour, mac)),
                None => assert!(self.macs.remove(&neighbour).is_some(), "{neighbour:?} was known"),
            }
        }
        self.addresses = change.addresses.unwrap_or(std::mem::take(&mut self.addresses));
    }

    /// Takes changes until what they tell is as it should be.
    fn until(&mut self, claim: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let next =
                self.runtime.block_on(async { timeout(PATIENCE, self.changes.recv()).await });
            let Ok(next) = next else {
                let (routes, macs) = (self.routes.len(), self.macs.len());
                panic!("not told: {claim}; told are {routes} routes and {macs} neighbours");
            };
            self.apply(next.expect("the mirror goes on"));
        }
    }

    fn route(&self, to: &str) -> Option<&Route> {
        self.routes.get(&prefix(to))
    }

    fn until_route(&mut self, to: &str, expected: Option<Route>) {
        self.until(&format!("{expected:?}"), |host| host.route(to) == expected.as_ref());
    }

    fn until_mac(&mut self, neighbour: Neighbour, expected: Option<Mac>) {
        let claim = format!("{neighbour:?} {expected:?}");
        self.until(&claim, |host| host.macs.get(&neighbour) == expected.as_ref());
    }

    /// Lets the mirror's task run for a while.
    fn run_for(&self, ms: u64) {
        let pause = std::time::Duration::from_millis(ms);
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn prefix(text: &str) -> Prefix {
    let (range, len) = text.split_once('/').expect("a prefix");
    Prefix { address: address(range), len: len.parse().expect("a length") }
}

fn route(to: &str, via: Option<&str>, nic: NicId, src: &str) -> Option<Route> {
    let via = via.map(address);
    Some(Route { to: prefix(to), via, nic: Some(nic), src: Some(address(src)) })
}

fn without_us(to: &str) -> Option<Route> {
    Some(Route { to: prefix(to), via: None, nic: None, src: None })
}

fn neighbour(nic: NicId, at: &str) -> Neighbour {
    Neighbour { nic, address: address(at) }
}

/// The frame by which the host asks a neighbour whether it is still there (RFC 1122, 2.3.2.1).
fn arp_probe(from: (Mac, [u8; 4]), to: (Mac, [u8; 4])) -> Vec<u8> {
    let [sender, target] = [from.1, to.1].map(|address| Ipv4Addr::from(address).into());
    build::eth().src(from.0).dst(to.0).arp(&Arp::request(from.0, sender, target))
}

/// Runs many lines of `ip` at once.
fn ip_batch(lines: impl Iterator<Item = String>) {
    let mut batch = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip is installed");
    let mut input = batch.stdin.take().expect("a pipe");
    for line in lines {
        writeln!(input, "{line}").expect("ip reads");
    }
    drop(input);
    assert!(batch.wait().expect("ip ends").success());
}

#[test]
fn what_was_there_before_is_in_the_first_change() {
    in_namespace("what_was_there_before_is_in_the_first_change", || {
        let host = Host::with(|| {
            ip("route add default via 192.0.2.254");
            ip(&format!("neighbour add 10.0.0.11 lladdr {SERVER} dev lan0"));
        });
        assert_eq!(
            host.route("0.0.0.0/0"),
            route("0.0.0.0/0", Some("192.0.2.254"), WAN, "192.0.2.2").as_ref()
        );
        assert_eq!(host.route("10.0.0.0/24"), route("10.0.0.0/24", None, LAN, "10.0.0.2").as_ref());
        assert_eq!(host.macs, HashMap::from([(neighbour(LAN, "10.0.0.11"), SERVER)]));
        let vip = LocalAddress { nic: Some(WAN), address: address("203.0.113.80"), len: 32 };
        assert!(host.addresses.contains(&vip), "{:?}", host.addresses);
        let loopback = LocalAddress { nic: None, address: address("127.0.0.1"), len: 8 };
        assert!(host.addresses.contains(&loopback), "{:?}", host.addresses);
    });
}

#[test]
fn a_mirror_may_be_there_before_its_interfaces() {
    in_namespace("a_mirror_may_be_there_before_its_interfaces", || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let started = Mirror::start(vec![("wan0".to_owned(), WAN)]).await;
            let (_mirror, mut changes) = started.expect("an empty network is one, too");
            let first = changes.recv().await.expect("the first change");
            assert_eq!(first.routes, Some(vec![]));

            let _wan = HostInterface::open("wan0", WAN_MAC, 1500).expect("wan0");
            ip("address add 192.0.2.2/24 dev wan0");
            let expected = route("192.0.2.0/24", None, WAN, "192.0.2.2").expect("a route");
            let told = async {
                while let Some(change) = changes.recv().await {
                    if change.routes.is_some_and(|routes| routes.contains(&expected)) {
                        return true;
                    }
                }
                false
            };
            assert_eq!(timeout(PATIENCE, told).await, Ok(true));
        });
    });
}

#[test]
fn neighbours_come_change_and_go() {
    in_namespace("neighbours_come_change_and_go", || {
        let mut host = Host::new();
        for at in ["10.0.0.11", "2001:db8:1::b"] {
            let server = neighbour(LAN, at);
            ip(&format!("neighbour add {at} lladdr {SERVER} dev lan0 nud reachable"));
            host.until_mac(server, Some(SERVER));
            ip(&format!("neighbour replace {at} lladdr {OTHER} dev lan0 nud stale"));
            host.until_mac(server, Some(OTHER));
            ip(&format!("neighbour change {at} dev lan0 nud failed"));
            host.until_mac(server, None);
            ip(&format!("neighbour replace {at} lladdr {SERVER} dev lan0 nud permanent"));
            host.until_mac(server, Some(SERVER));
            ip(&format!("neighbour delete {at} dev lan0"));
            host.until_mac(server, None);
        }
    });
}

#[test]
fn two_interfaces_with_the_same_neighbour_are_told_apart() {
    in_namespace("two_interfaces_with_the_same_neighbour_are_told_apart", || {
        let mut host = Host::new();
        ip(&format!("neighbour add 198.51.100.9 lladdr {SERVER} dev wan0"));
        ip(&format!("neighbour add 198.51.100.9 lladdr {OTHER} dev lan0"));
        host.until_mac(neighbour(WAN, "198.51.100.9"), Some(SERVER));
        host.until_mac(neighbour(LAN, "198.51.100.9"), Some(OTHER));
        ip("neighbour delete 198.51.100.9 dev wan0");
        host.until_mac(neighbour(WAN, "198.51.100.9"), None);
        assert_eq!(host.macs.get(&neighbour(LAN, "198.51.100.9")), Some(&OTHER));
    });
}

#[test]
fn routes_come_change_and_go() {
    in_namespace("routes_come_change_and_go", || {
        let mut host = Host::new();
        let to = "198.51.100.0/24";
        ip("route add 198.51.100.0/24 via 192.0.2.254");
        host.until_route(to, route(to, Some("192.0.2.254"), WAN, "192.0.2.2"));
        ip("route replace 198.51.100.0/24 via 10.0.0.254");
        host.until_route(to, route(to, Some("10.0.0.254"), LAN, "10.0.0.2"));
        ip("route replace 198.51.100.0/24 via 10.0.0.254 src 203.0.113.80");
        host.until_route(to, route(to, Some("10.0.0.254"), LAN, "203.0.113.80"));
        ip("route replace 198.51.100.0/24 dev lan0");
        host.until_route(to, route(to, None, LAN, "10.0.0.2"));
        ip("route delete 198.51.100.0/24");
        host.until_route(to, None);

        let default = "::/0";
        ip("-6 route add default via 2001:db8::fe");
        host.until_route(default, route(default, Some("2001:db8::fe"), WAN, "2001:db8::2"));
        ip("-6 route replace default via fe80::1 dev wan0");
        host.until_route(default, route(default, Some("fe80::1"), WAN, "2001:db8::2"));
        ip("-6 route delete default");
        host.until_route(default, None);
    });
}

#[test]
fn the_lowest_metric_wins_and_the_next_takes_over() {
    in_namespace("the_lowest_metric_wins_and_the_next_takes_over", || {
        let mut host = Host::new();
        let to = "0.0.0.0/0";
        ip("route add default via 10.0.0.254 metric 20");
        host.until_route(to, route(to, Some("10.0.0.254"), LAN, "10.0.0.2"));
        ip("route add default via 192.0.2.254 metric 10");
        host.until_route(to, route(to, Some("192.0.2.254"), WAN, "192.0.2.2"));
        ip("route delete default metric 10");
        host.until_route(to, route(to, Some("10.0.0.254"), LAN, "10.0.0.2"));
    });
}

#[test]
fn a_route_of_several_next_hops_takes_the_first_that_is_ours() {
    in_namespace("a_route_of_several_next_hops_takes_the_first_that_is_ours", || {
        let mut host = Host::new();
        ip("link add eth7 type veth peer name eth8");
        ip("link set eth7 up");
        ip("address add 172.16.0.2/24 dev eth7");
        ip("route add default nexthop via 172.16.0.1 nexthop via 10.0.0.254 nexthop via 192.0.2.9");
        let to = "0.0.0.0/0";
        host.until_route(to, route(to, Some("10.0.0.254"), LAN, "10.0.0.2"));
        ip("nexthop add id 7 via 192.0.2.254 dev wan0");
        ip("route replace default nhid 7");
        host.until_route(to, route(to, Some("192.0.2.254"), WAN, "192.0.2.2"));
        ip("nexthop replace id 7 via 192.0.2.253 dev wan0");
        host.until_route(to, route(to, Some("192.0.2.253"), WAN, "192.0.2.2"));
        ip("nexthop delete id 7");
        host.until_route(to, None);
    });
}

#[test]
fn what_is_reached_without_us_keeps_its_prefix_and_has_no_nic() {
    in_namespace("what_is_reached_without_us_keeps_its_prefix_and_has_no_nic", || {
        let mut host = Host::new();
        ip("link add eth7 type veth peer name eth8");
        ip("link set eth7 up");
        ip("address add 172.16.0.2/24 dev eth7");
        ip("route add blackhole 198.51.100.0/24");
        ip("route add unreachable 198.51.101.0/24");
        ip("-6 route add prohibit 2001:db8:bad::/48");
        ip("route add 198.51.102.0/24 via inet6 fe80::1 dev wan0");
        for to in [
            "172.16.0.0/24",
            "198.51.100.0/24",
            "198.51.101.0/24",
            "2001:db8:bad::/48",
            "198.51.102.0/24",
            "fe80::/64",
        ] {
            host.until_route(to, without_us(to));
        }
        ip("route add 198.51.103.0/24 via 192.0.2.254 table 100");
        ip("route add 198.51.104.0/24 via 192.0.2.254 tos 4");
        ip("route add 198.51.105.0/24 via 192.0.2.254");
        host.until("the last", |host| host.route("198.51.105.0/24").is_some());
        assert_eq!(host.route("198.51.103.0/24"), None, "another table");
        assert_eq!(host.route("198.51.104.0/24"), None, "for one type of service");
        assert_eq!(host.route("127.0.0.0/8"), None, "the local table");
    });
}

#[test]
fn routes_that_the_kernel_removes_in_silence_are_noticed() {
    in_namespace("routes_that_the_kernel_removes_in_silence_are_noticed", || {
        let mut host = Host::new();
        let to = "198.51.100.0/24";
        ip("route add 198.51.100.0/24 via 192.0.2.254 src 203.0.113.80");
        host.until_route(to, route(to, Some("192.0.2.254"), WAN, "203.0.113.80"));
        ip("address delete 203.0.113.80/32 dev wan0");
        host.until_route(to, None);
        host.until("the address is gone", |host| {
            host.addresses.iter().all(|local| local.address != address("203.0.113.80"))
        });
        ip("link set wan0 down");
        host.until_route("192.0.2.0/24", None);
    });
}

#[test]
fn a_link_that_is_deleted_and_made_anew_is_mirrored_anew() {
    in_namespace("a_link_that_is_deleted_and_made_anew_is_mirrored_anew", || {
        let mut host = Host::new();
        let server = neighbour(WAN, "192.0.2.11");
        ip(&format!("neighbour add 192.0.2.11 lladdr {SERVER} dev wan0"));
        host.until_mac(server, Some(SERVER));
        ip("link delete wan0");
        host.until_mac(server, None);
        host.until_route("192.0.2.0/24", None);

        host.wan = HostInterface::open("wan0", WAN_MAC, 1500).expect("wan0 again");
        ip("address add 192.0.2.3/24 dev wan0");
        ip(&format!("neighbour add 192.0.2.11 lladdr {OTHER} dev wan0"));
        host.until_mac(server, Some(OTHER));
        host.until_route("192.0.2.0/24", route("192.0.2.0/24", None, WAN, "192.0.2.3"));
    });
}

#[test]
fn asking_makes_the_host_send_arp_and_the_answer_arrives() {
    in_namespace("asking_makes_the_host_send_arp_and_the_answer_arrives", || {
        let mut host = Host::new();
        let (us, server) = ((WAN_MAC, [192, 0, 2, 2]), (SERVER, [192, 0, 2, 11]));
        host.mirror.ask(neighbour(WAN, "192.0.2.11"));
        host.run_for(50);
        frame(&host.wan, |frame| frame == arp_request(us, server.1));
        host.wan.write_frame(&arp_reply(server, us)).expect("the host takes it");
        host.until_mac(neighbour(WAN, "192.0.2.11"), Some(SERVER));
    });
}

#[test]
fn asking_for_an_ipv6_neighbour_makes_the_host_solicit_it() {
    in_namespace("asking_for_an_ipv6_neighbour_makes_the_host_solicit_it", || {
        let host = Host::new();
        host.mirror.ask(neighbour(WAN, "2001:db8::b"));
        host.run_for(50);
        let target = address("2001:db8::b").to_canonical();
        let IpAddr::V6(target) = target else { panic!("an IPv6 address") };
        // Ethernet, IPv6, ICMPv6 type 135, target at 8 (RFC 4861, section 4.3).
        frame(&host.wan, |frame| {
            frame.get(54) == Some(&135) && frame.get(62..78) == Some(&target.octets())
        });
    });
}

#[test]
fn a_neighbour_set_by_hand_is_not_touched_by_asking_for_it() {
    in_namespace("a_neighbour_set_by_hand_is_not_touched_by_asking_for_it", || {
        let mut host = Host::new();
        let server = neighbour(LAN, "10.0.0.11");
        ip(&format!("neighbour add 10.0.0.11 lladdr {SERVER} dev lan0 nud permanent"));
        host.until_mac(server, Some(SERVER));
        host.mirror.ask(server);
        host.mirror.keep_alive(vec![server; 10]);
        host.run_for(1500);
        assert!(ip("neighbour show 10.0.0.11").contains("PERMANENT"));
    });
}

#[test]
fn stale_neighbours_in_use_are_verified_and_others_are_not() {
    in_namespace("stale_neighbours_in_use_are_verified_and_others_are_not", || {
        let host = Host::new();
        sysctl("ipv4/neigh/wan0/delay_first_probe_time", "0");
        let stale = |n| format!("neighbour add 192.0.2.{n} lladdr {SERVER} dev wan0 nud stale");
        ip_batch((100..140).map(stale));
        let in_use = (100..120).map(|n| neighbour(WAN, &format!("192.0.2.{n}")));
        host.mirror.keep_alive(in_use.collect());
        // Each has its turn within ten seconds.
        host.run_for(11_000);

        let mut verified = BTreeSet::new();
        let mut buffer = [0; 2048];
        while let Some(length) = host.wan.read_frame(&mut buffer).expect("wan0 is there") {
            verified.extend((100..140).filter(|n| {
                let probe = arp_probe((WAN_MAC, [192, 0, 2, 2]), (SERVER, [192, 0, 2, *n]));
                buffer[..length] == probe
            }));
        }
        assert_eq!(verified, (100..120).collect());
    });
}

#[test]
fn nothing_is_missed_when_announcements_overrun_the_mirror() {
    in_namespace("nothing_is_missed_when_announcements_overrun_the_mirror", || {
        const MANY: u32 = 6000;
        let mut host = Host::new();
        let server = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + 0x10000 + n);
        // The runtime has one thread, this one: the mirror cannot listen meanwhile.
        ip_batch((0..MANY).map(|n| {
            format!("neighbour add {} lladdr {SERVER} dev lan0 nud permanent", server(n))
        }));
        ip_batch((0..MANY).map(|n| format!("route add {}/32 via 10.0.0.254", server(n))));
        host.until("all neighbours", |host| host.macs.len() == MANY as usize);
        let last = format!("{}/32", server(MANY - 1));
        host.until_route(&last, route(&last, Some("10.0.0.254"), LAN, "10.0.0.2"));
        assert!((0..MANY).all(|n| host.route(&format!("{}/32", server(n))).is_some()));

        ip_batch((0..MANY).map(|n| format!("neighbour delete {} dev lan0", server(n))));
        host.until("no neighbour", |host| host.macs.is_empty());
    });
}

#[test]
fn a_quiet_network_is_not_told_again() {
    in_namespace("a_quiet_network_is_not_told_again", || {
        let mut host = Host::new();
        host.run_for(100);
        while let Ok(change) = host.changes.try_recv() {
            host.apply(change);
        }
        ip("link set lo down");
        ip("link set lo up");
        ip("link set lan0 alias storage");
        ip("neighbour add 172.16.0.9 lladdr 02:00:00:00:00:09 dev lo");
        host.run_for(300);
        while let Ok(change) = host.changes.try_recv() {
            assert_eq!(
                (change.routes, change.neighbours),
                (None, vec![]),
                "nothing of ours changed"
            );
        }
    });
}

#[test]
fn the_kernels_port_range_is_read_from_this_namespace() {
    in_namespace("the_kernels_port_range_is_read_from_this_namespace", || {
        sysctl("ipv4/ip_local_port_range", "40000 50000");
        assert_eq!(appliance::host::local_port_range().expect("readable"), 40000..=50000);
    });
}
