// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--capture`: the records of all workers as a pcapng file, streamed to the client that asked.
//!
//! One capture at a time. Records are taken every few milliseconds, put in order of time and
//! written; a client that reads slowly makes the workers' queues full, never the workers wait. It
//! ends when it has its frames, when its time is up, or when the client has nothing more to say.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use control::apply::Plane;
use control::capture::{Order, put_line};
use control::reply::Reply;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::time::sleep;

use super::{Client, TOO_MUCH_UNREAD};
use crate::capture::{Reader, Record, pcapng};

/// How often records are taken.
const TAKE_EVERY: Duration = Duration::from_millis(2);
/// How often an empty line says that the capture goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// What a capture keeps in memory, in bytes: records of all workers, and the text made of them.
const CAPTURE_BYTES: usize = 4 * 1024 * 1024;
/// What a client is told while another one captures.
const BUSY: &str = "another capture goes on; wait for its end, or end it (Ctrl-C)";

/// The recorders of all workers.
#[derive(Debug)]
pub struct Cameras {
    /// One of each worker.
    pub readers: Vec<Reader>,
    /// When the workers' time began.
    pub start: Instant,
}

impl Cameras {
    /// What time it was when time began, since 1970.
    fn epoch(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.start.elapsed())
    }

    /// Takes what all workers recorded, in order of time.
    fn take(&mut self, records: &mut Vec<Record>) {
        records.clear();
        self.readers.iter_mut().for_each(|reader| reader.take(records));
        records.sort_by_key(|record| record.at_ns);
    }

    fn missed(&self) -> u64 {
        self.readers.iter().map(Reader::missed).sum()
    }

    fn end(&mut self) -> u64 {
        self.readers.iter_mut().map(Reader::end).sum()
    }
}

impl<P: Plane> Client<P> {
    /// Streams a capture and tells, at its end, how many frames it has and lacks.
    pub(super) async fn capture(&mut self, order: Order) -> io::Result<()> {
        let desk = self.desk.clone();
        let Ok(mut cameras) = desk.cameras.try_lock() else {
            return self.answer(Reply::error(255, BUSY)).await;
        };
        let Some(_unread) = desk.unread.admit(CAPTURE_BYTES) else {
            return self.answer(Reply::error(255, TOO_MUCH_UNREAD)).await;
        };
        let nics = desk.director.borrow_mut().plane().nic_names();
        let file = pcapng::File::new(nics, cameras.epoch());
        let mut file = file.map_err(io::Error::other)?;
        cameras.readers.iter_mut().for_each(|reader| reader.begin(order.filter));
        let streamed = self.stream(order, &mut cameras, &mut file).await;
        let missed = cameras.end();
        let (count, missed_before) = streamed?;
        let missed = missed_before.unwrap_or(missed);
        let summary = format!("{count} frames captured, {missed} lost because they came too fast");
        self.answer(Reply { errors: vec![summary], ..Reply::done() }).await
    }

    /// Returns how many frames were written and, if that was enough, how many were lost until
    /// then.
    async fn stream(
        &mut self,
        order: Order,
        cameras: &mut Cameras,
        file: &mut pcapng::File,
    ) -> io::Result<(u32, Option<u64>)> {
        let (mut records, mut line) = (Vec::new(), String::new());
        let until = Instant::now() + Duration::from_secs(order.seconds.into());
        let (mut count, mut missed, mut written) = (0, 0, Instant::now());
        put_line(&mut line, &file.take());
        while count < order.count && Instant::now() < until && !self.has_hung_up() {
            if !line.is_empty() || written.elapsed() > SIGN_OF_LIFE {
                line.push_str(if line.is_empty() { "\n" } else { "" });
                self.write(line.as_bytes()).await?;
                line.clear();
                written = Instant::now();
            }
            sleep(TAKE_EVERY).await;
            cameras.take(&mut records);
            let room = usize::try_from(order.count - count).unwrap_or(usize::MAX);
            for record in records.iter().take(room) {
                file.put(record).map_err(io::Error::other)?;
                put_line(&mut line, &file.take());
                count += 1;
            }
            if count < order.count {
                missed = cameras.missed();
            }
        }
        self.write(line.as_bytes()).await?;
        Ok((count, (count >= order.count).then_some(missed)))
    }

    /// Whether the client has closed its side: what it sends is left for later.
    fn has_hung_up(&self) -> bool {
        let mut byte = [0];
        let looked = recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match looked {
            Ok((_, count)) => count == 0,
            Err(error) => error != Errno::AGAIN && error != Errno::INTR,
        }
    }
}
