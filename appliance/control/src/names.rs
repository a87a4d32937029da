// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of hosts and ports.
//!
//! The appliance never asks DNS or `/etc/services`: the client resolves names before it sends a
//! command, and puts names in place of numbers in the reply to a command without `-n`
//! ([`Localizer`]). So a slow resolver holds up nobody but its user.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::command::{Columns, Command, Format, Subject, Transport};

/// Who knows the names of hosts and ports.
pub trait Names {
    /// The IPv4 address of a host; ipvsadm looks up no other.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// The port of a service name.
    fn port(&self, service: &str, transport: Transport) -> Option<u16>;
    /// The name of the host that has this address.
    fn host(&self, address: IpAddr) -> Option<String>;
    /// The service name of a port.
    fn service(&self, port: u16, transport: Transport) -> Option<String>;
}

/// Knows no names: what the appliance itself uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumbersOnly;

impl Names for NumbersOnly {
    fn address(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, _: &str, _: Transport) -> Option<u16> {
        None
    }

    fn host(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn service(&self, _: u16, _: Transport) -> Option<String> {
        None
    }
}

/// Puts names in place of addresses and ports, line by line, in the reply to one command.
#[derive(Clone, Debug)]
pub struct Localizer {
    layout: Layout,
    /// Of the service whose servers are listed now.
    transport: Transport,
    cut: bool,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Unchanged,
    /// A table of services and servers; whether numbers follow a service's name.
    Table {
        figures: bool,
    },
    Connections,
    Rules,
}

/// The width of a server's name in a table.
const SERVER_WIDTH: usize = 28;
/// The width of a service's protocol and name in a table whose services have figures.
const SERVICE_WIDTH: usize = 33;

impl Localizer {
    /// For the reply to `command`.
    pub fn new(command: &Command) -> Self {
        let layout = match command {
            Command::List(_, Format { numeric: true, .. }) | Command::Save { numeric: true } => {
                Layout::Unchanged
            }
            Command::Save { .. } => Layout::Rules,
            Command::List(Subject::All | Subject::Service(_), Format { columns, .. }) => {
                Layout::Table { figures: matches!(columns, Columns::Stats | Columns::Rate) }
            }
            Command::List(Subject::Connections(_), _) => Layout::Connections,
            _ => Layout::Unchanged,
        };
        Self { layout, transport: Transport::Tcp, cut: true }
    }

    /// One line of the reply's body with names.
    pub fn line<'a>(&mut self, line: &'a str, names: &dyn Names) -> Cow<'a, str> {
        let localized = match self.layout {
            Layout::Unchanged => None,
            Layout::Table { figures } => match line.strip_prefix("  -> ") {
                Some(server) => self.server(server, names),
                None => self.service(line, figures, names),
            },
            Layout::Connections => connection(line, names),
            Layout::Rules => Some(rule(line, names)),
        };
        localized.map_or(Cow::Borrowed(line), Cow::Owned)
    }

    fn service(&mut self, line: &str, figures: bool, names: &dyn Names) -> Option<String> {
        let (protocol, rest) = line.split_once(' ')?;
        if protocol == "FWM" {
            self.transport = Transport::Tcp;
            self.cut = !rest.contains("IPv6");
        }
        let transport = transport(protocol)?;
        let rest = rest.trim_start();
        let end = rest.find(' ').unwrap_or(rest.len());
        let endpoint: SocketAddr = rest.get(..end)?.parse().ok()?;
        self.transport = transport;
        self.cut = endpoint.is_ipv4();
        let mut name = format!("{protocol:<4} {}", named(endpoint, transport, names));
        if self.cut {
            truncate(&mut name, SERVICE_WIDTH);
        }
        let numeric_width = protocol.len().max(4) + 1 + end;
        let columns = if figures { numeric_width.max(SERVICE_WIDTH) } else { numeric_width };
        let width = if figures { SERVICE_WIDTH } else { 0 };
        Some(format!("{name:<width$}{}", line.get(columns..)?))
    }

    fn server(&self, text: &str, names: &dyn Names) -> Option<String> {
        let end = text.find(' ')?;
        let endpoint: SocketAddr = text.get(..end)?.parse().ok()?;
        let mut name = named(endpoint, self.transport, names);
        if self.cut {
            truncate(&mut name, SERVER_WIDTH);
        }
        let columns = text.get(end.max(SERVER_WIDTH)..)?;
        Some(format!("  -> {name:<SERVER_WIDTH$}{columns}"))
    }
}

fn connection(line: &str, names: &dyn Names) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [protocol, expires, state, client, vip, server] = fields.as_slice() else {
        return None;
    };
    let transport = transport(protocol)?;
    let name = |text: &str| Some(named(text.parse().ok()?, transport, names));
    let (client, vip, server) = (name(client)?, name(vip)?, name(server)?);
    Some(format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {vip:<18} {server}"))
}

fn rule(line: &str, names: &dyn Names) -> String {
    let mut transport = Transport::Tcp;
    let mut is_endpoint = false;
    let word = |word: &str| {
        let endpoint = word.parse().ok().filter(|_: &SocketAddr| is_endpoint);
        match word {
            "-t" => transport = Transport::Tcp,
            "-u" => transport = Transport::Udp,
            "--sctp-service" => transport = Transport::Sctp,
            _ => {}
        }
        is_endpoint = matches!(word, "-t" | "-u" | "--sctp-service" | "-r");
        endpoint.map_or_else(|| word.to_owned(), |endpoint| named(endpoint, transport, names))
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn transport(name: &str) -> Option<Transport> {
    let known = [Transport::Tcp, Transport::Udp, Transport::Sctp];
    known.into_iter().find(|transport| transport.name() == name)
}

fn named(endpoint: SocketAddr, transport: Transport, names: &dyn Names) -> String {
    let host = names.host(endpoint.ip()).unwrap_or_else(|| endpoint.ip().to_string());
    let port =
        names.service(endpoint.port(), transport).unwrap_or_else(|| endpoint.port().to_string());
    if endpoint.is_ipv4() { format!("{host}:{port}") } else { format!("[{host}]:{port}") }
}

fn truncate(name: &mut String, width: usize) {
    if let Some((end, _)) = name.char_indices().nth(width) {
        name.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ConnFilter;

    struct Example;

    impl Names for Example {
        fn address(&self, _: &str) -> Option<Ipv4Addr> {
            None
        }

        fn port(&self, _: &str, _: Transport) -> Option<u16> {
            None
        }

        fn host(&self, address: IpAddr) -> Option<String> {
            (address.to_string() == "192.0.2.10")
                .then(|| "a-rather-long-name-of-a-host.example".to_owned())
        }

        fn service(&self, port: u16, transport: Transport) -> Option<String> {
            (port == 53 && transport == Transport::Udp).then(|| "domain".to_owned())
        }
    }

    fn localized(subject: Subject, columns: Columns, lines: &[&str]) -> Vec<String> {
        let format = Format { columns, ..Format::default() };
        let mut localizer = Localizer::new(&Command::List(subject, format));
        lines.iter().map(|line| localizer.line(line, &Example).into_owned()).collect()
    }

    #[test]
    fn names_keep_the_columns_and_are_cut_as_ipvsadm_cuts_them() {
        let lines = [
            "UDP  192.0.2.20:53 wlc",
            "  -> 192.0.2.10:53                Masq    1      0          0         ",
            "  -> 192.0.2.20:53                Masq    1      0          0         ",
        ];
        assert_eq!(
            localized(Subject::All, Columns::Plain, &lines),
            [
                "UDP  192.0.2.20:domain wlc",
                "  -> a-rather-long-name-of-a-host Masq    1      0          0         ",
                "  -> 192.0.2.20:domain            Masq    1      0          0         ",
            ]
        );
        let lines =
            ["UDP  192.0.2.10:53                       0        0        0        0        0"];
        assert_eq!(
            localized(Subject::All, Columns::Stats, &lines),
            ["UDP  a-rather-long-name-of-a-host        0        0        0        0        0"]
        );
    }

    #[test]
    fn connections_and_headings_keep_their_form() {
        let lines = [
            "pro expire state       source             virtual            destination",
            "UDP 04:59  UDP         198.51.100.7:4000  192.0.2.20:53      10.0.0.1:53",
        ];
        assert_eq!(
            localized(Subject::Connections(ConnFilter::default()), Columns::Plain, &lines),
            [
                "pro expire state       source             virtual            destination",
                "UDP 04:59  UDP         198.51.100.7:4000  192.0.2.20:domain  10.0.0.1:domain",
            ]
        );
    }
}
