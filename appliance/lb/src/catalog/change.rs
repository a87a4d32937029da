// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be changed, and why not.

use std::net::IpAddr;

use wire::FamilyId;

use crate::conn::tcp_state::Timeouts;
use crate::counters::Thresholds;
use crate::ids::{ServerId, ServiceId};
use crate::knobs::Knobs;
use crate::service::{
    ClientMask, ForwardMode, Persistence, ServerKey, ServerOptions, ServiceKey, ServiceOptions,
    family,
};

/// One change to the services; each is applied whole or refused whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a service without servers.
    AddService(ServiceKey, ServiceOptions),
    /// Replaces the options of a service; the scheduler keeps its place if it stays the same.
    EditService(ServiceKey, ServiceOptions),
    /// Removes a service and its servers.
    DeleteService(ServiceKey),
    /// Removes every service.
    Clear,
    /// Adds a server at the head of its service's list.
    AddServer(ServiceKey, ServerKey, ServerOptions),
    /// Replaces the options of a server.
    EditServer(ServiceKey, ServerKey, ServerOptions),
    /// Removes a server; its connections stay, and their packets are dropped until it is back.
    DeleteServer(ServiceKey, ServerKey),
    /// Adds a FULLNAT local address to a service.
    AddLocal(ServiceKey, IpAddr),
    /// Removes a FULLNAT local address; connections that use it go on.
    DeleteLocal(ServiceKey, IpAddr),
    /// Sets the timeouts.
    SetTimeouts(Timeouts),
    /// Sets the settings.
    SetKnobs(Knobs),
}

/// What a change created, and whose figures begin at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The service that was added.
    pub service: Option<ServiceId>,
    /// The server that was added and its service, unless it came back to the service it was
    /// removed from: only then do its figures go on (`ip_vs_ctl.c: __ip_vs_update_dest`).
    pub server: Option<(ServerId, ServiceId)>,
    /// The server that was added or edited, and the thresholds it has now; to be set with
    /// [`ServerCounts::set_thresholds`](crate::counters::ServerCounts::set_thresholds).
    pub thresholds: Option<(ServerId, Thresholds)>,
}

/// Why a change was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The service to add is there.
    #[error("service {0} already exists")]
    ServiceExists(ServiceKey),
    /// The service to change is not there.
    #[error("no such service: {0}")]
    NoService(ServiceKey),
    /// The server to add is there.
    #[error("server {1} is already in service {0}")]
    ServerExists(ServiceKey, ServerKey),
    /// The server to change is not there.
    #[error("no server {1} in service {0}")]
    NoServer(ServiceKey, ServerKey),
    /// The local address to add is there.
    #[error("service {0} already has local address {1}")]
    LocalExists(ServiceKey, IpAddr),
    /// The local address to remove is not there.
    #[error("service {0} has no local address {1}")]
    NoLocal(ServiceKey, IpAddr),
    /// An address that cannot be one machine's.
    #[error("{0} is not a unicast address")]
    NotUnicast(IpAddr),
    /// Families differ where they must not.
    #[error("{1} is not of the address family of service {0}")]
    FamilyMismatch(ServiceKey, IpAddr),
    /// One address cannot be both a VIP and a FULLNAT local address.
    #[error("{0} is both a virtual address and a FULLNAT local address; use different ones")]
    VipIsLocal(IpAddr),
    /// A server does not answer its own address.
    #[error("{0} is both a real server and a FULLNAT local address; use different ones")]
    ServerIsLocal(IpAddr),
    /// The service table is full.
    #[error("all {0} places for services are taken; raise [limits] services")]
    TooManyServices(u32),
    /// The server table is full, places of removed servers with connections included.
    #[error("all {0} places for servers are taken; raise [limits] servers")]
    TooManyServers(u32),
    /// A weight or threshold is out of range.
    #[error("{0} is above {max}, the largest weight or threshold", max = ServerOptions::COUNT_MAX)]
    CountTooLarge(u32),
    /// The thresholds contradict each other.
    #[error("lower threshold {lower} is above upper threshold {upper}")]
    LowerAboveUpper {
        /// The lower threshold, in connections.
        lower: u32,
        /// The upper threshold, in connections.
        upper: u32,
    },
    /// The netmask of persistence does not fit the service.
    #[error("the netmask of service {0} is not one of its address family, 0 to 128 bits for IPv6")]
    NetmaskMismatch(ServiceKey),
}

/// Whether the options fit the service.
pub(super) fn check_service(key: &ServiceKey, options: &ServiceOptions) -> Result<(), Refusal> {
    let fits = |persistence: Persistence| match (persistence.mask, key.family()) {
        (ClientMask::V4(_), FamilyId::V4) => true,
        (ClientMask::V6(length), FamilyId::V6) => length <= 128,
        _ => false,
    };
    if options.persistence.is_none_or(fits) { Ok(()) } else { Err(Refusal::NetmaskMismatch(*key)) }
}

/// Whether weight and thresholds are in range.
pub(super) fn check_counts(options: &ServerOptions) -> Result<(), Refusal> {
    let ServerOptions { weight, upper, lower, .. } = *options;
    match [weight, upper, lower].into_iter().find(|count| *count > ServerOptions::COUNT_MAX) {
        Some(count) => Err(Refusal::CountTooLarge(count)),
        None if lower > upper => Err(Refusal::LowerAboveUpper { lower, upper }),
        None => Ok(()),
    }
}

/// Whether a server can have this address: only a tunnel leads to another family.
pub(super) fn check_server(
    service: &ServiceKey,
    address: IpAddr,
    options: &ServerOptions,
) -> Result<(), Refusal> {
    check_unicast(address)?;
    if options.mode != ForwardMode::Tunnel && family(address) != service.family() {
        return Err(Refusal::FamilyMismatch(*service, address));
    }
    Ok(())
}

/// Whether a service can have this local address.
pub(super) fn check_local(service: &ServiceKey, address: IpAddr) -> Result<(), Refusal> {
    check_unicast(address)?;
    if address.is_loopback() {
        return Err(Refusal::NotUnicast(address));
    }
    if family(address) != service.family() {
        return Err(Refusal::FamilyMismatch(*service, address));
    }
    Ok(())
}

fn check_unicast(address: IpAddr) -> Result<(), Refusal> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_multicast() || address.is_unspecified() || broadcast {
        return Err(Refusal::NotUnicast(address));
    }
    Ok(())
}
