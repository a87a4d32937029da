// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a command the data path has: the dialect's words → the catalog's.

use lb::catalog::{Catalog, Change};
use lb::sched::Scheduler;
use lb::service::{ForwardMode, ServerKey, ServerOptions, ServiceKey, ServiceOptions};
use wire::L4;

use crate::command::{
    Forward, RealServer, ServerSpec, ServiceSpec, Transport, Tunnel, VirtualService,
};
use crate::reply::{KERNEL_REFUSED, Reply, Unavailable};

/// Schedulers that the kernel has and the data path has not.
const LATER_SCHEDULERS: [&str; 10] =
    ["lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "none"];
/// Persistence engines that the kernel has.
const LATER_ENGINES: [&str; 1] = ["sip"];

const NOT_FOUND: &str = "Scheduler or persistence engine not found";

/// The catalog's name of a service.
pub(super) fn service_key(service: VirtualService) -> Result<ServiceKey, Unavailable> {
    match service {
        VirtualService::Address { transport, address, port } => {
            let protocol = match transport {
                Transport::Tcp => L4::Tcp,
                Transport::Udp => L4::Udp,
                Transport::Sctp => return Err(Unavailable::Sctp),
            };
            Ok(ServiceKey { protocol, address, port })
        }
        VirtualService::Mark { .. } => Err(Unavailable::Mark),
    }
}

/// The catalog's name of a server.
pub(super) fn server_key(server: RealServer) -> ServerKey {
    let RealServer { address, port } = server;
    ServerKey { address, port }
}

/// The change of `-A`.
pub(super) fn add_service(
    catalog: &Catalog,
    service: VirtualService,
    spec: &ServiceSpec,
) -> Result<Change, Reply> {
    let key = service_key(service)?;
    if catalog.service(&key).is_some() {
        return Err(Reply::error(KERNEL_REFUSED, "Service already exists"));
    }
    Ok(Change::AddService(key, service_options(spec)?))
}

/// The catalog's options of a service. A netmask without persistence has no effect, as in the
/// kernel.
pub(super) fn service_options(spec: &ServiceSpec) -> Result<ServiceOptions, Reply> {
    let later = LATER_SCHEDULERS.iter().find(|name| **name == spec.scheduler);
    let scheduler = match (Scheduler::from_name(&spec.scheduler), later) {
        (Some(scheduler), _) => scheduler,
        (None, Some(name)) => return Err(Unavailable::Scheduler(name).into()),
        (None, None) => return Err(Reply::error(KERNEL_REFUSED, NOT_FOUND)),
    };
    if let Some(engine) = &spec.engine {
        return Err(if LATER_ENGINES.contains(&engine.as_str()) {
            Unavailable::Engine.into()
        } else {
            Reply::error(KERNEL_REFUSED, NOT_FOUND)
        });
    }
    let missing = [
        (spec.persistence_s.is_some(), Unavailable::Persistence),
        (spec.one_packet, Unavailable::OnePacket),
        (!spec.flags.is_empty(), Unavailable::SchedulerFlags),
    ];
    match missing.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, unavailable)) => Err(unavailable.into()),
        None => Ok(ServiceOptions { scheduler }),
    }
}

/// The catalog's options of a server.
pub(super) fn server_options(
    service: ServiceKey,
    server: RealServer,
    spec: &ServerSpec,
) -> Result<ServerOptions, Unavailable> {
    let mode = match spec.forward {
        Forward::Masquerade => ForwardMode::Masquerade,
        Forward::FullNat => ForwardMode::FullNat,
        Forward::Direct => ForwardMode::Direct,
        Forward::Tunnel(Tunnel::Ipip) => ForwardMode::Tunnel,
        Forward::Tunnel(Tunnel::Gue { .. }) => return Err(Unavailable::TunnelType("gue")),
        Forward::Tunnel(Tunnel::Gre { .. }) => return Err(Unavailable::TunnelType("gre")),
    };
    if service.address.is_ipv4() != server.address.is_ipv4() {
        return Err(Unavailable::MixedFamilies);
    }
    if (spec.upper, spec.lower) != (0, 0) {
        return Err(Unavailable::Thresholds);
    }
    Ok(ServerOptions { mode, weight: spec.weight })
}

/// Whether the kernel would take the thresholds.
pub(super) fn check_thresholds(spec: &ServerSpec) -> Result<(), Reply> {
    if spec.lower > spec.upper {
        return Err(Reply::error(KERNEL_REFUSED, "Numerical result out of range"));
    }
    Ok(())
}
