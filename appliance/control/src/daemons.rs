// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings of the two synchronisation daemons, kept and listed as the kernel does.
//!
//! After `ip_vs_sync.c: start_sync_thread`. Nothing is sent or received yet, and starting one says
//! so.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::command::{DaemonRole, DaemonSpec};
use crate::reply::{KERNEL_REFUSED, Reply};

const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const DEFAULT_PORT: u16 = 8848;
const DEFAULT_TTL: u8 = 1;
/// The least that a backup makes room for, in bytes.
const BACKUP_MESSAGE_MIN: u16 = 1024;
/// IP and UDP headers of a message, in bytes.
const HEADERS_V4: u16 = 20 + 8;
const HEADERS_V6: u16 = 40 + 8;

const NOTHING_IS_SENT: &str =
    "the settings are kept; connections are not synchronised in this release";

/// Which daemons were started, and how.
#[derive(Debug, Default)]
pub(crate) struct Daemons {
    master: Option<Settings>,
    backup: Option<Settings>,
}

#[derive(Debug)]
struct Settings {
    interface: String,
    sync_id: u8,
    message_max: u16,
    group: IpAddr,
    port: u16,
    ttl: u8,
}

impl Daemons {
    /// Starts one on an interface whose MTU is this many bytes, if it is there.
    pub(crate) fn start(&mut self, spec: &DaemonSpec, mtu: Option<u16>) -> Reply {
        let place = self.place(spec.role);
        if place.is_some() {
            return Reply::error(KERNEL_REFUSED, "Daemon has already run");
        }
        let Some(mtu) = mtu else {
            return Reply::error(KERNEL_REFUSED, "No such device");
        };
        *place = Some(Settings::new(spec, mtu));
        Reply { errors: vec![NOTHING_IS_SENT.to_owned()], ..Reply::done() }
    }

    /// Stops one, whatever its id.
    pub(crate) fn stop(&mut self, role: DaemonRole) -> Reply {
        match self.place(role).take() {
            Some(_) => Reply::done(),
            None => Reply::error(KERNEL_REFUSED, "No daemon is running"),
        }
    }

    /// The answer to `-L --daemon`.
    pub(crate) fn listing(&self) -> String {
        let mut out = String::new();
        for (role, settings) in [("master", &self.master), ("backup", &self.backup)] {
            let Some(settings) = settings else { continue };
            let Settings { interface, sync_id, message_max, group, port, ttl } = settings;
            let _ = writeln!(
                out,
                "{role} sync daemon (mcast={interface}, syncid={sync_id}, maxlen={message_max}, \
                 group={group}, port={port}, ttl={ttl})"
            );
        }
        out
    }

    fn place(&mut self, role: DaemonRole) -> &mut Option<Settings> {
        match role {
            DaemonRole::Master => &mut self.master,
            DaemonRole::Backup => &mut self.backup,
        }
    }
}

impl Settings {
    fn new(spec: &DaemonSpec, mtu: u16) -> Self {
        let group = spec.group.unwrap_or(DEFAULT_GROUP);
        let headers = if group.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let asked = spec.message_max.unwrap_or(mtu.saturating_sub(headers));
        let least = if spec.role == DaemonRole::Backup { BACKUP_MESSAGE_MIN } else { 0 };
        Self {
            interface: spec.interface.clone(),
            sync_id: spec.sync_id,
            message_max: asked.max(least),
            group,
            port: spec.port.unwrap_or(DEFAULT_PORT),
            ttl: spec.ttl.unwrap_or(DEFAULT_TTL),
        }
    }
}
