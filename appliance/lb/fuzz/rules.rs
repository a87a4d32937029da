// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes → changes of services, servers, timeouts and settings; and what there is at the start.

use lb::catalog::{Catalog, Change};
use lb::conn::tcp_state::State;
use lb::knobs::Knob;
use lb::sched::Scheduler;
use lb::service::{
    ClientMask, Engine, ForwardMode, Mss, Persistence, SchedFlags, ServerKey, ServerOptions,
    ServiceKey, ServiceOptions, Tunnel, TunnelChecksum,
};
use wire::{FamilyId, L4};

use crate::pipeline::world::{ENDS, LIMITS, VIPS, ip};

const MODES: [ForwardMode; 4] =
    [ForwardMode::Masquerade, ForwardMode::FullNat, ForwardMode::Tunnel, ForwardMode::Direct];

/// Ports of services; 0 is every port.
pub const PORTS: [u16; 8] = [80, 443, 0, 21, 80, 5060, 20, 8080];

/// Where tunnels of Generic UDP Encapsulation lead.
pub const GUE_PORT: u16 = 6080;

/// States whose timeouts are changed.
const TIMED: [State; 6] = [
    State::Established,
    State::FinWait,
    State::Udp,
    State::SynRecv,
    State::Close,
    State::SctpEstablished,
];

/// The words of a change: what, of which service, of which server, and two for the options.
pub type Words = [u8; 5];

/// The change that the words say; the catalog may refuse it.
pub fn change(catalog: &Catalog, words: Words) -> Change {
    let [what, of, at, first, second] = words;
    let (service, server) = (service_key(of), server_key(of, at));
    match what % 16 {
        0 => Change::DeleteServer(service, server),
        1 | 2 => Change::AddServer(service, server, server_options(first, second)),
        3 | 4 => Change::EditServer(service, server, server_options(first, second)),
        5 => Change::DeleteService(service),
        6 | 7 => Change::AddService(service, service_options(&service, first, second)),
        8 | 9 => Change::EditService(service, service_options(&service, first, second)),
        10 => Change::AddLocal(service, local(of, at)),
        11 => Change::DeleteLocal(service, local(of, at)),
        12 => {
            let mut timeouts = *catalog.timeouts();
            let state = TIMED[usize::from(first) % TIMED.len()];
            timeouts.set(state, 1 << (second % 20));
            Change::SetTimeouts(timeouts)
        }
        13 if first == 0xff => Change::Clear,
        _ => {
            let mut knobs = *catalog.knobs();
            let knob = Knob::ALL[usize::from(first) % Knob::ALL.len()];
            knobs.set(knob, second.into());
            Change::SetKnobs(knobs)
        }
    }
}

/// What words say; used by the seeds.
#[cfg_attr(not(test), allow(dead_code))]
pub fn knob_words(knob: Knob, value: u8) -> Words {
    [15, 0, 0, knob as u8, value]
}

/// Bit 0: the family; bits 1 to 3: the address; bits 4 and 5: the port; 6 and 7: the protocol, or
/// a mark.
fn service_key(of: u8) -> ServiceKey {
    let v6 = usize::from(of & 1);
    let (which, port) = (usize::from(of >> 1 & 7) % 6, PORTS[usize::from(of >> 4 & 3)]);
    match L4::ALL.get(usize::from(of >> 6)) {
        Some(protocol) => endpoint(*protocol, v6, which, port),
        None => mark(u32::from(of >> 4 & 1) + 1, v6),
    }
}

fn endpoint(protocol: L4, v6: usize, which: usize, port: u16) -> ServiceKey {
    ServiceKey::Endpoint { protocol, address: ip(VIPS[v6][which]), port }
}

fn mark(mark: u32, v6: usize) -> ServiceKey {
    ServiceKey::Mark { mark, family: [FamilyId::V4, FamilyId::V6][v6] }
}

/// Bit 3: the other family; bits 4 and 5: the port.
fn server_key(of: u8, at: u8) -> ServerKey {
    let v6 = usize::from(of & 1 ^ at >> 3 & 1);
    let address = ip(ENDS[v6][[0, 1, 2, 3, 6, 0, 1, 2][usize::from(at & 7)]]);
    ServerKey { address, port: [80, 8080, 0, 443][usize::from(at >> 4 & 3)] }
}

fn local(of: u8, at: u8) -> std::net::IpAddr {
    ip(ENDS[usize::from(of & 1)][[4, 7][usize::from(at & 1)]])
}

fn server_options(first: u8, second: u8) -> ServerOptions {
    let checksum = [TunnelChecksum::None, TunnelChecksum::Plain, TunnelChecksum::Remote];
    let checksum = checksum[usize::from(first >> 4 & 3) % 3];
    let tunnel = match (first >> 2 & 3, checksum) {
        (1, _) => Tunnel::Gue { port: GUE_PORT, checksum },
        (2, TunnelChecksum::None | TunnelChecksum::Plain) => Tunnel::Gre { checksum },
        _ => Tunnel::Ipip,
    };
    let (upper, lower) = (u32::from(second >> 2 & 7), u32::from(second >> 5));
    let mode = MODES[usize::from(first & 3)];
    ServerOptions { mode, weight: u32::from(second & 3), upper, lower, tunnel }
}

fn service_options(key: &ServiceKey, first: u8, second: u8) -> ServiceOptions {
    let scheduler = Scheduler::NAMES[usize::from(first & 0xf) % Scheduler::NAMES.len()].0;
    let mut options = ServiceOptions::of(scheduler);
    let flags = (1..=SchedFlags::COUNT).filter(|number| first >> (4 + number) & 1 != 0);
    options.flags = flags.fold(SchedFlags::NONE, SchedFlags::with);
    let mask = match (key.family(), second >> 1 & 3) {
        (FamilyId::V4, 0) => ClientMask::V4(0),
        (FamilyId::V4, 1) => ClientMask::V4(0xffff_fffe),
        (FamilyId::V4, _) => ClientMask::V4_ALL,
        (FamilyId::V6, 0) => ClientMask::V6(0),
        (FamilyId::V6, 1) => ClientMask::V6(127),
        (FamilyId::V6, _) => ClientMask::V6_ALL,
    };
    let timeout_s = if second & 8 == 0 { 300 } else { 1 };
    let persistent = second & 1 != 0;
    options.persistence = persistent.then_some(Persistence { timeout_s, mask });
    options.engine = (persistent && second & 0x10 != 0).then_some(Engine::Sip);
    options.one_packet = second & 0x20 != 0 && matches!(key.protocol(), Some(L4::Udp) | None);
    options.mss = [None, Some(Mss::Auto), Some(Mss::Bytes(536)), Some(Mss::Bytes(9000))]
        [usize::from(second >> 6)];
    options
}

/// Services of each mode, protocol and family, and one of each mark.
pub fn catalog() -> Catalog {
    let mut catalog = Catalog::new(&LIMITS);
    let mut apply = |change| assert!(catalog.apply(change).is_ok());
    for (v6, which) in (0..2).flat_map(|v6| (0..6).map(move |which| (v6, which))) {
        for protocol in L4::ALL {
            let service = match which {
                5 if protocol == L4::Tcp => mark(1, v6),
                5 => continue,
                _ => endpoint(protocol, v6, which, 80),
            };
            let scheduler = Scheduler::NAMES[which % Scheduler::NAMES.len()].0;
            apply(Change::AddService(service, ServiceOptions::of(scheduler)));
            apply(Change::AddLocal(service, ip(ENDS[v6][4])));
            let servers = if which >= 4 { 0..4 } else { which..which + 1 };
            for (number, mode) in servers.map(|number| (number, MODES[number])) {
                let options = ServerOptions::of(mode, number as u32 % 2 + 1);
                let server = ServerKey { address: ip(ENDS[v6][number]), port: 80 };
                apply(Change::AddServer(service, server, options));
            }
        }
    }
    catalog
}
