// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeded clients and servers around directors of one, two and four workers.
//!
//! After every batch: no frame is lost or counted twice and tables agree with timers (the ensemble
//! checks that itself), checksums are right, a client sees its own tuple mirrored, no connection
//! changes server, and the counts of servers add up. A failure names its seed.

mod lab;
#[path = "simulation/mod.rs"]
mod world;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lab::{Lab, Plan};
use lb::limits::{BATCH, Limits};
use world::{Arrival, Simulation, World};

const VIPS: [&str; 8] = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "192.0.2.4",
    "192.0.2.5",
    "2001:db8:2::1",
    "2001:db8:2::2",
    "2001:db8:2::3",
];

fn service(vip: &str) -> String {
    if vip.contains(':') { format!("-t [{vip}]:80") } else { format!("-t {vip}:80") }
}

fn member(vip: &str, last: u16) -> String {
    if vip.contains(':') { format!("[2001:db8:10::{last}]") } else { format!("10.0.0.{last}") }
}

/// The mode of the `number`-th server of a service.
fn mode(vip: &str, number: u16) -> &'static str {
    match vip {
        "192.0.2.1" | "2001:db8:2::1" => "-m",
        "192.0.2.2" | "2001:db8:2::2" => "-b",
        "192.0.2.3" => "-i",
        "192.0.2.4" | "2001:db8:2::3" => "-g",
        _ => ["-m", "-b", "-g", "-i"][usize::from(number) % 4],
    }
}

/// A director with all modes in both families, and so many servers in each service.
fn lab(workers: u16, servers: u16, connections: u32) -> Lab {
    let limits =
        Limits { services: 16, servers: 128, connections, templates: 64, ..Limits::DEFAULT };
    let mut lab = Lab::new(Plan { workers, limits, ..Plan::default() });
    let v4 = (0..=255).flat_map(|last| [[198, 51, 100, last], [10, 0, 0, last]]).map(IpAddr::from);
    lab.know_all(v4);
    let v6 = (0..100).flat_map(|last| {
        let client = format!("2001:db8:51::{last:x}").parse::<IpAddr>();
        [client, format!("2001:db8:10::{last}").parse::<IpAddr>()]
    });
    lab.know_all(v6.map(Result::unwrap));
    let schedulers = ["rr", "wrr", "lc", "wlc"];
    for (vip, scheduler) in VIPS.iter().zip(schedulers.iter().cycle()) {
        lab.rules(&format!("-A {} -s {scheduler}", service(vip)));
        let local = if vip.contains(':') { "2001:db8:10::fe" } else { "10.0.0.254" };
        lab.rules(&format!("-P {} -z {local}", service(vip)));
        for number in 0..servers {
            lab.rules(&add_server(vip, number));
        }
    }
    lab
}

fn add_server(vip: &str, number: u16) -> String {
    let weight = number % 3 + 1;
    let (server, mode) = (member(vip, 11 + number), mode(vip, number));
    // NAT and FULLNAT servers listen on a port of the service's own, so that a client's port is
    // never in use twice towards one of them.
    let last = vip.rsplit(['.', ':']).next().unwrap();
    format!("-a {} -r {server}:800{last} {mode} -w {weight}", service(vip))
}

/// Runs `run` for many seeds; the first that fails is named.
fn for_seeds(seeds: std::ops::Range<u64>, run: impl Fn(u64)) {
    for seed in seeds {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(failure);
        }
    }
}

const WORLD: World = World { loss: 12, batch: 2 * BATCH + 10, clients: 120, one_each: true };

#[test]
fn nothing_breaks_while_packets_are_lost_and_rules_change() {
    for_seeds(0..12, |seed| {
        let workers = [1, 2, 4][seed as usize % 3];
        let mut simulation = Simulation::new(lab(workers, 4, 512), seed, WORLD, &VIPS);
        for _ in 0..300 {
            if simulation.chance.one_in(4) {
                change_a_rule(&mut simulation);
            }
            simulation.step();
            simulation.check_counts();
        }
        assert!(simulation.opened() > 100, "seed {seed}: {} opened", simulation.opened());
    });
}

#[test]
fn nothing_breaks_when_the_tables_are_full() {
    for_seeds(100..104, |seed| {
        let mut simulation = Simulation::new(lab(2, 2, 9), seed, WORLD, &VIPS);
        for _ in 0..300 {
            simulation.step();
            simulation.check_counts();
        }
    });
}

/// Takes a server out, brings it back, changes its weight, or does so with a whole service.
fn change_a_rule(simulation: &mut Simulation) {
    let vip = VIPS[simulation.chance.below(VIPS.len())];
    let number = simulation.chance.below(4) as u16;
    let add = add_server(vip, number);
    let (_, server) = add.split_once(" -r ").unwrap();
    let (server, options) = server.split_once(' ').unwrap();
    let service = service(vip);
    let rule = match simulation.chance.below(8) {
        0 | 1 => format!("-d {service} -r {server}"),
        2 | 3 => add.clone(),
        4 => format!("-e {service} -r {server} {} -w 0", mode(vip, number)),
        5 => format!("-e {service} -r {server} {options}"),
        6 => format!("-D {service}"),
        _ => format!("-A {service} -s rr"),
    };
    // A refusal (the server is there already, the service is not) is as good as no change.
    let accepted = simulation.lab.rule(&rule).is_ok();
    if accepted && rule.starts_with("-A") {
        let local = if vip.contains(':') { "2001:db8:10::fe" } else { "10.0.0.254" };
        simulation.lab.rules(&format!("-P {service} -z {local}"));
    }
}

#[test]
fn as_many_workers_as_may_be_deliver_the_same_segments() {
    for_seeds(200..206, |seed| {
        let run = |workers: u16| -> Vec<Vec<Arrival>> {
            // One server to a service: whose turn it is does not depend on the order of clients.
            let lab = lab(workers, 1, 512);
            let mut simulation = Simulation::new(lab, seed, WORLD, &VIPS);
            let mut arrivals = Vec::new();
            for step in 0..250 {
                if step % 40 == 39 {
                    simulation.lab.rules(&format!("-D {}", service(VIPS[step / 40])));
                }
                let mut arrived = simulation.step();
                arrived.sort();
                arrivals.push(arrived);
            }
            arrivals
        };
        let one = run(1);
        assert!(one.iter().map(Vec::len).sum::<usize>() > 1000);
        for workers in [2, 4] {
            let several = run(workers);
            let differs = one.iter().zip(&several).position(|(one, several)| one != several);
            let step = differs.map(|step| (step, &one[step], &several[step]));
            assert_eq!(step, None, "seed {seed}, {workers} workers");
        }
    });
}

#[test]
fn a_batch_is_served_as_if_its_packets_had_come_alone() {
    for_seeds(300..308, |seed| {
        let run = |batch: usize| {
            let world = World { clients: 12, one_each: false, ..WORLD };
            let mut simulation = Simulation::new(lab(1, 4, 64), seed, world, &VIPS);
            simulation.deliver_in(batch);
            let steps = (0..250).map(|_| simulation.step());
            steps.collect::<Vec<_>>()
        };
        assert_eq!(run(BATCH), run(1), "seed {seed}");
    });
}

#[test]
fn round_robin_over_four_workers_spreads_as_over_one() {
    for workers in [1, 4] {
        let mut lab = lab(workers, 3, 512);
        let mut taken = std::collections::HashMap::<IpAddr, usize>::new();
        let vip = "192.0.2.1".parse().unwrap();
        for client in 0..300 {
            let server = world::opens(&mut lab, ([198, 51, 100, 7].into(), 2000 + client), vip);
            *taken.entry(server).or_default() += 1;
        }
        assert!(taken.len() == 3 && taken.values().all(|count| *count == 100), "{taken:?}");
        let workers = lab.ensemble().figures().workers().len();
        let busy = lab.ensemble().figures();
        let busy = busy.workers().iter().filter(|worker| worker.connections.value() > 40).count();
        assert_eq!(busy, workers, "a worker had nothing to do");
    }
}
