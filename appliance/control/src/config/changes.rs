// SPDX-License-Identifier: MIT OR Apache-2.0
//! What two readings of a configuration differ in.

use lb::conn::tcp_state::State;
use lb::knobs::Knob;

use super::{Config, keys};

/// A timeout that another reading sets to another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedTimeout {
    /// Its key in `[timeouts]`.
    pub key: &'static str,
    /// The state that it is about.
    pub state: State,
    /// The new value, in seconds.
    pub seconds: u32,
}

/// A setting that another reading gives another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedKnob {
    /// The setting, whose name is its key in `[ipvs]`.
    pub knob: Knob,
    /// The new value.
    pub value: u32,
}

impl Config {
    /// The timeouts that differ in a newer reading.
    pub fn changed_timeouts(&self, newer: &Self) -> Vec<ChangedTimeout> {
        let changed = |(key, state): (&'static str, State)| {
            let seconds = newer.timeouts.of(state);
            let differs = seconds != self.timeouts.of(state);
            differs.then_some(ChangedTimeout { key, state, seconds })
        };
        keys::TIMEOUT_STATES.into_iter().filter_map(changed).collect()
    }

    /// The settings that differ in a newer reading.
    pub fn changed_knobs(&self, newer: &Self) -> Vec<ChangedKnob> {
        let changed = |knob: &Knob| {
            let (knob, value) = (*knob, newer.knobs.value(*knob));
            (value != self.knobs.value(knob)).then_some(ChangedKnob { knob, value })
        };
        Knob::ALL.iter().filter_map(changed).collect()
    }

    /// The sections other than `[timeouts]` and `[ipvs]` that differ in a newer reading.
    pub fn changed_sections(&self, newer: &Self) -> Vec<&'static str> {
        let Self { eal, workers, nics, routes, marks, capacity, timeouts: _, .. } = self;
        let Self { local_ports, host, control, metrics, rules, .. } = self;
        let connections = capacity.connections != newer.capacity.connections;
        let limits = capacity.limits();
        [
            ("[eal]", *eal != newer.eal),
            ("[workers]", *workers != newer.workers),
            ("[[nic]]", *nics != newer.nics),
            ("[[route]]", *routes != newer.routes),
            ("[[mark]]", *marks != newer.marks),
            ("[connections]", connections),
            ("[limits]", limits != newer.capacity.limits()),
            ("[local_ports]", *local_ports != newer.local_ports),
            ("[host]", *host != newer.host),
            ("[control]", *control != newer.control),
            ("[metrics]", *metrics != newer.metrics),
            ("[rules]", *rules != newer.rules),
        ]
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
    }
}
