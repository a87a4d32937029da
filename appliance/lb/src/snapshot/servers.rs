// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of servers, made of the one before and of what changed.
//!
//! A box with very many servers must not pay for all of them when one changes: services whose
//! revision is the same keep their servers' rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ServerView, ServiceView, tunnel_source};
use crate::catalog::{Catalog, Entry};
use crate::ids::{ServerId, ServiceId};
use crate::network::NetworkView;
use crate::service::{ForwardMode, ServerKey, Tunnel};

/// The table that follows `table`, in which the services of `before` had their servers. The row of
/// a server that nothing refers to any more stays until its place has another one.
pub(super) fn following(
    table: &[ServerView],
    before: &HashMap<ServiceId, Arc<ServiceView>>,
    catalog: &Catalog,
    network: &NetworkView,
) -> Arc<[ServerView]> {
    let mut rows = table.to_vec();
    let mut put = |id: ServerId, row: ServerView| {
        let index = id.slot as usize;
        if rows.len() <= index {
            rows.resize(index + 1, ServerView { generation: 0, service: None, ..row });
        }
        if let Some(place) = rows.get_mut(index) {
            *place = row;
        }
    };
    let is_same = |entry: &&Entry| {
        let view = before.get(&entry.service.id);
        view.is_some_and(|view| view.revision == entry.revision)
    };
    for entry in catalog.entries().filter(|entry| !is_same(entry)) {
        for (position, server) in (0..).zip(&entry.service.servers) {
            put(server.id, row(entry, position, server, network));
        }
    }
    for (id, key) in catalog.removed() {
        put(id, removed(id, key));
    }
    rows.into()
}

fn row(
    entry: &Entry,
    position: u32,
    server: &crate::service::Server,
    network: &NetworkView,
) -> ServerView {
    ServerView {
        generation: server.id.generation,
        position,
        service: Some(entry.service.id.slot),
        mode: server.options.mode,
        address: server.key.address,
        port: server.key.port,
        upper: server.options.upper,
        lower: server.options.lower,
        tunnel: server.options.tunnel,
        tunnel_source: tunnel_source(network, server.key.address),
    }
}

fn removed(id: ServerId, key: &ServerKey) -> ServerView {
    ServerView {
        generation: id.generation,
        position: 0,
        service: None,
        mode: ForwardMode::Direct,
        address: key.address,
        port: key.port,
        upper: 0,
        lower: 0,
        tunnel: Tunnel::Ipip,
        tunnel_source: None,
    }
}
