// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions by source file: valgrind's callgrind runs a program, `addr2line` says where each
//! instruction comes from.
//!
//! The program calls one function for what counts ([`COUNTED`]) and another after each scenario
//! ([`DONE`]). An instruction belongs to the innermost of our own source files that it was inlined
//! from; so a stage keeps its instructions wherever the compiler puts them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The function whose instructions, and those of all that it calls, count.
pub const COUNTED: &str = "perf::instructions::counted";
/// The function that ends a scenario.
pub const DONE: &str = "perf::instructions::scenario_done";

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// A program did not run.
    #[error("{program} did not run ({error}); apt-get install {package}")]
    Start {
        /// Which.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {words}")]
    Ended {
        /// Which.
        program: &'static str,
        /// The end of what it said.
        words: String,
    },
    /// There are not as many results as scenarios.
    #[error("{found} results for {wanted} scenarios; is the program built with symbols?")]
    Parts {
        /// Results.
        found: usize,
        /// Scenarios.
        wanted: usize,
    },
}

/// Instructions of one scenario by where they come from.
pub type Stages = BTreeMap<String, u64>;

/// Runs `program` with `argument` under callgrind; the instructions of each of its scenarios.
///
/// # Errors
/// valgrind or addr2line is missing, or failed.
pub fn count(program: &Path, argument: &str, scenarios: usize) -> Result<Vec<Stages>, CountError> {
    let folder = Folder::new();
    let out = folder.0.join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=yes"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={DONE}"))
        .arg(program)
        .arg(argument)
        .output()
        .map_err(|error| CountError::Start { program: "valgrind", package: "valgrind", error })?;
    if !output.status.success() {
        return Err(ended("valgrind", &output.stderr));
    }
    let parts: Vec<Counts> = (1..=scenarios)
        .map_while(|part| fs::read_to_string(format!("{}.{part}", out.display())).ok())
        .map(|text| Counts::parse(&text, program))
        .filter(|counts| counts.total() > 0)
        .collect();
    if parts.len() != scenarios {
        return Err(CountError::Parts { found: parts.len(), wanted: scenarios });
    }
    let mut addresses: Vec<u64> = parts.iter().flat_map(|part| part.own.keys()).copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    let places = places(program, &addresses)?;
    Ok(parts.into_iter().map(|part| part.by_stage(&places)).collect())
}

/// Instructions by address in the program itself, and by library.
#[derive(Debug, Default)]
struct Counts {
    own: HashMap<u64, u64>,
    libraries: BTreeMap<String, u64>,
}

impl Counts {
    /// Reads callgrind's format: cost lines `address line count`, addresses relative to the line
    /// before, and after each `calls=` one line for the callee, which is counted where it is spent.
    fn parse(text: &str, program: &Path) -> Self {
        let program = program.display().to_string();
        let (mut counts, mut objects) = (Self::default(), HashMap::new());
        let (mut object, mut address, mut is_callee) = (String::new(), 0_u64, false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("ob=") {
                object = resolve(&mut objects, name);
            } else if let Some(name) = line.strip_prefix("cob=") {
                resolve(&mut objects, name);
            } else if line.starts_with("calls=") {
                is_callee = true;
            } else if line.starts_with(['0', '+', '-', '*']) {
                let mut words = line.split_whitespace();
                address = moved(address, words.next().unwrap_or("*"));
                let spent = words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
                if std::mem::take(&mut is_callee) {
                    continue;
                }
                if object == program {
                    *counts.own.entry(address).or_default() += spent;
                } else {
                    *counts.libraries.entry(stage_of_library(&object)).or_default() += spent;
                }
            }
        }
        counts
    }

    fn total(&self) -> u64 {
        self.own.values().chain(self.libraries.values()).sum()
    }

    fn by_stage(self, places: &HashMap<u64, String>) -> Stages {
        let mut stages = self.libraries;
        for (address, spent) in self.own {
            let place = places.get(&address).map_or("other", String::as_str);
            *stages.entry(place.to_owned()).or_default() += spent;
        }
        stages
    }
}

/// `(7) NAME` defines, `(7)` refers.
fn resolve(names: &mut HashMap<String, String>, text: &str) -> String {
    match text.split_once(' ') {
        Some((number, name)) => {
            names.insert(number.to_owned(), name.to_owned());
            name.to_owned()
        }
        None => names.get(text).cloned().unwrap_or_default(),
    }
}

fn moved(address: u64, word: &str) -> u64 {
    let number = |text: &str| {
        let hexadecimal = text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
        hexadecimal.unwrap_or_else(|| text.parse()).unwrap_or(0)
    };
    match word.as_bytes().first() {
        Some(b'+') => address.wrapping_add(number(&word[1..])),
        Some(b'-') => address.wrapping_sub(number(&word[1..])),
        Some(b'*') => address,
        _ => number(word),
    }
}

fn stage_of_library(object: &str) -> String {
    let name = Path::new(object).file_name().map(|name| name.to_string_lossy().into_owned());
    match name.unwrap_or_default() {
        name if name.starts_with("librte_net") => "driver".to_owned(),
        name if name.starts_with("librte_") => "buffers".to_owned(),
        _ => "libc".to_owned(),
    }
}

/// What each address of the program was compiled from: the innermost file of ours.
fn places(program: &Path, addresses: &[u64]) -> Result<HashMap<u64, String>, CountError> {
    let start = |error| CountError::Start { program: "addr2line", package: "binutils", error };
    let mut child = Command::new("addr2line")
        .args(["-a", "-i", "-e"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let questions: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let mut input = child.stdin.take();
    let asking = std::thread::spawn(move || {
        input.as_mut().map(|input| input.write_all(questions.as_bytes()))
    });
    let output = child.wait_with_output().map_err(start)?;
    let _ = asking.join();
    let mut places: HashMap<u64, String> = HashMap::new();
    let mut address = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line.starts_with("0x") && !line.contains(':') {
            address = moved(0, line);
        } else if let Some(stage) = stage_of_file(line) {
            places.entry(address).or_insert(stage);
        }
    }
    Ok(places)
}

/// Headers and sums belong to whoever uses them.
const USED_BY_OTHERS: [&str; 9] =
    ["addr", "csum", "eth", "family", "flow", "frame", "ipv4", "ipv6", "tcp"];

/// The stage that a source file of ours is: its name.
fn stage_of_file(line: &str) -> Option<String> {
    let file = line.split(':').next()?;
    let (path, module) = file.rsplit_once("/src/")?;
    let stem = module.strip_suffix(".rs")?;
    match path.rsplit('/').next()? {
        "wire" if USED_BY_OTHERS.contains(&stem) => None,
        "lb" if ["family", "ids"].contains(&stem) => None,
        "wire" | "lb" => Some(stem.to_owned()),
        "dpdk" => Some("buffers".to_owned()),
        "appliance" => Some(stem.to_owned()),
        "perf" => Some("bench".to_owned()),
        _ => None,
    }
}

fn ended(program: &'static str, words: &[u8]) -> CountError {
    let words = String::from_utf8_lossy(words);
    let end: Vec<&str> = words.lines().rev().take(5).collect();
    CountError::Ended { program, words: end.into_iter().rev().collect::<Vec<_>>().join("\n") }
}

/// A folder of this process's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pointsman-callgrind-{}", std::process::id()));
        // Where it cannot be made, valgrind says so.
        let _ = fs::create_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
ob=(1) /bin/p
fn=(1) a
0x1000 7 10
+4 7 20
calls=1 0x2000
* 7 500
cob=(2) /lib/librte_mempool.so.23.0
cfn=(9) b
calls=1 0x30
+2 8 70
ob=(2)
fn=(9)
0x30 0 70
ob=(1)
fn=(2) c
0x2000 9 500
";

    #[test]
    fn what_a_callee_spends_counts_once_and_where_it_is_spent() {
        let counts = Counts::parse(SAMPLE, Path::new("/bin/p"));
        let own = HashMap::from([(0x1000, 10), (0x1004, 20), (0x2000, 500)]);
        assert_eq!(counts.own, own);
        assert_eq!(counts.libraries, BTreeMap::from([("buffers".to_owned(), 70)]));
        assert_eq!(counts.total(), 600);
    }

    #[test]
    fn a_stage_is_a_file_of_ours_and_checksums_are_their_users() {
        let stage = |line: &str| stage_of_file(line);
        assert_eq!(stage("/x/appliance/lb/src/rewrite.rs:12").as_deref(), Some("rewrite"));
        assert_eq!(stage("/x/appliance/wire/src/csum.rs:12"), None);
        assert_eq!(stage("/rustc/1/library/core/src/slice/index.rs:9"), None);
        assert_eq!(stage("??:?"), None);
    }
}
