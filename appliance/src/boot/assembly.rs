// SPDX-License-Identifier: MIT OR Apache-2.0
//! Workers, rings and NICs joined to a whole that only needs to be started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use control::config::{self, Config};
use control::publish::{Inbox, Publisher};
use crossbeam::queue::ArrayQueue;
use dpdk::{
    Consumer, Eal, LcoreThread, Mbuf, Pool, Producer, Region, RingConfig, RingError, Socket,
    many_to_one,
};
use lb::catalog::{Catalog, Change};
use lb::conn::table::ConnTable;
use lb::counters::{Figures, ServerCounts, WorkerCounters};
use lb::ids::{NicId, Tick, WorkerId};
use lb::limits::Limits;
use lb::marks::MarkRules;
use lb::network::{Neighbour, Network};
use lb::pipeline::{Parts, Worker};
use lb::snapshot::Snapshot;
use lb::steer::{NicWiring, Owner, Wiring};

use super::port::Port;
use super::secrets::Secrets;
use super::{BootError, RING_SLOTS, rss};
use crate::capture::{self, Recorder};
use crate::cpus::Cpus;
use crate::host_thread::{HostCounters, HostPort, HostThread};
use crate::inlets::{Inlet, Inlets};
use crate::listing::{self, Lister};
use crate::manage::Links;
use crate::outlets::{HostPath, Outlets, Way};
use crate::punt::RateLimit;
use crate::wires::Wires;
use crate::worker::PollLoop;

/// Neighbours that wait to be asked for.
const WANTED_MAX: usize = 1024;

/// Threads that are ready to start.
pub(super) struct Assembly {
    workers: Vec<Seedling>,
    host: HostThread,
}

/// A worker but for its connection tables, whose memory is made on its own thread.
struct Seedling {
    id: WorkerId,
    shared: Shared,
    counters: Arc<WorkerCounters>,
    inlets: Inlets,
    outlets: Outlets,
    snapshots: Inbox,
    lister: Lister,
    recorder: Recorder,
    idle: config::Idle,
}

/// What all workers have in common.
#[derive(Clone)]
struct Shared {
    limits: Limits,
    wiring: Arc<Wiring>,
    snapshot: Arc<Snapshot>,
    counts: Arc<ServerCounts>,
    wanted: Arc<ArrayQueue<Neighbour>>,
    pool: Pool,
    start: Instant,
}

/// The receive queues that one worker polls.
type Polled = Vec<Inlet>;

/// Rings of one kind: who puts frames in, and who takes them out, by worker.
type Rings = (Vec<Producer>, Vec<Consumer>);

impl Assembly {
    /// Joins everything; the links are what management holds of it.
    pub(super) fn new(
        eal: &Eal,
        pool: &Pool,
        config: &Config,
        mut ports: Vec<Port>,
        secrets: Secrets,
    ) -> Result<(Self, Links), BootError> {
        let count = config.workers.count;
        let limits = config.limits();
        let mut catalog = Catalog::new(&limits);
        let set = catalog.apply(Change::SetKnobs(config.knobs));
        debug_assert!(set.is_ok(), "settings are never refused");
        let timed = catalog.apply(Change::SetTimeouts(config.timeouts));
        debug_assert!(timed.is_ok());
        let network = network(config, &ports);
        let wiring = Arc::new(wiring(config, &ports, secrets));
        let snapshot = Arc::new(Snapshot::new(&catalog, &network, wiring.seed));
        let (publisher, inboxes) = Publisher::new(Arc::clone(&snapshot), count);
        let shared = Shared {
            limits,
            wiring,
            snapshot,
            counts: ServerCounts::new(&limits),
            wanted: Arc::new(ArrayQueue::new(WANTED_MAX)),
            pool: pool.clone(),
            start: Instant::now(),
        };
        let (relay, relayed) = rings(eal, "relay", count)?;
        let (to_workers, from_host) = rings(eal, "from-host", count)?;
        let (vital, other, host_side) = host_rings(eal, config)?;
        let host_counters = Arc::new(HostCounters::default());
        let host = HostThread {
            vital: host_side.0,
            other: host_side.1,
            ports: host_ports(&mut ports, &to_workers),
            pool: pool.clone(),
            counters: Arc::clone(&host_counters),
        };
        let (queues, ways) = distribute(&mut ports, &relay, count);
        let hosts = (0..count).map(|_| HostPath {
            vital: vital.clone(),
            other: other.clone(),
            rate: RateLimit::new(config.host.punt_rate.div_ceil(count.into()), Tick::default()),
        });
        let joints = queues.into_iter().zip(ways).zip(relayed).zip(from_host).zip(hosts);
        let joints = joints.zip(inboxes).collect();
        let (seedlings, readers, cameras) = seedlings(eal, config, &shared, joints)?;
        let counters = seedlings.iter().map(|worker| Arc::clone(&worker.counters)).collect();
        let links = Links {
            figures: Figures::new(counters, Arc::clone(&shared.counts), &limits),
            catalog,
            network,
            publisher,
            wanted: shared.wanted,
            readers,
            cameras,
            wires: Wires {
                nics: ports.into_iter().map(|port| (port.name, port.nic)).collect(),
                host: host_counters,
            },
            limits,
            start: shared.start,
        };
        Ok((Self { workers: seedlings, host }, links))
    }

    /// Starts all threads, which end when `stop` is set; returns when every worker has its tables.
    pub(super) fn start(
        self,
        eal: &Eal,
        cpus: &Cpus,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<LcoreThread<()>>, BootError> {
        let mut threads = Vec::new();
        let (report, grown) = channel();
        let count = self.workers.len();
        for worker in self.workers {
            let cpu = cpus.workers.as_ref().and_then(|cpus| cpus.get(worker.id.index()));
            let name = format!("worker-{}", worker.id);
            let (stop, report) = (Arc::clone(stop), report.clone());
            threads.push(eal.spawn(&name, cpu.copied(), move |_| match worker.grow() {
                Ok(worker) => {
                    let _ = report.send(None);
                    worker.run(&stop);
                }
                Err(error) => {
                    let _ = report.send(Some(error));
                }
            })?);
        }
        let failed = grown.into_iter().take(count).find_map(|failed| failed);
        if let Some(error) = failed {
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().for_each(|thread| drop(thread.join()));
            return Err(error);
        }
        let (host, stop) = (self.host, Arc::clone(stop));
        threads.push(eal.spawn("host", Some(cpus.management), move |_| host.run(&stop))?);
        Ok(threads)
    }
}

impl Seedling {
    /// Lays out the tables, on the thread that will use them.
    fn grow(self) -> Result<PollLoop, BootError> {
        let Shared { limits, wiring, snapshot, counts, start, .. } = self.shared;
        let (capacity, seed) = (limits.connections, wiring.seed);
        let v4 = Region::new(ConnTable::<wire::V4>::memory_bytes(capacity))?;
        let v6 = Region::new(ConnTable::<wire::V6>::memory_bytes(capacity))?;
        let parts = Parts {
            id: self.id,
            wiring,
            snapshot,
            v4: ConnTable::new(v4.bytes, capacity, seed).ok_or(BootError::Table)?,
            v6: ConnTable::new(v6.bytes, capacity, seed).ok_or(BootError::Table)?,
            counters: self.counters,
            counts,
            half_open: limits.half_open,
        };
        Ok(PollLoop {
            worker: Worker::<Mbuf>::new(parts, Tick::default()),
            inlets: self.inlets,
            outlets: self.outlets,
            snapshots: self.snapshots,
            lister: self.lister,
            recorder: self.recorder,
            idle: self.idle,
            start,
        })
    }
}

/// What is joined at one worker: receive queues, ways to NICs, the rings that end there, and those
/// to the host; then its snapshots.
type Joint = (((((Polled, Vec<Way>), Consumer), Consumer), HostPath), Inbox);

/// Workers, and who reads the connections and the frames of each.
type Sown = (Vec<Seedling>, Vec<listing::Reader>, Vec<capture::Reader>);

fn seedlings(
    eal: &Eal,
    config: &Config,
    shared: &Shared,
    joints: Vec<Joint>,
) -> Result<Sown, BootError> {
    let (handoff, handed_in) = rings(eal, "handoff", config.workers.count)?;
    let (mut workers, mut readers, mut cameras) = (Vec::new(), Vec::new(), Vec::new());
    for ((number, joint), handed_in) in (0..).zip(joints).zip(handed_in) {
        let (((((queues, ways), relayed), from_host), host), snapshots) = joint;
        let id = WorkerId(number);
        let counters = WorkerCounters::new(id, &shared.limits);
        let (reader, lister) = listing::pair();
        let (camera, recorder) = capture::pair();
        let (late, count) = (recorder.late_drops(), Arc::clone(&counters));
        let wanted = Arc::clone(&shared.wanted);
        readers.push(reader);
        cameras.push(camera);
        workers.push(Seedling {
            id,
            shared: shared.clone(),
            inlets: Inlets { queues, handed_in, relayed, from_host },
            outlets: Outlets::new(ways, handoff.clone(), host, wanted, count, late)
                .with_pool(shared.pool.clone()),
            counters,
            snapshots,
            lister,
            recorder,
            idle: config.workers.idle,
        });
    }
    Ok((workers, readers, cameras))
}

fn rings(eal: &Eal, what: &str, workers: u16) -> Result<Rings, RingError> {
    let ring = |worker| {
        let name = format!("{what}-{worker}");
        many_to_one(eal, &RingConfig { name: &name, slots: RING_SLOTS, socket: Socket::Any })
    };
    let pairs: Result<Vec<_>, _> = (0..workers).map(ring).collect();
    Ok(pairs?.into_iter().unzip())
}

/// The two rings to the host: the workers' ends, and the host thread's.
fn host_rings(
    eal: &Eal,
    config: &Config,
) -> Result<(Producer, Producer, (Consumer, Consumer)), RingError> {
    let ring = |name, slots| many_to_one(eal, &RingConfig { name, slots, socket: Socket::Any });
    let vital = ring("host-vital", config.host.vital_ring)?;
    let other = ring("host-other", config.host.other_ring)?;
    Ok((vital.0, other.0, (vital.1, other.1)))
}

fn host_ports(ports: &mut [Port], to_workers: &[Producer]) -> Vec<HostPort> {
    let numbered = (0..).map(NicId).zip(ports);
    numbered
        .zip(to_workers.iter().cycle())
        .filter_map(|((nic, port), to_worker)| {
            let interface = port.host.take()?;
            let to_worker = to_worker.clone();
            Some(HostPort { nic, facts: port.facts, interface, to_worker, retry_at: None })
        })
        .collect()
}

/// Deals the queues of all NICs to the workers. A worker without a transmit queue of a NIC sends by
/// the ring of the one that has the queue whose turn it is.
fn distribute(
    ports: &mut [Port],
    relay: &[Producer],
    workers: u16,
) -> (Vec<Polled>, Vec<Vec<Way>>) {
    let workers = usize::from(workers);
    let mut receive: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    let mut transmit: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (nic, port) in (0..).map(NicId).zip(ports) {
        for (index, queue) in port.queues.rx.drain(..).enumerate() {
            if let Some(queues) = receive.get_mut(index % workers) {
                queues.push(Inlet::new(nic, queue));
            }
        }
        let owners = port.queues.tx.len().max(1);
        let mut queues = port.queues.tx.drain(..);
        for (index, ways) in transmit.iter_mut().enumerate() {
            let relayed = relay.get(index % owners).map(|ring| Way::Relay(ring.clone()));
            ways.extend(queues.next().map(Way::Queue).or(relayed));
        }
    }
    (receive, transmit)
}

fn wiring(config: &Config, ports: &[Port], secrets: Secrets) -> Wiring {
    let nic = |port: &Port| NicWiring { mac: port.facts.mac, has_host: port.host.is_some() };
    Wiring {
        workers: config.workers.count,
        owner: match config.workers.owner {
            config::Owner::Hash => Owner::Hash,
            config::Owner::Landing => Owner::Landing,
        },
        nics: ports.iter().map(nic).collect(),
        local_ports: config.local_ports.clone(),
        rss: rss::join(config, ports, &secrets.rss_key),
        marks: Arc::new(MarkRules::new(&config.marks)),
        seed: secrets.seed,
    }
}

/// Routes and neighbours of the configuration.
fn network(config: &Config, ports: &[Port]) -> Network {
    let mut network = Network::new(ports.iter().map(|port| port.facts).collect());
    network.set_routes(config.all_routes());
    for (nic, settings) in (0..).map(NicId).zip(&config.nics) {
        for neighbour in &settings.neighbours {
            let at = Neighbour { nic, address: neighbour.address };
            network.set_neighbour(at, Some(neighbour.mac));
        }
    }
    network
}
