// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman-blast` as a program on a NIC that gives back what it is given: no root, no network.

use std::process::{Command, Output};

fn blast(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman-blast"));
    command.args(line.split_whitespace()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const LOAD: &str = "--wan net_ring0 --vip 192.0.2.1 --dst-mac 02:00:00:00:00:01 --rate 10kpps \
                    --idle-us 50 --settle 0.1 --no-loss";

#[test]
fn what_comes_back_whole_is_a_success_and_is_written_down() {
    let file = std::env::temp_dir().join(format!("blast-{}.json", std::process::id()));
    let line = format!("{LOAD} --packets 500 --protocol tcp --flows 100 --json {}", file.display());
    let output = blast(&line);
    let written = std::fs::read_to_string(&file).expect("a result");
    let _ = std::fs::remove_file(&file);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let result: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(result["trials"][0]["received"], 500);
    assert_eq!(result["trials"][0]["bad_checksums"], 0);
    assert_eq!(result["opening"].as_array().map(Vec::len), Some(2), "SYN, then ACK");
}

#[test]
fn what_is_lost_is_a_failure_if_nothing_may_be() {
    let line = LOAD.replace("net_ring0", "net_null0,no-rx=1") + " --packets 50";
    let output = blast(&line);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("lost       50 (100.0000 %)"));
    assert!(blast(&line.replace("--no-loss", "")).status.success());
}

#[test]
fn load_without_end_does_not_begin() {
    let output = blast(LOAD);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--seconds S, --packets N or --rfc2544"));
}

#[test]
fn a_vip_that_nobody_has_is_said_with_what_would_help() {
    let line = LOAD.replace("--dst-mac 02:00:00:00:00:01", "") + " --packets 1";
    let output = blast(&line);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--dst-mac"), "{}", text(&output.stderr));
}
