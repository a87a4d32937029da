// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules of this repository that rustc and clippy do not check.
//!
//! Each rule is a function from one file to what is wrong with it, tried on a bad sample as well as
//! on the checkout. Only the checkout is read. Words that a rule looks for are put together here
//! from halves, so that this file obeys the rules too.

use std::fs;
use std::path::{Path, PathBuf};

/// Columns of a line, of all sources but prose.
const COLUMNS_MAX: usize = 100;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 500;
/// Names that say nothing, and so collect everything.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
/// Where `unsafe` may be.
const UNSAFE_PLACES: [&str; 3] =
    ["dpdk-build/", "appliance/preload/", "appliance/lb/src/prefetch.rs"];
/// Crates without cargo features.
const PLAIN_CRATES: [&str; 3] = ["appliance/wire/", "appliance/lb/", "appliance/control/"];
const LICENSE: &str = "SPDX-License-Identifier: MIT OR Apache-2.0";

/// A text file of the checkout.
struct Source {
    /// From the root of the checkout, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    fn stem(&self) -> &str {
        Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }

    /// Lines with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn finding(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

type Rule = fn(&Source) -> Vec<String>;

/// A rule with a file that breaks it once, on the given line.
struct Checked {
    rule: Rule,
    path: &'static str,
    bad: fn() -> String,
    line: usize,
}

#[rustfmt::skip]
const RULES: &[Checked] = &[
    Checked { rule: license, path: "x.sh", bad: || "#!/bin/sh\necho\n".to_owned(), line: 1 },
    Checked { rule: columns, path: "x.rs", bad: || format!("//\n//{}\n", "é".repeat(99)), line: 2 },
    Checked { rule: function_length, path: "x.rs", bad: long_function, line: 2 },
    Checked { rule: file_length, path: "x/src/x.rs", bad: || "//\n".repeat(501), line: 501 },
    Checked { rule: names, path: "x/src/utils.rs", bad: || "//\n".to_owned(), line: 1 },
    Checked { rule: names, path: "x/src/x.rs", bad: || "pub mod misc;\n".to_owned(), line: 1 },
    Checked { rule: safety, path: "appliance/lb/src/x.rs", bad: || format!("{} {{}}\n", word("un", "safe")), line: 1 },
    Checked { rule: promises, path: "x.md", bad: || format!("// {}: later\n", word("TO", "DO")), line: 1 },
    Checked { rule: features, path: "appliance/lb/src/x.rs", bad: || format!("#[{} = \"x\")]\n", word("cfg(", "feature")), line: 1 },
    Checked { rule: features, path: "appliance/wire/Cargo.toml", bad: || format!("{}\n", word("[feat", "ures]")), line: 1 },
];

#[test]
fn every_file_keeps_the_rules() {
    let sources = checkout();
    let findings: Vec<_> =
        RULES.iter().flat_map(|checked| sources.iter().flat_map(checked.rule)).collect();
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn each_rule_finds_what_it_is_for() {
    for checked in RULES {
        let bad = Source { path: checked.path.to_owned(), text: (checked.bad)() };
        let place = format!("{}:{}: ", bad.path, checked.line);
        let findings = (checked.rule)(&bad);
        let found = matches!(findings.as_slice(), [one] if one.starts_with(&place));
        assert!(found, "{place}{findings:?}");
    }
}

#[test]
fn every_module_is_declared_by_its_parent() {
    let sources = checkout();
    let text_of = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.map(|source| source.text.as_str())
    };
    let mut found = 0;
    for source in sources.iter().filter(|source| source.is("rs")) {
        let Some((krate, module)) = source.path.split_once("/src/") else {
            continue;
        };
        if ["lib.rs", "main.rs"].contains(&module) || module.starts_with("bin/") {
            continue;
        }
        let parents = match module.rsplit_once('/') {
            None => vec![format!("{krate}/src/lib.rs"), format!("{krate}/src/main.rs")],
            Some((parent, _)) => vec![format!("{krate}/src/{parent}.rs")],
        };
        let declaration = format!("mod {};", source.stem());
        let declared = parents.iter().filter_map(|parent| text_of(parent)).any(|text| {
            text.lines()
                .any(|line| line == declaration || line.ends_with(&format!(" {declaration}")))
        });
        assert!(declared, "{}: no `{declaration}` in {parents:?}", source.path);
        found += 1;
    }
    assert!(found > 20, "only {found} modules were found below {}", root().display());
}

#[test]
fn every_verb_is_in_the_manual() {
    let root = root();
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let table = read("appliance/control/src/options.rs");
    let manual = read("appliance/docs/CONTROL.md");
    let verbs: Vec<_> = table
        .lines()
        .map(str::trim_start)
        .filter_map(|line| line.strip_prefix("verb(\"").or(line.strip_prefix("long_verb(\"")))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(verbs.len() > 15, "the table of verbs is not where it was: {verbs:?}");
    for verb in verbs {
        assert!(manual.contains(&format!("--{verb}")), "CONTROL.md does not mention --{verb}");
    }
}

fn license(source: &Source) -> Vec<String> {
    if source.is("md") {
        return Vec::new();
    }
    let shebang = usize::from(source.text.starts_with("#!"));
    match source.text.lines().nth(shebang) {
        Some(line) if line.contains(LICENSE) => Vec::new(),
        _ => vec![source.finding(1, &format!("the first line is not `{LICENSE}`"))],
    }
}

/// Tables that rustfmt leaves alone may be wider, since breaking a row would hide its columns.
fn columns(source: &Source) -> Vec<String> {
    if source.is("md") {
        return Vec::new();
    }
    let mut table = false;
    let mut findings = Vec::new();
    for (number, line) in source.lines() {
        match line {
            "#[rustfmt::skip]" => table = true,
            "];" | "\"#;" | "}" => table = false,
            _ => {}
        }
        let columns = line.chars().count();
        if !table && columns > COLUMNS_MAX {
            findings.push(source.finding(number, &format!("{columns} columns")));
        }
    }
    findings
}

/// A function of formatted code ends with a brace in the column where it began.
fn function_length(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let lines: Vec<_> = source.lines().filter(|_| source.is("rs")).collect();
    for (index, (number, line)) in lines.iter().enumerate() {
        let code = line.trim_start();
        let qualifiers = code.split("fn ").next().unwrap_or(code);
        let is_function = code.contains("fn ")
            && qualifiers.split_whitespace().all(|word| {
                ["const", "async", "extern", "\"C\"", "unsafe"].contains(&word)
                    || word.starts_with("pub")
            });
        if !is_function || code.ends_with('}') || code.ends_with(';') {
            continue;
        }
        let indent = line.len() - code.len();
        let ends = |line: &str| {
            line.len() > indent
                && line.get(indent..).is_some_and(|rest| rest.starts_with(['}', ')']))
                && line.bytes().take(indent).all(|byte| byte == b' ')
                && (line.ends_with('}') || line.ends_with(';'))
        };
        let length = lines.iter().skip(index).position(|(_, line)| ends(line)).map_or(0, |n| n + 1);
        if length > FUNCTION_LINES_MAX {
            findings.push(source.finding(*number, &format!("a function of {length} lines")));
        }
    }
    findings
}

fn file_length(source: &Source) -> Vec<String> {
    let is_tests = source.stem() == "tests" || source.path.contains("/tests/");
    if !source.is("rs") || is_tests {
        return Vec::new();
    }
    let mut lines = source.lines().take_while(|(_, line)| !line.starts_with("mod tests"));
    let beyond = lines.nth(FILE_LINES_MAX);
    beyond
        .map(|(number, _)| source.finding(number, "more code than one file holds"))
        .into_iter()
        .collect()
}

fn names(source: &Source) -> Vec<String> {
    if !source.is("rs") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if EMPTY_NAMES.contains(&source.stem()) {
        findings.push(source.finding(1, "the file's name says nothing"));
    }
    for (number, line) in source.lines() {
        let declared = line.trim_end_matches([';', '{', ' ']).rsplit_once("mod ");
        if declared.is_some_and(|(_, name)| EMPTY_NAMES.contains(&name)) {
            findings.push(source.finding(number, "the module's name says nothing"));
        }
    }
    findings
}

fn safety(source: &Source) -> Vec<String> {
    if !source.is("rs") || UNSAFE_PLACES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let keyword = word("un", "safe");
    let uses = ["{", "fn ", "impl ", "extern ", "trait "].map(|next| format!("{keyword} {next}"));
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    let uses_it = |line: &str| uses.iter().any(|used| line.contains(used.as_str()));
    let found = source.lines().filter(|(_, line)| is_code(line) && uses_it(line));
    found.map(|(number, _)| source.finding(number, "code that the compiler cannot check")).collect()
}

fn promises(source: &Source) -> Vec<String> {
    let promise = word("TO", "DO");
    let kept = |rest: &str| {
        let number = rest.strip_prefix("(#").and_then(|rest| rest.split(')').next());
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let open = |line: &str| line.split(&promise).skip(1).any(|rest| !kept(rest));
    let found = source.lines().filter(|(_, line)| open(line));
    found.map(|(number, _)| source.finding(number, "a promise without an issue")).collect()
}

fn features(source: &Source) -> Vec<String> {
    if !PLAIN_CRATES.iter().any(|krate| source.path.starts_with(krate)) {
        return Vec::new();
    }
    let banned = [word("cfg(", "feature"), word("[feat", "ures]")];
    let found = source.lines().filter(|(_, line)| banned.iter().any(|word| line.contains(word)));
    found.map(|(number, _)| source.finding(number, "a cargo feature in a plain crate")).collect()
}

fn word(start: &str, end: &str) -> String {
    [start, end].concat()
}

fn long_function() -> String {
    let body = "        work();\n".repeat(69);
    format!("impl X {{\n    pub fn long() {{\n{body}    }}\n}}\n")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sources of the checkout: known extensions, and scripts without one.
fn checkout() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root(), "", &mut sources);
    sources
}

fn collect(directory: &Path, prefix: &str, sources: &mut Vec<Source>) {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    for entry in entries {
        let entry = entry.expect("an entry of a directory that can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("the type of a file that exists");
        if kind.is_dir() && !is_output(&name) {
            collect(&entry.path(), &format!("{path}/"), sources);
        } else if kind.is_file() && is_source(&name) {
            let bytes = fs::read(entry.path()).unwrap_or_else(|e| panic!("{path}: {e}"));
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            if name.contains('.') || name == "Makefile" || text.starts_with("#!") {
                sources.push(Source { path, text });
            }
        }
    }
}

/// Folders that hold no source: what builds and tests leave, recordings, and corpora.
fn is_output(name: &str) -> bool {
    let made = ["target", "corpus", "artifacts", "recordings", "results", "__pycache__"];
    let hidden = name.starts_with('.') && name != ".ci";
    hidden || name.starts_with("target-") || made.contains(&name)
}

fn is_source(name: &str) -> bool {
    match name.rsplit_once('.') {
        None => !["LICENSE", "COPYING"].contains(&name),
        Some((_, extension)) => {
            ["rs", "c", "h", "sh", "py", "toml", "rules", "md", "pkt"].contains(&extension)
        }
    }
}
