// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux as the control plane of the wires.
//!
//! Each NIC has a host interface, a persistent tap with the NIC's MAC ([`tap`]): what is not load
//! balanced goes there, what the host sends there leaves by the NIC. What the kernel learns and is
//! told about those interfaces - addresses, routes, neighbours - is mirrored by rtnetlink
//! ([`mirror`]), so that `ip`, ping, routing daemons and VRRP work as on any host.
//!
//! Nothing here runs on a worker.

mod kernel;
pub mod local_ports;
pub mod mirror;
mod mtu;
mod routes;
pub mod tap;
mod view;

pub use local_ports::local_port_range;
pub use mirror::{Mirror, MirrorError};
pub use mtu::interface_mtu;
pub use routes::LocalAddress;
pub use tap::{HostInterface, HostInterfaceError};
pub use view::NetworkChange;
