// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients on real sockets, and a director without workers.

use std::path::{Path, PathBuf};
use std::thread;

use control::apply::Pace;
use control::config::Owner;
use lb::catalog::Catalog;
use lb::counters::{Figures, ServerCounts};
use lb::limits::Limits;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::*;

/// A plane on which every change succeeds.
struct NoWorkers;

impl Plane for NoWorkers {
    fn publish(&mut self, _: &Catalog, _: Pace) {}

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }

    fn nat_conflict(&self) -> Option<&'static str> {
        Owner::Hash.nat_conflict()
    }
}

const SERVICES: u32 = 2000;

fn director() -> Director<NoWorkers> {
    let limits = Limits { services: SERVICES, servers: 1, connections: 1, ..Limits::DEFAULT };
    let figures = Figures::new(Vec::new(), ServerCounts::new(&limits), &limits);
    Director::new(Catalog::new(&limits), figures, NoWorkers)
}

/// Serves a director within an allowance, and gives `with` a way to connect.
fn serving<F: Future<Output = ()>>(
    allowance: Allowance,
    readers: Vec<Reader>,
    with: impl FnOnce(PathBuf) -> F,
) {
    let cameras = Cameras { readers: Vec::new(), start: std::time::Instant::now() };
    let name = format!("pointsman-listen-{:?}-{}", thread::current().id(), std::process::id());
    let path = std::env::temp_dir().join(name);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::bind(&path).unwrap();
        spawn_local(serve(listener, Rc::new(Desk::new(director(), readers, cameras, allowance))));
        timeout(Duration::from_secs(20), with(path.clone())).await.expect("nobody waits that long");
    });
    std::fs::remove_file(path).unwrap();
}

async fn connected(path: &Path, text: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn line(client: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line
}

/// All that the director still says, until it closes the connection.
async fn rest(client: &mut BufReader<UnixStream>) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    rest
}

/// Makes `-L` answer with some 40 KB.
async fn fill(path: &Path) {
    let rule = |n: u32| format!("-A -t 192.0.{}.{}:80 -s rr\n", n >> 8, n & 255);
    let rules: String = (0..SERVICES).map(rule).collect();
    let mut client = connected(path, &format!("-R\n{rules}.\n")).await;
    assert_eq!(line(&mut client).await, "OK 0\n");
}

#[test]
fn a_client_beyond_the_limit_is_told_so_and_others_go_on() {
    let allowance = Allowance { clients: 2, ..Allowance::default() };
    serving(allowance, Vec::new(), |path| async move {
        let mut first = connected(&path, "-C\n").await;
        assert_eq!(line(&mut first).await, "OK 0\n");
        let second = connected(&path, "").await;
        let said = "ERR 255 1\n2 clients are connected, which is the limit; end one of them\n";
        assert_eq!(rest(&mut connected(&path, "").await).await, said);
        drop(second);
        first.get_mut().write_all(b"-C\n").await.unwrap();
        assert_eq!(line(&mut first).await, "OK 0\n");
        let mut fourth = connected(&path, "-C\n").await;
        assert_eq!(line(&mut fourth).await, "OK 0\n");
    });
}

#[test]
fn silence_between_requests_ends_without_a_word_and_between_rules_with_one() {
    let allowance = Allowance { silence: Duration::from_millis(100), ..Allowance::default() };
    serving(allowance, Vec::new(), |path| async move {
        assert_eq!(rest(&mut connected(&path, "").await).await, "");
        assert_eq!(rest(&mut connected(&path, "-C\n").await).await, "OK 0\n");
        let said = "ERR 255 1\nno rule came for 0 s; those before it are in force\n";
        assert_eq!(rest(&mut connected(&path, "-R\n-C\n").await).await, said);
    });
}

#[test]
fn half_a_line_ends_even_if_it_goes_on_byte_by_byte() {
    let allowance = Allowance { line: Duration::from_millis(200), ..Allowance::default() };
    serving(allowance, Vec::new(), |path| async move {
        let client = connected(&path, "-C").await;
        let (reader, mut writer) = client.into_inner().into_split();
        spawn_local(async move {
            while writer.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let mut said = String::new();
        let _ = BufReader::new(reader).read_to_string(&mut said).await;
        assert_eq!(said, "ERR 255 1\nthe line did not end within 0 s\n");
    });
}

#[test]
fn many_lines_in_pieces_are_no_half_line() {
    let allowance = Allowance { line: Duration::from_millis(300), ..Allowance::default() };
    serving(allowance, Vec::new(), |path| async move {
        let mut client = connected(&path, "-").await;
        for _ in 0..10 {
            client.get_mut().write_all(b"C\n-").await.unwrap();
            assert_eq!(line(&mut client).await, "OK 0\n");
            sleep(Duration::from_millis(60)).await;
        }
    });
}

#[test]
fn replies_that_nobody_reads_fill_a_limited_memory_and_changes_go_on() {
    let allowance = Allowance { unread_bytes: 100_000, ..Allowance::default() };
    serving(allowance, Vec::new(), |path| async move {
        fill(&path).await;
        let mut deaf = Vec::new();
        for _ in 0..5 {
            deaf.push(connected(&path, &"-L -n\n".repeat(20)).await);
        }
        sleep(Duration::from_millis(200)).await;
        let mut client = connected(&path, "-L -n\n-D -t 192.0.0.0:80\n").await;
        assert_eq!(line(&mut client).await, "ERR 255 1\n");
        assert_eq!(line(&mut client).await, format!("{TOO_MUCH_UNREAD}\n"));
        assert_eq!(line(&mut client).await, "OK 0\n");
        drop(deaf);
        sleep(Duration::from_millis(200)).await;
        client.get_mut().write_all(b"-L -n\n").await.unwrap();
        assert_eq!(line(&mut client).await, "IP Virtual Server version 1.2.1 (size=4096)\n");
    });
}

#[test]
fn a_worker_that_does_not_answer_is_named() {
    let (reader, _lister) = crate::listing::pair();
    serving(Allowance::default(), vec![reader], |path| async move {
        let said = rest_after_two_lines(&path).await;
        assert!(said.starts_with("ERR 255 1\nworker 0 did not list its connections"), "{said}");
    });
}

async fn rest_after_two_lines(path: &Path) -> String {
    let mut client = connected(path, "-L -n -c\n").await;
    client.get_mut().shutdown().await.unwrap();
    let (_, _) = (line(&mut client).await, line(&mut client).await);
    rest(&mut client).await
}

/// The bytes of memory that this process has in use (proc(5), `statm`).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_thousand_clients_of_every_kind_do_not_keep_one_from_its_answer() {
    make_room_for(2 * 1100);
    serving(Allowance::default(), Vec::new(), |path| async move {
        fill(&path).await;
        let before = resident_bytes();
        let mut others = Vec::new();
        for _ in 0..330 {
            others.push(connected(&path, "-A -t 192.0.2.").await);
            others.push(connected(&path, &"-L -n\n".repeat(50)).await);
            others.push(connected(&path, "").await);
        }
        let endless = connected(&path, "").await;
        let sending = spawn_local(async move {
            let (mut stream, piece) = (endless.into_inner(), vec![b'x'; 1 << 20]);
            for _ in 0..64 {
                stream.write_all(&piece).await.unwrap();
            }
            stream.write_all(b"\n-D -t 192.0.0.1:80\n").await.unwrap();
            stream
        });
        for number in 0..20 {
            let mut client = connected(&path, "-E -t 192.0.0.0:80 -s rr\n").await;
            assert_eq!(line(&mut client).await, "OK 0\n", "client {number}");
        }
        let mut endless = BufReader::new(sending.await.unwrap());
        assert_eq!(line(&mut endless).await, "ERR 2 1\n");
        line(&mut endless).await;
        assert_eq!(line(&mut endless).await, "OK 0\n");
        let grown = resident_bytes().saturating_sub(before);
        let bound = 2 * Allowance::default().unread_bytes;
        assert!(grown < bound, "{grown} bytes for a thousand clients");
        drop(others);
    });
}
