// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scripts for DPDK's pktgen, run by Lua against a stand-in that knows pktgen's functions.

use std::process::{Command, Output};

/// Flows that are asked for: more than one client has ports.
const FLOWS: u64 = 200_000;

fn run(script: &str, capacity: &str, arrives: &str) -> Output {
    let folder = env!("CARGO_MANIFEST_DIR");
    Command::new("lua5.3")
        .arg(format!("{folder}/tests/pktgen/stand_in.lua"))
        .arg(format!("{folder}/pktgen/{script}"))
        .env("LUA_PATH", format!("{folder}/pktgen/?.lua"))
        .envs([("CAPACITY", capacity), ("ARRIVES", arrives), ("WAN_MAC", "02:00:00:00:00:01")])
        .env("FLOWS", FLOWS.to_string())
        .output()
        .expect("lua5.3 runs: apt-get install lua5.3")
}

/// What a script prints and calls, line by line.
fn lines(script: &str, capacity: &str, arrives: &str) -> Vec<String> {
    let output = run(script, capacity, arrives);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Each script, and where the director sends what comes by ports 0 and 1.
const SCRIPTS: [(&str, &str); 5] = [
    ("nat.lua", "10"),
    ("fullnat.lua", "10"),
    ("dr.lua", "01"),
    ("tun.lua", "01"),
    ("mix.lua", "10"),
];

#[test]
fn every_script_opens_slowly_and_finds_the_rate_without_loss() {
    for (script, arrives) in SCRIPTS {
        let lines = lines(script, "37.3", arrives);
        let rates: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix("call set 0 rate ")).collect();
        assert_eq!(&rates[..3], ["5", "100", "50.0"], "{script}");
        let found: Vec<f64> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("no-drop rate ")?.split_once(' ')?.0.parse().ok())
            .collect();
        assert!(!found.is_empty(), "{script} found no rate");
        for found in found {
            assert!((37.05..=37.3).contains(&found), "{script} found {found} of 37.3 %");
        }
    }
}

#[test]
fn a_trial_clears_sends_waits_and_counts_in_this_order() {
    let lines = lines("dr.lua", "100", "01");
    let calls: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("call ")).collect();
    let trial = |percent: &str, ms: &str| {
        let rate = format!("set 0 rate {percent}");
        let wait = format!("delay {ms}");
        let words = ["clr ", "set 0 count 0", &rate, "start 0", &wait, "stop 0", "delay 2000"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.push("portStats all port".to_owned());
        words
    };
    let all = [trial("5", "20000"), trial("100", "10000"), trial("100", "60000")].concat();
    assert!(calls.ends_with(&all.iter().map(String::as_str).collect::<Vec<_>>()), "{calls:?}");
}

#[test]
fn ranges_that_walk_in_step_make_all_the_flows() {
    for (script, arrives) in &SCRIPTS[..4] {
        let lines = lines(script, "100", arrives);
        let last = |name: &str| {
            let start = format!("call range.{name} 0 max ");
            let line = lines.iter().find_map(|line| line.strip_prefix(&start));
            line.and_then(|line| line.rsplit('.').next()?.parse::<u64>().ok()).expect("a range")
        };
        let (clients, ports) = (last("src_ip"), last("src_port") - 10_000 + 1);
        let (mut a, mut b) = (clients, ports);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        assert!(clients * ports / a >= FLOWS, "{script}: {clients} clients, {ports} ports");
    }
}

#[test]
fn a_director_that_carries_nothing_is_said_to() {
    let lines = lines("tun.lua", "0", "01");
    assert!(lines.iter().any(|line| line.starts_with("no rate without loss was found")));
    assert!(!lines.iter().any(|line| line.starts_with("no-drop rate")));
}

#[test]
fn the_stand_in_knows_no_function_that_pktgen_has_not() {
    let output = run("../tests/pktgen/wrong.lua", "1", "01");
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("pktgen has no function range.src_mask"), "{words}");
}
