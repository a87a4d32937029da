// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ipvsadm 1.31 on Linux 6.1 printed, command by command, is what we print.
//!
//! One director runs a whole file, since a section starts with what the one before left behind.
//! A difference needs a reason: a deviation that is there to stay, or the command, or a change
//! before it on which its answer depends, is not available in this release.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use control::apply::Director;
use harness::{Counted, Hosts, ctl, director};
use serde_json::Value;

/// Section and command: what is answered otherwise for good. `docs/CONTROL.md` gives the reasons.
#[rustfmt::skip]
const OURS: &[(&str, &str)] = &[
    ("version, help, empty table", "ipvsadm -h"),
    ("version, help, empty table", "ipvsadm --help"),
    ("scheduler flags", "ipvsadm -A -t 192.0.2.10:26 -s sh -b ,"),
    ("every scheduler", "ipvsadm -A -t 192.0.2.10:14 -s twos"),
    ("every scheduler", "ipvsadm -Ln"), ("every scheduler", "ipvsadm -Sn"),
    ("scheduler flags", "ipvsadm -Ln"), ("scheduler flags", "ipvsadm -Sn"),
    ("fwmark", "ipvsadm -Ln"), ("fwmark", "ipvsadm -Sn"),
];

/// What was there before the first recorded command of a file.
const BEFORE: &[(&str, &str)] = &[
    ("cli-errors", "ipvsadm -A -t 192.0.2.10:80 -s rr"),
    ("cli-errors", "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.21 -m"),
];

const UNAVAILABLE: &str = "not available in this release";

struct Recorded {
    section: String,
    command: String,
    stdout: String,
    stderr: String,
    status: i64,
}

#[test]
fn every_recorded_command_is_answered_as_recorded() {
    let files = [
        ("cli-verbs", include_str!("recordings/cli-verbs.jsonl")),
        ("cli-options", include_str!("recordings/cli-options.jsonl")),
        ("cli-errors", include_str!("recordings/cli-errors.jsonl")),
    ];
    for (file, text) in files {
        let recorded = read(text);
        let mut director = director();
        for (_, command) in BEFORE.iter().filter(|(of, _)| *of == file) {
            assert_eq!(ctl(&mut director, &shell_words(command), &Hosts).status, 0);
        }
        let equal = replay(&mut director, &recorded);
        println!("{file}: {equal} of {}", recorded.len());
    }
}

fn read(text: &str) -> Vec<Recorded> {
    let mut section = String::new();
    let mut recorded = Vec::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        if let Some(name) = text("section") {
            section = name;
        }
        if let Some(command) = text("cmd").filter(|c| c.split(' ').next() == Some("ipvsadm")) {
            recorded.push(Recorded {
                section: section.clone(),
                command,
                stdout: text("stdout").expect("stdout"),
                stderr: text("stderr").expect("stderr"),
                status: value["rc"].as_i64().expect("rc"),
            });
        }
    }
    recorded
}

/// How many commands are answered as recorded; each of the others needs a reason.
fn replay(director: &mut Director<Counted>, recorded: &[Recorded]) -> usize {
    let mut equal = 0;
    let mut a_change_is_missing = false;
    for Recorded { section, command, stdout, stderr, status } in recorded {
        let reply = ctl(director, &shell_words(command), &Hosts);
        let errors: String = reply.errors.iter().map(|line| format!("{line}\n")).collect();
        let unavailable = errors.contains(UNAVAILABLE);
        let is_query = command.starts_with("ipvsadm -L");
        a_change_is_missing |= unavailable && !is_query;
        if (&reply.body, &errors, i64::from(reply.status)) == (stdout, stderr, *status) {
            equal += 1;
        } else {
            let theirs = format!("{stdout}{stderr}{status}");
            let ours = format!("{}{errors}{}", reply.body, reply.status);
            let is_ours = OURS.iter().any(|(of, ours)| of == section && ours == command);
            assert!(
                is_ours || unavailable || a_change_is_missing,
                "{section}\n$ {command}\n--- recorded\n{theirs}\n--- ours\n{ours}\n"
            );
        }
        a_change_is_missing &= command != "ipvsadm -C";
    }
    equal
}

/// The words of a recorded command, the program's name left out; single quotes are all there is.
fn shell_words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words.remove(0);
    words
}
