// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connections of one family: table, timer wheel, and the counts that must stay true to them.

use arrayvec::ArrayVec;
use wire::{L4, SctpEvent, TcpFlags};

use crate::conn::expiry::Wheel;
use crate::conn::half_open::HalfOpen;
use crate::conn::recycle::Looks;
use crate::conn::sctp_state;
use crate::conn::table::{ConnTable, Full, Probe};
use crate::conn::tcp_state::{self, State};
use crate::conn::{Conn, ConnRecord, Direction};
use crate::counters::ServerCounts;
use crate::family::Balanced;
use crate::fragments::Alone;
use crate::ids::{ConnId, Tick};
use crate::limits::EXPIRE_PER_POLL;
use crate::persist::templates::{Leaving, TemplateId};
use crate::regime::Regime;
use crate::verdict::DropReason;

/// A worker's connections of one family.
#[derive(Debug)]
pub struct Flows<'m, F: Balanced> {
    conns: ConnTable<'m, F>,
    wheel: Wheel,
    cold: Box<[Cold]>,
    pub(crate) half_open: HalfOpen,
    pub(crate) looks: Looks,
    pub(crate) recycled: u64,
    pub(crate) dropped_at_random: u64,
    /// What was done to the last datagram that was scheduled alone; its later fragments follow.
    pub(crate) alone: Option<Alone<F>>,
}

/// What of a connection is touched at its beginning and end only; beside the table.
#[derive(Clone, Copy, Debug, Default)]
struct Cold {
    /// The persistence template that it is under.
    template: Option<TemplateId>,
}

/// What one call of expiry did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    /// Connections that ended.
    pub(crate) ended: u64,
    /// Whether there may be more to do at this moment.
    pub(crate) more: bool,
}

/// How long a connection waits for its first packet, in seconds (`ip_vs_conn_new`).
const EXPECTED_S: u32 = 3;

/// Where a listing of connections goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u32);

impl<'m, F: Balanced> Flows<'m, F> {
    /// Connections in an empty table, at most `half_open_max` of them half-open.
    pub fn new(conns: ConnTable<'m, F>, half_open_max: u32, now: Tick) -> Self {
        let capacity = conns.capacity();
        Self {
            conns,
            wheel: Wheel::new(now),
            cold: vec![Cold::default(); capacity as usize].into(),
            half_open: HalfOpen::new(capacity, half_open_max),
            looks: Looks::default(),
            recycled: 0,
            dropped_at_random: 0,
            alone: None,
        }
    }

    /// The table.
    #[inline]
    pub fn conns(&self) -> &ConnTable<'m, F> {
        &self.conns
    }

    /// A connection, to complete its actions.
    #[inline]
    pub(crate) fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn<F>> {
        self.conns.conn_mut(id)
    }

    /// The connection that a look-up points at first, and the direction; only a comparison of keys
    /// says whether the packet is of it.
    #[inline]
    pub(crate) fn candidate(&mut self, probe: Probe) -> Option<(Direction, &mut Conn<F>)> {
        self.conns.candidate(probe)
    }

    /// Whether a connection is under a persistence template.
    pub(crate) fn is_persistent(&self, id: ConnId) -> bool {
        self.cold.get(id.index()).is_some_and(|cold| cold.template.is_some())
    }

    /// Adds a connection whose first packet, from the client, was not found by `probe` and has
    /// these control bits: its state and deadline are those after that packet. From now on its
    /// persistence template, if it has one, is held by it.
    pub(crate) fn open(
        &mut self,
        (mut conn, template): (Conn<F>, Option<TemplateId>),
        (probe, reply, flags): (Probe, Option<Probe>, TcpFlags),
        regime: &Regime<'_>,
    ) -> Result<ConnId, DropReason> {
        let state = next_state(&conn, Direction::Request, flags, regime);
        conn.set_state(state);
        conn.refresh(regime.now, regime.timeouts.of(state));
        conn.count(Direction::Request);
        let assures = assures(state, Direction::Request);
        self.enter((conn, template), (probe, reply), assures, regime)
    }

    /// Adds a connection that no packet was of yet; it ends soon unless one comes.
    pub(crate) fn expect(
        &mut self,
        (mut conn, template): (Conn<F>, Option<TemplateId>),
        regime: &Regime<'_>,
    ) -> Result<ConnId, DropReason> {
        if conn.protocol() == L4::Udp {
            conn.set_state(State::Udp);
        }
        conn.refresh(regime.now, EXPECTED_S);
        let probe = self.conns.probe(&conn.key(Direction::Request));
        self.enter((conn, template), (probe, None), false, regime)
    }

    /// Adds a connection; `assures` says that its template is told of it already.
    #[inline(always)]
    fn enter(
        &mut self,
        (mut conn, template): (Conn<F>, Option<TemplateId>),
        (probe, reply): (Probe, Option<Probe>),
        assures: bool,
        regime: &Regime<'_>,
    ) -> Result<ConnId, DropReason> {
        let state = conn.state();
        conn.set_unassured(template.is_some() && !assures);
        let reply = self.make_way(&conn, reply, regime);
        let id = reply.and_then(|reply| self.insert(conn, [probe, reply], regime));
        let id = id.inspect_err(|_| {
            if let Some(template) = template {
                regime.counts.templates().leave(template, Leaving::Ended, regime.now);
            }
        })?;
        if let Some(template) = template {
            if let Some(cold) = self.cold.get_mut(id.index()) {
                cold.template = Some(template);
            }
            if assures {
                regime.counts.templates().assure(template);
            }
        }
        self.wheel.arm(self.conns.entries_mut(), id);
        regime.counts.opened(conn.server().slot, state.is_active());
        if state.is_half_open() {
            self.push_half_open(id, regime);
        }
        Ok(id)
    }

    /// What begins half-open may take the place of what is half-open, and of nothing else.
    fn insert(
        &mut self,
        conn: Conn<F>,
        probes: [Probe; 2],
        regime: &Regime<'_>,
    ) -> Result<ConnId, DropReason> {
        let mut inserted = self.conns.insert_by(conn, probes);
        if inserted.is_err() && conn.protocol() != L4::Udp && self.recycle(regime) {
            inserted = self.conns.insert_by(conn, probes);
        }
        inserted.map_err(|Full| DropReason::TableFull)
    }

    /// Tracks a packet: moves the state and the deadline.
    #[inline]
    pub(crate) fn track(
        &mut self,
        id: ConnId,
        direction: Direction,
        flags: TcpFlags,
        regime: &Regime<'_>,
    ) {
        let Some(conn) = self.conns.conn_mut(id) else {
            return;
        };
        let before = conn.state();
        let after = next_state(conn, direction, flags, regime);
        let deadline = conn.deadline();
        conn.refresh(regime.now, regime.timeouts.of(after));
        conn.count(direction);
        let is_closer = conn.deadline() < deadline;
        conn.set_state(after);
        if conn.is_unassured() && assures(after, direction) {
            conn.set_unassured(false);
            self.assure(id, regime.counts);
        }
        if after != before {
            self.moved(id, before, after, regime);
        }
        if is_closer {
            let entries = self.conns.entries_mut();
            self.wheel.disarm(entries, id);
            self.wheel.arm(entries, id);
        }
    }

    /// Counts a change of state.
    fn moved(&mut self, id: ConnId, before: State, after: State, regime: &Regime<'_>) {
        if after.is_active() != before.is_active()
            && let Some(conn) = self.conns.conn(id)
        {
            regime.counts.changed(conn.server().slot, after.is_active());
        }
        match (before.is_half_open(), after.is_half_open()) {
            (false, true) => self.push_half_open(id, regime),
            (true, false) => self.half_open.remove(id),
            _ => {}
        }
    }

    /// Notes a connection as half-open; beyond the bound it takes the place of the oldest one.
    fn push_half_open(&mut self, id: ConnId, regime: &Regime<'_>) {
        if self.half_open.is_full() {
            self.recycle(regime);
        }
        self.half_open.push(id);
    }

    /// Asks the cache for the half-open connections that `more` new ones may take the places of.
    pub(crate) fn prefetch_oldest(&self, more: u32) {
        for id in self.half_open.leaving(more) {
            self.conns.prefetch_entry(id);
        }
        for id in self.half_open.leaving(more) {
            self.conns.probe_entry(id);
        }
    }

    /// Ends a connection whose packet is for another one.
    pub(crate) fn end(&mut self, id: ConnId, regime: &Regime<'_>) {
        self.close(id, Leaving::Ended, regime.now, regime.counts);
    }

    /// Ends connections whose time is up; work per call is bounded.
    pub(crate) fn expire(&mut self, now: Tick, counts: &ServerCounts) -> Expiry {
        let mut due = ArrayVec::<ConnId, EXPIRE_PER_POLL>::new();
        let entries = self.conns.entries_mut();
        let looked = self.wheel.turn(entries, now, EXPIRE_PER_POLL, |id| due.push(id));
        let mut begun = ArrayVec::<_, EXPIRE_PER_POLL>::new();
        for id in &due {
            begun.push((*id, self.conns.probe_entry(*id)));
        }
        for (id, probes) in &begun {
            self.forget(*id, *probes, Leaving::Ended, (now, counts));
        }
        Expiry { ended: due.len() as u64, more: looked == EXPIRE_PER_POLL }
    }

    /// Lists up to `max` entries from `cursor` on; none when all were listed.
    pub fn list(
        &self,
        cursor: Cursor,
        max: usize,
        now: Tick,
        mut out: impl FnMut(ConnRecord),
    ) -> Option<Cursor> {
        let end = cursor.0.saturating_add(max as u32).min(self.conns.capacity());
        for id in (cursor.0..end).map(ConnId) {
            if let Some(conn) = self.conns.conn(id).filter(|conn| conn.is_live()) {
                out(conn.record(now));
            }
        }
        (end < self.conns.capacity()).then_some(Cursor(end))
    }

    /// Replies must name one connection. A client that uses one port for two services which share a
    /// server endpoint would make two of them: the older one goes if it is not active. Returns the
    /// look-up of the reply that found nothing.
    fn make_way(
        &mut self,
        conn: &Conn<F>,
        begun: Option<Probe>,
        regime: &Regime<'_>,
    ) -> Result<Probe, DropReason> {
        if !conn.traits().sees_replies {
            return Ok(Probe::default());
        }
        let replies = conn.key(Direction::Reply);
        let probe = begun.unwrap_or_else(|| self.conns.probe(&replies));
        let Some((other, _)) = self.conns.find(&replies, probe) else {
            return Ok(probe);
        };
        if self.conns.conn(other).is_some_and(|other| other.state().is_active()) {
            return Err(DropReason::TupleTaken);
        }
        self.end(other, regime);
        Ok(probe)
    }

    /// Tells a connection's persistence template that it is established.
    #[cold]
    fn assure(&self, id: ConnId, counts: &ServerCounts) {
        if let Some(template) = self.cold.get(id.index()).and_then(|cold| cold.template) {
            counts.templates().assure(template);
        }
    }

    /// Ends a connection before its time.
    pub(crate) fn close(&mut self, id: ConnId, leaving: Leaving, now: Tick, counts: &ServerCounts) {
        let probes = self.conns.probe_entry(id);
        self.wheel.disarm(self.conns.entries_mut(), id);
        self.forget(id, probes, leaving, (now, counts));
    }

    fn forget(
        &mut self,
        id: ConnId,
        probes: [Probe; 2],
        leaving: Leaving,
        (now, counts): (Tick, &ServerCounts),
    ) {
        let cold = self.cold.get_mut(id.index()).map(std::mem::take).unwrap_or_default();
        if let Some(template) = cold.template {
            counts.templates().leave(template, leaving, now);
        }
        if let Some(conn) = self.conns.conn(id) {
            counts.closed(conn.server().slot, conn.state().is_active());
            if conn.state().is_half_open() {
                self.half_open.remove(id);
            }
        }
        self.conns.remove_by(id, probes);
    }

    /// Panics if table and wheel disagree.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        self.conns.check();
        self.wheel.check(self.conns.entries());
        let entries = (0..).map(ConnId).zip(self.conns.entries());
        let live = entries.filter(|(_, conn)| conn.is_live() && conn.state().is_half_open());
        self.half_open.check(live.map(|(id, _)| id));
    }
}

/// The state of a connection after a packet of this direction.
#[inline]
fn next_state<F: Balanced>(
    conn: &Conn<F>,
    direction: Direction,
    flags: TcpFlags,
    regime: &Regime<'_>,
) -> State {
    let (before, sender) = (conn.state(), conn.sender(direction));
    match conn.protocol() {
        L4::Tcp => tcp_state::next(regime.tcp, before, sender, flags),
        L4::Udp => State::Udp,
        L4::Sctp => sctp_state::next(before, sender, SctpEvent::from_flags(flags)),
    }
}

/// Whether a packet that led to this state shows that the server talks to the client
/// (`ip_vs_control_assure_ct`).
fn assures(state: State, direction: Direction) -> bool {
    match state {
        State::Established | State::SctpEstablished => true,
        State::Udp => direction == Direction::Reply,
        _ => false,
    }
}
