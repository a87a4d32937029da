// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's routes, neighbours and addresses, mirrored as they change.
//!
//! A task on the management core reads everything once and then follows the kernel's
//! announcements; if some were lost it reads everything again. Nothing is polled. A burst of
//! announcements becomes one [`NetworkChange`], and while the receiver is busy changes are merged,
//! so that it always gets the latest state and never a queue of old ones.
//!
//! The other direction: the kernel sees none of the forwarded packets, so it would never resolve a
//! server and would let a busy neighbour grow stale. [`Mirror::ask`] and [`Mirror::keep_alive`]
//! make it do so with `NTF_USE`, as if the host itself had a packet to send.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::Duration;

use lb::ids::NicId;
use lb::network::Neighbour;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::kernel::{Announcement, Announcements, Kernel};
use super::view::{NetworkChange, View};

/// How long a burst of announcements is gathered before it is acted on.
const BURST: Duration = Duration::from_millis(3);
/// Reading the tables takes at most one part in so many of the task's time, however often routes
/// change.
const READING_SHARE: u32 = 10;
/// How long to wait after the kernel refused an answer.
const RETRY: Duration = Duration::from_secs(1);
/// Neighbours in use are kept alive in so many portions, one a second; well within the time in
/// which the kernel lets an unused neighbour grow stale (`base_reachable_time`, 30 s).
const PORTIONS: usize = 10;
const PORTION_EVERY: Duration = Duration::from_secs(1);
/// Neighbours that may wait to be asked for.
const ASKS_MAX: usize = 1024;

/// The mirror's hold on its task, which ends when this is dropped.
pub struct Mirror {
    asks: mpsc::Sender<Neighbour>,
    in_use: watch::Sender<Vec<Neighbour>>,
}

impl Mirror {
    /// Starts to mirror what concerns these host interfaces, in this thread's network namespace.
    ///
    /// The first change is ready on return and holds everything. An interface that does not exist
    /// yet is mirrored as soon as it does. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The kernel offers no rtnetlink socket, or does not answer.
    pub async fn start(
        interfaces: Vec<(String, NicId)>,
    ) -> Result<(Self, mpsc::Receiver<NetworkChange>), MirrorError> {
        // Subscribed first: what changes while the tables are read is announced.
        let announcements = Announcements::subscribe().map_err(MirrorError::Socket)?;
        let kernel = Kernel::connect().map_err(MirrorError::Socket)?;
        let mut view = View::new(interfaces);
        view.read_tables(&kernel).await?;
        view.read_neighbours(&kernel).await?;

        let (changes, receiver) = mpsc::channel(1);
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (in_use, kept) = watch::channel(Vec::new());
        let mut follower = Follower::new(announcements, kernel, view);
        follower.tell(&changes);
        tokio::spawn(follower.run(changes, asked, kept));
        Ok((Self { asks, in_use }, receiver))
    }

    /// Makes the kernel resolve a neighbour that is not known; the answer is a [`NetworkChange`].
    ///
    /// Does not wait. One of too many questions at once is dropped: ask again with the next packet.
    pub fn ask(&self, neighbour: Neighbour) {
        let _ = self.asks.try_send(neighbour);
    }

    /// Replaces the list of neighbours that are kept known although the kernel sees no packet.
    pub fn keep_alive(&self, in_use: Vec<Neighbour>) {
        self.in_use.send_replace(in_use);
    }
}

/// Why the kernel's network cannot be mirrored.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// No socket.
    #[error("cannot open an rtnetlink socket ({0}): the kernel must offer NETLINK_ROUTE")]
    Socket(io::Error),
    /// No answer.
    #[error("the kernel does not tell its links, addresses, routes or neighbours: {0}")]
    Answer(#[from] rtnetlink::Error),
}

/// The task.
struct Follower {
    announcements: Announcements,
    kernel: Kernel,
    view: View,
    tables_stale: bool,
    neighbours_stale: bool,
    /// When to act on what was announced.
    due: Option<Instant>,
    read_not_before: Instant,
    /// Counts the portions of neighbours that were kept alive.
    round: usize,
}

impl Follower {
    fn new(announcements: Announcements, kernel: Kernel, view: View) -> Self {
        Self {
            announcements,
            kernel,
            view,
            tables_stale: false,
            neighbours_stale: false,
            due: None,
            read_not_before: Instant::now(),
            round: 0,
        }
    }

    async fn run(
        mut self,
        changes: mpsc::Sender<NetworkChange>,
        mut asked: mpsc::Receiver<Neighbour>,
        in_use: watch::Receiver<Vec<Neighbour>>,
    ) {
        let mut portions = interval(PORTION_EVERY);
        portions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                heard = self.announcements.next() => match heard {
                    Ok(announced) => self.hear(&announced),
                    Err(error) => self.listen_anew(&error).await,
                },
                () = sleep_until(due), if self.due.is_some() => {
                    self.read_what_is_stale().await;
                    self.tell(&changes);
                }
                room = changes.reserve(), if self.due.is_none() && self.view.has_news() => {
                    match room {
                        Ok(place) => place.send(self.view.take_news()),
                        Err(_) => return,
                    }
                }
                neighbour = asked.recv() => match neighbour {
                    Some(neighbour) => self.ask(neighbour).await,
                    None => return,
                },
                _ = portions.tick() => {
                    let portion = portion(&in_use.borrow(), self.round);
                    self.round = self.round.wrapping_add(1);
                    for neighbour in portion {
                        self.ask(neighbour).await;
                    }
                }
            }
        }
    }

    fn hear(&mut self, announced: &[Announcement]) {
        for announcement in announced {
            match announcement {
                Announcement::Neighbour(entry) => self.view.learn(entry),
                Announcement::NeighbourGone(entry) => self.view.forget(entry),
                Announcement::TablesChanged => self.tables_stale = true,
                Announcement::Missed => {
                    tracing::warn!("kernel announcements were lost; its tables are read again");
                    self.all_is_stale();
                }
            }
        }
        if self.is_stale() || self.view.has_news() {
            self.act_within(BURST);
        }
    }

    async fn listen_anew(&mut self, error: &io::Error) {
        tracing::warn!("cannot hear the kernel's announcements ({error}); trying again");
        tokio::time::sleep(RETRY).await;
        if let Ok(announcements) = Announcements::subscribe() {
            self.announcements = announcements;
        }
        self.all_is_stale();
        self.act_within(BURST);
    }

    async fn read_what_is_stale(&mut self) {
        self.due = None;
        let started = Instant::now();
        if !self.is_stale() {
            return;
        }
        if started < self.read_not_before {
            self.due = Some(self.read_not_before);
            return;
        }
        match self.read().await {
            Ok(()) => self.read_not_before = Instant::now() + started.elapsed() * READING_SHARE,
            Err(error) => {
                tracing::warn!("{}; trying again", MirrorError::Answer(error));
                if let Ok(kernel) = Kernel::connect() {
                    self.kernel = kernel;
                }
                self.read_not_before = Instant::now() + RETRY;
                self.due = Some(self.read_not_before);
            }
        }
    }

    async fn read(&mut self) -> Result<(), rtnetlink::Error> {
        if self.tables_stale {
            self.neighbours_stale |= self.view.read_tables(&self.kernel).await?;
            self.tables_stale = false;
        }
        if self.neighbours_stale {
            self.view.read_neighbours(&self.kernel).await?;
            self.neighbours_stale = false;
        }
        Ok(())
    }

    /// Tells the news if the receiver has room; else they wait and grow.
    fn tell(&mut self, changes: &mpsc::Sender<NetworkChange>) {
        if self.view.has_news()
            && let Ok(place) = changes.try_reserve()
        {
            place.send(self.view.take_news());
        }
    }

    async fn ask(&self, neighbour: Neighbour) {
        let Some(link) = self.view.where_to_ask(neighbour) else {
            return;
        };
        if let Err(error) = self.kernel.resolve(link, neighbour.address).await {
            tracing::debug!("the kernel does not resolve {}: {error}", neighbour.address);
        }
    }

    fn is_stale(&self) -> bool {
        self.tables_stale || self.neighbours_stale
    }

    fn all_is_stale(&mut self) {
        self.tables_stale = true;
        self.neighbours_stale = true;
    }

    fn act_within(&mut self, time: Duration) {
        let at = Instant::now() + time;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// The neighbours whose turn it is in a round. The turn is the neighbour's own, not its place in a
/// list that is replaced all the time.
fn portion(in_use: &[Neighbour], round: usize) -> Vec<Neighbour> {
    let turn = |neighbour: &Neighbour| {
        let mut hasher = DefaultHasher::new();
        neighbour.hash(&mut hasher);
        hasher.finish() % PORTIONS as u64 == (round % PORTIONS) as u64
    };
    in_use.iter().copied().filter(turn).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_neighbour_in_use_has_its_turn_once_in_ten_rounds() {
        let neighbour =
            |n: u32| Neighbour { nic: NicId(0), address: Ipv4Addr::from_bits(n).into() };
        let in_use: Vec<_> = (0..25).map(neighbour).collect();
        let reversed: Vec<_> = in_use.iter().rev().copied().collect();
        for start in [0, 10, 13] {
            let lists = [&in_use, &reversed].into_iter().cycle();
            let rounds = (start..start + 10).zip(lists);
            let mut turns: Vec<_> = rounds.flat_map(|(round, list)| portion(list, round)).collect();
            turns.sort();
            assert_eq!(turns, in_use, "from round {start}");
        }
    }
}
