// SPDX-License-Identifier: MIT OR Apache-2.0
//! Service names and ports as `/etc/services` pairs them; see services(5).

use std::collections::HashMap;
use std::fs;

use control::command::Transport;

const FILE: &str = "/etc/services";

/// What `/etc/services` says.
#[derive(Debug, Default)]
pub(super) struct Services {
    ports: HashMap<(Transport, String), u16>,
    names: HashMap<(Transport, u16), String>,
}

impl Services {
    /// Reads the file; a machine without it has no service names.
    pub(super) fn of_this_machine() -> Self {
        Self::read(&fs::read_to_string(FILE).unwrap_or_default())
    }

    /// The port of a name or of an alias.
    pub(super) fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        self.ports.get(&(transport, name.to_owned())).copied()
    }

    /// The name of a port.
    pub(super) fn name(&self, port: u16, transport: Transport) -> Option<&str> {
        self.names.get(&(transport, port)).map(String::as_str)
    }

    /// Reads lines `NAME PORT/PROTOCOL ALIAS...`; of several for a name or a port the first holds.
    fn read(text: &str) -> Self {
        let mut services = Self::default();
        for line in text.lines() {
            let mut fields = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(port)) = (fields.next(), fields.next()) else {
                continue;
            };
            let Some((port, transport)) = port_of_transport(port) else {
                continue;
            };
            services.names.entry((transport, port)).or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(fields) {
                services.ports.entry((transport, name.to_owned())).or_insert(port);
            }
        }
        services
    }
}

fn port_of_transport(text: &str) -> Option<(u16, Transport)> {
    let (port, protocol) = text.split_once('/')?;
    let transport = match protocol {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        _ => return None,
    };
    Some((port.parse().ok()?, transport))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_comments_are_those_of_services_5() {
        let services = Services::read(
            "# Network services\n\
             \n\
             domain 53/tcp\n\
             domain\t53/udp # name-domain\n\
             http 80/tcp www # WorldWideWeb HTTP\n\
             other 80/tcp www2\n\
             bogus 70000/tcp\n\
             x 7/ddp\n",
        );
        assert_eq!(services.port("www", Transport::Tcp), Some(80));
        assert_eq!(services.port("WorldWideWeb", Transport::Tcp), None);
        assert_eq!(services.name(80, Transport::Tcp), Some("http"));
        assert_eq!(services.port("www2", Transport::Tcp), Some(80));
        assert_eq!(services.name(53, Transport::Udp), Some("domain"));
        assert_eq!(services.name(80, Transport::Udp), None);
        assert_eq!(services.port("bogus", Transport::Tcp), None);
        assert_eq!(services.port("x", Transport::Tcp), None);
    }
}
