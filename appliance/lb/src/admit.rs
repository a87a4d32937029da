// SPDX-License-Identifier: MIT OR Apache-2.0
//! A packet of no connection: is it for a service, and which server takes the new connection?
//!
//! After `ip_vs_core.c: ip_vs_schedule`: only a TCP segment with SYN and without RST opens a
//! connection, and nothing from port 20; any other packet goes to the host, which answers as it
//! does for a closed port.

use std::net::IpAddr;

use wire::{Endpoint, L4, Parsed};

use crate::action::{Ends, connect};
use crate::conn::Conn;
use crate::counters::ServerCounts;
use crate::family::Balanced;
use crate::flows::Flows;
use crate::hash::Keyed;
use crate::ids::Tick;
use crate::local_ports::{self, LocalPorts, Wanted};
use crate::random::Random;
use crate::sched::{self, Request};
use crate::service::ForwardMode;
use crate::snapshot::{ServerView, ServiceView, Snapshot};
use crate::verdict::DropReason;

/// The source port of active FTP's data, which opens no connection (`ip_vs_schedule`).
const FTP_DATA: u16 = 20;

/// What becomes of a packet of no connection.
#[derive(Debug)]
pub(crate) enum Admission<F: Balanced> {
    /// A new connection, not in the table yet, of the service in this slot.
    Open(Conn<F>, u32),
    /// Not for a service, or not the beginning of a connection.
    NotOurs,
    /// Refused.
    Refused(DropReason),
}

/// What is needed to admit connections.
#[derive(Debug)]
pub(crate) struct Admitter<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) counts: &'a ServerCounts,
    pub(crate) ports: &'a LocalPorts,
    pub(crate) keyed: &'a Keyed,
    /// Local ports that may still be tried in this batch.
    pub(crate) probes: &'a mut u32,
    pub(crate) random: &'a mut Random,
    pub(crate) now: Tick,
}

impl Admitter<'_> {
    pub(crate) fn admit<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        parsed: &Parsed<F>,
    ) -> Admission<F> {
        let key = parsed.key();
        let (client, vip) = (key.tuple.source(), key.tuple.destination());
        let services = self.snapshot.services.family::<F>();
        let Some(service) = services.find(key.protocol, vip) else {
            return Admission::NotOurs;
        };
        let flags = parsed.tcp_flags();
        let opens = key.protocol != L4::Tcp || (flags.syn() && !flags.rst());
        if !opens || client.port.get() == FTP_DATA {
            return Admission::NotOurs;
        }
        if !may_open(client, vip) {
            return Admission::Refused(DropReason::BadSource);
        }
        match self.open(flows, service, key.protocol, client, vip) {
            Ok(conn) => Admission::Open(conn, service.id.slot),
            Err(reason) => Admission::Refused(reason),
        }
    }

    fn open<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        service: &ServiceView,
        protocol: L4,
        client: Endpoint<F>,
        vip: Endpoint<F>,
    ) -> Result<Conn<F>, DropReason> {
        let request = Request {
            client: client.addr.into(),
            client_port: client.port.get(),
            vip: vip.addr.into(),
            now: self.now,
            draw: self.random.draw(),
            keyed: self.keyed,
        };
        let chosen = sched::pick(service, &self.snapshot.servers, self.counts, &request);
        let id = chosen.ok_or(DropReason::NoServer)?.id;
        let view = self.snapshot.server(id).ok_or(DropReason::Bug)?;
        let server = endpoint(view, vip);
        let local = if view.mode == ForwardMode::FullNat {
            let wanted = Wanted { protocol, client, server };
            let (ports, keyed) = (self.ports, self.keyed);
            local_ports::find(flows.conns(), &service.locals, ports, keyed, &wanted, self.probes)?
        } else {
            client
        };
        Ok(connect(protocol, view.mode, id, &Ends { client, vip, server, local }))
    }
}

/// Where the server listens; its port 0 stands for the one that the client speaks to. A server of
/// the other family is reached by a tunnel, in which packets keep the VIP.
fn endpoint<F: Balanced>(server: &ServerView, vip: Endpoint<F>) -> Endpoint<F> {
    let port = if server.port == 0 { vip.port } else { server.port.into() };
    Endpoint { addr: F::from_ip(server.address).unwrap_or(vip.addr), port }
}

/// Whether a connection may be opened from here: one machine's address, and not the VIP itself.
fn may_open<F: Balanced>(client: Endpoint<F>, vip: Endpoint<F>) -> bool {
    let address: IpAddr = client.addr.into();
    let one_machine = match address {
        IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback(),
    };
    one_machine && !address.is_multicast() && !address.is_unspecified() && client.addr != vip.addr
}
