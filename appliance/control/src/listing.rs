// SPDX-License-Identifier: MIT OR Apache-2.0
//! Catalog and counters → the listings of `-L`, `-S` and `-G`.
//!
//! Column for column what ipvsadm 1.31 prints with `-n`, `FullNat` beside `Masq`, `Route` and
//! `Tunnel`. Names come in later, at the client ([`crate::names::Localizer`]).

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use lb::catalog::Catalog;
use lb::conn::ConnRecord;
use lb::conn::filter::ConnFilter;
use lb::conn::tcp_state::{State, Timeouts};
use lb::counters::{Figures, Rates, Traffic};
use lb::ids::ServerId;
use lb::persist::templates::TemplateRecord;
use lb::service::{
    ClientMask, Engine, ForwardMode, Persistence, Server, ServerKey, ServerOptions, Service,
    ServiceKey, ServiceOptions, Tunnel, TunnelChecksum,
};
use wire::FamilyId;

use crate::apply::convert;
use crate::command::{Columns, Command, Format, RealServer};
use crate::{order, render, sched_flags};

/// The answer to `-v`; what ipvsadm prints, since scripts ask for it.
pub(crate) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

const TITLE: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";

/// The services with their servers.
pub(crate) fn services(catalog: &Catalog, figures: &Figures, format: Format) -> String {
    let mut out = Listing { out: TITLE.to_owned(), figures, format };
    out.heading();
    for service in order::services(catalog.services().collect(), format.unsorted) {
        out.service(service);
    }
    out.out
}

/// One service with its servers.
pub(crate) fn service(service: &Service, figures: &Figures, format: Format) -> String {
    let mut out = Listing { out: String::new(), figures, format };
    out.heading();
    out.service(service);
    out.out
}

/// The timeouts that `--set` sets.
pub(crate) fn timeouts(timeouts: &Timeouts) -> String {
    let [tcp, tcp_fin, udp] =
        [State::Established, State::FinWait, State::Udp].map(|state| timeouts.of(state));
    format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n")
}

/// The rules that restore the table: each service, its local addresses, its servers.
pub(crate) fn rules(catalog: &Catalog) -> String {
    let mut out = String::new();
    let mut put = |command: Command| {
        out.push_str(&render::rule(&command));
        out.push('\n');
    };
    for service in order::services(catalog.services().collect(), false) {
        let name = convert::virtual_service(service.key);
        put(Command::AddService(name, convert::service_spec(service)));
        for local in &service.locals {
            put(Command::AddLocal(name, *local));
        }
        for server in order::servers(&service.servers, false) {
            let ServerKey { address, port } = server.key;
            let spec = convert::server_spec(&server.options);
            put(Command::AddServer(name, RealServer { address, port }, spec));
        }
    }
    out
}

/// The lines before the connections of `-L -c`.
pub fn connections_heading(format: Format) -> String {
    let [state, source, vip, server] = ["state", "source", "virtual", "destination"];
    let mut out =
        format!("IPVS connection entries\npro expire {state:<11} {source:<18} {vip:<18} ");
    match format.columns {
        Columns::PersistentConn => {
            let _ = writeln!(out, "{server:<18} {:<16} pe_data", "pe name");
        }
        _ => {
            let _ = writeln!(out, "{server}");
        }
    }
    out
}

/// Appends a connection's line of `-L -c`, or nothing if its server's place was given away.
pub fn put_connection(out: &mut String, record: &ConnRecord, catalog: &Catalog) {
    let Some((_, server)) = catalog.server_name(record.server) else {
        return;
    };
    let expires = format!("{:02}:{:02}", record.expires_s / 60, record.expires_s % 60);
    let protocol = convert::transport(record.protocol).name();
    let state = record.state.name();
    let (client, vip) = (record.client.to_string(), record.vip.to_string());
    let server = endpoint(server.address, record.server_port);
    let _ = writeln!(out, "{protocol:<3} {expires:<6} {state:<11} {client:<18} {vip:<18} {server}");
}

/// Appends a persistence template's line of `-L -c`, or nothing if its server's place was given
/// away.
pub fn put_template(out: &mut String, record: &TemplateRecord, catalog: &Catalog, format: Format) {
    let Some((_, server)) = catalog.server_name(record.server) else {
        return;
    };
    let expires = format!("{:02}:{:02}", record.expires_s / 60, record.expires_s % 60);
    let protocol = record.protocol.map_or("IP", |protocol| convert::transport(protocol).name());
    let state = if record.assured { "ASSURED" } else { "NONE" };
    let (client, vip) = (endpoint(record.client, 0), endpoint(record.vip, record.port));
    let server = endpoint(server.address, record.server_port(server.port));
    let _ = write!(out, "{protocol:<3} {expires:<6} {state:<11} {client:<18} {vip:<18} ");
    let _ = match record.call().filter(|_| format.columns == Columns::PersistentConn) {
        Some(call) => writeln!(out, "{server:<16} {:<18} {call}", Engine::Sip.name()),
        None => writeln!(out, "{server}"),
    };
}

/// Whether a connection that its worker listed for a filter is wanted for its server too.
pub fn wants_connection(filter: &ConnFilter, record: &ConnRecord, catalog: &Catalog) -> bool {
    wants(filter, record.server, |_| record.server_port, catalog)
}

/// Whether a filter wants a persistence template.
pub fn wants_template(filter: &ConnFilter, record: &TemplateRecord, catalog: &Catalog) -> bool {
    let port = |own| record.server_port(own);
    filter.wants_template(record) && wants(filter, record.server, port, catalog)
}

/// Whether a filter wants what goes to a server; `port` makes of the server's port the listed one.
fn wants(
    filter: &ConnFilter,
    server: ServerId,
    port: impl FnOnce(u16) -> u16,
    catalog: &Catalog,
) -> bool {
    catalog.server_name(server).is_some_and(|(service, server)| {
        filter.wants_server(&service, &ServerKey { port: port(server.port), ..server })
    })
}

struct Listing<'a> {
    out: String,
    figures: &'a Figures,
    format: Format,
}

impl Listing<'_> {
    fn heading(&mut self) {
        let figures = |names: [&str; 5]| {
            let [a, b, c, d, e] = names;
            format!("{:<33} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}", "Prot LocalAddress:Port")
        };
        let counts = |names: [&str; 2], widths: [usize; 2]| {
            let ([a, b], [wide_a, wide_b]) = (names, widths);
            let first = "Prot LocalAddress:Port";
            format!("{first:<33} {a:<wide_a$} {b:<wide_b$} ActiveConn InActConn ")
        };
        let plain = "Prot LocalAddress:Port Scheduler Flags".to_owned();
        let (services, servers) = match self.format.columns {
            Columns::Plain => (plain, "           Forward Weight ActiveConn InActConn"),
            Columns::TunnelInfo => {
                (plain, "           Forward TunnelInfo    Weight ActiveConn InActConn")
            }
            Columns::Stats => (figures(["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]), ""),
            Columns::Rate => (figures(["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]), ""),
            Columns::Thresholds => (counts(["Uthreshold", "Lthreshold"], [10, 10]), ""),
            Columns::PersistentConn => (counts(["Weight", "PersistConn"], [9, 11]), ""),
        };
        let _ = writeln!(self.out, "{services}\n  -> RemoteAddress:Port{servers}");
    }

    fn service(&mut self, service: &Service) {
        let name = match service.key {
            ServiceKey::Endpoint { protocol, address, port } => {
                format!("{:<4} {}", convert::transport(protocol).name(), endpoint(address, port))
            }
            ServiceKey::Mark { mark, family: FamilyId::V4 } => format!("FWM  {mark}"),
            ServiceKey::Mark { mark, family: FamilyId::V6 } => format!("FWM  {mark} IPv6"),
        };
        match self.format.columns {
            Columns::Stats => {
                let _ = write!(self.out, "{name:<33}");
                self.traffic(self.figures.service(service.id));
            }
            Columns::Rate => {
                let _ = write!(self.out, "{name:<33}");
                let rates = self.figures.service_rates(service.id);
                let Rates { conns, in_packets, out_packets, in_bytes, out_bytes } = rates;
                self.large([conns, in_packets, out_packets, in_bytes, out_bytes]);
            }
            _ => {
                let _ = writeln!(self.out, "{name} {}", service_flags(&service.options));
            }
        }
        for server in order::servers(&service.servers, self.format.unsorted) {
            self.server(server);
        }
    }

    fn server(&mut self, server: &Server) {
        let name = endpoint(server.key.address, server.key.port);
        let _ = write!(self.out, "  -> {name:<28}");
        let counts = self.figures.counts();
        let active = counts.active(server.id.slot);
        let inactive = counts.inactive(server.id.slot);
        let (mode, weight) = (mode_name(server.options.mode), server.options.weight);
        let columns = match self.format.columns {
            Columns::Stats => return self.traffic(self.figures.server(server.id)),
            Columns::Rate => return self.server_rates(self.figures.server_rates(server.id)),
            Columns::Plain => format!("{mode:<7} {weight:<6}"),
            Columns::Thresholds => {
                format!("{:<10} {:<10}", server.options.upper, server.options.lower)
            }
            Columns::PersistentConn => {
                let templates = counts.templates().of_server(server.id.slot);
                format!("{weight:<9} {templates:<11}")
            }
            Columns::TunnelInfo => {
                let tunnel = tunnel_info(&server.options);
                format!("{mode:<7} {tunnel:<13} {weight:<6}")
            }
        };
        let _ = writeln!(self.out, " {columns} {active:<10} {inactive:<10}");
    }

    fn traffic(&mut self, traffic: Traffic) {
        let Traffic { conns, in_packets, out_packets, in_bytes, out_bytes } = traffic;
        self.large([conns, in_packets, out_packets, in_bytes, out_bytes]);
    }

    /// Of a server only bytes are cut to their column.
    fn server_rates(&mut self, rates: Rates) {
        let Rates { conns, in_packets, out_packets, in_bytes, out_bytes } = rates;
        let _ = write!(self.out, " {conns:>8} {in_packets:>8} {out_packets:>8}");
        self.large([in_bytes, out_bytes]);
    }

    fn large<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.out.push_str(&large_number(number, self.format.exact));
        }
        self.out.push('\n');
    }
}

/// A number in nine columns, with a decimal unit where it needs more; in full if `exact`.
pub(crate) fn large_number(number: u64, exact: bool) -> String {
    let (divisor, unit) = match number {
        _ if exact => return format!(" {number:>8}"),
        0..100_000_000 => return format!("{number:>9}"),
        100_000_000..1_000_000_000 => (1_000, 'K'),
        1_000_000_000..100_000_000_000 => (1_000_000, 'M'),
        100_000_000_000..100_000_000_000_000 => (1_000_000_000, 'G'),
        _ => (1_000_000_000_000, 'T'),
    };
    format!("{:>8}{unit}", number / divisor)
}

pub(crate) fn endpoint(address: std::net::IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

/// The scheduler of a service, and its flags as `-L` prints them.
fn service_flags(options: &ServiceOptions) -> String {
    let ServiceOptions { scheduler, flags, persistence, engine, one_packet, .. } = *options;
    let mut out = scheduler.name().to_owned();
    if !flags.is_empty() {
        let listed = |number| sched_flags::listed(scheduler.name(), number);
        let names: Vec<_> = flags.numbers().filter_map(listed).collect();
        let _ = write!(out, " ({})", names.join(","));
    }
    if let Some(Persistence { timeout_s, mask }) = persistence {
        let _ = write!(out, " persistent {timeout_s}");
        let _ = match mask {
            mask if mask.is_all() => Ok(()),
            ClientMask::V4(bits) => write!(out, " mask {}", Ipv4Addr::from_bits(bits)),
            ClientMask::V6(length) => write!(out, " mask {length}"),
        };
        if let Some(engine) = engine {
            let _ = write!(out, " pe {}", engine.name());
        }
    }
    if one_packet {
        out.push_str(" ops");
    }
    out
}

/// The encapsulation of a server as `--tun-info` prints it.
fn tunnel_info(options: &ServerOptions) -> String {
    let sign = |checksum| match checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Plain => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match options.tunnel {
        _ if options.mode != ForwardMode::Tunnel => "n/a".to_owned(),
        Tunnel::Ipip => "ipip".to_owned(),
        Tunnel::Gue { port, checksum } => format!("gue:{port}:{}", sign(checksum)),
        Tunnel::Gre { checksum } => format!("gre:{}", sign(checksum)),
    }
}

fn mode_name(mode: ForwardMode) -> &'static str {
    match mode {
        ForwardMode::Masquerade => "Masq",
        ForwardMode::FullNat => "FullNat",
        ForwardMode::Tunnel => "Tunnel",
        ForwardMode::Direct => "Route",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_printed_as_recorded() {
        let recorded = include_str!("../tests/recordings/largenum.tsv");
        let mut count = 0;
        for line in recorded.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [number, short, exact] = fields.as_slice() else { panic!("{line}") };
            let number = number.parse().unwrap();
            assert_eq!(format!("[{}]", large_number(number, false)), *short);
            assert_eq!(format!("[{}]", large_number(number, true)), *exact);
            count += 1;
        }
        assert_eq!(count, 16);
    }
}
