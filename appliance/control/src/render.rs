// SPDX-License-Identifier: MIT OR Apache-2.0
//! [`Command`] → its canonical words, which [`crate::parse`] reads back to the same command.
//!
//! The canonical words of a rule are those that `-S -n` prints: numbers, short options, the
//! scheduler, forwarding method and weight always given.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use lb::network::Prefix;
use wire::FamilyId;

use crate::capture;
use crate::command::{
    Columns, Command, ConnFilter, DaemonRole, DaemonSpec, Format, Forward, Mss, Netmask,
    RealServer, ServerSpec, ServiceSpec, Subject, Transport, Tunnel, TunnelChecksum,
    VirtualService,
};
use crate::{sched_flags, words};

/// The line of the control socket that means `command`.
pub fn line(command: &Command) -> String {
    words::join(&words(command))
}

/// The line of a rules file that means `command`, without quotes and the end of the line.
pub fn rule(command: &Command) -> String {
    words(command).join(" ")
}

/// The canonical words of a command.
pub fn words(command: &Command) -> Vec<String> {
    let mut words = Words::default();
    match command {
        Command::Help => words.put("-h"),
        Command::Version => words.put("-v"),
        Command::AddService(service, spec) => words.put("-A").service(service).spec(spec),
        Command::EditService(service, spec) => words.put("-E").service(service).spec(spec),
        Command::DeleteService(service) => words.put("-D").service(service),
        Command::Clear => words.put("-C"),
        Command::AddServer(service, server, spec) => {
            words.put("-a").service(service).server(*server).server_spec(spec)
        }
        Command::EditServer(service, server, spec) => {
            words.put("-e").service(service).server(*server).server_spec(spec)
        }
        Command::DeleteServer(service, server) => words.put("-d").service(service).server(*server),
        Command::AddLocal(service, local) => words.put("-P").service(service).pair("-z", local),
        Command::DeleteLocal(service, local) => words.put("-Q").service(service).pair("-z", local),
        Command::ListLocals(service) => words.put("-G").services(service),
        Command::List(subject, format) => words.put("-L").subject(subject).format(format),
        Command::Save { numeric } => words.put("-S").flag(*numeric, "-n"),
        Command::Restore { atomic } => words.put("-R").flag(*atomic, "--atomic"),
        Command::Zero(service) => words.put("-Z").services(service),
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            words.put("--set").put(tcp).put(tcp_fin).put(udp)
        }
        Command::StartDaemon(daemon) => words.daemon(daemon),
        Command::StopDaemon { role, sync_id } => {
            words.pair("--stop-daemon", role_name(*role)).pair("--syncid", sync_id)
        }
        Command::Capture(request) => words.capture(request),
        Command::Drops(None) => words.put("--drops"),
        Command::Drops(Some(cause)) => {
            // What looks like an option is one, but behind the end of the options.
            words.put("--drops").flag(cause.starts_with('-'), "--").put(cause)
        }
        Command::Sysctl(request) => words.pairs_or("--sysctl", &request.word()),
    };
    words.0
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn put(&mut self, word: impl Display) -> &mut Self {
        self.0.push(word.to_string());
        self
    }

    fn pair(&mut self, option: &str, value: impl Display) -> &mut Self {
        self.put(option).put(value)
    }

    fn flag(&mut self, is_set: bool, option: &str) -> &mut Self {
        if is_set { self.put(option) } else { self }
    }

    fn pairs<T: Display>(&mut self, option: &str, value: &Option<T>) -> &mut Self {
        match value {
            Some(value) => self.pair(option, value),
            None => self,
        }
    }

    /// An option whose value may be missing.
    fn pairs_or(&mut self, option: &str, value: &Option<String>) -> &mut Self {
        match value {
            Some(value) => self.pair(option, value),
            None => self.put(option),
        }
    }

    fn capture(&mut self, request: &capture::Request) -> &mut Self {
        self.put(capture::OPTION);
        match &request.subject {
            capture::Subject::Nic(name) => self.put(name),
            capture::Subject::Drops => self.put("drops"),
            capture::Subject::Service(service) => self.service(service),
        };
        request.file.iter().for_each(|file| {
            self.put(file);
        });
        self.pair("--count", request.count).pair("--seconds", request.seconds)
    }

    fn services(&mut self, service: &Option<VirtualService>) -> &mut Self {
        match service {
            Some(service) => self.service(service),
            None => self,
        }
    }

    fn service(&mut self, service: &VirtualService) -> &mut Self {
        match *service {
            VirtualService::Address { transport, address, port } => {
                let option = match transport {
                    Transport::Tcp => "-t",
                    Transport::Udp => "-u",
                    Transport::Sctp => "--sctp-service",
                };
                self.pair(option, SocketAddr::new(address, port))
            }
            VirtualService::Mark { mark, family } => {
                self.pair("-f", mark).flag(family == FamilyId::V6, "-6")
            }
        }
    }

    fn spec(&mut self, spec: &ServiceSpec) -> &mut Self {
        self.pair("-s", &spec.scheduler).pairs("-p", &spec.persistence_s);
        match spec.netmask {
            Some(Netmask::V4(mask)) => self.pair("-M", mask),
            Some(Netmask::V6(length)) => self.pair("-M", length),
            None => self,
        };
        self.pairs("--pe", &spec.engine).flag(spec.one_packet, "-o");
        if !spec.flags.is_empty() {
            let name = |number| sched_flags::name(&spec.scheduler, number);
            let names: Vec<_> = spec.flags.numbers().map(name).collect();
            self.pair("-b", names.join(","));
        }
        match spec.mss {
            Some(Mss::Auto) => self.pair("--mss", "auto"),
            Some(Mss::Bytes(bytes)) => self.pair("--mss", bytes),
            None => self,
        }
    }

    fn server(&mut self, server: RealServer) -> &mut Self {
        self.pair("-r", SocketAddr::new(server.address, server.port))
    }

    fn server_spec(&mut self, spec: &ServerSpec) -> &mut Self {
        let option = match spec.forward {
            Forward::Masquerade => "-m",
            Forward::FullNat => "-b",
            Forward::Direct => "-g",
            Forward::Tunnel(_) => "-i",
        };
        self.put(option).pair("-w", spec.weight);
        if let Forward::Tunnel(tunnel) = spec.forward {
            self.tunnel(tunnel);
        }
        let limit = |connections: u32| Some(connections).filter(|connections| *connections > 0);
        self.pairs("-x", &limit(spec.upper)).pairs("-y", &limit(spec.lower))
    }

    fn tunnel(&mut self, tunnel: Tunnel) -> &mut Self {
        let checksum = match tunnel {
            Tunnel::Ipip => return self.pair("--tun-type", "ipip"),
            Tunnel::Gue { port, checksum } => {
                self.pair("--tun-type", "gue").pair("--tun-port", port);
                checksum
            }
            Tunnel::Gre { checksum } => {
                self.pair("--tun-type", "gre");
                checksum
            }
        };
        self.put(match checksum {
            TunnelChecksum::None => "--tun-nocsum",
            TunnelChecksum::Plain => "--tun-csum",
            TunnelChecksum::Remote => "--tun-remcsum",
        })
    }

    fn subject(&mut self, subject: &Subject) -> &mut Self {
        match subject {
            Subject::All => self,
            Subject::Service(service) => self.service(service),
            Subject::Connections(filter) => self.put("-c").filter(filter),
            Subject::Timeouts => self.put("--timeout"),
            Subject::Daemons => self.put("--daemon"),
        }
    }

    fn filter(&mut self, filter: &ConnFilter) -> &mut Self {
        if let Some(Prefix { address, len }) = filter.client {
            self.pair("--client", format_args!("{address}/{len}"));
        }
        if let Some(vip) = filter.vip {
            self.pair("--vip", SocketAddr::new(vip, filter.vport.unwrap_or_default()));
        }
        if let Some(mark) = filter.mark {
            self.pair("--mark", mark);
        }
        if let Some(server) = filter.server {
            let port = filter.server_port.unwrap_or_default();
            self.pair("--server", SocketAddr::new(server, port));
        }
        self
    }

    fn format(&mut self, format: &Format) -> &mut Self {
        self.flag(format.numeric, "-n").flag(format.exact, "--exact");
        self.flag(format.unsorted, "--nosort");
        match format.columns {
            Columns::Plain => self,
            Columns::Stats => self.put("--stats"),
            Columns::Rate => self.put("--rate"),
            Columns::Thresholds => self.put("--thresholds"),
            Columns::PersistentConn => self.put("--persistent-conn"),
            Columns::TunnelInfo => self.put("--tun-info"),
        }
    }

    fn daemon(&mut self, daemon: &DaemonSpec) -> &mut Self {
        self.pair("--start-daemon", role_name(daemon.role))
            .pair("--mcast-interface", &daemon.interface)
            .pair("--syncid", daemon.sync_id)
            .pairs::<IpAddr>("--mcast-group", &daemon.group)
            .pairs("--mcast-port", &daemon.port)
            .pairs("--mcast-ttl", &daemon.ttl)
            .pairs("--sync-maxlen", &daemon.message_max)
    }
}

fn role_name(role: DaemonRole) -> &'static str {
    match role {
        DaemonRole::Master => "master",
        DaemonRole::Backup => "backup",
    }
}
