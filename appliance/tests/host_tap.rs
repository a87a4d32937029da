// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host interface: what it is to the kernel, and what of it stays. Needs root.

mod host_netns;

use std::net::UdpSocket;

use appliance::host::{HostInterface, HostInterfaceError};
use host_netns::{arp_reply, arp_request, frame, in_namespace, ip, sysctl};
use wire::{Mac, build};

const NIC: Mac = Mac([0x02, 0x00, 0x5e, 0, 0, 0x01]);
const ROUTER: Mac = Mac([0x02, 0x00, 0x5e, 0, 0, 0xfe]);

fn open(name: &str) -> HostInterface {
    HostInterface::open(name, NIC, 1500).expect("nothing is in the way")
}

fn refused(name: &str) -> HostInterfaceError {
    HostInterface::open(name, NIC, 1500).err().expect("something is in the way")
}

#[test]
fn it_has_the_mac_and_the_mtu_of_the_nic_and_is_up() {
    in_namespace("it_has_the_mac_and_the_mtu_of_the_nic_and_is_up", || {
        let host = HostInterface::open("wan0", NIC, 1400).expect("opens");
        let link = ip("-details link show dev wan0");
        assert!(link.contains(&format!("link/ether {NIC}")), "{link}");
        assert!(link.contains("mtu 1400"), "{link}");
        assert!(link.contains("UP,LOWER_UP"), "{link}");
        assert!(link.contains("type tap") && link.contains("persist on"), "{link}");
        // Its link-local address is made from the NIC's MAC (RFC 4291, appendix A).
        assert!(ip("address show dev wan0").contains("fe80::5eff:fe00:1/64"));
        assert_eq!(host.name(), "wan0");
    });
}

#[test]
fn addresses_and_routes_outlive_it_and_the_carrier_does_not() {
    in_namespace("addresses_and_routes_outlive_it_and_the_carrier_does_not", || {
        let host = open("wan0");
        ip("address add 192.0.2.2/24 dev wan0");
        ip("address add 203.0.113.80/32 dev wan0");
        ip("-6 address add 2001:db8::2/64 dev wan0 nodad");
        ip("route add default via 192.0.2.254");
        ip("-6 route add default via 2001:db8::fe");
        let kept = || {
            ["192.0.2.2/24", "203.0.113.80/32", "2001:db8::2/64"]
                .iter()
                .all(|address| ip("address show dev wan0").contains(address))
                && ip("route show default").contains("via 192.0.2.254 dev wan0")
                && ip("-6 route show default").contains("via 2001:db8::fe dev wan0")
        };
        let carrier = || ip("link show dev wan0").contains("LOWER_UP");
        assert!(kept() && carrier());

        drop(host);
        assert!(kept(), "after the end");
        assert!(!carrier(), "the carrier stayed: {}", ip("link show dev wan0"));

        let host = open("wan0");
        assert!(kept() && carrier(), "after the restart");
        resolves_and_is_resolved(&host);
    });
}

/// ARP works in both directions, for the VIP as well.
fn resolves_and_is_resolved(host: &HostInterface) {
    let (us, router) = ((NIC, [192, 0, 2, 2]), (ROUTER, [192, 0, 2, 254]));
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.send_to(b"hello", "198.51.100.7:9").expect("there is a default route");
    frame(host, |frame| frame == arp_request(us, router.1));
    host.write_frame(&arp_reply(router, us)).expect("the host takes it");
    frame(host, |frame| frame.starts_with(&ROUTER.0) && frame.ends_with(b"hello"));

    let vip = [203, 0, 113, 80];
    host.write_frame(&arp_request(router, vip)).expect("the host takes it");
    frame(host, |frame| frame == arp_reply((NIC, vip), router));
}

#[test]
fn frames_cross_whole_and_none_waiting_is_no_error() {
    in_namespace("frames_cross_whole_and_none_waiting_is_no_error", || {
        sysctl("ipv6/conf/default/disable_ipv6", "1");
        let host = open("wan0");
        ip("address add 192.0.2.2/24 dev wan0");
        ip(&format!("neighbour add 192.0.2.254 lladdr {ROUTER} dev wan0"));
        let mut buffer = [0; 2048];
        assert_eq!(host.read_frame(&mut buffer).expect("readable"), None);

        let socket = UdpSocket::bind("192.0.2.2:4000").expect("a socket");
        socket.send_to(&[7; 1472], "192.0.2.254:9").expect("there is a route");
        let sent = frame(&host, |frame| frame.starts_with(&ROUTER.0));
        assert_eq!(sent.len(), 1514);
        assert_eq!(wire::verify(&sent), Ok(()), "checksums are complete");

        let reply = build::eth().src(ROUTER).dst(NIC).ipv4([192, 0, 2, 254], [192, 0, 2, 2]);
        host.write_frame(&reply.udp(9, 4000).payload(b"back")).expect("the host takes it");
        let received = socket.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..received], b"back");
    });
}

#[test]
fn a_tap_made_by_hand_is_taken_over_with_its_addresses() {
    in_namespace("a_tap_made_by_hand_is_taken_over_with_its_addresses", || {
        ip("tuntap add mode tap name wan0");
        ip("address add 192.0.2.2/24 dev wan0");
        let _host = open("wan0");
        assert!(ip("address show dev wan0").contains("192.0.2.2/24"));
        assert!(ip("link show dev wan0").contains(&NIC.to_string()));
    });
}

#[test]
fn an_interface_that_is_no_tap_of_ours_is_left_alone() {
    in_namespace("an_interface_that_is_no_tap_of_ours_is_left_alone", || {
        ip("link add eth7 type veth peer name eth8");
        ip("tuntap add mode tun name tun0");
        ip("tuntap add mode tap multi_queue name tap0");
        for name in ["eth7", "tun0", "tap0", "lo"] {
            let error = refused(name);
            let said = error.to_string();
            assert!(said.contains("set another host_interface for this NIC"), "{said}");
            let may_be_deleted = matches!(error, HostInterfaceError::ManyQueues(_));
            assert!(!may_be_deleted || name == "tap0", "{said}");
            assert_eq!(said.contains("ip link delete"), may_be_deleted, "{said}");
        }
        assert!(!ip("link show dev eth7").contains(&NIC.to_string()));
    });
}

#[test]
fn a_second_process_cannot_have_it() {
    in_namespace("a_second_process_cannot_have_it", || {
        let first = open("wan0");
        let error = refused("wan0");
        assert!(matches!(error, HostInterfaceError::Held(_)), "{error}");
        drop(first);
        open("wan0");
    });
}

#[test]
fn an_mtu_that_the_kernel_refuses_leaves_no_interface_behind() {
    in_namespace("an_mtu_that_the_kernel_refuses_leaves_no_interface_behind", || {
        let error = HostInterface::open("wan0", NIC, 40).err().expect("40 bytes are too few");
        assert!(error.to_string().starts_with("cannot set the MTU of host interface wan0"));
        assert!(!ip("link show").contains("wan0"));
    });
}

#[test]
fn one_that_was_deleted_says_so_and_can_be_made_anew() {
    in_namespace("one_that_was_deleted_says_so_and_can_be_made_anew", || {
        let host = open("wan0");
        ip("link delete wan0");
        let mut buffer = [0; 2048];
        let error = host.read_frame(&mut buffer).expect_err("it is gone");
        assert_eq!(error.raw_os_error(), Some(libc::EBADFD), "{error}");
        let error = host.write_frame(&[0; 60]).expect_err("it is gone");
        assert_eq!(error.raw_os_error(), Some(libc::EBADFD), "{error}");
        open("wan0");
    });
}

#[test]
fn one_that_was_set_down_loses_frames_and_works_again_when_up() {
    in_namespace("one_that_was_set_down_loses_frames_and_works_again_when_up", || {
        let host = open("wan0");
        ip("address add 192.0.2.2/24 dev wan0");
        ip("link set wan0 down");
        let error = host.write_frame(&[0; 60]).expect_err("it is down");
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
        let waiting = || host.read_frame(&mut [0; 2048]).expect("no error, for it is there");
        while waiting().is_some() {}
        ip("link set wan0 up");
        let asked = arp_request((ROUTER, [192, 0, 2, 254]), [192, 0, 2, 2]);
        host.write_frame(&asked).expect("the host takes it");
        let told = arp_reply((NIC, [192, 0, 2, 2]), (ROUTER, [192, 0, 2, 254]));
        frame(&host, |frame| frame == told);
    });
}
