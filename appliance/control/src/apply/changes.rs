// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command → the change of the catalog that it means.

use lb::catalog::{Catalog, Change, Refusal};
use lb::conn::tcp_state::State;
use lb::service::{ForwardMode, ServerOptions, ServiceKey};

use super::Plane;
use super::convert::{server_key, server_options, service_key, service_options};
use crate::command::{Command, ServerSpec, ServiceSpec, VirtualService};
use crate::parse::ParseError;
use crate::reply::{self, KERNEL_REFUSED, NO_SUCH_SERVICE, Reply, SERVICE_NOT_DEFINED};

/// The change that a command means, if it means one and all that it asks for can be had.
pub(super) fn change_of(
    command: &Command,
    catalog: &Catalog,
    plane: &impl Plane,
) -> Result<Change, Reply> {
    let existing = |service, missing| existing(catalog, service, missing);
    Ok(match command {
        Command::AddService(service, spec) => add_service(catalog, *service, spec)?,
        Command::EditService(service, spec) => {
            let key = existing(*service, NO_SUCH_SERVICE)?;
            Change::EditService(key, service_options(key.family(), spec)?)
        }
        Command::DeleteService(service) => {
            Change::DeleteService(existing(*service, NO_SUCH_SERVICE)?)
        }
        Command::Clear => Change::Clear,
        Command::AddServer(service, server, spec) => {
            let key = existing(*service, SERVICE_NOT_DEFINED)?;
            Change::AddServer(key, server_key(*server), servable(spec, plane)?)
        }
        Command::EditServer(service, server, spec) => {
            let key = existing(*service, SERVICE_NOT_DEFINED)?;
            Change::EditServer(key, server_key(*server), servable(spec, plane)?)
        }
        Command::DeleteServer(service, server) => {
            Change::DeleteServer(existing(*service, SERVICE_NOT_DEFINED)?, server_key(*server))
        }
        Command::AddLocal(service, address) => {
            let key = existing(*service, SERVICE_NOT_DEFINED)?;
            if let Some(conflict) = plane.local_ports_conflict() {
                return Err(Reply::error(KERNEL_REFUSED, &conflict));
            }
            Change::AddLocal(key, *address)
        }
        Command::DeleteLocal(service, address) => {
            Change::DeleteLocal(existing(*service, SERVICE_NOT_DEFINED)?, *address)
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => set_timeouts(catalog, [*tcp, *tcp_fin, *udp]),
        _ => return Err(ParseError::TryHelp.into()),
    })
}

fn add_service(
    catalog: &Catalog,
    service: VirtualService,
    spec: &ServiceSpec,
) -> Result<Change, Reply> {
    let key = service_key(service);
    if catalog.service(&key).is_some() {
        return Err(reply::refused(&Refusal::ServiceExists(key), NO_SUCH_SERVICE));
    }
    Ok(Change::AddService(key, service_options(key.family(), spec)?))
}

/// The options of a server, if the workers can serve it.
fn servable(spec: &ServerSpec, plane: &impl Plane) -> Result<ServerOptions, Reply> {
    let options = server_options(spec);
    let nat = options.mode == ForwardMode::Masquerade;
    match plane.nat_conflict().filter(|_| nat) {
        Some(conflict) => Err(Reply::error(KERNEL_REFUSED, conflict)),
        None => Ok(options),
    }
}

fn set_timeouts(catalog: &Catalog, seconds: [u32; 3]) -> Change {
    let mut timeouts = *catalog.timeouts();
    let states = [State::Established, State::FinWait, State::Udp];
    for (state, seconds) in states.into_iter().zip(seconds) {
        if seconds != 0 {
            timeouts.set(state, seconds);
        }
    }
    Change::SetTimeouts(timeouts)
}

fn existing(
    catalog: &Catalog,
    service: VirtualService,
    missing: &str,
) -> Result<ServiceKey, Reply> {
    let key = Some(service_key(service)).filter(|key| catalog.service(key).is_some());
    key.ok_or_else(|| Reply::error(KERNEL_REFUSED, missing))
}
