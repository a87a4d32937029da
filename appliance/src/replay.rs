// SPDX-License-Identifier: MIT OR Apache-2.0
//! The balancer over capture files: what would the director have done with these frames?
//!
//! The same workers as at run time, in one thread. Time is the captures' own: the first frame comes
//! at moment 0, and a frame that leaves bears the time of the frame that caused it. There is no
//! device, no clock and no chance, so the same input gives the same output, byte by byte.
//! Addresses, routes and neighbours are those of the configuration.

mod capture;
mod error;
mod explain;
mod summary;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use control::apply::{Director, Pace, Plane};
use control::config::{self, Config};
use lb::catalog::{Catalog, Change};
use lb::ensemble::{Ensemble, Outlet};
use lb::ids::{NicId, Seed, Tick};
use lb::limits::{HELD_MS, Limits};
use lb::marks::MarkRules;
use lb::network::{Neighbour, Network, NicFacts};
use lb::steer::{NicWiring, Owner, Wiring};
use wire::{Mac, VecFrame};

use crate::cli::NicFile;
use capture::{Arrivals, Departures};
pub use error::ReplayError;
use explain::Explainer;
pub use summary::{NicSummary, Summary};

/// What keyed hashes start from: always the same, so that a replay can be repeated.
const SEED: Seed = Seed::fixed(0);

/// Balances the frames of capture files with as many workers, and writes what the NICs send.
///
/// Several inputs are merged by time, those of one moment in the order in which they are named. A
/// frame that is earlier than one before it comes at that one's moment; a frame of which the
/// capture has only the beginning is left out.
///
/// # Errors
/// Why the replay could not begin or did not come to its end; outputs may have been written.
pub fn replay(
    config: &Config,
    rules: &str,
    inputs: &[NicFile],
    outputs: &[NicFile],
    workers: u16,
) -> Result<Summary, ReplayError> {
    balance(config, rules, [inputs, outputs], workers, None)
}

/// As [`replay`], and tells `out` of each frame what was decided, and why. Frames are served one by
/// one, those of one moment too.
///
/// # Errors
/// As [`replay`], or the explanation could not be written.
pub fn explain(
    config: &Config,
    rules: &str,
    files: [&[NicFile]; 2],
    workers: u16,
    out: &mut dyn Write,
) -> Result<Summary, ReplayError> {
    balance(config, rules, files, workers, Some(out))
}

fn balance(
    config: &Config,
    rules: &str,
    [inputs, outputs]: [&[NicFile]; 2],
    workers: u16,
    explanation: Option<&mut dyn Write>,
) -> Result<Summary, ReplayError> {
    let rules = control::rules::read(rules)?;
    let mut config = config.clone();
    config.workers.count = workers;
    let limits = config.limits();
    let macs = config.nics.iter().map(mac).collect::<Result<Vec<_>, _>>()?;
    let (wiring, network) = (wiring(&config, &macs), network(&config, &macs));
    let mut memory = Ensemble::memory(&limits, workers);
    let ensemble = Ensemble::new(wiring, &limits, network, &mut memory, Tick::default());
    let ensemble = ensemble.ok_or(ReplayError::TooManyConnections)?;
    let mut director = director(&config, &limits, ensemble);
    director.load(&rules)?;
    let mut arrivals = Arrivals::open(&config, inputs)?;
    let mut departures = Departures::create(&config, inputs, outputs)?;
    let nics = || config.nics.iter().map(|nic| nic.name.clone()).collect();
    let mut explainer = explanation.map(|out| Explainer::new(out, nics()));
    let ensemble = &mut director.plane().ensemble;
    run(ensemble, &mut arrivals, &mut departures, explainer.as_mut())?;
    let sent = departures.finish()?;
    Ok(Summary::new(&config, director.figures(), &arrivals, &sent))
}

/// Takes all frames through the workers, and then lets the time pass that frames wait for the
/// link-layer address of a neighbour.
fn run(
    ensemble: &mut Ensemble<'_>,
    arrivals: &mut Arrivals,
    departures: &mut Departures,
    mut explainer: Option<&mut Explainer<'_>>,
) -> Result<(), ReplayError> {
    let mut batch: Vec<(NicId, VecFrame)> = Vec::new();
    let mut first = None;
    let mut last = Duration::ZERO;
    while let Some(at) = arrivals.next_batch(&mut batch)? {
        let start = *first.get_or_insert(at);
        last = at;
        let now = moment(at, start);
        match explainer.as_deref_mut() {
            None => ensemble.receive(batch.drain(..), now),
            Some(explainer) => {
                explainer.begin(at.saturating_sub(start));
                for frame in batch.drain(..) {
                    ensemble.receive_before([frame], now, explainer);
                    explainer.write()?;
                }
            }
        }
        write(ensemble.take(), at, departures)?;
    }
    let (end, start) = (last + Duration::from_millis(HELD_MS), first.unwrap_or_default());
    match explainer {
        None => ensemble.tick(moment(end, start)),
        Some(explainer) => {
            explainer.begin(end.saturating_sub(start));
            ensemble.tick_before(moment(end, start), explainer);
            explainer.write()?;
        }
    }
    write(ensemble.take(), end, departures)
}

fn write(outlet: Outlet, at: Duration, departures: &mut Departures) -> Result<(), ReplayError> {
    outlet.sent.iter().try_for_each(|(nic, frame)| departures.write(*nic, at, frame))
}

fn moment(at: Duration, start: Duration) -> Tick {
    Tick::from_millis(at.saturating_sub(start).as_millis() as u64)
}

/// Workers in this thread, as commands reach them.
struct Offline<'m> {
    ensemble: Ensemble<'m>,
    owner: config::Owner,
}

impl Plane for Offline<'_> {
    fn publish(&mut self, catalog: &Catalog, _: Pace) {
        self.ensemble.publish(catalog);
    }

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }

    fn nat_conflict(&self) -> Option<&'static str> {
        self.owner.nat_conflict()
    }
}

fn director<'m>(config: &Config, limits: &Limits, ensemble: Ensemble<'m>) -> Director<Offline<'m>> {
    let figures = ensemble.figures();
    let mut catalog = Catalog::new(limits);
    let settings = [Change::SetTimeouts(config.timeouts), Change::SetKnobs(config.knobs)];
    for setting in settings {
        let applied = catalog.apply(setting);
        debug_assert!(applied.is_ok(), "timeouts and settings are never refused");
    }
    Director::new(catalog, figures, Offline { ensemble, owner: config.workers.owner })
}

fn wiring(config: &Config, macs: &[Mac]) -> Wiring {
    let nics = config.nics.iter().zip(macs);
    let nics =
        nics.map(|(nic, mac)| NicWiring { mac: *mac, has_host: nic.host_interface.is_some() });
    Wiring {
        workers: config.workers.count,
        owner: match config.workers.owner {
            config::Owner::Hash => Owner::Hash,
            config::Owner::Landing => Owner::Landing,
        },
        nics: nics.collect(),
        local_ports: config.local_ports.clone(),
        rss: None,
        marks: Arc::new(MarkRules::new(&config.marks)),
        seed: SEED,
    }
}

fn network(config: &Config, macs: &[Mac]) -> Network {
    let nics = config.nics.iter().zip(macs);
    let facts = nics.map(|(nic, mac)| NicFacts { mac: *mac, mtu: nic.mtu });
    let mut network = Network::new(facts.collect());
    network.set_routes(config.all_routes());
    for (nic, config) in (0..).map(NicId).zip(&config.nics) {
        for neighbour in &config.neighbours {
            let place = Neighbour { nic, address: neighbour.address };
            network.set_neighbour(place, Some(neighbour.mac));
        }
    }
    network
}

fn mac(nic: &config::Nic) -> Result<Mac, ReplayError> {
    nic.mac.ok_or_else(|| ReplayError::NoMac { nic: nic.name.clone() })
}

/// The NIC of each file.
fn by_nic<'a>(
    config: &Config,
    files: &'a [NicFile],
) -> Result<Vec<(NicId, &'a NicFile)>, ReplayError> {
    let ids: HashMap<&str, NicId> =
        config.nics.iter().map(|nic| nic.name.as_str()).zip((0..).map(NicId)).collect();
    let known = || {
        let names: Vec<&str> = config.nics.iter().map(|nic| nic.name.as_str()).collect();
        names.join(", ")
    };
    let resolve = |file: &'a NicFile| match ids.get(file.nic.as_str()) {
        Some(id) => Ok((*id, file)),
        None => Err(ReplayError::UnknownNic { nic: file.nic.clone(), known: known() }),
    };
    files.iter().map(resolve).collect()
}
