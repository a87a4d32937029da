// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any line: random ones, and those that fuzzing found worth keeping.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use std::fs;
use std::path::Path;

use control::apply::{Director, Outcome};
use control::names::NumbersOnly;
use control::parse::parse;
use control::{render, rules, words};
use harness::{Counted, director, exchange};
use proptest::prelude::*;

/// Words that commands are made of, and some that they are not.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "-A", "-E", "-D", "-C", "-a", "-e", "-d", "-L", "-S", "-R", "-Z", "-P", "-Q", "-G", "--set",
    "--start-daemon", "--stop-daemon", "master", "backup", "--drops", "-t", "-u", "-f", "-r", "-z",
    "-s", "-w", "-m", "-g", "-i", "-b", "-p", "-M", "-x", "-y", "-n", "-c", "-o", "-6", "--pe",
    "--fullnat", "--stats", "--exact", "--timeout", "--tun-type", "--tun-port", "--tun-csum",
    "192.0.2.1:80", "192.0.2.2:80", "10.0.0.11", "10.0.0.12:8080", "10.0.0.2", "[2001:db8::1]:80",
    "2001:db8::9", "rr", "wrr", "lc", "wlc", "sh", "sh-port", "gue", "ipip", "0", "1", "7", "60",
    "255.255.255.0", "64", "--", "-", "", "a b", "\"", "-mw7", "-At192.0.2.1:80", "--weight=5",
    ".", "\u{e9}", "--atomic", "--client", "198.51.100.0/24", "--vip", "--mss", "auto", "1400",
    "--mark", "--server",
    "--sysctl", "drop_entry=1", "--sched-flags", "sh-fallback", "flag-3", "mh", "sip", "none",
];

/// Lines that are likely to change something.
#[rustfmt::skip]
const CHANGES: &[&str] = &[
    "-A -t 192.0.2.1:80 -s rr", "-A -t 192.0.2.1:80", "-A -u [2001:db8::1]:53 -s wrr", "-C",
    "-A -t 10.0.0.2:80 -s lc", "-E -t 192.0.2.1:80 -s lc", "-D -t 192.0.2.1:80",
    "-a -t 192.0.2.1:80 -r 10.0.0.11 -m", "-a -t 192.0.2.1:80 -r 10.0.0.11 -b -w 3",
    "-a -t 192.0.2.1:80 -r 10.0.0.12:8080 -m -w 0", "-a -t 192.0.2.1:80 -r 10.0.0.13 -i",
    "-a -u [2001:db8::1]:53 -r 2001:db8::9 -g", "-e -t 192.0.2.1:80 -r 10.0.0.11 -g -w 9",
    "-d -t 192.0.2.1:80 -r 10.0.0.11", "-P -t 192.0.2.1:80 -z 10.0.0.2",
    "-P -u [2001:db8::1]:53 -z 2001:db8::2", "-Q -t 192.0.2.1:80 -z 10.0.0.2", "-Z",
    "-a -t 192.0.2.1:80 -r 224.0.0.1 -m", "--set 100 0 0", "-A -f 5 -s sh -b sh-port,flag-3",
    "-A -f 4294967295 -6 -p 9 -M 64", "-a -f 5 -r 10.0.0.11:8080 -m -x 9 -y 3",
    "-A -t 192.0.2.3 -p 60 -M 255.255.0.0 --pe sip", "-A -u 192.0.2.3:53 -o",
    "-a -t 192.0.2.1:80 -r 10.0.0.14 -i --tun-type gue --tun-port 6080 --tun-csum",
    "-a -t 192.0.2.1:80 -r 2001:db8::9 -i --tun-type gre", "--start-daemon master",
    "--start-daemon backup --mcast-interface dummy0", "--stop-daemon backup",
    "-e -t 192.0.2.1:80 -r 10.0.0.11 -m -x 3 -y 9", "--sysctl drop_entry=1",
];

fn some_words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        8 => prop::sample::select(WORDS).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ];
    prop::collection::vec(word, 0..9)
}

fn changes() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(CHANGES), 0..40)
}

/// What the words mean survives being written down; what is refused changes nothing.
fn check(director: &mut Director<Counted>, words: &[String]) {
    let Ok(command) = parse(words, &NumbersOnly) else {
        return;
    };
    let line = render::line(&command);
    let again = words::split(&line).expect("a canonical line has words");
    assert_eq!(parse(&again, &NumbersOnly).as_ref(), Ok(&command), "{line}");
    if command.is_rule() && !line.contains('"') {
        let rule = words::split_rule(&render::rule(&command));
        assert_eq!(parse(&rule, &NumbersOnly).as_ref(), Ok(&command), "{line}");
    }
    let before = (rules::write(director.catalog()), director.plane().published);
    if let Outcome::Reply(reply) = director.execute(&command)
        && reply.status != 0
    {
        assert!(!reply.errors.is_empty(), "{line}: refused without a reason");
        let after = (rules::write(director.catalog()), director.plane().published);
        assert_eq!(before, after, "{line}: refused, yet something changed");
    }
}

fn run_all(lines: &[&str]) -> Director<Counted> {
    let mut director = director();
    for line in lines {
        check(&mut director, &words::split(line).expect("words"));
    }
    director
}

proptest! {
    #[test]
    fn any_words_are_read_back_from_their_canonical_line(words in some_words()) {
        let mut director = run_all(&CHANGES[..8]);
        check(&mut director, &words);
        prop_assert_eq!(words::split(&words::join(&words)).unwrap(), words);
    }

    #[test]
    fn any_bytes_are_answered_line_by_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut director = director();
        exchange(&mut director, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn what_save_prints_gives_the_same_catalog(lines in changes()) {
        let director = run_all(&lines);
        let saved = rules::write(director.catalog());
        let mut loaded = harness::director();
        loaded.load(&rules::read(&saved).unwrap()).unwrap();
        prop_assert_eq!(rules::write(loaded.catalog()), saved);
    }
}

#[test]
fn the_corpus_of_the_fuzz_target_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/control_line");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        let mut director = director();
        exchange(&mut director, &text);
        for line in text.lines() {
            check(&mut director, &words::split_rule(line));
            if let Ok(words) = words::split(line) {
                check(&mut director, &words);
            }
        }
        count += 1;
    }
    assert!(count >= 8, "{count} files");
}
