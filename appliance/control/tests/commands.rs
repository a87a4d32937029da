// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any command that the dialect has is read back from its canonical line to the same command.

use std::net::IpAddr;

use control::command::{
    Columns, Command, ConnFilter, DaemonRole, DaemonSpec, Format, Forward, Mss, Netmask,
    RealServer, SchedFlags, ServerSpec, ServiceSpec, Subject, Transport, Tunnel, TunnelChecksum,
    VirtualService,
};
use control::names::NumbersOnly;
use control::parse::parse;
use control::{render, words};
use lb::network::Prefix;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use wire::FamilyId;

const COUNT_MAX: u32 = i32::MAX as u32;
const TIMEOUT_MAX_S: u32 = 31 * 86_400;

fn v4() -> impl Strategy<Value = IpAddr> {
    any::<[u8; 4]>().prop_map(IpAddr::from)
}

fn v6() -> impl Strategy<Value = IpAddr> {
    any::<[u8; 16]>().prop_map(IpAddr::from)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4(), v6()]
}

fn service() -> impl Strategy<Value = VirtualService> {
    let transport = select(&[Transport::Tcp, Transport::Udp, Transport::Sctp][..]);
    let by_address = (transport, address(), any::<u16>()).prop_map(|(transport, address, port)| {
        VirtualService::Address { transport, address, port }
    });
    let family = select(&[FamilyId::V4, FamilyId::V6][..]);
    let mark =
        (1..=u32::MAX, family).prop_map(|(mark, family)| VirtualService::Mark { mark, family });
    prop_oneof![3 => by_address, 1 => mark]
}

fn flags() -> impl Strategy<Value = SchedFlags> {
    any::<[bool; 3]>().prop_map(|set| {
        let numbers = (1..).zip(set).filter(|(_, is_set)| *is_set);
        numbers.fold(SchedFlags::NONE, |flags, (number, _)| flags.with(number))
    })
}

fn mss() -> impl Strategy<Value = Mss> {
    prop_oneof![Just(Mss::Auto), (536..=u16::MAX).prop_map(Mss::Bytes)]
}

prop_compose! {
    fn service_spec()(
        scheduler in select(&["rr", "wlc", "sh", "mh", "none", "a b", "x\"y"][..]),
        flags in flags(),
        persistence_s in option::of(1..=TIMEOUT_MAX_S),
        mask4 in option::of(0..u32::MAX),
        mask6 in option::of(1..128u8),
        engine in option::of(select(&["sip", "other"][..])),
        one_packet: bool,
        mss in option::of(mss()),
    ) -> (ServiceSpec, [Option<Netmask>; 2]) {
        let masks = [mask4.map(|bits| Netmask::V4(bits.into())), mask6.map(Netmask::V6)];
        let engine = engine.map(str::to_owned);
        let scheduler = scheduler.to_owned();
        let netmask = None;
        (ServiceSpec { scheduler, flags, persistence_s, netmask, engine, one_packet, mss }, masks)
    }
}

/// A service with options that go together.
fn with_spec() -> impl Strategy<Value = (VirtualService, ServiceSpec)> {
    (service(), service_spec()).prop_map(|(service, (mut spec, [mask4, mask6]))| {
        spec.netmask = if service.family() == FamilyId::V4 { mask4 } else { mask6 };
        if let VirtualService::Address { transport, port, .. } = service {
            spec.one_packet &= transport == Transport::Udp;
            if port == 0 && spec.persistence_s.is_none() {
                spec.persistence_s = Some(ServiceSpec::DEFAULT_PERSISTENCE_S);
            }
        }
        (service, spec)
    })
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    use TunnelChecksum::{None, Plain, Remote};
    prop_oneof![
        Just(Tunnel::Ipip),
        (1..=u16::MAX, select(&[None, Plain, Remote][..]))
            .prop_map(|(port, checksum)| Tunnel::Gue { port, checksum }),
        select(&[None, Plain][..]).prop_map(|checksum| Tunnel::Gre { checksum }),
    ]
}

fn forward() -> impl Strategy<Value = Forward> {
    let plain = select(&[Forward::Masquerade, Forward::FullNat, Forward::Direct][..]);
    prop_oneof![plain, tunnel().prop_map(Forward::Tunnel)]
}

/// A service and a server of it.
fn with_server() -> impl Strategy<Value = (VirtualService, RealServer, ServerSpec)> {
    let counts = [0..=COUNT_MAX, 0..=COUNT_MAX, 0..=COUNT_MAX];
    (service(), forward(), v4(), v6(), any::<bool>(), any::<u16>(), counts).prop_map(
        |(service, forward, v4, v6, is_v6, port, [weight, upper, lower])| {
            let tunnels = matches!(forward, Forward::Tunnel(_));
            let is_v6 = if tunnels { is_v6 } else { service.family() == FamilyId::V6 };
            let by_address = matches!(service, VirtualService::Address { .. });
            let keeps_port = tunnels || forward == Forward::Direct;
            let port = if by_address && keeps_port { service.port() } else { port };
            let server = RealServer { address: if is_v6 { v6 } else { v4 }, port };
            (service, server, ServerSpec { forward, weight, upper, lower })
        },
    )
}

prop_compose! {
    fn daemon()(
        role in select(&[DaemonRole::Master, DaemonRole::Backup][..]),
        interface in "[a-z0-9 .]{1,8}",
        sync_id: u8,
        group in option::of(prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::from((bits >> 4 | 0xe000_0000).to_be_bytes())),
            any::<u128>().prop_map(|bits| IpAddr::from((bits | 0xff << 120).to_be_bytes())),
        ]),
        port in option::of(1..=u16::MAX),
        ttl in option::of(1..=u8::MAX),
        message_max in option::of(1..=65_507u16),
    ) -> DaemonSpec {
        DaemonSpec { role, interface, sync_id, group, port, ttl, message_max }
    }
}

prop_compose! {
    fn filter()(
        client in option::of(prop_oneof![(v4(), 0..=32u8), (v6(), 0..=128u8)]),
        vip in option::of((address(), option::of(1..=u16::MAX))),
        mark in option::of(1..=u32::MAX),
        server in option::of((address(), option::of(1..=u16::MAX))),
    ) -> ConnFilter {
        ConnFilter {
            client: client.map(|(address, len)| Prefix { address, len }),
            vip: vip.map(|(vip, _)| vip),
            vport: vip.and_then(|(_, port)| port),
            mark,
            server: server.map(|(server, _)| server),
            server_port: server.and_then(|(_, port)| port),
        }
    }
}

fn subject_and_columns() -> impl Strategy<Value = (Subject, Columns)> {
    use Columns::{PersistentConn, Plain, Rate, Stats, Thresholds, TunnelInfo};
    let all = select(&[Plain, Stats, Rate, Thresholds, PersistentConn, TunnelInfo][..]);
    let subject = prop_oneof![Just(Subject::All), service().prop_map(Subject::Service)];
    let connections = filter().prop_map(Subject::Connections);
    prop_oneof![
        (subject, all),
        (connections, select(&[Plain, PersistentConn, TunnelInfo][..])),
        select(&[(Subject::Timeouts, Plain), (Subject::Daemons, TunnelInfo)][..]),
    ]
}

fn list() -> impl Strategy<Value = Command> {
    (subject_and_columns(), any::<[bool; 3]>()).prop_map(
        |((subject, columns), [numeric, exact, unsorted])| {
            Command::List(subject, Format { numeric, exact, unsorted, columns })
        },
    )
}

fn timeouts() -> impl Strategy<Value = Command> {
    [0..=TIMEOUT_MAX_S, 0..=TIMEOUT_MAX_S, 0..=TIMEOUT_MAX_S]
        .prop_map(|[tcp, tcp_fin, udp]| Command::SetTimeouts { tcp, tcp_fin, udp })
}

fn any_command() -> impl Strategy<Value = Command> {
    let role = select(&[DaemonRole::Master, DaemonRole::Backup][..]);
    let stop =
        (role, any::<u8>()).prop_map(|(role, sync_id)| Command::StopDaemon { role, sync_id });
    prop_oneof![
        4 => with_spec().prop_map(|(service, spec)| Command::AddService(service, spec)),
        4 => with_spec().prop_map(|(service, spec)| Command::EditService(service, spec)),
        4 => with_server().prop_map(|(of, server, spec)| Command::AddServer(of, server, spec)),
        4 => with_server().prop_map(|(of, server, spec)| Command::EditServer(of, server, spec)),
        1 => service().prop_map(Command::DeleteService),
        1 => with_server().prop_map(|(service, server, _)| Command::DeleteServer(service, server)),
        1 => (service(), address()).prop_map(|(of, local)| Command::AddLocal(of, local)),
        1 => (service(), address()).prop_map(|(of, local)| Command::DeleteLocal(of, local)),
        1 => option::of(service()).prop_map(Command::ListLocals),
        1 => option::of(service()).prop_map(Command::Zero),
        4 => list(),
        1 => timeouts(),
        2 => daemon().prop_map(Command::StartDaemon),
        1 => stop,
        1 => any::<bool>().prop_map(|numeric| Command::Save { numeric }),
        1 => any::<bool>().prop_map(|atomic| Command::Restore { atomic }),
        1 => select(vec![Command::Clear, Command::Help, Command::Version]),
    ]
}

proptest! {
    #[test]
    fn a_command_is_read_back_from_its_canonical_line(command in any_command()) {
        let line = render::line(&command);
        let words = words::split(&line).expect("a canonical line has words");
        prop_assert_eq!(parse(&words, &NumbersOnly), Ok(command), "{}", line);
    }
}
