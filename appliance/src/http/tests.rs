// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metrics port over real sockets.

use std::net::SocketAddr;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::*;

/// A short time for those who deserve none, and a long one to see that nobody else waited for it.
const QUICK: Allowance = Allowance { connections: 2, time: Duration::from_millis(300) };
const PATIENT: Allowance = Allowance { connections: 64, time: Duration::from_secs(60) };

const METRICS: &str = "pointsman_up 1\n";

/// Runs `client` against a port that serves `body`.
fn against<F: Future>(
    allowance: Allowance,
    body: &'static str,
    client: impl FnOnce(SocketAddr) -> F,
) -> F::Output {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        spawn_local(serve_within(allowance, listener, || body.to_owned()));
        timeout(PATIENT.time / 2, client(address)).await.expect("nobody waits that long")
    })
}

async fn connected(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a listening port");
    stream.write_all(request.as_bytes()).await.expect("a port that reads");
    stream
}

async fn reply(address: SocketAddr, request: &str) -> String {
    let mut reply = String::new();
    let mut stream = connected(address, request).await;
    stream.read_to_string(&mut reply).await.expect("an answer, and no reset");
    reply
}

#[test]
fn prometheus_gets_its_text() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
                 Content-Length: 15\r\nConnection: close\r\n\r\npointsman_up 1\n";
    for request in [
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
        "GET /metrics?name=up HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.0\n\n",
    ] {
        assert_eq!(against(PATIENT, METRICS, |port| reply(port, request)), whole, "{request}");
    }
    let request = "HEAD /metrics HTTP/1.1\r\n\r\n";
    let head = whole.strip_suffix(METRICS).unwrap();
    let head: String =
        head.split_inclusive('\n').filter(|line| !line.starts_with("Content-Length")).collect();
    assert_eq!(against(PATIENT, METRICS, |port| reply(port, request)), head);
}

#[test]
fn a_request_in_pieces_is_one_request() {
    let got = against(PATIENT, METRICS, |port| async move {
        let mut stream = connected(port, "GET /met").await;
        sleep(Duration::from_millis(20)).await;
        stream.write_all(b"rics HTTP/1.1\r\n\r").await.expect("a port that reads");
        sleep(Duration::from_millis(20)).await;
        stream.write_all(b"\n").await.expect("a port that reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.map(|_| reply)
    });
    assert!(got.expect("an answer").ends_with(METRICS));
}

#[test]
fn whatever_else_is_asked_is_refused_by_its_own_status() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 "),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 "),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 "),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405 "),
        ("GET /metrics\r\n\r\n", "400 "),
        ("GET /metrics HTTP/1.1 x\r\n\r\n", "400 "),
        ("GET /metrics HTTP/2\r\n\r\n", "400 "),
        ("\u{16}\u{3}\u{1}\n\n", "400 "),
    ] {
        let got = against(PATIENT, METRICS, |port| reply(port, request));
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {got}");
        assert_eq!(got.contains("Allow: GET, HEAD\r\n"), status == "405 ");
    }
}

#[test]
fn a_header_without_end_is_refused_before_it_fills_memory() {
    let request = format!("GET /metrics HTTP/1.1\r\nCookie: {}", "x".repeat(5 * REQUEST_MAX));
    let got = against(PATIENT, METRICS, |port| async move { reply(port, &request).await });
    assert!(got.starts_with("HTTP/1.1 431 "), "{got}");
}

#[test]
fn half_a_request_holds_up_nobody() {
    let got = against(PATIENT, METRICS, |port| async move {
        let _half = connected(port, "GET /metrics HTT").await;
        let _silent = connected(port, "").await;
        reply(port, "GET /metrics HTTP/1.1\r\n\r\n").await
    });
    assert!(got.ends_with(METRICS));
}

#[test]
fn a_client_that_never_reads_holds_up_nobody() {
    let large = "# a comment\n".repeat(4_000_000).leak();
    against(PATIENT, large, |port| async move {
        let _deaf = connected(port, "GET /metrics HTTP/1.1\r\n\r\n").await;
        let got = reply(port, "GET / HTTP/1.1\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 404 "));
    });
}

#[test]
fn a_place_is_free_again_when_its_time_is_up() {
    let got = against(QUICK, METRICS, |port| async move {
        let mut idle = Vec::new();
        for _ in 0..2 * QUICK.connections {
            idle.push(connected(port, "GET").await);
        }
        let got = reply(port, "GET /metrics HTTP/1.1\r\n\r\n").await;
        let mut byte = [0];
        assert!(matches!(idle[0].read(&mut byte).await, Ok(0)), "it was given up");
        got
    });
    assert!(got.ends_with(METRICS));
}

#[test]
fn beyond_the_limit_clients_wait() {
    against(PATIENT, METRICS, |port| async move {
        let mut idle = Vec::new();
        for _ in 0..PATIENT.connections {
            idle.push(connected(port, "GET").await);
        }
        let mut waiting = connected(port, "GET /metrics HTTP/1.1\r\n\r\n").await;
        let mut text = String::new();
        let early = timeout(Duration::from_millis(200), waiting.read_to_string(&mut text)).await;
        assert!(early.is_err(), "{text}");
        drop(idle.pop());
        waiting.read_to_string(&mut text).await.expect("an answer");
        assert!(text.ends_with(METRICS));
    });
}

#[test]
fn a_page_that_took_long_serves_all_who_ask_for_a_while() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket");
        let made = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&made);
        spawn_local(serve(listener, move || {
            count.set(count.get() + 1);
            std::thread::sleep(Duration::from_millis(if count.get() == 1 { 200 } else { 0 }));
            format!("page {}\n", count.get())
        }));
        reply(port, "HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert_eq!(made.get(), 0, "the header alone needs no page");
        for _ in 0..20 {
            assert!(reply(port, "GET /metrics HTTP/1.1\r\n\r\n").await.ends_with("page 1\n"));
        }
        sleep(Duration::from_secs(2)).await;
        for page in ["page 2\n", "page 3\n"] {
            assert!(reply(port, "GET /metrics HTTP/1.1\r\n\r\n").await.ends_with(page));
        }
    });
}
