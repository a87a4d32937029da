// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the NICs can do, from their drivers.
//!
//! That takes a start of DPDK, without hugepages, and the NIC itself. So it is done only while no
//! director runs and nothing else is in the way; and only for NICs that opening does not change:
//! a virtual device other than net_null makes an interface or empties a file.

use control::config::{Config, Nic};
use dpdk::{Eal, NicInfo, RssTypes};

use super::{Director, Finding};

pub(super) fn examine(config: &Config, director: Director, in_the_way: bool) -> Vec<Finding> {
    let nics = &config.nics;
    if nics.is_empty() {
        return Vec::new();
    }
    let (to_open, left): (Vec<_>, Vec<_>) = nics.iter().partition(|nic| opens_harmlessly(nic));
    let mut findings: Vec<_> = left.into_iter().map(|nic| unseen(nic, "it is virtual")).collect();
    let reason = match director {
        Director::Runs => "a director runs and may have it",
        Director::IsAbsent if in_the_way => "mend first what is in the way",
        Director::IsAbsent => {
            findings.extend(ask(config, &to_open));
            return findings;
        }
    };
    findings.extend(to_open.into_iter().map(|nic| unseen(nic, reason)));
    findings
}

fn opens_harmlessly(nic: &Nic) -> bool {
    !nic.device.is_virtual() || nic.device.name().starts_with("net_null")
}

fn unseen(nic: &Nic, reason: &str) -> Finding {
    let name = &nic.name;
    Finding::unseen(format!("NIC {name}: its queues and RSS ({reason}); `run` logs them"))
}

fn ask(config: &Config, nics: &[&Nic]) -> Vec<Finding> {
    if nics.is_empty() {
        return Vec::new();
    }
    let eal = match Eal::init(&arguments(nics)) {
        Ok(eal) => eal,
        Err(error) => {
            return vec![Finding::unseen(format!("the NICs' queues and RSS ({error})"))];
        }
    };
    let workers = config.workers.count;
    let mut findings = Vec::new();
    for nic in nics {
        let info = dpdk::Nic::open(&eal, &nic.device.to_string()).and_then(|open| open.info());
        match info {
            Ok(info) => findings.extend(judge(nic, workers, &info)),
            Err(error) => findings.push(Finding::fail(
                format!("NIC {}: {error}", nic.name),
                "see the lines above for what its driver says",
            )),
        }
    }
    // The process ends; there is nothing left to clean up if this did not.
    let _ = eal.cleanup();
    findings
}

fn arguments(nics: &[&Nic]) -> Vec<String> {
    let prefix = format!("pointsman-doctor-{}", std::process::id());
    let mut arguments: Vec<_> =
        ["--no-huge", "--no-shconf", "--no-telemetry", "-m", "64", "--log-level=error"]
            .into_iter()
            .chain(["--file-prefix", prefix.as_str()])
            .map(str::to_owned)
            .collect();
    let pci: Vec<_> = nics.iter().filter(|nic| !nic.device.is_virtual()).collect();
    if pci.is_empty() {
        arguments.push("--no-pci".to_owned());
    }
    for nic in pci {
        arguments.extend(["-a".to_owned(), nic.device.to_string()]);
    }
    arguments
}

fn judge(nic: &Nic, workers: u16, info: &NicInfo) -> Vec<Finding> {
    let NicInfo { driver, rx_queues_max, tx_queues_max, mtu_min, mtu_max, .. } = info;
    let name = &nic.name;
    let mut findings = vec![Finding::ok(format!(
        "NIC {name}: {driver} offers {rx_queues_max} receive and {tx_queues_max} transmit queues, \
         {}",
        hashing(info.rss_types, info.rss_table_size)
    ))];
    if nic.queues > *rx_queues_max {
        findings.push(Finding::fail(
            format!("NIC {name}: queues = {} is more than it has", nic.queues),
            format!("set [[nic]] queues = {rx_queues_max} or less"),
        ));
    }
    if !(*mtu_min..=*mtu_max).contains(&nic.mtu) {
        findings.push(Finding::fail(
            format!("NIC {name}: mtu = {} is not possible", nic.mtu),
            format!("set [[nic]] mtu to {mtu_min}..={mtu_max} bytes"),
        ));
    }
    if workers > *tx_queues_max {
        findings.push(Finding::warn(
            format!("NIC {name}: workers without a transmit queue of their own send by a ring"),
            format!("lower [workers] count to {tx_queues_max}"),
        ));
    }
    findings
}

fn hashing(types: RssTypes, table_size: u16) -> String {
    let flows = [RssTypes::IPV4_TCP, RssTypes::IPV4_UDP, RssTypes::IPV6_TCP, RssTypes::IPV6_UDP];
    if table_size == 0 || !flows.iter().any(|flow| types.contains(*flow)) {
        return "and no RSS".to_owned();
    }
    let one_end = types.contains(RssTypes::L3_SRC_ONLY) && types.contains(RssTypes::L3_DST_ONLY);
    let ends = if one_end { "both ends or one" } else { "both ends only" };
    format!("and RSS by {ends}, over a table of {table_size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nics(text: &str) -> Vec<Nic> {
        Config::parse(text, "x").expect("right").nics
    }

    #[test]
    fn only_what_opening_does_not_change_is_opened() {
        let text = |device| format!("[[nic]]\nname = \"a\"\ndevice = \"{device}\"\n");
        let opens = |device| opens_harmlessly(&nics(&text(device))[0]);
        assert!(opens("0000:3b:00.0"));
        assert!(opens("net_null0"));
        assert!(!opens("net_tap0,iface=x"));
        assert!(!opens("net_pcap0,tx_pcap=x"));
    }

    #[test]
    fn dpdk_is_told_of_the_nics_in_question_only() {
        let text = "[[nic]]\nname = \"a\"\ndevice = \"3b:00.0\"\n";
        let nics = nics(text);
        let arguments = arguments(&nics.iter().collect::<Vec<_>>());
        assert!(arguments.ends_with(&["-a".to_owned(), "0000:3b:00.0".to_owned()]));
        assert!(super::arguments(&[]).contains(&"--no-pci".to_owned()));
    }

    #[test]
    fn hashing_by_one_end_is_told_from_hashing_by_both() {
        let one_end = RssTypes::L3_SRC_ONLY | RssTypes::L3_DST_ONLY;
        let said = hashing(RssTypes::IPV4_TCP | one_end, 512);
        assert_eq!(said, "and RSS by both ends or one, over a table of 512");
        assert!(hashing(RssTypes::IPV4_TCP, 128).contains("both ends only"));
        assert_eq!(hashing(one_end, 128), "and no RSS");
        assert_eq!(hashing(RssTypes::IPV4_TCP, 0), "and no RSS");
    }
}
