// SPDX-License-Identifier: MIT OR Apache-2.0
//! How NICs spread packets over receive queues: what each can, what it is set to, and what the
//! owner function makes of all of them.
//!
//! All NICs get one key and one table, (hash modulo 128) modulo the number of queues, so that a
//! hash means the same worker everywhere. What is read back counts, not what was asked for, and of
//! each kind of packet for itself: many NICs see the ports of TCP only.

use std::sync::Arc;

use control::config::{self, Config};
use dpdk::{Nic, NicError, NicInfo, RssConfig, RssKey, RssTypes};
use lb::ids::WorkerId;
use lb::steer::rss::{HashFields, Hashed, Rss};
use tracing::{info, warn};
use wire::{FamilyId, L4};

use super::port::Port;
use crate::shares;

/// Values of the table from hash to queue that differ; every NIC's table is a multiple as long.
const TABLE: u16 = 128;

/// Kinds of packet, as drivers name them.
const FLOWS: [(RssTypes, FamilyId, L4); 4] = [
    (RssTypes::IPV4_TCP, FamilyId::V4, L4::Tcp),
    (RssTypes::IPV4_UDP, FamilyId::V4, L4::Udp),
    (RssTypes::IPV6_TCP, FamilyId::V6, L4::Tcp),
    (RssTypes::IPV6_UDP, FamilyId::V6, L4::Udp),
];

/// How one NIC is to spread packets over its queues.
pub(super) struct Spreading {
    /// What is hashed; none where that is the driver's affair.
    fields: Option<HashFields>,
    /// By which the driver is told so when the NIC is configured.
    pub(super) config: Option<RssConfig>,
    preset: bool,
    queues: u16,
    key: RssKey,
}

impl Spreading {
    /// What the NIC can of what is configured; `key` is of the length of the longest NIC's.
    pub(super) fn plan(info: &NicInfo, nic: &config::Nic, key: &[u8]) -> Self {
        let key_bytes = usize::from(info.rss_key_bytes);
        let own_key = RssKey::new(key.get(..key_bytes).unwrap_or(key));
        let mut plan = Self {
            fields: None,
            config: None,
            preset: nic.rss.preset,
            queues: nic.queues,
            key: own_key.unwrap_or_default(),
        };
        if nic.rss.preset {
            plan.fields = nic.rss.fields;
            return plan;
        }
        let flows = FLOWS.into_iter().map(|(flow, ..)| flow);
        let offered = flows.filter(|flow| info.rss_types.contains(*flow));
        let flows = offered.fold(RssTypes::NONE, |types, flow| types | flow);
        if nic.queues == 1 || info.rss_table_size == 0 || flows.is_empty() {
            return plan;
        }
        let fields = nic.rss.fields.unwrap_or(HashFields::Tuple);
        let only = restriction(fields);
        let types = if info.rss_types.contains(only) { flows | only } else { flows };
        plan.fields = Some(fields);
        plan.config = Some(RssConfig { types, key: (key_bytes > 0).then(|| plan.key.clone()) });
        plan
    }

    /// Completes what a started NIC is to do; returns what it does hash, as far as that is known.
    pub(super) fn complete(&self, nic: &mut Nic, name: &str) -> Hashed {
        let Some(fields) = self.fields else {
            return Hashed::default();
        };
        if self.preset {
            return Some(fields).into();
        }
        match self.set(nic, fields) {
            Ok(known) => known,
            Err(error) => {
                let found = "it is taken for one that hashes in a way of its own";
                warn!("NIC {name}: {error}; {found}, and workers hand frames over");
                Hashed::default()
            }
        }
    }

    fn set(&self, nic: &mut Nic, fields: HashFields) -> Result<Hashed, NicError> {
        let queues = self.queues;
        nic.set_rss_table(|value| value % TABLE % queues)?;
        let in_force = nic.rss()?;
        let only = restriction(fields);
        if !in_force.types.contains(only) {
            let queues: Vec<u16> = (0..queues).collect();
            nic.hash_only(only, &self.key, &queues)?;
        }
        let is_ours = in_force.key.as_ref() == Some(&self.key);
        Ok(if is_ours { known(in_force.types, fields) } else { Hashed::default() })
    }
}

/// What is known of a NIC that hashes these kinds of packet by `fields`.
fn known(types: RssTypes, fields: HashFields) -> Hashed {
    let in_force = FLOWS.into_iter().filter(|(flow, ..)| types.contains(*flow));
    in_force.fold(Hashed::default(), |known, (_, family, l4)| known.with(family, l4, fields))
}

/// The types by which a driver is told to leave out a part of the tuple.
fn restriction(fields: HashFields) -> RssTypes {
    match fields {
        HashFields::Tuple => RssTypes::NONE,
        HashFields::Source => RssTypes::L3_SRC_ONLY | RssTypes::L4_SRC_ONLY,
        HashFields::Destination => RssTypes::L3_DST_ONLY | RssTypes::L4_DST_ONLY,
    }
}

/// What the owner function makes of all NICs together, which is also logged.
pub(super) fn join(config: &Config, ports: &[Port], key: &[u8]) -> Option<Arc<Rss>> {
    let workers = config.workers.count;
    // A hash names a worker only where each has a queue.
    let known = |port: &Port| match port.queues.rx.len() == usize::from(workers) {
        true => port.hashes,
        false => Hashed::default(),
    };
    let nics: Vec<Hashed> = ports.iter().map(known).collect();
    let table = (0..TABLE).map(|value| WorkerId(value % workers)).collect();
    let rss = Rss::new(key, table, &nics).filter(|_| workers > 1);
    for (port, nic) in ports.iter().zip(&nics) {
        let share = shares::handed_over(&config.workers, rss.as_ref(), *nic);
        let hashes = shares::hashed(*nic);
        info!(nic = port.name, "hashes {hashes}; of its frames workers hand over about {share}");
    }
    rss.map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_nic_hashes_is_known_of_each_kind_of_packet_for_itself() {
        let tcp_only = RssTypes::IPV4 | RssTypes::IPV4_TCP | RssTypes::IPV6 | RssTypes::IPV6_TCP;
        let known = known(tcp_only, HashFields::Tuple);
        for family in [FamilyId::V4, FamilyId::V6] {
            assert_eq!(known.of(family, L4::Tcp), Some(HashFields::Tuple));
            assert_eq!(known.of(family, L4::Udp), None, "it hashes their addresses only");
        }
    }
}
