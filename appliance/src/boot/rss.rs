// SPDX-License-Identifier: MIT OR Apache-2.0
//! How NICs spread packets over receive queues: what each can, what it is set to, and what the
//! owner function makes of all of them.
//!
//! All NICs get one key and one table, (hash modulo 128) modulo the number of queues, so that a
//! hash means the same worker everywhere. What is read back counts, not what was asked for.

use std::sync::Arc;

use control::config::{self, Config};
use dpdk::{Nic, NicError, NicInfo, RssConfig, RssKey, RssTypes};
use lb::ids::WorkerId;
use lb::rss::{HashFields, Rss};
use tracing::{info, warn};

use super::port::Port;
use crate::shares::{self, Share};

/// Values of the table from hash to queue that differ; every NIC's table is a multiple as long.
const TABLE: u16 = 128;

const FLOWS: [RssTypes; 4] =
    [RssTypes::IPV4_TCP, RssTypes::IPV4_UDP, RssTypes::IPV6_TCP, RssTypes::IPV6_UDP];

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
        let offered = FLOWS.into_iter().filter(|flow| info.rss_types.contains(*flow));
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
    pub(super) fn complete(&self, nic: &mut Nic, name: &str) -> Option<HashFields> {
        let fields = self.fields?;
        if self.preset {
            return Some(fields);
        }
        match self.set(nic, fields) {
            Ok(known) => known,
            Err(error) => {
                let found = "it is taken for one that hashes in a way of its own";
                warn!("NIC {name}: {error}; {found}, and workers hand frames over");
                None
            }
        }
    }

    fn set(&self, nic: &mut Nic, fields: HashFields) -> Result<Option<HashFields>, NicError> {
        let queues = self.queues;
        nic.set_rss_table(|value| value % TABLE % queues)?;
        let in_force = nic.rss()?;
        let only = restriction(fields);
        if !in_force.types.contains(only) {
            let queues: Vec<u16> = (0..queues).collect();
            nic.hash_only(only, &self.key, &queues)?;
        }
        Ok((in_force.key.as_ref() == Some(&self.key)).then_some(fields))
    }
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
    let known = |port: &Port| port.hashes.filter(|_| port.queues.rx.len() == usize::from(workers));
    let nics: Vec<Option<HashFields>> = ports.iter().map(known).collect();
    let table = (0..TABLE).map(|value| WorkerId(value % workers)).collect();
    let rss = Rss::new(key, table, &nics).filter(|_| workers > 1);
    for (port, fields) in ports.iter().zip(&nics) {
        let share = Share::of(&config.workers, rss.as_ref(), *fields);
        let hashes = shares::hashed(*fields);
        info!(nic = port.name, "hashes {hashes}; of its frames workers hand over about {share}");
    }
    rss.map(Arc::new)
}
