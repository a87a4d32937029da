// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configurations that operators are given: each is right, and is what it says it is for.

use std::fs;
use std::path::{Path, PathBuf};

use control::apply::{Director, Pace, Plane};
use control::config::{Config, Hugepages, Idle, Owner};
use control::rules;
use lb::catalog::Catalog;
use lb::counters::{Figures, ServerCounts};

/// Configurations with one forwarding mode, and the option that its servers have.
const MODES: [(&str, &str); 4] = [("nat", "-m"), ("fullnat", "-b"), ("dr", "-g"), ("tun", "-i")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

fn config(name: &str) -> Config {
    let path = folder().join(name).with_extension("toml");
    Config::load(&path).unwrap_or_else(|e| panic!("{e}"))
}

fn rules_text(name: &str) -> String {
    let path = folder().join("rules").join(name).with_extension("rules");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of the files with this extension, without it, in order.
fn names(folder: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_configuration_is_right() {
    let names = names(&folder(), "toml");
    for expected in ["dr", "fullnat", "lab", "marks", "nat", "null", "pcap", "reference", "tun"] {
        assert!(names.iter().any(|name| name == expected), "{expected}.toml is not there");
    }
    for name in names {
        config(&name);
    }
}

#[test]
fn every_rules_file_belongs_to_a_configuration() {
    let configurations = names(&folder(), "toml");
    let rules = names(&folder().join("rules"), "rules");
    assert!(!rules.is_empty());
    for name in rules {
        assert!(configurations.contains(&name), "{name}.rules has no {name}.toml");
    }
}

/// An appliance that takes every change.
struct Willing;

impl Plane for Willing {
    fn publish(&mut self, _: &Catalog, _: Pace) {}

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }
}

#[test]
fn every_rules_file_loads_and_is_in_the_form_that_save_prints() {
    for name in names(&folder().join("rules"), "rules") {
        let limits = config(&name).limits();
        let figures = Figures::new(Vec::new(), ServerCounts::new(&limits), &limits);
        let mut director = Director::new(Catalog::new(&limits), figures, Willing);
        let text = rules_text(&name);
        let read = rules::read(&text).unwrap_or_else(|e| panic!("{name}.rules:{e}"));
        director.load(&read).unwrap_or_else(|e| panic!("{name}.rules:{e}"));
        let saved = rules::write(director.catalog());
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        assert_eq!(sorted(&text), sorted(&saved), "{name}.rules");
    }
}

#[test]
fn modes_are_for_real_nics_under_linux_and_load_their_rules() {
    for (name, option) in MODES {
        let config = config(name);
        for nic in &config.nics {
            assert!(!nic.device.is_virtual(), "{name}: {}", nic.device);
            assert!(nic.host_interface.is_some(), "{name}: {}", nic.name);
        }
        let file = config.rules.file.unwrap_or_default();
        let expected = format!("{name}.rules");
        assert_eq!(file.file_name(), Some(expected.as_ref()), "{name}");
        let rules = rules_text(name);
        let servers: Vec<_> = rules.lines().filter(|line| line.starts_with("-a ")).collect();
        assert!(!servers.is_empty(), "{name}: no server");
        for server in servers {
            assert!(server.split_whitespace().any(|word| word == option), "{name}: {server}");
        }
    }
}

#[test]
fn landing_workers_own_flows_only_where_there_is_no_nat() {
    for (name, option) in MODES {
        let landing = config(name).workers.owner == Owner::Landing;
        assert_eq!(landing, ["-g", "-i"].contains(&option), "{name}");
    }
}

#[test]
fn null_needs_no_hardware_root_or_hugepages() {
    let config = config("null");
    assert_eq!(config.eal.hugepages, Hugepages::Off);
    assert_ne!(config.workers.idle, Idle::Spin, "it would take a whole core to do nothing");
    for nic in &config.nics {
        assert!(nic.device.name().starts_with("net_null"), "{}", nic.device);
        assert_eq!(nic.host_interface, None, "making one needs root");
    }
    assert!(config.control.socket.is_relative(), "/run is root's");
    assert_eq!(config.metrics, None);
}

#[test]
fn lab_stands_between_two_taps_that_linux_knows_by_name() {
    let config = config("lab");
    let names: Vec<_> = config.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["wan", "lan"]);
    for nic in &config.nics {
        assert!(nic.device.name().starts_with("net_tap"), "{}", nic.device);
        assert_eq!(nic.host_interface.as_ref(), Some(&nic.name));
        assert!(nic.mac.is_some(), "a test must be able to tell the NIC from its tap");
    }
}

#[test]
fn pcap_knows_the_way_without_asking_a_kernel() {
    let config = config("pcap");
    for nic in &config.nics {
        assert_eq!(nic.host_interface, None, "{}", nic.name);
        assert!(!nic.addresses.is_empty() && !nic.neighbours.is_empty(), "{}", nic.name);
    }
    let gateways: Vec<_> = config.routes.iter().filter_map(|route| route.via).collect();
    assert_eq!(gateways.len(), 2, "a default route for each family");
    let known = |gateway| {
        let neighbours = config.nics.iter().flat_map(|nic| &nic.neighbours);
        neighbours.into_iter().any(|neighbour| neighbour.address == gateway)
    };
    assert!(gateways.into_iter().all(known), "gateways have link-layer addresses");
}
