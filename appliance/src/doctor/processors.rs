// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUs for management and workers, and the NUMA nodes they are on.

use control::config::{Config, Idle};
use dpdk::Cpu;

use super::{Finding, devices, field, text};
use crate::cpus::{self, Cpus};

const NODES: &str = "/sys/devices/system/node";

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let cpus = match Cpus::assign(config.eal.lcores.as_deref(), config.workers.count) {
        Ok(cpus) => cpus,
        Err(error) => return vec![Finding::fail(error.to_string(), "name CPUs that there are")],
    };
    let online = text("/sys/devices/system/cpu/online").unwrap_or_default();
    let isolated = text("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let nodes = nodes();
    let mut findings = vec![enough(&cpus, config.workers.count, &list(&online))];
    let has_hardware = config.nics.iter().any(|nic| !nic.device.is_virtual());
    if has_hardware && config.workers.idle == Idle::Spin {
        findings.extend(isolation(&cpus, &list(&isolated)));
    }
    findings.extend(nodes_in_short(&nodes));
    let nics = config.nics.iter().filter_map(|nic| {
        let node = devices::node(nic.device.name())?;
        Some((nic.name.as_str(), node))
    });
    findings.extend(nics.filter_map(|(nic, node)| distance(nic, node, &cpus, &nodes)));
    findings
}

fn enough(cpus: &Cpus, workers: u16, online: &[Cpu]) -> Finding {
    let Some(assigned) = &cpus.workers else {
        let needed = u32::from(workers) + 1;
        return Finding::warn(
            format!(
                "CPUs: {workers} workers and management want {needed}, of which this process may \
                 use fewer; threads will share them, and frames wait"
            ),
            "lower [workers] count, or let the process use more CPUs",
        );
    };
    let named = std::iter::once(&cpus.management).chain(assigned);
    let mut absent = named.filter(|cpu| !online.is_empty() && !online.contains(cpu));
    if let Some(absent) = absent.next() {
        let remedy = "name CPUs in [eal] lcores that /sys/devices/system/cpu/online has";
        return Finding::fail(format!("CPUs: {absent} is not online"), remedy);
    }
    let list = |cpus: &[Cpu]| cpus.iter().map(Cpu::to_string).collect::<Vec<_>>().join(", ");
    Finding::ok(format!("CPUs: {} for management, {} for workers", cpus.management, list(assigned)))
}

fn isolation(cpus: &Cpus, isolated: &[Cpu]) -> Option<Finding> {
    let workers = cpus.workers.as_deref()?;
    let shared: Vec<_> = workers.iter().filter(|cpu| !isolated.contains(cpu)).collect();
    if shared.is_empty() {
        return Some(Finding::ok("CPUs: those of the workers are isolated"));
    }
    let shared = shared.iter().map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",");
    Some(Finding::warn(
        format!("CPUs: the kernel may run other programs on {shared}, which delays frames"),
        format!("add isolcpus={shared} nohz_full={shared} to the kernel's command line"),
    ))
}

/// A NUMA node.
struct Node {
    number: u16,
    cpus: String,
    huge_free: u64,
    huge_total: u64,
}

fn nodes() -> Vec<Node> {
    let online = text(format!("{NODES}/online")).unwrap_or_default();
    let node = |number: Cpu| {
        let folder = format!("{NODES}/node{number}");
        let meminfo = text(format!("{folder}/meminfo")).unwrap_or_default();
        let pages = |name: &str| {
            let value = field(&meminfo, &format!("Node {number} {name}"));
            value.and_then(|pages| pages.parse().ok()).unwrap_or(0)
        };
        Node {
            number: number.0,
            cpus: text(format!("{folder}/cpulist")).unwrap_or_default(),
            huge_free: pages("HugePages_Free"),
            huge_total: pages("HugePages_Total"),
        }
    };
    list(&online).into_iter().map(node).collect()
}

fn nodes_in_short(nodes: &[Node]) -> Option<Finding> {
    let describe = |node: &Node| {
        let Node { number, cpus, huge_free, huge_total } = node;
        format!("{number} (CPUs {cpus}; {huge_free} of {huge_total} hugepages free)")
    };
    let described: Vec<_> = nodes.iter().map(describe).collect();
    (!described.is_empty()).then(|| Finding::ok(format!("NUMA nodes: {}", described.join(", "))))
}

fn distance(nic: &str, node: u16, cpus: &Cpus, nodes: &[Node]) -> Option<Finding> {
    let workers = cpus.workers.as_deref()?;
    let home = nodes.iter().find(|found| found.number == node)?;
    let near = list(&home.cpus);
    if workers.iter().all(|cpu| near.contains(cpu)) {
        return None;
    }
    Some(Finding::warn(
        format!("NIC {nic} is on NUMA node {node}, but not every worker is; each frame crosses"),
        format!("set [eal] lcores to CPUs of that node: {}", home.cpus),
    ))
}

fn list(text: &str) -> Vec<Cpu> {
    cpus::list(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn two_workers() -> Cpus {
        Cpus { management: Cpu(0), workers: Some(vec![Cpu(1), Cpu(2)]) }
    }

    #[test]
    fn too_few_cpus_are_a_warning_and_an_absent_one_a_failure() {
        let online = list("0-3");
        assert_eq!(enough(&two_workers(), 2, &online).level, Level::Ok);
        assert_eq!(enough(&two_workers(), 2, &list("0-1")).what, "CPUs: 2 is not online");
        let shared = Cpus { management: Cpu(0), workers: None };
        let finding = enough(&shared, 4, &online);
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.what.contains("4 workers and management want 5"));
    }

    #[test]
    fn workers_that_share_their_cpus_are_named() {
        let finding = isolation(&two_workers(), &list("2-3")).unwrap();
        assert!(finding.remedy.unwrap().contains("isolcpus=1 "));
        assert_eq!(isolation(&two_workers(), &list("1-2")).unwrap().level, Level::Ok);
    }

    #[test]
    fn a_worker_far_from_a_nic_is_a_warning() {
        let node = |number, cpus: &str| Node {
            number,
            cpus: cpus.to_owned(),
            huge_free: 5,
            huge_total: 8,
        };
        let nodes = [node(0, "0-1"), node(1, "2-3")];
        let finding = distance("wan", 1, &two_workers(), &nodes).unwrap();
        assert!(finding.remedy.unwrap().ends_with("2-3"));
        assert_eq!(distance("wan", 0, &two_workers(), &[node(0, "0-3")]), None);
        assert_eq!(
            nodes_in_short(&nodes[..1]).unwrap().what,
            "NUMA nodes: 0 (CPUs 0-1; 5 of 8 hugepages free)"
        );
    }
}
