// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metrics port: `GET /metrics` over HTTP/1.1 (RFC 9112), one request per connection.
//!
//! Everything about a client is limited: the bytes of its request, the time until it has its
//! answer, and how many there are at once; beyond that they wait to be accepted. So whoever sends
//! half a request, or reads nothing, holds up nobody else. A page that took long to make serves all
//! who ask for ten times as long, so that pages cost a tenth of the management core at most.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

/// The longest request, in bytes, without a body.
const REQUEST_MAX: usize = 8 * 1024;
/// The end of a header.
const END: &[u8] = b"\r\n\r\n";
/// What is read and forgotten after the answer, in bytes; a reset would take the answer along.
const REST_MAX: u64 = 64 * 1024;
/// How long to wait when the system has no room for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    connections: usize,
    time: Duration,
}

/// How much longer a page holds than it took to make.
const PAGE_HOLDS: u32 = 10;

const ALLOWANCE: Allowance = Allowance { connections: 64, time: Duration::from_secs(5) };

/// Answers requests with what `render` gives, the text format of Prometheus, for ever; to be
/// spawned within a `LocalSet`.
pub async fn serve(listener: TcpListener, render: impl Fn() -> String + 'static) {
    serve_within(ALLOWANCE, listener, render).await;
}

async fn serve_within(
    allowance: Allowance,
    listener: TcpListener,
    render: impl Fn() -> String + 'static,
) {
    let page = Rc::new(Page { render, last: RefCell::new(None) });
    let places = Arc::new(Semaphore::new(allowance.connections));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((client, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let page = Rc::clone(&page);
        spawn_local(async move {
            // A client that is too slow or gone gets no answer, and nobody misses it.
            let _ = timeout(allowance.time, answer(client, &page)).await;
            drop(place);
        });
    }
}

/// The page, and until when it holds.
struct Page<R> {
    render: R,
    last: RefCell<Option<(Instant, Arc<str>)>>,
}

impl<R: Fn() -> String> Page<R> {
    fn get(&self) -> Arc<str> {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((until, page)) if Instant::now() < *until => Arc::clone(page),
            _ => {
                let begun = Instant::now();
                let page: Arc<str> = (self.render)().into();
                *last = Some((Instant::now() + begun.elapsed() * PAGE_HOLDS, Arc::clone(&page)));
                page
            }
        }
    }
}

async fn answer(mut client: TcpStream, page: &Page<impl Fn() -> String>) -> io::Result<()> {
    let request = read_request(&mut client).await?;
    let Response { head, body } = respond(request.as_deref(), page);
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await?;
    tokio::io::copy(&mut client.take(REST_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Reads up to the empty line that ends the header; none if it is too long.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::with_capacity(REQUEST_MAX);
    while request.len() < REQUEST_MAX {
        let room = (REQUEST_MAX - request.len()) as u64;
        let seen = request.len();
        if client.take(room).read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if has_end(&request[seen.saturating_sub(END.len())..]) {
            return Ok(Some(request));
        }
    }
    Ok(None)
}

/// Whether the header ends in these bytes; a bare line feed ends a line too (RFC 9112, 2.2).
fn has_end(bytes: &[u8]) -> bool {
    let has = |end: &[u8]| bytes.windows(end.len()).any(|found| found == end);
    has(END) || has(b"\n\n")
}

struct Response {
    head: String,
    body: Arc<str>,
}

fn respond(request: Option<&[u8]>, page: &Page<impl Fn() -> String>) -> Response {
    let Some(request) = request else {
        return refusal("431 Request Header Fields Too Large", "");
    };
    let Some((method, target)) = method_and_target(request) else {
        return refusal("400 Bad Request", "");
    };
    if target.split('?').next() != Some("/metrics") {
        return refusal("404 Not Found", "");
    }
    match method {
        "GET" => response("200 OK", "", page.get()),
        // The length is left out, since only making the page would tell it (RFC 9110, 9.3.2).
        "HEAD" => Response { head: head("200 OK", ""), body: "".into() },
        _ => refusal("405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
    }
}

fn method_and_target(request: &[u8]) -> Option<(&str, &str)> {
    let line = request.split(|byte| *byte == b'\n').next()?;
    let mut words = str::from_utf8(line).ok()?.trim_end().split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    (version.starts_with("HTTP/1.") && words.next().is_none()).then_some((method, target))
}

fn refusal(status: &str, fields: &str) -> Response {
    response(status, fields, format!("{status}; GET /metrics is what there is\n").into())
}

fn response(status: &str, fields: &str, body: Arc<str>) -> Response {
    let length = format!("Content-Length: {}\r\n{fields}", body.len());
    Response { head: head(status, &length), body }
}

fn head(status: &str, fields: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; version=0.0.4\r\n\
         {fields}\
         Connection: close\r\n\
         \r\n"
    )
}

#[cfg(test)]
mod tests;
