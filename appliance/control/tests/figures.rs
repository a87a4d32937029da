// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a service and its servers have counted, while servers come, go and come back.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use control::apply::Director;
use control::reply::Reply;
use harness::{Counted, run};
use lb::catalog::Catalog;
use lb::counters::{Figures, Rates, ServerCounts, Traffic, WorkerCounters};
use lb::ids::{ServerId, ServiceId, WorkerId};
use lb::limits::Limits;
use proptest::prelude::*;

/// Fewer places than there are servers in the tests, so that one has several of them in turn.
const LIMITS: Limits = Limits { services: 3, servers: 6, connections: 1, ..Limits::DEFAULT };

/// A director, and the workers that it sees.
struct Balancer {
    director: Director<Counted>,
    workers: Vec<Arc<WorkerCounters>>,
}

impl Balancer {
    fn new() -> Self {
        let workers: Vec<_> = [0, 1].map(|n| WorkerCounters::new(WorkerId(n), &LIMITS)).into();
        let figures = Figures::new(workers.clone(), ServerCounts::new(&LIMITS), &LIMITS);
        let director = Director::new(Catalog::new(&LIMITS), figures, Counted::default());
        Self { director, workers }
    }

    /// Runs lines that must be accepted.
    fn run(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(run(&mut self.director, line), Reply::done(), "{line}");
        }
    }

    fn service(&self, port: u16) -> Option<ServiceId> {
        let mut services = self.director.catalog().services();
        services.find(|service| service.key.port() == port).map(|service| service.id)
    }

    fn server(&self, port: u16, host: u8) -> Option<ServerId> {
        let mut services = self.director.catalog().services();
        let service = services.find(|service| service.key.port() == port)?;
        let server = service
            .servers
            .iter()
            .find(|server| server.key.address == IpAddr::from([10, 0, 0, host]));
        server.map(|server| server.id)
    }

    /// Counts a connection asked of one service, and a packet each way, at a server of another or
    /// of the same, as a worker does.
    fn count(&self, worker: usize, asked: ServiceId, server: ServerId, bytes: u64) {
        let worker = &self.workers[worker];
        worker.opened(asked.slot).unwrap().add(1);
        let counters = worker.server(server.slot).unwrap();
        counters.conns.add(1);
        counters.requests.add(bytes);
        counters.replies.add(2 * bytes);
    }

    /// A connection of a server and its service.
    fn serve(&self, port: u16, host: u8) {
        self.count(0, self.service(port).unwrap(), self.server(port, host).unwrap(), 100);
    }

    fn of_service(&self, port: u16) -> Traffic {
        self.director.figures().service(self.service(port).unwrap())
    }

    fn of_server(&self, port: u16, host: u8) -> Traffic {
        self.director.figures().server(self.server(port, host).unwrap())
    }
}

/// What so many connections of [`Balancer::serve`] come to.
fn served(conns: u64) -> Traffic {
    let (in_bytes, out_bytes) = (100 * conns, 200 * conns);
    Traffic { conns, in_packets: conns, out_packets: conns, in_bytes, out_bytes }
}

#[test]
fn a_service_keeps_what_a_deleted_server_had_counted_and_gets_nothing_of_its_successor() {
    let mut lb = Balancer::new();
    lb.run(&[
        "-A -t 192.0.2.1:1 -s rr",
        "-a -t 192.0.2.1:1 -r 10.0.0.1 -m",
        "-a -t 192.0.2.1:1 -r 10.0.0.2 -m",
        "-A -t 192.0.2.1:2 -s rr",
    ]);
    (0..5).for_each(|_| lb.serve(1, 1));
    (0..2).for_each(|_| lb.serve(1, 2));
    assert_eq!(lb.of_service(1), served(7), "the sum of its servers");
    let place = lb.server(1, 1).unwrap().slot;
    lb.run(&["-d -t 192.0.2.1:1 -r 10.0.0.1"]);
    assert_eq!(lb.of_service(1), served(7), "the server was deleted");
    for host in 11..16 {
        lb.run(&[&format!("-a -t 192.0.2.1:2 -r 10.0.0.{host} -m")]);
    }
    let successor = (11..16).find(|host| lb.server(2, *host).unwrap().slot == place);
    let successor = successor.expect("the last of five servers has the deleted one's place");
    assert_eq!((lb.of_service(2), lb.of_server(2, successor)), (served(0), served(0)));
    (0..3).for_each(|_| lb.serve(2, successor));
    assert_eq!((lb.of_service(1), lb.of_service(2)), (served(7), served(3)));
    assert_eq!((lb.of_server(1, 2), lb.of_server(2, successor)), (served(2), served(3)));
}

#[test]
fn a_service_that_is_deleted_and_added_again_starts_at_zero() {
    let mut lb = Balancer::new();
    let rules = ["-A -t 192.0.2.1:1 -s rr", "-a -t 192.0.2.1:1 -r 10.0.0.1 -m"];
    for _ in 0..5 {
        lb.run(&rules);
        assert_eq!((lb.of_service(1), lb.of_server(1, 1)), (served(0), served(0)));
        lb.serve(1, 1);
        assert_eq!((lb.of_service(1), lb.of_server(1, 1)), (served(1), served(1)));
        lb.run(&["-D -t 192.0.2.1:1"]);
    }
}

#[test]
fn servers_that_come_and_go_do_not_disturb_a_services_rates() {
    let mut lb = Balancer::new();
    lb.run(&["-A -t 192.0.2.1:1 -s rr", "-A -t 192.0.2.1:2 -s rr"]);
    for host in 1..=30 {
        let (of, server) = (host % 2 + 1, format!("192.0.2.1:{} -r 10.0.0.{host}", host % 2 + 1));
        lb.run(&[&format!("-a -t {server} -m")]);
        lb.serve(of.into(), host);
        lb.run(&[&format!("-d -t {server}")]);
    }
    lb.run(&["-Z"]);
    lb.run(&["-a -t 192.0.2.1:1 -r 10.0.0.1 -m", "-a -t 192.0.2.1:2 -r 10.0.0.2 -m"]);
    (0..40).for_each(|_| lb.director.estimate());
    for port in [1, 2] {
        let service = lb.service(port).unwrap();
        assert_eq!(lb.director.figures().service_rates(service), Rates::default());
        assert_eq!(lb.of_service(port), served(0));
    }
}

/// Services and servers that each count for themselves.
#[derive(Default)]
struct Model {
    /// By port: which of the services of that port it is, and its figures.
    services: HashMap<u16, (u32, Traffic)>,
    servers: HashMap<(u16, u8), Traffic>,
    /// Deleted servers that find their figures again, and of which service they were.
    trash: HashMap<(u16, u8), (u32, Traffic)>,
    added: u32,
}

impl Model {
    fn add_service(&mut self, port: u16) -> bool {
        let is_new = !self.services.contains_key(&port);
        if is_new {
            self.added += 1;
            self.services.insert(port, (self.added, Traffic::default()));
        }
        is_new
    }

    fn delete_service(&mut self, port: u16) -> bool {
        (1..=3).for_each(|host| {
            self.delete_server(port, host);
        });
        self.services.remove(&port).is_some()
    }

    fn add_server(&mut self, port: u16, host: u8) -> bool {
        let (name, live) = ((port, host), self.servers.len());
        let Some((service, _)) = self.services.get(&port) else { return false };
        if self.servers.contains_key(&name) {
            return false;
        }
        let places = LIMITS.servers as usize;
        if !self.trash.contains_key(&name) && live + self.trash.len() == places {
            self.trash.clear();
            if live == places {
                return false;
            }
        }
        let before = self.trash.remove(&name).filter(|(of, _)| of == service);
        self.servers.insert(name, before.map(|(_, traffic)| traffic).unwrap_or_default());
        true
    }

    fn delete_server(&mut self, port: u16, host: u8) -> bool {
        let Some(traffic) = self.servers.remove(&(port, host)) else { return false };
        self.trash.insert((port, host), (self.services[&port].0, traffic));
        true
    }

    fn zero(&mut self, port: u16) -> bool {
        let servers = self.servers.iter_mut().filter(|((of, _), _)| *of == port);
        servers.for_each(|(_, traffic)| *traffic = Traffic::default());
        let service = self.services.get_mut(&port);
        service.map(|(_, traffic)| *traffic = Traffic::default()).is_some()
    }

    fn count(&mut self, asked: u16, (port, host): (u16, u8), bytes: u64) {
        let packets = Traffic {
            conns: 0,
            in_packets: 1,
            out_packets: 1,
            in_bytes: bytes,
            out_bytes: 2 * bytes,
        };
        if let Some((_, traffic)) = self.services.get_mut(&asked) {
            traffic.conns += 1;
        }
        if let Some((_, traffic)) = self.services.get_mut(&port) {
            *traffic += packets;
        }
        if let Some(traffic) = self.servers.get_mut(&(port, host)) {
            *traffic += Traffic { conns: 1, ..packets };
        }
    }
}

proptest! {
    #[test]
    fn services_and_servers_show_what_each_would_have_counted_by_itself(
        steps in prop::collection::vec((0..12u8, 1..4u16, 1..4u8, 1..4u16, 0..2000u64), 1..120)
    ) {
        let (mut lb, mut model) = (Balancer::new(), Model::default());
        for worker in &lb.workers {
            for counters in worker.servers() {
                // All wrap before long.
                counters.conns.set(u64::MAX - 2);
                counters.requests.packets.set(u64::MAX - 2);
                counters.requests.bytes.set(u64::MAX - 2000);
            }
        }
        for (what, port, host, asked, bytes) in steps {
            let (service, server) = (format!("-t 192.0.2.1:{port}"), format!("-r 10.0.0.{host}"));
            let (line, is_done) = match what {
                0 | 1 => (format!("-A {service} -s rr"), model.add_service(port)),
                2 => (format!("-D {service}"), model.delete_service(port)),
                3..6 => (format!("-a {service} {server} -m"), model.add_server(port, host)),
                6 | 7 => (format!("-d {service} {server}"), model.delete_server(port, host)),
                8 => (format!("-Z {service}"), model.zero(port)),
                _ => {
                    if let Some((asked_id, id)) = lb.service(asked).zip(lb.server(port, host)) {
                        lb.count((bytes % 2) as usize, asked_id, id, bytes);
                        model.count(asked, (port, host), bytes);
                    }
                    continue;
                }
            };
            prop_assert_eq!(run(&mut lb.director, &line).status == 0, is_done, "{}", line);
            for (port, (_, traffic)) in &model.services {
                prop_assert_eq!(lb.of_service(*port), *traffic, "service {} after {}", port, &line);
            }
            for ((port, host), traffic) in &model.servers {
                prop_assert_eq!(lb.of_server(*port, *host), *traffic, "{} after {}", host, &line);
            }
        }
    }
}
