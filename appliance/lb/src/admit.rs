// SPDX-License-Identifier: MIT OR Apache-2.0
//! A packet of no connection: is it for a service, and which server takes the new connection?
//!
//! After `ip_vs_core.c: ip_vs_schedule`: only a TCP segment with SYN and without RST, an SCTP INIT
//! and any UDP packet open a connection (`sloppy_tcp`, `sloppy_sctp`), and nothing from port 20;
//! any other packet goes to the host, which answers as it does for a closed port.

use std::net::IpAddr;

use wire::{Endpoint, FlowKey, L4, Parsed, Port, TcpFlags};

use crate::action::{Ends, connect};
use crate::conn::flows::Flows;
use crate::conn::table::Probe;
use crate::conn::{Conn, Direction};
use crate::counters::ServerCounts;
use crate::defence::Defence;
use crate::family::Balanced;
use crate::foresee::Foreseen;
use crate::hash::Keyed;
use crate::ids::{NicId, ServerId, Tick};
use crate::knobs::Knob;
use crate::marks::MarkRules;
use crate::persist::templates::{Leaving, TemplateId};
use crate::persist::{Persister, payload};
use crate::random::Random;
use crate::sched::{self, Request};
use crate::service::{FTP, ForwardMode, ServiceKey};
use crate::snapshot::{ServerView, ServiceView, Snapshot};
use crate::steer::local_ports::{self, LocalPorts, Wanted};
use crate::verdict::DropReason;
use crate::witness::Persisted;

/// The source port of active FTP's data, which opens no connection (`ip_vs_schedule`).
const FTP_DATA: u16 = 20;

/// What becomes of a packet of no connection.
#[derive(Debug)]
pub(crate) enum Admission<'a, F: Balanced> {
    /// A new connection.
    Open(Opening<'a, F>),
    /// Not for a service, or not the beginning of a connection.
    NotOurs,
    /// Refused.
    Refused(DropReason),
}

/// A new connection that is not in the table yet.
#[derive(Debug)]
pub(crate) struct Opening<'a, F: Balanced> {
    pub(crate) conn: Conn<F>,
    /// Its server.
    pub(crate) server: &'a ServerView,
    /// Slot of its service.
    pub(crate) service: u32,
    /// The persistence template that it holds.
    pub(crate) template: Option<TemplateId>,
    /// How that came to name its server.
    pub(crate) persisted: Option<Persisted>,
    /// The look-up of its replies, if it was begun.
    pub(crate) reply: Option<Probe>,
    /// Whether it is for this packet only (one-packet scheduling).
    pub(crate) once: bool,
}

/// What is needed to admit connections.
#[derive(Debug)]
pub(crate) struct Admitter<'a, 'm> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) counts: &'a ServerCounts,
    pub(crate) ports: &'a LocalPorts,
    pub(crate) marks: &'a MarkRules,
    pub(crate) keyed: &'a Keyed,
    pub(crate) now: Tick,
    /// Local ports that may still be tried in this batch.
    pub(crate) probes: &'m mut u32,
    pub(crate) random: &'m mut Random,
    pub(crate) defence: &'m mut Defence,
    /// What was foreseen of the packet.
    pub(crate) foreseen: Option<Foreseen<'a>>,
}

/// The server of a new connection.
struct Chosen {
    id: ServerId,
    template: Option<TemplateId>,
    persisted: Option<Persisted>,
}

impl<'a> Admitter<'a, '_> {
    /// Judges a packet that came by a NIC; `head` is its frame's first segment.
    pub(crate) fn admit<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        parsed: &Parsed<F>,
        nic: NicId,
        head: &[u8],
    ) -> Admission<'a, F> {
        let key = parsed.key();
        let (client, vip) = (key.tuple.source(), key.tuple.destination());
        let services = self.snapshot.services.family::<F>();
        let foreseen = self.foreseen.map(|foreseen| foreseen.service);
        let found =
            foreseen.or_else(|| services.find(key.protocol, vip, || self.marks.mark(&key, nic)));
        let Some(service) = found else {
            return Admission::NotOurs;
        };
        let is_no_opening = !self.opens(key.protocol, parsed.tcp_flags());
        if is_no_opening || client.port.get() == FTP_DATA || is_beside_ftp(service, vip.port) {
            return Admission::NotOurs;
        }
        self.admit_to(flows, service, &key, || payload(parsed, head))
    }

    /// Judges an ICMP error about a packet of no connection, which `key` names as one of its
    /// requests would: whatever the packet was, it may open one (`schedule_icmp`).
    pub(crate) fn admit_error<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        key: &FlowKey<F>,
        nic: NicId,
    ) -> Admission<'a, F> {
        let (client, vip) = (key.tuple.source(), key.tuple.destination());
        let services = self.snapshot.services.family::<F>();
        match services.find(key.protocol, vip, || self.marks.mark(key, nic)) {
            Some(service) if client.port.get() != FTP_DATA && !is_beside_ftp(service, vip.port) => {
                self.admit_to(flows, service, key, || None)
            }
            _ => Admission::NotOurs,
        }
    }

    /// Admits a flow to a service, if it has a server for it.
    #[inline]
    fn admit_to<'h, F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        service: &ServiceView,
        key: &FlowKey<F>,
        payload: impl FnOnce() -> Option<&'h [u8]>,
    ) -> Admission<'a, F> {
        if self.defence.drops_packet() {
            return Admission::Refused(DropReason::Defence);
        }
        if !may_open(key.tuple.source(), key.tuple.destination()) {
            return Admission::Refused(DropReason::BadSource);
        }
        let opening = self.choose(service, key, payload).and_then(|chosen| {
            let template = chosen.template;
            self.open(flows, service, key, &chosen).inspect_err(|_| self.leave(template))
        });
        match opening {
            Ok(opening) => Admission::Open(opening),
            Err(reason) => Admission::Refused(reason),
        }
    }

    /// The server of a new connection: its client's, or the scheduler's choice.
    fn choose<'h, F: Balanced>(
        &mut self,
        service: &ServiceView,
        key: &FlowKey<F>,
        payload: impl FnOnce() -> Option<&'h [u8]>,
    ) -> Result<Chosen, DropReason> {
        let tuple = key.tuple;
        let Self { snapshot, counts, keyed, now, .. } = *self;
        let random = &mut *self.random;
        let request = || Request {
            client: tuple.src.into(),
            client_port: tuple.sport.get(),
            vip: tuple.dst.into(),
            now,
            draw: random.draw(),
            keyed,
            knobs: &snapshot.knobs,
        };
        let pick = || {
            let chosen = sched::pick(service, &snapshot.servers, counts, request);
            chosen.map(|candidate| candidate.id)
        };
        let (id, template, persisted) = match &service.options.persistence {
            Some(persistence) => {
                let persister = Persister { snapshot, counts, keyed, now };
                let key = persister.key(service, persistence.mask, key, payload)?;
                let (held, how) = persister.hold(persistence, &key, pick)?;
                (held.server, Some(held.id), Some(how))
            }
            // Without persistence, connections to all ports would not stay together.
            None if service.key.takes_all_ports() => return Err(DropReason::NoServer),
            None => (pick().ok_or(DropReason::NoServer)?, None, None),
        };
        Ok(Chosen { id, template, persisted })
    }

    /// Whether a packet with these control bits may open a connection.
    fn opens(&self, protocol: L4, flags: TcpFlags) -> bool {
        let any = match protocol {
            L4::Tcp => self.snapshot.knobs.is_on(Knob::SloppyTcp),
            L4::Udp => true,
            L4::Sctp => self.snapshot.knobs.is_on(Knob::SloppySctp),
        };
        !flags.rst() && (flags.syn() || any)
    }

    fn open<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        service: &ServiceView,
        key: &FlowKey<F>,
        chosen: &Chosen,
    ) -> Result<Opening<'a, F>, DropReason> {
        let (client, vip) = (key.tuple.source(), key.tuple.destination());
        let view = self.snapshot.server(chosen.id).ok_or(DropReason::ServerRemoved)?;
        let mut server = view.endpoint(vip);
        if service.options.persistence.is_some() && !is_own_port(service, vip.port) {
            server.port = vip.port;
        }
        let (local, reply) = if view.mode == ForwardMode::FullNat {
            let wanted = Wanted { protocol: key.protocol, client, server };
            let (ports, keyed, conns) = (self.ports, self.keyed, flows.conns());
            let found =
                local_ports::find(conns, &service.locals, ports, keyed, &wanted, self.probes)?;
            (found.0, Some(found.1))
        } else {
            let foreseen = self.foreseen.and_then(|foreseen| foreseen.server);
            let foreseen = foreseen.filter(|(id, _)| *id == chosen.id);
            (client, foreseen.map(|(_, reply)| reply))
        };
        let ends = Ends { client, vip, server, local };
        let mut conn = connect(key.protocol, view.mode, chosen.id, &ends);
        conn.action_mut(Direction::Request).next_hop = view.next_hop;
        Ok(Opening {
            conn,
            server: view,
            service: service.id.slot,
            template: chosen.template,
            persisted: chosen.persisted,
            reply,
            once: service.options.one_packet && key.protocol == L4::Udp,
        })
    }

    fn leave(&self, template: Option<TemplateId>) {
        if let Some(template) = template {
            self.counts.templates().leave(template, Leaving::Ended, self.now);
        }
    }
}

/// Whether a service is for this port and not for any.
fn is_own_port(service: &ServiceView, asked: Port) -> bool {
    matches!(service.key, ServiceKey::Endpoint { port, .. } if asked.get() == port)
}

/// Whether a packet only came to a service of FTP because its data may use any port, and the
/// service does not keep a client's connections together: it is none of the service's business
/// (`ip_vs_leave`).
fn is_beside_ftp(service: &ServiceView, asked: Port) -> bool {
    let ServiceKey::Endpoint { port: FTP, .. } = service.key else {
        return false;
    };
    asked.get() != FTP && service.options.persistence.is_none()
}

/// Whether a connection may be opened from here: one machine's address, and not the VIP itself.
pub(crate) fn may_open<F: Balanced>(client: Endpoint<F>, vip: Endpoint<F>) -> bool {
    let address: IpAddr = client.addr.into();
    let one_machine = match address {
        IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback(),
    };
    one_machine && !address.is_multicast() && !address.is_unspecified() && client.addr != vip.addr
}
