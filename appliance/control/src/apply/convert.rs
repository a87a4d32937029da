// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dialect's words → the catalog's, and back for `-S`.

use lb::sched::Scheduler;
use lb::service::{
    ClientMask, Engine, ForwardMode, Persistence, ServerKey, ServerOptions, Service, ServiceKey,
    ServiceOptions, Tunnel,
};
use wire::{FamilyId, L4};

use crate::command::{
    Forward, Netmask, RealServer, ServerSpec, ServiceSpec, Transport, VirtualService,
};
use crate::reply::{KERNEL_REFUSED, Reply};

const NOT_FOUND: &str = "Scheduler or persistence engine not found";

/// The catalog's name of a service.
pub(crate) fn service_key(service: VirtualService) -> ServiceKey {
    match service {
        VirtualService::Address { transport, address, port } => {
            let protocol = match transport {
                Transport::Tcp => L4::Tcp,
                Transport::Udp => L4::Udp,
                Transport::Sctp => L4::Sctp,
            };
            ServiceKey::Endpoint { protocol, address, port }
        }
        VirtualService::Mark { mark, family } => ServiceKey::Mark { mark, family },
    }
}

/// The dialect's name of a service.
pub(crate) fn virtual_service(key: ServiceKey) -> VirtualService {
    match key {
        ServiceKey::Endpoint { protocol, address, port } => {
            VirtualService::Address { transport: transport(protocol), address, port }
        }
        ServiceKey::Mark { mark, family } => VirtualService::Mark { mark, family },
    }
}

/// The dialect's name of a protocol.
pub(crate) fn transport(protocol: L4) -> Transport {
    match protocol {
        L4::Tcp => Transport::Tcp,
        L4::Udp => Transport::Udp,
        L4::Sctp => Transport::Sctp,
    }
}

/// The catalog's name of a server.
pub(crate) fn server_key(server: RealServer) -> ServerKey {
    let RealServer { address, port } = server;
    ServerKey { address, port }
}

/// The catalog's options of a service. A netmask without persistence has no effect, as in the
/// kernel.
pub(crate) fn service_options(
    family: FamilyId,
    spec: &ServiceSpec,
) -> Result<ServiceOptions, Reply> {
    let scheduler = Scheduler::from_name(&spec.scheduler)
        .ok_or_else(|| Reply::error(KERNEL_REFUSED, NOT_FOUND))?;
    let engine = match &spec.engine {
        None => None,
        Some(name) => match Engine::from_name(name) {
            None => return Err(Reply::error(KERNEL_REFUSED, NOT_FOUND)),
            engine => engine,
        },
    };
    let mask = match (spec.netmask, family) {
        (Some(Netmask::V4(mask)), _) => mask.into(),
        (Some(Netmask::V6(length)), _) => ClientMask::V6(length),
        (None, FamilyId::V4) => ClientMask::V4_ALL,
        (None, FamilyId::V6) => ClientMask::V6_ALL,
    };
    let persistence = spec.persistence_s.map(|timeout_s| Persistence { timeout_s, mask });
    let ServiceSpec { flags, one_packet, mss, .. } = *spec;
    Ok(ServiceOptions { scheduler, flags, persistence, engine, one_packet, mss })
}

/// What `-A` says to make this service.
pub(crate) fn service_spec(service: &Service) -> ServiceSpec {
    let ServiceOptions { scheduler, flags, persistence, engine, one_packet, mss } = service.options;
    let mask = persistence.map(|persistence| persistence.mask).filter(|mask| !mask.is_all());
    ServiceSpec {
        scheduler: scheduler.name().to_owned(),
        flags,
        persistence_s: persistence.map(|persistence| persistence.timeout_s),
        netmask: mask.map(|mask| match mask {
            ClientMask::V4(bits) => Netmask::V4(bits.into()),
            ClientMask::V6(length) => Netmask::V6(length),
        }),
        engine: engine.map(|engine| engine.name().to_owned()),
        one_packet,
        mss,
    }
}

/// The catalog's options of a server.
pub(crate) fn server_options(spec: &ServerSpec) -> ServerOptions {
    let ServerSpec { forward, weight, upper, lower } = *spec;
    let (mode, tunnel) = match forward {
        Forward::Masquerade => (ForwardMode::Masquerade, Tunnel::Ipip),
        Forward::FullNat => (ForwardMode::FullNat, Tunnel::Ipip),
        Forward::Direct => (ForwardMode::Direct, Tunnel::Ipip),
        Forward::Tunnel(tunnel) => (ForwardMode::Tunnel, tunnel),
    };
    ServerOptions { mode, weight, upper, lower, tunnel }
}

/// What `-a` says to make a server with these options.
pub(crate) fn server_spec(options: &ServerOptions) -> ServerSpec {
    let ServerOptions { mode, weight, upper, lower, tunnel } = *options;
    let forward = match mode {
        ForwardMode::Masquerade => Forward::Masquerade,
        ForwardMode::FullNat => Forward::FullNat,
        ForwardMode::Tunnel => Forward::Tunnel(tunnel),
        ForwardMode::Direct => Forward::Direct,
    };
    ServerSpec { forward, weight, upper, lower }
}
