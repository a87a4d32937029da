// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman ctl` as a program, against a director that a test plays.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The program under test.
const POINTSMAN: &str = env!("CARGO_BIN_EXE_pointsman");

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pointsman-ctl-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// A director that accepts one client.
    fn director<T: Send + 'static>(
        &self,
        play: impl FnOnce(BufReader<UnixStream>) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let listener = UnixListener::bind(self.socket()).expect("a free path");
        thread::spawn(move || play(BufReader::new(listener.accept().expect("a client").0)))
    }

    fn ctl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(POINTSMAN);
        command.env_remove("POINTSMAN_SOCKET").arg("ctl").arg("--socket").arg(self.socket());
        command.args(words).stdin(Stdio::null());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(client: &mut impl BufRead) -> String {
    let mut line = String::new();
    client.read_line(&mut line).expect("a line of text");
    line
}

/// Answers the first line with `reply`, and returns that line.
fn answer(reply: &'static str) -> impl FnOnce(BufReader<UnixStream>) -> String {
    move |mut client| {
        let request = line(&mut client);
        client.get_mut().write_all(reply.as_bytes()).expect("a client that reads");
        request
    }
}

fn output(command: &mut Command) -> (i32, String, String) {
    seen(command.output().expect("the program runs"))
}

fn seen(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit status"), text(output.stdout), text(output.stderr))
}

fn fed(mut child: Child, input: &[u8]) -> (i32, String, String) {
    // A program that ended early does not read on.
    let _ = child.stdin.take().expect("a piped stdin").write_all(input);
    seen(child.wait_with_output().expect("the program ends"))
}

fn restore(folder: &Folder) -> Child {
    let mut command = folder.ctl(&["-R"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program runs")
}

/// Plays `-R`: its rules, after which `reply` is sent.
fn restored(reply: &'static str) -> impl FnOnce(BufReader<UnixStream>) -> Vec<String> {
    move |mut client| {
        assert_eq!(line(&mut client), "-R\n");
        let mut rules = Vec::new();
        loop {
            match line(&mut client) {
                end if end == ".\n" || end.is_empty() => break,
                rule => rules.push(rule),
            }
        }
        client.get_mut().write_all(reply.as_bytes()).expect("a client that reads");
        rules
    }
}

#[test]
fn the_body_goes_to_stdout_the_errors_to_stderr_and_the_status_is_the_exit_status() {
    let folder = Folder::new();
    let director = folder.director(answer("a\nb\nERR 255 2\nMemory allocation problem\n\nOK 0\n"));
    let (status, stdout, stderr) = output(&mut folder.ctl(&["-Ln"]));
    assert_eq!((status, stdout.as_str()), (255, "a\nb\n"));
    assert_eq!(stderr, "Memory allocation problem\n\n");
    assert_eq!(director.join().unwrap(), "-Ln\n");
}

#[test]
fn words_reach_the_director_as_they_were_written() {
    for (words, request) in [
        (&["-A", "-t=192.0.2:80", "-srr"][..], "-A -t=192.0.2:80 -srr\n"),
        (&[], "\n"),
        (&["-h"], "-h\n"),
        (&["-A", "-s", "", "a b"], "-A -s \"\" \"a b\"\n"),
        (&["-A", "-t", "no..host:80"], "-A -t no..host:80\n"),
    ] {
        let folder = Folder::new();
        let director = folder.director(answer("OK 0\n"));
        assert_eq!(output(&mut folder.ctl(words)), (0, String::new(), String::new()));
        assert_eq!(director.join().unwrap(), request);
    }
}

#[test]
fn a_host_name_is_resolved_before_the_director_sees_it() {
    let folder = Folder::new();
    let director = folder.director(answer("OK 0\n"));
    let (status, ..) = output(&mut folder.ctl(&["-a", "-t", "192.0.2.1:80", "-r", "localhost"]));
    assert_eq!(status, 0);
    assert_eq!(director.join().unwrap(), "-a -t 192.0.2.1:80 -r 127.0.0.1:80 -g -w 1\n");
}

#[test]
fn a_mistake_beside_a_host_name_is_reported_as_ipvsadm_does() {
    let folder = Folder::new();
    let director = folder.director(|mut client| line(&mut client));
    let words = ["-A", "-t", "localhost:80", "-q"];
    let expected = (255, String::new(), "-q: unknown option\n".to_owned());
    assert_eq!(output(&mut folder.ctl(&words)), expected);
    assert_eq!(director.join().unwrap(), "");
}

#[test]
fn a_listing_without_n_has_names() {
    let listing = "TCP  127.0.0.1:9 rr\nOK 0\n";
    for (words, shown) in
        [(&["-L"][..], "TCP  localhost:"), (&["-L", "-n"], "TCP  127.0.0.1:9 rr\n")]
    {
        let folder = Folder::new();
        let director = folder.director(answer(listing));
        let (_, stdout, _) = output(&mut folder.ctl(words));
        assert!(stdout.starts_with(shown), "{stdout}");
        director.join().unwrap();
    }
}

#[test]
fn the_environment_and_the_link_named_ipvsadm_need_no_arguments_of_ours() {
    let folder = Folder::new();
    let director = folder.director(answer("OK 0\n"));
    let link = folder.0.join("ipvsadm");
    symlink(POINTSMAN, &link).expect("a link");
    let mut command = Command::new(link);
    command.arg("--version").env("POINTSMAN_SOCKET", folder.socket());
    assert_eq!(output(&mut command).0, 0);
    assert_eq!(director.join().unwrap(), "--version\n");
}

#[test]
fn many_rules_are_sent_without_waiting_for_an_answer() {
    let folder = Folder::new();
    let director = folder.director(restored("OK 0\n"));
    let rule = |n: u32| format!("-A -t 10.{}.{}.{}:80 -s rr\n", n >> 16, n >> 8 & 255, n & 255);
    let rules: Vec<_> = (0..100_000).map(rule).collect();
    let outcome = fed(restore(&folder), rules.concat().as_bytes());
    assert_eq!(outcome, (0, String::new(), String::new()));
    assert_eq!(director.join().unwrap(), rules);
}

#[test]
fn a_rule_is_in_force_before_the_next_one_is_written() {
    let folder = Folder::new();
    let (tell, told) = mpsc::channel();
    let director = folder.director(move |mut client| {
        let lines = [line(&mut client), line(&mut client)];
        tell.send(lines).expect("a test that listens");
        assert_eq!(line(&mut client), ".\n");
        client.get_mut().write_all(b"OK 0\n").expect("a client that reads");
    });
    let mut child = restore(&folder);
    child.stdin.as_mut().expect("a piped stdin").write_all(b"-C\n").expect("a reader");
    let lines = told.recv_timeout(Duration::from_secs(10)).expect("the rule");
    assert_eq!(lines, ["-R\n", "-C\n"]);
    assert_eq!(fed(child, b"").0, 0);
    director.join().unwrap();
}

#[test]
fn rules_keep_their_quotes_and_lose_only_names_and_empty_lines() {
    let folder = Folder::new();
    let director = folder.director(restored("OK 0\n"));
    let input = "ipvsadm -A -t localhost:80 -s rr\r\n\n-A -s \"x y\"\n.\n# end\n-C";
    assert_eq!(fed(restore(&folder), input.as_bytes()).0, 0);
    let sent = ["-A -t 127.0.0.1:80 -s rr\n", "-A -s \"x y\"\n", " .\n", "# end\n", "-C\n"];
    assert_eq!(director.join().unwrap(), sent);
}

#[test]
fn a_rule_that_is_too_long_stays_one_rule() {
    let folder = Folder::new();
    let director = folder.director(restored("OK 0\n"));
    let mut input = vec![b'x'; 200_000];
    input.extend_from_slice(b"\n-C\n");
    assert_eq!(fed(restore(&folder), &input).0, 0);
    let rules = director.join().unwrap();
    assert!(rules[0].len() > 64 * 1024 + 1);
    assert_eq!(rules[1..], ["-C\n"]);
}

#[test]
fn a_wrong_rule_with_a_name_ends_a_restore_after_what_the_director_says() {
    let folder = Folder::new();
    let director = folder.director(restored("OK 1\nService already exists\n"));
    let input = "-A -t 192.0.2.1:80\n-A -t localhost:80 -p x\n-C\n";
    let (status, _, stderr) = fed(restore(&folder), input.as_bytes());
    assert_eq!(director.join().unwrap(), ["-A -t 192.0.2.1:80\n"]);
    let said = "Service already exists\ninvalid timeout value `x' specified\n";
    assert_eq!((status, stderr.as_str()), (2, said));
}

#[test]
fn an_unknown_option_beside_a_name_spoils_its_own_rule_only() {
    let folder = Folder::new();
    let director = folder.director(restored("OK 0\n"));
    let (status, _, stderr) = fed(restore(&folder), b"-A -t localhost:80 -q\n-C\n");
    assert_eq!(director.join().unwrap(), ["-C\n"]);
    assert_eq!((status, stderr.as_str()), (0, "-q: unknown option\n"));
}

#[test]
fn a_director_that_refuses_to_read_on_has_the_last_word() {
    let folder = Folder::new();
    let director = folder.director(answer("ERR 255 1\ntoo many clients; end one\n"));
    let rules = "-A -t 192.0.2.1:80 -s rr\n".repeat(100_000);
    let (status, _, stderr) = fed(restore(&folder), rules.as_bytes());
    assert_eq!((status, stderr.as_str()), (255, "too many clients; end one\n"));
    director.join().unwrap();
}

#[test]
fn without_a_director_the_remedy_is_named() {
    let folder = Folder::new();
    let (status, _, stderr) = output(&mut folder.ctl(&["-L"]));
    assert_eq!(status, 2);
    assert!(stderr.contains("start one with `pointsman run"), "{stderr}");
    drop(UnixListener::bind(folder.socket()).expect("a free path"));
    assert_eq!(output(&mut folder.ctl(&["-L"])), (status, String::new(), stderr));
}

#[test]
fn a_reply_without_an_end_is_no_success() {
    for part in ["", "TCP  192.0.2.1:80 rr\n", "TCP  192.0.2.1:80 rr\nOK", "ERR 2 1\n"] {
        let folder = Folder::new();
        let director = folder.director(answer(part));
        let (status, _, stderr) = output(&mut folder.ctl(&["-Ln"]));
        assert_eq!(status, 2, "{part}");
        assert!(stderr.contains("before it had answered"), "{stderr}");
        director.join().unwrap();
    }
}

#[test]
fn a_director_that_stops_during_a_restore_leaves_it_open_how_far_it_came() {
    let folder = Folder::new();
    let director = folder.director(|mut client| [line(&mut client), line(&mut client)]);
    let (status, _, stderr) = fed(restore(&folder), b"-C\n-A -t 192.0.2.1:80\n");
    let said = "the director stopped; the rules sent so far may be in force\n";
    assert_eq!((status, stderr.as_str()), (2, said));
    assert_eq!(director.join().unwrap(), ["-R\n", "-C\n"]);
}

#[test]
fn help_and_version_are_there_when_no_director_is() {
    let folder = Folder::new();
    let (status, stdout, stderr) = output(&mut folder.ctl(&["-v"]));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("ipvsadm v1.31 "), "{stdout}");
    assert!(output(&mut folder.ctl(&["--help"])).1.contains("--add-service"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_listing_quietly() {
    let folder = Folder::new();
    let director = folder.director(|mut client| {
        line(&mut client);
        let block = "TCP  192.0.2.1:80 rr\n".repeat(1000);
        // Endless: only a client that goes away ends it.
        while client.get_mut().write_all(block.as_bytes()).is_ok() {}
    });
    let mut command = folder.ctl(&["-Lnc"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut start = [0; 20];
    child.stdout.take().unwrap().read_exact(&mut start).expect("some output");
    let (status, _, stderr) = seen(child.wait_with_output().expect("it ends"));
    assert_eq!((status, stderr.as_str()), (141, ""));
    director.join().unwrap();
}

#[test]
fn a_socket_of_others_is_denied_with_the_remedy() {
    let folder = Folder::new();
    let _listener = UnixListener::bind(folder.socket()).expect("a free path");
    fs::set_permissions(folder.socket(), fs::Permissions::from_mode(0o000)).expect("ours");
    if UnixStream::connect(folder.socket()).is_ok() {
        // Root, whom no mode keeps out: let somebody else try.
        if !may_become_another(&folder.0) {
            return;
        }
        let words = ["ctl", "--socket"];
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", POINTSMAN]);
        assert_denied(command.args(words).arg(folder.socket()).arg("-L"));
        return;
    }
    assert_denied(&mut folder.ctl(&["-L"]));
}

fn may_become_another(folder: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "ls", POINTSMAN]);
    let readable = command.arg(folder).output().is_ok_and(|output| output.status.success());
    if !readable {
        eprintln!("skipped: nobody cannot run {POINTSMAN}");
    }
    readable
}

fn assert_denied(command: &mut Command) {
    let (status, _, stderr) = output(command);
    assert_eq!(status, 2);
    assert!(stderr.contains("permission denied; be root or in the group"), "{stderr}");
}
