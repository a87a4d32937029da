// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker's side of a capture: a [`Witness`] that keeps what is wanted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use control::capture::Filter;
use control::command::Transport;
use lb::ids::{NicId, WorkerId};
use lb::limits::{BATCH, HELD_MAX};
use lb::verdict::{DropReason, Verdict};
use lb::witness::{Arrival, Choice, End, Fact, Meeting, Witness};
use wire::glance::Transport as Seen;
use wire::{Eth, Frame, Glance, glance};

use super::{Asides, LateDrops, OFF, Record, SNAP, Shared, Wanted, Way};

/// What a worker records with.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    filter: Option<Filter>,
    number: u64,
    now_ns: u64,
    /// The frames of the batch as they came.
    shots: Box<[Shot; BATCH]>,
    /// Frames that wait for a link-layer address, as they are to leave; [`HELD_MAX`] at most.
    held: Vec<Shot>,
}

/// The beginning of a frame as it came, and the connection that it is of.
#[derive(Clone, Copy, Debug)]
struct Shot {
    worker: WorkerId,
    nic: NicId,
    length: usize,
    head: [u8; SNAP],
    kept: usize,
    meeting: Option<Meeting>,
    asides: Asides,
}

const NO_ASIDES: Asides = Asides { rule: None, persisted: None, recycled: false, mss: None };
const NO_SHOT: Shot = Shot {
    worker: WorkerId(0),
    nic: NicId(0),
    length: 0,
    head: [0; SNAP],
    kept: 0,
    meeting: None,
    asides: NO_ASIDES,
};

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let shots = Box::new([NO_SHOT; BATCH]);
        let held = Vec::with_capacity(HELD_MAX);
        Self { shared, filter: None, number: OFF, now_ns: 0, shots, held }
    }

    /// Recording of what is dropped behind the worker.
    pub fn late_drops(&self) -> LateDrops {
        LateDrops::new(Arc::clone(&self.shared))
    }

    /// Learns whether something is wanted, once a turn; `now_ns` tells the time since the start.
    #[inline]
    pub fn turn(&mut self, now_ns: impl FnOnce() -> u64) {
        let asked = self.shared.asked.load(Ordering::Acquire);
        if asked != self.number {
            self.number = asked;
            self.held.clear();
            let order = self.shared.orders.pop();
            self.filter = order.filter(|(number, _)| *number == asked).map(|(_, filter)| filter);
        }
        if self.is_on() {
            self.now_ns = now_ns();
        }
    }

    /// Whether somebody captures.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.filter.is_some()
    }

    /// The frames that are wanted, and the time, for those dropped behind the worker.
    pub fn wanted(&self) -> Option<Wanted> {
        let (number, at_ns) = (self.number, self.now_ns);
        self.filter.map(|filter| Wanted { filter, number, at_ns })
    }

    /// A frame of the host's leaves by a NIC.
    pub fn host_sends(&mut self, worker: WorkerId, nic: NicId, frame: &impl Frame) {
        if self.filter == Some(Filter::Nic(nic)) {
            self.put(Shot::of(worker, nic, frame), Way::Out, None);
        }
    }

    fn put(&self, shot: Shot, way: Way, end: Option<End>) {
        let Shot { worker, nic, length, head, kept, meeting, asides } = shot;
        let (at_ns, number) = (self.now_ns, self.number);
        self.shared.put(Record {
            at_ns,
            worker,
            nic,
            way,
            end,
            meeting,
            asides,
            length,
            head,
            kept,
            number,
        });
    }
}

impl Shot {
    fn of(worker: WorkerId, nic: NicId, frame: &impl Frame) -> Self {
        let head = frame.head();
        let mut shot = Self { worker, nic, length: frame.len(), ..NO_SHOT };
        shot.kept = head.len().min(SNAP);
        shot.head.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        shot
    }

    /// The same frame as it leaves.
    fn leaving(&self, nic: NicId, frame: &impl Frame) -> Self {
        let Self { worker, meeting, asides, .. } = *self;
        Self { meeting, asides, ..Self::of(worker, nic, frame) }
    }

    fn head(&self) -> &[u8] {
        self.head.get(..self.kept).unwrap_or_default()
    }

    /// Whether both are the same packet, whatever their link-layer addresses.
    fn is_same_packet(&self, other: &Self) -> bool {
        let packets = [self, other].map(|shot| shot.head().get(size_of::<Eth>()..));
        self.length == other.length && packets[0] == packets[1]
    }

    /// Whether the frame is of a service: of one of its connections, or sent to it.
    fn is_of(&self, transport: Transport, address: IpAddr, port: u16) -> bool {
        let is_service = |end: SocketAddr, protocol: u8| {
            let same = end.ip() == address && (port == 0 || end.port() == port);
            same && protocol == number(transport)
        };
        match (self.meeting, glance(self.head())) {
            (Some(meeting), _) => is_service(meeting.vip, meeting.protocol.number()),
            (None, Glance::Ip(packet)) => match packet.transport {
                Seen::Ports(_, to, _) => {
                    is_service(SocketAddr::new(packet.destination, to), packet.protocol)
                }
                _ => false,
            },
            (None, _) => false,
        }
    }
}

/// The protocol's number in an IP header.
fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
        Transport::Sctp => 132,
    }
}

fn is_drop(end: End) -> bool {
    matches!(end, End::Verdict(Verdict::Drop(_)) | End::Answered(..))
}

impl Witness for Recorder {
    fn arrived(&mut self, index: u8, arrival: impl FnOnce() -> Arrival, frame: &impl Frame) {
        if let Some(shot) = self.shots.get_mut(usize::from(index)) {
            let Arrival { worker, nic, .. } = arrival();
            *shot = Shot::of(worker, nic, frame);
        }
    }

    fn note(&mut self, index: u8, fact: impl FnOnce() -> Fact) {
        let Some(shot) = self.shots.get_mut(usize::from(index)) else { return };
        match fact() {
            Fact::Found(meeting) | Fact::Opened(meeting) | Fact::Tracked(meeting) => {
                shot.meeting = Some(meeting);
            }
            Fact::Service(matched) => shot.asides.rule = matched.and_then(|matched| matched.rule),
            Fact::Persisted(how) => shot.asides.persisted = Some(how),
            Fact::Recycled => shot.asides.recycled = true,
            Fact::Clamped(most) => shot.asides.mss = Some(most),
            _ => {}
        }
    }

    fn chose<'s>(&mut self, _: u8, _: impl FnOnce() -> Option<Choice<'s>>) {}

    fn settled(&mut self, index: u8, end: End, frame: &impl Frame) {
        let Some(shot) = self.shots.get(usize::from(index)).copied() else { return };
        let out = match end {
            // It is recorded by the worker that owns the flow, or when its wait is over.
            End::Verdict(Verdict::HandOff(..)) | End::AwaitsFirst => return,
            End::Verdict(Verdict::Transmit(nic)) | End::Answered(nic, _) => Some(nic),
            End::Verdict(_) | End::Held(_) => None,
        };
        let (came, left) = match self.filter {
            None => (false, false),
            Some(Filter::Nic(nic)) => (shot.nic == nic, out == Some(nic)),
            Some(Filter::Drops) => (is_drop(end), false),
            Some(Filter::Service { transport, address, port }) => {
                let is_of = shot.is_of(transport, address, port);
                (is_of, is_of && out.is_some())
            }
        };
        if came {
            self.put(shot, Way::In, Some(end));
        }
        if let Some(nic) = out.filter(|_| left) {
            self.put(shot.leaving(nic, frame), Way::Out, Some(end));
        }
        if let End::Held(neighbour) = end
            && self.held.len() < HELD_MAX
        {
            self.held.push(shot.leaving(neighbour.nic, frame));
        }
    }

    fn released(&mut self, nic: NicId, verdict: Verdict, frame: &impl Frame) {
        let (end, mut shot) = (End::Verdict(verdict), Shot::of(WorkerId(0), nic, frame));
        shot.worker = self.shots.first().map_or(WorkerId(0), |shot| shot.worker);
        if let Some(place) = self.held.iter().position(|held| held.is_same_packet(&shot)) {
            shot = self.held.swap_remove(place).leaving(nic, frame);
        }
        let wanted = match self.filter {
            None => false,
            Some(Filter::Nic(only)) => only == nic,
            Some(Filter::Drops) => is_drop(end),
            Some(Filter::Service { transport, address, port }) => {
                shot.is_of(transport, address, port)
            }
        };
        if wanted {
            self.put(shot, Way::Out, Some(end));
        }
    }

    fn answered(&mut self, nic: NicId, reason: DropReason, answer: &impl Frame) {
        if self.filter == Some(Filter::Nic(nic)) {
            let worker = self.shots.first().map_or(WorkerId(0), |shot| shot.worker);
            let shot = Shot::of(worker, nic, answer);
            self.put(shot, Way::Out, Some(End::Answered(nic, reason)));
        }
    }
}
