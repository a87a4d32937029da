// SPDX-License-Identifier: MIT OR Apache-2.0
//! A director without hardware: workers in one thread, two NICs, rules as lines of ipvsadm.
//!
//! Unless told otherwise it stands between clients on `wan` (198.51.100.0/24, 2001:db8:51::/64)
//! and servers on `lan` (10.0.0.0/24, 2001:db8:10::/64), and knows no neighbour.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use control::apply::{Director, Outcome, Pace, Plane};
use control::command::Command;
use control::names::NumbersOnly;
use lb::catalog::Catalog;
use lb::ensemble::{Ensemble, Outlet};
use lb::ids::{NicId, Seed, Tick};
use lb::limits::Limits;
use lb::marks::{MarkRule, MarkRules};
use lb::network::{Neighbour, Network, NicFacts, Prefix, Route};
use lb::steer::rss::Rss;
use lb::steer::{NicWiring, Owner, Wiring};
use wire::{Mac, VecFrame};

/// A NIC of the director.
#[derive(Clone, Debug)]
pub struct Nic {
    /// What scripts call it.
    pub name: String,
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    pub has_host: bool,
    /// Own addresses with their segments.
    pub addresses: Vec<Prefix>,
}

impl Nic {
    /// A NIC with the locally administered address 02:00:00:00:00:`last`.
    pub fn new(name: &str, last: u8, addresses: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            mtu: 1500,
            has_host: true,
            addresses: addresses.iter().map(|text| prefix(text)).collect(),
        }
    }

    /// Whether an address is on the NIC's segment.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| contains(own, address))
    }
}

/// What a director is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub workers: u16,
    pub owner: Owner,
    pub limits: Limits,
    pub local_ports: RangeInclusive<u16>,
    pub rss: Option<Arc<Rss>>,
    /// What marks packets.
    pub marks: Vec<MarkRule>,
    pub seed: Seed,
    pub nics: Vec<Nic>,
    /// Routes beyond those to the NICs' own segments.
    pub routes: Vec<Route>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workers: 1,
            owner: Owner::Hash,
            limits: Limits {
                services: 64,
                servers: 256,
                connections: 1024,
                templates: 64,
                ..Limits::DEFAULT
            },
            local_ports: 1025..=32767,
            rss: None,
            marks: Vec::new(),
            seed: Seed::fixed(1),
            nics: vec![
                Nic::new("wan", 1, &["198.51.100.1/24", "2001:db8:51::1/64"]),
                Nic::new("lan", 2, &["10.0.0.1/24", "2001:db8:10::1/64"]),
            ],
            routes: Vec::new(),
        }
    }
}

/// A director that runs.
pub struct Lab {
    director: Director<Stand>,
    plan: Plan,
}

struct Stand {
    ensemble: Ensemble<'static>,
}

impl Plane for Stand {
    fn publish(&mut self, catalog: &Catalog, _: Pace) {
        self.ensemble.publish(catalog);
    }

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }

    fn nat_conflict(&self) -> Option<&'static str> {
        None
    }
}

impl Lab {
    /// Starts a director at moment 0; its memory is never given back.
    pub fn new(plan: Plan) -> Self {
        let facts = plan.nics.iter().map(|nic| NicFacts { mac: nic.mac, mtu: nic.mtu });
        let mut network = Network::new(facts.collect());
        network.set_routes(routes(&plan));
        let nics = plan.nics.iter().map(|nic| NicWiring { mac: nic.mac, has_host: nic.has_host });
        let wiring = Wiring {
            workers: plan.workers,
            owner: plan.owner,
            nics: nics.collect(),
            local_ports: plan.local_ports.clone(),
            rss: plan.rss.clone(),
            marks: Arc::new(MarkRules::new(&plan.marks)),
            seed: plan.seed,
        };
        let memory = Ensemble::memory(&plan.limits, plan.workers).leak();
        let start = Tick::default();
        let ensemble = Ensemble::new(wiring, &plan.limits, network, memory, start)
            .expect("memory for the tables");
        let figures = ensemble.figures();
        let catalog = Catalog::new(&plan.limits);
        let director = Director::new(catalog, figures, Stand { ensemble });
        Self { director, plan }
    }

    /// A line of ipvsadm; its complaint, if it has one.
    pub fn rule(&mut self, line: &str) -> Result<(), String> {
        let words = control::words::split_rule(line);
        let command = control::parse::parse(&words, &NumbersOnly).map_err(|e| e.to_string())?;
        match self.execute(&command) {
            Outcome::Reply(reply) if reply.status != 0 => Err(reply.errors.join(" ")),
            _ => Ok(()),
        }
    }

    /// Carries out a command.
    pub fn execute(&mut self, command: &Command) -> Outcome {
        self.director.execute(command)
    }

    /// Lines of ipvsadm that must be accepted.
    pub fn rules(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Err(complaint) = self.rule(line) {
                panic!("{line}: {complaint}");
            }
        }
    }

    /// Learns a neighbour's link-layer address, or forgets it.
    pub fn know(&mut self, nic: NicId, address: IpAddr, mac: Option<Mac>) {
        let neighbour = Neighbour { nic, address };
        self.ensemble().rewire(|network| {
            network.set_neighbour(neighbour, mac);
        });
    }

    /// Learns every one of these addresses that is on a segment; each has [`mac_of`] it.
    pub fn know_all(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            if let Some(nic) = self.plan.nics.iter().position(|nic| nic.reaches(address)) {
                self.know(NicId(nic as u16), address, Some(mac_of(address)));
            }
        }
    }

    /// Replaces the routes beyond those to the NICs' own segments.
    pub fn set_routes(&mut self, others: Vec<Route>) {
        self.plan.routes = others;
        let routes = routes(&self.plan);
        self.ensemble().rewire(|network| {
            network.set_routes(routes);
        });
    }

    /// Receives frames at one moment; says what leaves at that moment.
    pub fn receive(
        &mut self,
        frames: impl IntoIterator<Item = (NicId, VecFrame)>,
        now: Tick,
    ) -> Outlet {
        self.ensemble().receive(frames, now);
        self.ensemble().take()
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Tick) -> Outlet {
        self.ensemble().tick(now);
        self.ensemble().take()
    }

    pub fn nic(&self, name: &str) -> Option<(NicId, &Nic)> {
        let index = self.plan.nics.iter().position(|nic| nic.name == name)?;
        Some((NicId(index as u16), self.plan.nics.get(index)?))
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn ensemble(&mut self) -> &mut Ensemble<'static> {
        &mut self.director.plane().ensemble
    }

    pub fn director(&self) -> &Director<impl Plane> {
        &self.director
    }
}

/// The link-layer address that every neighbour of this address has in tests.
pub fn mac_of(address: IpAddr) -> Mac {
    let (kind, [a, b, c, d]) = match address {
        IpAddr::V4(v4) => (4, v4.octets()),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            (6, [a, b, c, d])
        }
    };
    Mac([6, kind, a, b, c, d])
}

/// Reads `ADDRESS/LENGTH`; the length of a lone address is all of it.
pub fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().expect("an address before the slash");
    let all = if address.is_ipv4() { 32 } else { 128 };
    Prefix { address, len: len.parse().unwrap_or(all) }
}

fn routes(plan: &Plan) -> Vec<Route> {
    let connected = plan.nics.iter().enumerate().flat_map(|(index, nic)| {
        nic.addresses.iter().map(move |own| Route {
            to: Prefix { address: first(own), len: own.len },
            via: None,
            nic: Some(NicId(index as u16)),
            src: Some(own.address),
        })
    });
    connected.chain(plan.routes.iter().copied()).collect()
}

fn contains(prefix: &Prefix, address: IpAddr) -> bool {
    let len = prefix.len;
    address.is_ipv4() == prefix.address.is_ipv4()
        && first(prefix) == first(&Prefix { address, len })
}

/// The first address of a prefix.
fn first(prefix: &Prefix) -> IpAddr {
    match prefix.address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.len)).unwrap_or(0);
            IpAddr::from((u32::from(v4) & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.len)).unwrap_or(0);
            IpAddr::from((u128::from(v6) & mask).to_be_bytes())
        }
    }
}
