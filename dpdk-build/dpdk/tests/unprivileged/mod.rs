// SPDX-License-Identifier: MIT OR Apache-2.0
//! EAL's command line for tests: no hugepages, no root, nothing left behind.

use std::fs;
use std::process;

use dpdk::Cpu;

/// The arguments, with a name of this process's own, so that test binaries run side by side.
pub fn args() -> Vec<String> {
    let fixed = ["--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "256"];
    let own = [format!("--file-prefix={}", prefix()), format!("--lcores=0@{}", first_cpu())];
    fixed.map(str::to_owned).into_iter().chain(own).collect()
}

/// The name of EAL's runtime folder.
pub fn prefix() -> String {
    format!("pointsman-test-{}", process::id())
}

/// The first CPU this process may use.
pub fn first_cpu() -> Cpu {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = list.trim().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    Cpu(first.parse().unwrap())
}
