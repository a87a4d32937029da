// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman check` and `pointsman doctor` as programs: what they say, and their exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Needs neither root nor hugepages.
const RIGHT: &str = "[eal]\nhugepages = \"off\"\nmemory_mb = 64\n\
                     [connections]\ncapacity = 1024\n\
                     [[nic]]\nname = \"null\"\ndevice = \"net_null0,no-rx=1\"\n";

/// A configuration in a file that is gone with it.
struct Configuration(PathBuf);

impl Configuration {
    fn new(name: &str, text: &str) -> Self {
        let file = format!("pointsman-preflight-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(file);
        let socket = path.with_extension("sock");
        let control = format!("[control]\nsocket = \"{}\"\n", socket.display());
        fs::write(&path, format!("{text}{control}")).expect("a file for the test");
        Self(path)
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Exit status, stdout and stderr.
fn pointsman(command: &str, config: &Path) -> (i32, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    let output = program.arg(command).arg("--config").arg(config).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a status"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_right_configuration_is_checked_in_silence_but_for_its_name() {
    let config = Configuration::new("right", RIGHT);
    let said = format!("{}: ok\n", config.0.display());
    assert_eq!(pointsman("check", &config.0), (0, said, String::new()));
}

#[test]
fn a_wrong_key_is_named_with_its_line_and_what_would_be_right() {
    let config = Configuration::new("wrong", &RIGHT.replace("capacity", "capacty"));
    let (status, stdout, stderr) = pointsman("check", &config.0);
    assert_eq!((status, stdout.as_str()), (1, ""));
    let place = format!("{}:5: ", config.0.display());
    assert!(stderr.contains(&place) && stderr.contains("`capacity`"), "{stderr}");
    let (status, stdout, _) = pointsman("doctor", &config.0);
    assert_eq!(status, 1);
    assert!(stdout.starts_with("FAIL ") && stdout.contains(&place), "{stdout}");
}

#[test]
fn the_rules_of_the_start_are_checked_with_the_configuration() {
    let rules = std::env::temp_dir().join(format!("pointsman-check-{}.rules", std::process::id()));
    let text = format!("{RIGHT}[rules]\nfile = \"{}\"\n", rules.display());
    let config = Configuration::new("rules", &text);
    let said = || {
        let (status, stdout, stderr) = pointsman("check", &config.0);
        assert_eq!((status, stdout.as_str()), (1, ""));
        stderr.replace(&rules.display().to_string(), "FILE")
    };
    assert!(said().starts_with("pointsman: FILE: no such file; write it with"));
    let service = "-A -t 192.0.2.1:80 -s rr\n";
    for (bytes, right) in [
        (format!("{service}{service}").into_bytes(), "FILE:2: Service already exists\n"),
        (b"\nbogus\n".to_vec(), "FILE:2: a rule starts with -A, -P or -a\n"),
        (
            b"# caf\xe9\n".to_vec(),
            "FILE:1: not UTF-8 text; rules are what `ipvsadm -S -n` prints\n",
        ),
    ] {
        fs::write(&rules, bytes).expect("a file for the test");
        assert_eq!(said(), format!("pointsman: {right}"));
    }
    fs::write(&rules, service).expect("a file for the test");
    assert_eq!(pointsman("check", &config.0).0, 0);
    fs::remove_file(rules).expect("our file");
}

#[test]
fn the_doctor_finds_nothing_in_the_way_of_a_nic_that_is_made_up() {
    let config = Configuration::new("doctor", RIGHT);
    let (status, stdout, stderr) = pointsman("doctor", &config.0);
    assert!(stdout.contains("\n0 in the way of a start, "), "{stdout}");
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("ok      NIC null: net_null offers "), "{stdout}");
}

#[test]
fn the_doctor_names_a_nic_that_is_not_there_and_looks_no_further_at_it() {
    let text = RIGHT.replace("net_null0,no-rx=1", "ffff:ff:1f.7");
    let config = Configuration::new("absent", &text);
    let (status, stdout, _) = pointsman("doctor", &config.0);
    assert_eq!(status, 1);
    assert!(stdout.contains("FAIL    NIC null: there is no PCI device ffff:ff:1f.7"), "{stdout}");
    assert!(stdout.contains("unseen  NIC null: its queues and RSS"), "{stdout}");
}
