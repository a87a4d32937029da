// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which connections a listing is about.

use std::net::IpAddr;

use crate::conn::ConnRecord;
use crate::network::Prefix;
use crate::persist::templates::TemplateRecord;
use crate::service::{ServerKey, ServiceKey};

/// What a connection must have to be listed; all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnFilter {
    /// A client in this range.
    pub client: Option<Prefix>,
    /// This virtual address.
    pub vip: Option<IpAddr>,
    /// This virtual port, 1 or more.
    pub vport: Option<u16>,
    /// The service of this firewall mark, of either family.
    pub mark: Option<u32>,
    /// This real server's address.
    pub server: Option<IpAddr>,
    /// This port of the real server, 1 or more.
    pub server_port: Option<u16>,
}

impl ConnFilter {
    /// Whether a connection is to be listed as far as its worker can tell; what of its server
    /// counts, [`Self::wants_server`] knows.
    pub fn wants(&self, record: &ConnRecord) -> bool {
        self.is_for(record.client.ip(), record.vip.ip(), record.vip.port())
    }

    /// Whether what is of this service, and listed with this server, is to be listed.
    pub fn wants_server(&self, service: &ServiceKey, server: &ServerKey) -> bool {
        let ServerKey { address, port } = *server;
        let is_marked =
            |wanted| matches!(service, ServiceKey::Mark { mark, .. } if *mark == wanted);
        self.mark.is_none_or(is_marked)
            && self.server.is_none_or(|wanted| wanted == address)
            && self.server_port.is_none_or(|wanted| wanted == port)
    }

    /// Whether a persistence template is to be listed; one of a mark has no virtual address.
    pub fn wants_template(&self, record: &TemplateRecord) -> bool {
        let marked = record.protocol.is_none() && self.vip.is_some();
        !marked && self.is_for(record.client, record.vip, record.port)
    }

    fn is_for(&self, client: IpAddr, vip: IpAddr, vport: u16) -> bool {
        self.client.is_none_or(|range| contains(range, client))
            && self.vip.is_none_or(|wanted| wanted == vip)
            && self.vport.is_none_or(|wanted| wanted == vport)
    }
}

fn contains(range: Prefix, address: IpAddr) -> bool {
    let outside = |bits: u32| bits.saturating_sub(range.len.into());
    match (range.address, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(outside(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(outside(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::tcp_state::State;
    use crate::ids::ServerId;
    use wire::L4;

    fn record(client: &str, vip: &str) -> ConnRecord {
        ConnRecord {
            protocol: L4::Tcp,
            state: State::Established,
            expires_s: 1,
            client: client.parse().unwrap(),
            vip: vip.parse().unwrap(),
            server: ServerId { slot: 0, generation: 1 },
            server_port: 80,
            source: [10, 0, 0, 2].into(),
        }
    }

    #[test]
    fn a_range_of_clients_has_those_that_share_its_leading_bits() {
        let connection = record("198.51.100.7:1234", "192.0.2.1:80");
        for (address, len, wanted) in [
            ("198.51.100.7", 32, true),
            ("198.51.100.6", 32, false),
            ("198.51.100.200", 24, true),
            ("198.51.101.7", 24, false),
            ("0.0.0.0", 0, true),
            ("::", 0, false),
        ] {
            let client = Some(Prefix { address: address.parse().unwrap(), len });
            let filter = ConnFilter { client, ..ConnFilter::default() };
            assert_eq!(filter.wants(&connection), wanted, "{address}/{len}");
        }
        let connection = record("[2001:db8::7]:1234", "[2001:db8:1::1]:80");
        for (len, wanted) in [(128, false), (125, true), (0, true)] {
            let client = Some(Prefix { address: "2001:db8::".parse().unwrap(), len });
            let filter = ConnFilter { client, ..ConnFilter::default() };
            assert_eq!(filter.wants(&connection), wanted, "/{len}");
        }
    }

    #[test]
    fn a_service_of_a_mark_and_a_server_are_told_by_their_names() {
        let server = ServerKey { address: [10, 0, 0, 11].into(), port: 0 };
        let marked = ServiceKey::Mark { mark: 7, family: wire::FamilyId::V6 };
        let filter = |mark, last| ConnFilter {
            mark,
            server: Some([10, 0, 0, last].into()),
            ..ConnFilter::default()
        };
        assert!(filter(Some(7), 11).wants_server(&marked, &server));
        assert!(filter(None, 11).wants_server(&marked, &server));
        assert!(!filter(Some(8), 11).wants_server(&marked, &server));
        assert!(!filter(Some(7), 12).wants_server(&marked, &server));
        let port = |wanted| ConnFilter { server_port: Some(wanted), ..filter(None, 11) };
        let server = ServerKey { port: 80, ..server };
        assert!(port(80).wants_server(&marked, &server));
        assert!(!port(81).wants_server(&marked, &server));
    }

    #[test]
    fn everything_that_a_filter_names_must_fit() {
        let connection = record("198.51.100.7:1234", "192.0.2.1:80");
        let vip = Some("192.0.2.1".parse().unwrap());
        let filter = ConnFilter { vip, ..ConnFilter::default() };
        assert!(filter.wants(&connection));
        assert!(ConnFilter { vport: Some(80), ..filter }.wants(&connection));
        assert!(!ConnFilter { vport: Some(443), ..filter }.wants(&connection));
    }
}
