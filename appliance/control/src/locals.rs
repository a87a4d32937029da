// SPDX-License-Identifier: MIT OR Apache-2.0
//! `-G`: FULLNAT local addresses and how many connections use each, as DPVS lists them.
//!
//! Nobody counts connections by local address while packets flow: whoever asks walks over the
//! connections, as for `-L -c`.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use lb::catalog::Catalog;
use lb::conn::ConnRecord;
use lb::service::ServiceKey;

use crate::listing::endpoint;
use crate::order;

/// Connections by the service and the local address that they use.
#[derive(Debug, Default)]
pub struct LocalConns(HashMap<(ServiceKey, IpAddr), u64>);

impl LocalConns {
    /// Counts a connection, if it uses one of its service's local addresses.
    pub fn count(&mut self, record: &ConnRecord, catalog: &Catalog) {
        let Some((key, _)) = catalog.server_name(record.server) else {
            return;
        };
        let uses = |local: &IpAddr| *local == record.source;
        if catalog.service(&key).is_some_and(|service| service.locals.iter().any(uses)) {
            *self.0.entry((key, record.source)).or_default() += 1;
        }
    }

    /// The listing of one service or of all; ports that were tried in vain are not counted.
    pub fn listing(&self, catalog: &Catalog, of: Option<ServiceKey>) -> String {
        let mut out = String::new();
        put(&mut out, ["VIP:VPORT", "TOTAL", "SNAT_IP", "CONFLICTS", "CONNS"]);
        let wanted = catalog.services().filter(|service| of.is_none_or(|key| key == service.key));
        for service in order::services(wanted.collect(), false) {
            let name = match service.key {
                ServiceKey::Endpoint { address, port, .. } => endpoint(address, port),
                mark @ ServiceKey::Mark { .. } => mark.to_string(),
            };
            let _ = writeln!(out, "{name:<20} {:<8} ", service.locals.len());
            for local in &service.locals {
                let conns = self.0.get(&(service.key, *local)).copied().unwrap_or_default();
                put(&mut out, ["", "", &local.to_string(), "-", &conns.to_string()]);
            }
        }
        out
    }
}

fn put(out: &mut String, [vip, total, local, conflicts, conns]: [&str; 5]) {
    let _ = writeln!(out, "{vip:<20} {total:<8} {local:<20} {conflicts:<10} {conns:<10}");
}
