// SPDX-License-Identifier: MIT OR Apache-2.0
//! Snapshots out to the workers, old ones back.
//!
//! Each worker has a mailbox of one slot in which the latest wins: the publisher swaps a snapshot
//! in and takes back one that was not read. A worker looks at one number between two batches; only
//! when that moved does it touch the slot. It sends the snapshot that it gives up back by a small
//! ring, so that nothing is ever freed on a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::atomic::AtomicCell;
use crossbeam::queue::ArrayQueue;
use lb::snapshot::Snapshot;

/// What the publisher and one worker share.
struct Mailbox {
    /// Generation of the snapshot put in last.
    offered: AtomicU64,
    /// Generation of the snapshot that the worker took last.
    taken: AtomicU64,
    slot: AtomicCell<Option<Arc<Snapshot>>>,
    returned: ArrayQueue<Arc<Snapshot>>,
}

/// Old snapshots on their way back from a worker; the publisher empties the ring each time, and a
/// worker takes one snapshot per offer.
const RETURNED: usize = 4;

/// The management side: gives every worker the latest snapshot.
pub struct Publisher {
    current: Arc<Snapshot>,
    mailboxes: Vec<Arc<Mailbox>>,
}

impl Publisher {
    /// A publisher, and an inbox for each of `workers` workers, which start with `first`.
    pub fn new(first: Arc<Snapshot>, workers: u16) -> (Self, Vec<Inbox>) {
        let mailbox = || {
            Arc::new(Mailbox {
                offered: AtomicU64::new(first.generation),
                taken: AtomicU64::new(first.generation),
                slot: AtomicCell::new(None),
                returned: ArrayQueue::new(RETURNED),
            })
        };
        let mailboxes: Vec<_> = (0..workers).map(|_| mailbox()).collect();
        let inboxes = mailboxes.iter().map(|mailbox| Inbox { mailbox: Arc::clone(mailbox) });
        let inboxes = inboxes.collect();
        (Self { current: first, mailboxes }, inboxes)
    }

    /// The snapshot published last.
    pub fn current(&self) -> &Arc<Snapshot> {
        &self.current
    }

    /// Gives every worker a snapshot, and frees what came back.
    pub fn publish(&mut self, snapshot: Snapshot) {
        self.current = Arc::new(snapshot);
        for mailbox in &self.mailboxes {
            drop(mailbox.slot.swap(Some(Arc::clone(&self.current))));
            mailbox.offered.store(self.current.generation, Ordering::Release);
        }
        self.collect();
    }

    /// Frees the snapshots that workers gave up.
    pub fn collect(&self) {
        for mailbox in &self.mailboxes {
            while mailbox.returned.pop().is_some() {}
        }
    }

    /// Whether every worker works by the snapshot published last.
    pub fn is_settled(&self) -> bool {
        let taken = |mailbox: &Arc<Mailbox>| mailbox.taken.load(Ordering::Acquire);
        self.mailboxes.iter().all(|mailbox| taken(mailbox) == self.current.generation)
    }
}

/// A worker's side.
pub struct Inbox {
    mailbox: Arc<Mailbox>,
}

impl Inbox {
    /// A snapshot newer than the one taken last, if there is one and the one that it replaces can
    /// be given back.
    #[inline]
    pub fn take(&mut self) -> Option<Arc<Snapshot>> {
        let mailbox = &self.mailbox;
        let offered = mailbox.offered.load(Ordering::Acquire);
        if offered == mailbox.taken.load(Ordering::Relaxed) || mailbox.returned.is_full() {
            return None;
        }
        mailbox.slot.take()
    }

    /// Gives back the snapshot that `taken` replaced, and says that it is in force.
    pub fn give_back(&mut self, old: Arc<Snapshot>, taken: u64) {
        let kept = self.mailbox.returned.push(old);
        debug_assert!(kept.is_ok(), "take() left room");
        self.mailbox.taken.store(taken, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb::catalog::Catalog;
    use lb::ids::Seed;
    use lb::limits::Limits;
    use lb::network::Network;
    use lb::snapshot::Changed;

    fn first() -> Snapshot {
        let limits = Limits { services: 4, servers: 4, connections: 4, ..Limits::DEFAULT };
        Snapshot::new(&Catalog::new(&limits), &Network::new(vec![]), Seed::fixed(1))
    }

    fn following(publisher: &Publisher) -> Snapshot {
        let limits = Limits { services: 4, servers: 4, connections: 4, ..Limits::DEFAULT };
        let (catalog, network) = (Catalog::new(&limits), Network::new(vec![]));
        publisher.current().next(&catalog, &network, Changed::ALL)
    }

    #[test]
    fn the_latest_snapshot_wins_and_the_old_one_is_freed_by_the_publisher() {
        let start = Arc::new(first());
        let (mut publisher, mut inboxes) = Publisher::new(Arc::clone(&start), 1);
        let inbox = &mut inboxes[0];
        assert!(publisher.is_settled() && inbox.take().is_none());
        for _ in 0..3 {
            publisher.publish(following(&publisher));
        }
        assert!(!publisher.is_settled());
        let taken = inbox.take().unwrap();
        assert_eq!(taken.generation, 3);
        inbox.give_back(start, taken.generation);
        assert!(publisher.is_settled() && inbox.take().is_none());
    }

    #[test]
    fn a_worker_frees_no_snapshot() {
        let (mut publisher, mut inboxes) = Publisher::new(Arc::new(first()), 1);
        let mut held = Arc::clone(publisher.current());
        let mut seen = vec![Arc::downgrade(&held)];
        for _ in 0..20 {
            publisher.publish(following(&publisher));
            let taken = inboxes[0].take().unwrap();
            let generation = taken.generation;
            let old = std::mem::replace(&mut held, taken);
            seen.push(Arc::downgrade(&held));
            let before: usize = seen.iter().map(std::sync::Weak::strong_count).sum();
            inboxes[0].give_back(old, generation);
            let after: usize = seen.iter().map(std::sync::Weak::strong_count).sum();
            assert_eq!(before, after, "giving back must not drop the last reference");
        }
        publisher.collect();
        let alive = seen.iter().filter(|weak| weak.strong_count() > 0).count();
        assert_eq!(alive, 1);
    }

    #[test]
    fn a_mailbox_takes_no_lock() {
        assert!(AtomicCell::<Option<Arc<Snapshot>>>::is_lock_free());
    }
}
