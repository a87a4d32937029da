// SPDX-License-Identifier: MIT OR Apache-2.0
//! A director as the appliance joins it, but for its NICs and the host: poll loops with rings,
//! tables on huge pages, rules as text through the command parser, snapshots by mailbox.

use std::sync::Arc;
use std::time::Instant;

use appliance::capture;
use appliance::inlets::{Inlet, Inlets};
use appliance::listing;
use appliance::outlets::{HostPath, Outlets, Way};
use appliance::punt::RateLimit;
use appliance::worker::PollLoop;
use control::apply::{Director, Pace, Plane};
use control::config::Idle;
use control::publish::{Inbox, Publisher};
use control::rules;
use crossbeam::queue::ArrayQueue;
use dpdk::{Consumer, Eal, Producer, Region, RingConfig, Socket, many_to_one};
use lb::catalog::{Catalog, Change};
use lb::conn::table::ConnTable;
use lb::conn::tcp_state::Timeouts;
use lb::counters::{Figures, ServerCounts, WorkerCounters};
use lb::ids::{Seed, Tick, WorkerId};
use lb::network::Network;
use lb::pipeline::{Parts, Worker};
use lb::snapshot::{Changed, Snapshot};
use lb::steer::{NicWiring, Owner, Wiring};
use wire::{FamilyId, V4, V6};

use crate::plan::{LAN, LOCAL_PORTS, Plan, WAN, mac};
use crate::row::Failure;
use crate::stand::LoopEnds;

const RING_SLOTS: u32 = 4096;
/// Connections of the family that is not used.
const UNUSED: u32 = 64;

/// A director without its poll loops, which run elsewhere.
pub struct Site {
    /// Takes commands.
    pub director: Director<Snapshots>,
    /// The other ends of the rings to the host, which nobody reads.
    _host: [Consumer; 2],
}

/// What carries changes to the workers. Those that may wait go with the next that may not.
pub struct Snapshots {
    publisher: Publisher,
    network: Network,
}

impl Snapshots {
    /// Whether every worker works by the latest snapshot.
    pub fn is_settled(&self) -> bool {
        self.publisher.is_settled()
    }
}

impl Plane for Snapshots {
    fn publish(&mut self, catalog: &Catalog, pace: Pace) {
        if pace == Pace::Soon {
            return;
        }
        let changed = Changed { catalog: true, ..Changed::default() };
        let next = self.publisher.current().next(catalog, &self.network, changed);
        self.publisher.publish(next);
    }

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }
}

impl Site {
    /// A director with the rules of a plan, and its poll loops, one for each pair of NICs.
    ///
    /// # Errors
    /// Memory, a ring or a rule was refused.
    pub fn new(
        eal: &Eal,
        plan: &Plan,
        timeouts: Timeouts,
        nics: Vec<[LoopEnds; 2]>,
    ) -> Result<(Self, Vec<PollLoop>), Failure> {
        let limits = plan.limits();
        let (mut catalog, network, seed) = (Catalog::new(&limits), plan.network(), Seed::fixed(1));
        let timed = catalog.apply(Change::SetTimeouts(timeouts));
        debug_assert!(timed.is_ok());
        let wiring = Arc::new(wiring(plan, seed));
        let first = Arc::new(Snapshot::new(&catalog, &network, seed));
        let (publisher, inboxes) = Publisher::new(Arc::clone(&first), plan.workers);
        let counts = ServerCounts::new(&limits);
        let ring = |name: &str| {
            many_to_one(eal, &RingConfig { name, slots: RING_SLOTS, socket: Socket::Any })
        };
        let (vital, other) = (ring("vital")?, ring("other")?);
        let host = (&vital.0, &other.0);
        let mut handoff: Vec<Producer> = Vec::new();
        let mut handed_in = Vec::new();
        for number in 0..plan.workers {
            let (producer, consumer) = ring(&format!("handoff-{number}"))?;
            handoff.push(producer);
            handed_in.push(consumer);
        }
        let (mut loops, mut counters) = (Vec::new(), Vec::new());
        let joints = nics.into_iter().zip(inboxes).zip(handed_in);
        for (number, ((ends, inbox), handed_in)) in (0..).zip(joints) {
            let id = WorkerId(number);
            let own = WorkerCounters::new(id, &limits);
            counters.push(Arc::clone(&own));
            let quiet =
                |what: &str| ring(&format!("{what}-{number}")).map(|(_, consumer)| consumer);
            let parts = Parts {
                id,
                wiring: Arc::clone(&wiring),
                snapshot: Arc::clone(&first),
                v4: table(plan, FamilyId::V4, seed)?,
                v6: table(plan, FamilyId::V6, seed)?,
                counters: Arc::clone(&own),
                counts: Arc::clone(&counts),
                half_open: limits.half_open,
            };
            let rings = [handed_in, quiet("relayed")?, quiet("from-host")?];
            loops.push(poll_loop(parts, own, ends, rings, inbox, &handoff, host));
        }
        let figures = Figures::new(counters, counts, &limits);
        let mut director = Director::new(catalog, figures, Snapshots { publisher, network });
        director.load(&rules::read(&plan.rules())?)?;
        Ok((Self { director, _host: [vital.1, other.1] }, loops))
    }

    /// The counters of a worker.
    pub fn counters(&self, worker: usize) -> Arc<WorkerCounters> {
        Arc::clone(&self.director.figures().workers()[worker])
    }
}

fn poll_loop(
    parts: Parts<'static>,
    counters: Arc<WorkerCounters>,
    [wan, lan]: [LoopEnds; 2],
    [handed_in, relayed, from_host]: [Consumer; 3],
    snapshots: Inbox,
    handoff: &[Producer],
    (vital, other): (&Producer, &Producer),
) -> PollLoop {
    let start = Instant::now();
    let rate = RateLimit::new(10_000, Tick::default());
    let host = HostPath { vital: vital.clone(), other: other.clone(), rate };
    let ways = vec![Way::Queue(wan.tx), Way::Queue(lan.tx)];
    let wanted = Arc::new(ArrayQueue::new(16));
    let (_, recorder) = capture::pair();
    let late = recorder.late_drops();
    PollLoop {
        worker: Worker::new(parts, Tick::default()),
        inlets: Inlets {
            queues: vec![Inlet::new(WAN, wan.rx), Inlet::new(LAN, lan.rx)],
            handed_in,
            relayed,
            from_host,
        },
        outlets: Outlets::new(ways, handoff.to_vec(), host, wanted, counters, late),
        snapshots,
        lister: listing::pair().1,
        recorder,
        idle: Idle::Spin,
        start,
    }
}

/// The table of a family: as large as planned if the plan is about that family.
fn table<F: lb::conn::ConnFamily>(
    plan: &Plan,
    family: FamilyId,
    seed: Seed,
) -> Result<ConnTable<'static, F>, Failure> {
    let capacity = if plan.family == family { plan.capacity } else { UNUSED };
    let memory = Region::new(ConnTable::<F>::memory_bytes(capacity))?;
    ConnTable::new(memory.bytes, capacity, seed).ok_or(Failure::Table)
}

/// Bytes of memory that the table of a plan takes.
pub fn table_bytes(plan: &Plan) -> usize {
    match plan.family {
        FamilyId::V4 => ConnTable::<V4>::memory_bytes(plan.capacity),
        FamilyId::V6 => ConnTable::<V6>::memory_bytes(plan.capacity),
    }
}

fn wiring(plan: &Plan, seed: Seed) -> Wiring {
    Wiring {
        workers: plan.workers,
        owner: Owner::Hash,
        nics: [WAN, LAN].map(|nic| NicWiring { mac: mac(nic), has_host: true }).to_vec(),
        local_ports: LOCAL_PORTS,
        rss: None,
        marks: Arc::default(),
        seed,
    }
}
