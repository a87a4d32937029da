// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ipvsadm 1.31 on Linux 6.1 printed, command by command, is what we print.
//!
//! One director runs a whole file, since a section starts with what the one before left behind.
//! [`DEVIATIONS`] is all that differs, and each of its rows does.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use std::collections::HashSet;

use control::apply::Director;
use harness::{Counted, Hosts, ctl, director};
use serde_json::Value;

/// Section, command, and why the answer is another one for good; `docs/CONTROL.md` says more.
#[rustfmt::skip]
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("version, help, empty table", "ipvsadm -h", "the help text is our own"),
    ("version, help, empty table", "ipvsadm --help", "the help text is our own"),
    ("scheduler flags", "ipvsadm -A -t 192.0.2.10:26 -s sh -b ,", "ipvsadm crashes"),
    ("scheduler flags", "ipvsadm -Ln", "the service that ipvsadm crashed on"),
    ("scheduler flags", "ipvsadm -Sn", "the service that ipvsadm crashed on"),
    ("every scheduler", "ipvsadm -A -t 192.0.2.10:14 -s twos", "that kernel was built without twos"),
    ("every scheduler", "ipvsadm -Ln", "twos"),
    ("every scheduler", "ipvsadm -Sn", "twos"),
    ("fwmark", "ipvsadm -Ln", "mark 4294967295 is printed, and sorted, as it is"),
    ("fwmark", "ipvsadm -Sn", "mark 4294967295 is printed, and sorted, as it is"),
];

/// What was there before the first recorded command of a file.
const BEFORE: &[(&str, &str)] = &[
    ("cli-errors", "ipvsadm -A -t 192.0.2.10:80 -s rr"),
    ("cli-errors", "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.21 -m"),
];

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
    let mut differ = HashSet::new();
    for (file, text) in files {
        let recorded = read(text);
        let mut director = director();
        for (_, command) in BEFORE.iter().filter(|(of, _)| *of == file) {
            assert_eq!(ctl(&mut director, &shell_words(command), &Hosts).status, 0);
        }
        let equal = replay(&mut director, &recorded, &mut differ);
        println!("{file}: {equal} of {}", recorded.len());
    }
    for (section, command, reason) in DEVIATIONS {
        assert!(
            differ.contains(&(section.to_string(), command.to_string())),
            "{section}: {command} ({reason}) is answered as recorded: take it out of the table"
        );
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

/// How many commands are answered as recorded; each of the others must be in the table.
fn replay(
    director: &mut Director<Counted>,
    recorded: &[Recorded],
    differ: &mut HashSet<(String, String)>,
) -> usize {
    let mut equal = 0;
    for Recorded { section, command, stdout, stderr, status } in recorded {
        let reply = ctl(director, &shell_words(command), &Hosts);
        let errors: String = reply.errors.iter().map(|line| format!("{line}\n")).collect();
        if (&reply.body, &errors, i64::from(reply.status)) == (stdout, stderr, *status) {
            equal += 1;
            continue;
        }
        let theirs = format!("{stdout}{stderr}{status}");
        let ours = format!("{}{errors}{}", reply.body, reply.status);
        assert!(
            DEVIATIONS.iter().any(|(of, ours, _)| of == section && ours == command),
            "{section}\n$ {command}\n--- recorded\n{theirs}\n--- ours\n{ours}\n"
        );
        differ.insert((section.clone(), command.clone()));
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
