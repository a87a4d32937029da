// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which worker will own a flow, and how many frames change workers for it.

use control::config::{Config, Nic, Owner};
use lb::ids::WorkerId;
use lb::steer::rss::{HashFields, Hashed, Rss};
use lb::steer::toeplitz::Toeplitz;

use super::Finding;
use crate::shares::{Share, handed_over, hashed};

/// What the configuration decides, if the NICs can do what it asks of them.
pub(super) fn wiring(config: &Config) -> Vec<Finding> {
    let workers = config.workers.count;
    if workers == 1 {
        return vec![Finding::ok("steering: one worker owns every flow")];
    }
    let mut findings = vec![Finding::ok(match config.workers.owner {
        Owner::Hash => format!(
            "steering: {workers} workers own flows by a hash of the client's address and port"
        ),
        Owner::Landing => format!(
            "steering: of {workers} workers the one that receives a request owns its flow; NAT \
             servers (-m) are refused"
        ),
    })];
    let fields: Vec<_> = config.nics.iter().map(|nic| asked_for(nic, workers)).collect();
    let rss = Rss::new(&[0; Toeplitz::KEY_MIN], vec![WorkerId(0)], &fields);
    for (nic, hashes) in config.nics.iter().zip(fields) {
        findings.push(of_nic(config, nic, rss.as_ref(), hashes));
    }
    findings
}

/// What a NIC hashes if it can what is asked of it: a queue for each worker is needed, too.
fn asked_for(nic: &Nic, workers: u16) -> Hashed {
    (nic.queues == workers).then_some(nic.rss.fields.unwrap_or(HashFields::Tuple)).into()
}

fn of_nic(config: &Config, nic: &Nic, rss: Option<&Rss>, hashes: Hashed) -> Finding {
    let what = format!(
        "NIC {}: if it hashes {}, workers hand over about {}",
        nic.name,
        hashed(hashes),
        handed_over(&config.workers, rss, hashes)
    );
    if nic.queues < config.workers.count {
        let remedy = format!("set [[nic]] queues = {}, if it has as many", config.workers.count);
        return Finding::warn(what, remedy);
    }
    let shares = Share::all(&config.workers, rss, hashes);
    let can_be_better = shares.iter().any(|share| share.requests > 0 && share.nat_replies > 0);
    if can_be_better && nic.rss.fields.is_none() {
        return Finding::warn(
            what,
            "on NICs that hash one end alone (i40e, ice, mlx5), set [[nic]] rss = \"source\" on \
             the clients' side and \"destination\" on the servers' side",
        );
    }
    Finding::ok(what)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn findings(workers: &str, nic: &str) -> Vec<Finding> {
        let nic = format!("[[nic]]\nname = \"wan\"\ndevice = \"net_null0\"\n{nic}");
        wiring(&Config::parse(&format!("[workers]\n{workers}\n{nic}"), "x").expect("right"))
    }

    #[test]
    fn one_worker_needs_no_steering() {
        let [only] = findings("", "").try_into().expect("one finding");
        assert_eq!(only.what, "steering: one worker owns every flow");
    }

    #[test]
    fn frames_that_change_workers_are_told_with_what_would_end_that() {
        let [_, nic] = findings("count = 4", "").try_into().expect("two findings");
        assert!(nic.what.contains("75 % of requests, 75 % of NAT replies, 0 % of FULLNAT"));
        assert!(nic.remedy.expect("there is one").contains("rss = \"source\""));
        let [_, nic] = findings("count = 4", "queues = 2").try_into().expect("two findings");
        assert!(nic.what.contains("75 % of FULLNAT"));
        assert_eq!(nic.remedy.as_deref(), Some("set [[nic]] queues = 4, if it has as many"));
        let [_, nic] = findings("count = 4", "rss = \"source\"").try_into().expect("two findings");
        assert!(nic.what.contains("0 % of requests"));
        assert_eq!(nic.level, Level::Ok);
    }

    #[test]
    fn landing_says_what_it_costs() {
        let [owner, nic] =
            findings("count = 2\nowner = \"landing\"", "").try_into().expect("two findings");
        assert!(owner.what.contains("(-m) are refused"));
        assert!(nic.what.contains("about 0 % of requests"));
    }
}
