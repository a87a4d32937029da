// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ipvsadm 1.31 on Linux 6.1 printed, command by command, is what we print.
//!
//! One director runs a whole file, since a section starts with what the one before left behind.
//! A difference needs a reason: the command, or a change before it on which its answer depends,
//! is not available in this release; or it is a deviation that is there to stay. [`DIFFERENT`]
//! counts them section by section, and a number that is too high fails as well.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use control::apply::Director;
use harness::{Counted, Hosts, ctl, director};
use serde_json::Value;

/// File, section, how many of its commands differ, what is not available.
#[rustfmt::skip]
const DIFFERENT: &[(&str, &str, usize, &str)] = &[
    ("cli-verbs", "version, help, empty table", 3, "the help text is our own; --rate"),
    ("cli-verbs", "add, edit, delete a service", 10, "SCTP, marks, persistence"),
    ("cli-verbs", "editing a server resets options that are not given", 7, "thresholds"),
    ("cli-verbs", "thresholds", 5, "thresholds"),
    ("cli-options", "every scheduler", 12, "schedulers but rr, wrr, lc, wlc"),
    ("cli-options", "scheduler flags", 22, "schedulers but rr, wrr, lc, wlc; a crash of ipvsadm"),
    ("cli-options", "persistence and netmask", 30, "persistence"),
    ("cli-options", "persistence engine", 9, "persistence"),
    ("cli-options", "one-packet scheduling", 8, "one-packet scheduling"),
    ("cli-options", "IPv6 addresses and -6", 18, "persistence, SCTP, marks, mixed families"),
    ("cli-options", "fwmark", 10, "marks"),
    ("cli-options", "tunnel options", 15, "tunnel types but ipip"),
    ("cli-errors", "option not allowed with the verb, missing options", 2, "--rate"),
    ("cli-errors", "concatenation and spellings", 11, "persistence, thresholds, marks, sh"),
    ("cli-errors", "order: -r before -t, and -s after", 2, "mixed families"),
];

/// Commands that are answered otherwise for good.
const OURS: &[&str] = &["ipvsadm -h", "ipvsadm --help", "ipvsadm -A -t 192.0.2.10:26 -s sh -b ,"];

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
    let mut wrong = Vec::new();
    for (file, text) in files {
        let recorded = read(text);
        let mut director = director();
        for (_, command) in BEFORE.iter().filter(|(of, _)| *of == file) {
            assert_eq!(ctl(&mut director, &shell_words(command), &Hosts).status, 0);
        }
        let different = replay(&mut director, &recorded);
        println!("{file}: {} of {}", recorded.len() - different.len(), recorded.len());
        let mut sections: Vec<&str> = recorded.iter().map(|r| r.section.as_str()).collect();
        sections.dedup();
        for section in sections {
            let found: Vec<_> = different.iter().filter(|(s, _)| s == section).collect();
            let row = DIFFERENT.iter().find(|row| (row.0, row.1) == (file, section));
            let expected = row.map_or(0, |row| row.2);
            if found.len() != expected {
                let texts: String = found.iter().map(|(_, text)| text.as_str()).collect();
                let count = found.len();
                wrong.push(format!("{file}, {section}: {count} for {expected} differ\n{texts}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
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

/// The section of each command whose answer differs, and what differs.
fn replay(director: &mut Director<Counted>, recorded: &[Recorded]) -> Vec<(String, String)> {
    let mut different = Vec::new();
    let mut a_change_is_missing = false;
    for Recorded { section, command, stdout, stderr, status } in recorded {
        let reply = ctl(director, &shell_words(command), &Hosts);
        let errors: String = reply.errors.iter().map(|line| format!("{line}\n")).collect();
        let unavailable = errors.contains(UNAVAILABLE);
        let is_query = command.starts_with("ipvsadm -L");
        a_change_is_missing |= unavailable && !is_query;
        if (&reply.body, &errors, i64::from(reply.status)) != (stdout, stderr, *status) {
            let ours = format!("{}{errors}{}", reply.body, reply.status);
            let theirs = format!("{stdout}{stderr}{status}");
            let text = format!("$ {command}\n--- recorded\n{theirs}\n--- ours\n{ours}\n");
            let is_ours = OURS.contains(&command.as_str());
            assert!(is_ours || unavailable || a_change_is_missing, "for no reason:\n{text}");
            different.push((section.clone(), text));
        }
        a_change_is_missing &= command != "ipvsadm -C";
    }
    different
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
