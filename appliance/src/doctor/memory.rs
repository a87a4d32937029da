// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory: hugepages for packet buffers and connections, what there is without them, and how much
//! of it may be locked for a NIC.
//!
//! No hugetlbfs need be mounted: pages are taken by anonymous mappings.

use control::config::{Config, Eal, Hugepages};
use lb::conn::table::ConnTable;

use super::{Director, Finding, devices, field, text};

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;
/// Locks memory without limit; see capabilities(7).
const IPC_LOCK: u32 = 14;

pub(super) fn examine(config: &Config, director: Director) -> Vec<Finding> {
    if director == Director::Runs {
        return vec![Finding::unseen("memory: the director that runs has taken its own already")];
    }
    let Some(memory) = text("/proc/meminfo").as_deref().and_then(Memory::read) else {
        return vec![Finding::unseen("memory: /proc/meminfo cannot be read")];
    };
    let tables_mb = tables_mb(config);
    let mut findings = vec![buffers(tables_mb, &config.eal, &memory)];
    findings.push(tables(tables_mb, &config.eal, &memory));
    findings.extend(ordinary(&config.eal, tables_mb, &memory));
    let transparent = text("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if !fits_huge(tables_mb, &config.eal, &memory) {
        findings.push(transparent_pages(&transparent));
    }
    if devices::has_vfio(config) {
        let limits = text("/proc/self/limits").unwrap_or_default();
        let status = text("/proc/self/status").unwrap_or_default();
        findings.extend(locked(&limits, &status, config.eal.memory_mb));
    }
    findings
}

/// What `/proc/meminfo` says, in MiB but for the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    available_mb: u64,
    huge_free_mb: u64,
    huge_total_mb: u64,
    huge_page_kb: u64,
}

impl Memory {
    fn read(text: &str) -> Option<Self> {
        let number = |name| field(text, name)?.parse::<u64>().ok();
        // A kernel without hugepages has no line about them.
        let huge_page_kb = number("Hugepagesize").unwrap_or(0);
        let huge_mb = |name| number(name).unwrap_or(0) * huge_page_kb / 1024;
        Some(Self {
            available_mb: number("MemAvailable")? / 1024,
            huge_free_mb: huge_mb("HugePages_Free"),
            huge_total_mb: huge_mb("HugePages_Total"),
            huge_page_kb,
        })
    }

    /// How to have hugepages for packet buffers and connection tables.
    fn reserve(&self, tables_mb: u64, eal: &Eal) -> String {
        if self.huge_page_kb == 0 {
            return "use a kernel with hugepages (CONFIG_HUGETLBFS)".to_owned();
        }
        let missing_mb = (u64::from(eal.memory_mb) + tables_mb).saturating_sub(self.huge_free_mb);
        let pages = ((self.huge_total_mb + missing_mb) * 1024).div_ceil(self.huge_page_kb);
        let setting = format!("vm.nr_hugepages={pages}");
        format!("sysctl -w {setting}, and {setting} in /etc/sysctl.d to keep it")
    }
}

/// MiB of all workers' connection tables, both families.
fn tables_mb(config: &Config) -> u64 {
    let connections = config.limits().connections;
    let bytes = ConnTable::<wire::V4>::memory_bytes(connections)
        + ConnTable::<wire::V6>::memory_bytes(connections);
    (bytes as u64 * u64::from(config.workers.count)).div_ceil(MIB)
}

/// MiB that packet buffers take from hugepages.
fn huge_buffers_mb(eal: &Eal, memory: &Memory) -> u64 {
    let wanted = u64::from(eal.memory_mb);
    if eal.hugepages == Hugepages::Off || memory.huge_free_mb < wanted { 0 } else { wanted }
}

fn fits_huge(tables_mb: u64, eal: &Eal, memory: &Memory) -> bool {
    memory.huge_free_mb >= huge_buffers_mb(eal, memory) + tables_mb
}

fn buffers(tables_mb: u64, eal: &Eal, memory: &Memory) -> Finding {
    let (free, wanted) = (memory.huge_free_mb, u64::from(eal.memory_mb));
    if eal.hugepages == Hugepages::Off {
        return Finding::ok("packet buffers: in normal pages, as [eal] hugepages = \"off\" says");
    }
    if free >= wanted {
        return Finding::ok(format!(
            "packet buffers: {wanted} MiB in hugepages, of which {free} MiB are free"
        ));
    }
    let what = format!("packet buffers: {free} of {wanted} MiB are free in hugepages");
    let remedy = memory.reserve(tables_mb, eal);
    if eal.hugepages == Hugepages::On {
        return Finding::fail(format!("{what}, and [eal] hugepages = \"on\""), remedy);
    }
    Finding::warn(format!("{what}; they will lie in normal pages, which costs speed"), remedy)
}

fn tables(tables_mb: u64, eal: &Eal, memory: &Memory) -> Finding {
    if fits_huge(tables_mb, eal, memory) {
        return Finding::ok(format!("connection tables: {tables_mb} MiB fit hugepages"));
    }
    if eal.hugepages == Hugepages::Off {
        return Finding::ok(format!("connection tables: {tables_mb} MiB in normal pages"));
    }
    let left = memory.huge_free_mb - huge_buffers_mb(eal, memory);
    Finding::warn(
        format!(
            "connection tables: {left} of {tables_mb} MiB fit hugepages; a look-up costs about \
             twice the time in normal ones"
        ),
        memory.reserve(tables_mb, eal),
    )
}

/// Whether what does not fit hugepages fits the rest.
fn ordinary(eal: &Eal, tables_mb: u64, memory: &Memory) -> Option<Finding> {
    let huge_buffers = huge_buffers_mb(eal, memory);
    let buffers = u64::from(eal.memory_mb) - huge_buffers;
    let tables = if fits_huge(tables_mb, eal, memory) { 0 } else { tables_mb };
    let needed = buffers + tables;
    (needed > memory.available_mb).then(|| {
        Finding::fail(
            format!("memory: {needed} MiB are needed and {} available", memory.available_mb),
            "lower [connections] capacity or [eal] memory_mb, or add memory",
        )
    })
}

/// `text` has the setting in force in brackets: `always [madvise] never`.
fn transparent_pages(text: &str) -> Finding {
    if text.contains("[always]") || text.contains("[madvise]") {
        return Finding::ok("transparent hugepages: the kernel gives them where it is asked");
    }
    Finding::warn(
        "transparent hugepages: none, though connection tables would use them",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    )
}

/// Whether the NIC may reach all packet buffers: vfio counts them as locked memory.
fn locked(limits: &str, status: &str, memory_mb: u32) -> Option<Finding> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    let soft = line.split_whitespace().next()?;
    let capabilities = u64::from_str_radix(field(status, "CapEff")?, 16).ok()?;
    if soft == "unlimited" || capabilities & 1 << IPC_LOCK != 0 {
        return Some(Finding::ok("locked memory: no limit"));
    }
    let limit_mb = soft.parse::<u64>().ok()? / MIB;
    if limit_mb >= u64::from(memory_mb) {
        return Some(Finding::ok(format!("locked memory: up to {limit_mb} MiB")));
    }
    Some(Finding::fail(
        format!("locked memory: {limit_mb} MiB at most, but the NICs need {memory_mb}"),
        "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const MEMINFO: &str = "MemAvailable:    4096000 kB\nHugePages_Total:     600\n\
                           HugePages_Free:      512\nHugepagesize:       2048 kB\n";

    fn eal(hugepages: Hugepages, memory_mb: u32) -> Eal {
        Eal { hugepages, memory_mb, ..Eal::default() }
    }

    #[test]
    fn hugepages_are_counted_in_mib() {
        let memory = Memory::read(MEMINFO).unwrap();
        let expected = Memory {
            available_mb: 4000,
            huge_free_mb: 1024,
            huge_total_mb: 1200,
            huge_page_kb: 2048,
        };
        assert_eq!(memory, expected);
        assert_eq!(Memory::read("MemAvailable: 1024 kB").unwrap().huge_free_mb, 0);
    }

    #[test]
    fn missing_hugepages_fail_only_where_they_are_insisted_on() {
        let memory = Memory::read(MEMINFO).unwrap();
        assert_eq!(buffers(0, &eal(Hugepages::On, 1024), &memory).level, Level::Ok);
        assert_eq!(buffers(0, &eal(Hugepages::Off, 2048), &memory).level, Level::Ok);
        assert_eq!(buffers(0, &eal(Hugepages::Auto, 2048), &memory).level, Level::Warn);
        let finding = buffers(200, &eal(Hugepages::On, 2048), &memory);
        assert_eq!(finding.level, Level::Fail);
        // 1200 MiB are reserved, and 2048 + 200 - 1024 more are needed, in pages of 2 MiB.
        assert!(finding.remedy.unwrap().starts_with("sysctl -w vm.nr_hugepages=1212,"));
    }

    #[test]
    fn tables_come_after_the_buffers() {
        let memory = Memory::read(MEMINFO).unwrap();
        let half = eal(Hugepages::Auto, 512);
        assert_eq!(tables(512, &half, &memory).level, Level::Ok);
        let finding = tables(513, &half, &memory);
        assert!(finding.what.starts_with("connection tables: 512 of 513 MiB"), "{finding}");
        assert_eq!(tables(1025, &eal(Hugepages::Off, 512), &memory).level, Level::Ok);
        assert_eq!(ordinary(&half, 4000, &memory), None);
        assert_eq!(ordinary(&half, 4001, &memory).unwrap().level, Level::Fail);
        assert_eq!(ordinary(&eal(Hugepages::Off, 4001), 1, &memory).unwrap().level, Level::Fail);
    }

    #[test]
    fn the_limit_of_locked_memory_counts_unless_a_capability_lifts_it() {
        let limits = "Max locked memory         8388608              8388608              bytes";
        let may = |capabilities: &str| format!("CapEff:\t{capabilities}\n");
        let level = |limits, status: String| locked(limits, &status, 64).unwrap().level;
        assert_eq!(level(limits, may("0000000000000000")), Level::Fail);
        assert_eq!(level(limits, may("0000000000004000")), Level::Ok);
        assert_eq!(level("Max locked memory  unlimited unlimited bytes", may("0")), Level::Ok);
    }

    #[test]
    fn transparent_pages_may_be_asked_for_or_always_there() {
        assert_eq!(transparent_pages("always [madvise] never").level, Level::Ok);
        assert_eq!(transparent_pages("always madvise [never]").level, Level::Warn);
    }
}
