// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of nearly every packet: its connection is known, stays in its state, and its next hop
//! is known too.
//!
//! All that could make a packet another case is looked at first, and then the whole packet is
//! served at once. One of another case has not been touched, and goes through the phases of
//! [`Stage::serve`], which know every case; so what the two do cannot differ but in speed.

use std::ops::Range;

use wire::csum::Delta;
use wire::parse::plain::{Plain, TcpRest, UdpRest};
use wire::{Eth, Frame, L4};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::batch::Origin;
use crate::conn::flows::Flows;
use crate::conn::table::Probe;
use crate::conn::tcp_state::{State, Timeouts};
use crate::conn::{Deadline, Usual};
use crate::counters::{NextHopMarks, TrafficCounters};
use crate::encap::WayIn;
use crate::family::Balanced;
use crate::ids::Tick;
use crate::knobs::Knob;
use crate::lane::{Lane, is_tcp};
use crate::network::{NextHop, NextHops};
use crate::snapshot::{ServerView, server};
use crate::stage::Stage;
use crate::witness::{Fact, Witness};

/// What connections are like whose packets come now and leave them in their state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    tcp: Usual,
    udp: Usual,
}

impl Steady {
    pub(crate) fn new(now: Tick, timeouts: &Timeouts) -> Self {
        let usual =
            |protocol, state| Usual::new(protocol, state, Deadline::after(now, timeouts.of(state)));
        Self { tcp: usual(L4::Tcp, State::Established), udp: usual(L4::Udp, State::Udp) }
    }
}

/// All that the usual packet is looked up in besides the connections, at hand for a whole batch.
#[derive(Clone, Copy)]
struct Tables<'a> {
    tcp: Usual,
    udp: Usual,
    servers: &'a [ServerView],
    next_hops: NextHops<'a>,
    sent_to: &'a NextHopMarks,
    /// Whether anything was learned of any way to a tunnel server.
    knows_paths: bool,
    /// Whether packets that must not be fragmented make such ones of their tunnels.
    copies_dont_fragment: bool,
    counters: &'a [TrafficCounters],
}

impl<W: Witness> Stage<'_, W> {
    /// Serves the steady packets of a run as far as they are the usual case; returns the place of
    /// the first one that is not, or where the run ends.
    #[inline]
    pub(crate) fn express<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        lane: &mut Lane<'_, B>,
        mut run: Range<usize>,
    ) -> usize {
        while !run.is_empty()
            && let Some((_, conn)) = flows.candidate(lane.probe(run.start))
        {
            let before = run.start;
            run.start = match conn.traits().tunnel {
                true => self.serve_run::<F, B, true>(flows, lane, run.clone()),
                false => self.serve_run::<F, B, false>(flows, lane, run.clone()),
            };
            if run.start == before {
                break;
            }
        }
        run.start
    }

    /// As [`Self::express`], of packets that go through tunnels or of those that do not: each way
    /// is a loop of its own, with all it works with in registers.
    #[inline(never)]
    fn serve_run<F: Balanced, B: Frame, const TUNNELS: bool>(
        &mut self,
        flows: &mut Flows<'_, F>,
        lane: &mut Lane<'_, B>,
        run: Range<usize>,
    ) -> usize {
        let (snapshot, counters) = (self.snapshot, self.counters);
        // As many counters as servers, so that one comparison does for both.
        let servers = snapshot.servers.len().min(counters.servers().len());
        let tables = Tables {
            tcp: self.steady.tcp.through_tunnels(TUNNELS),
            udp: self.steady.udp.through_tunnels(TUNNELS),
            servers: snapshot.servers.get(..servers).unwrap_or_default(),
            next_hops: snapshot.network.next_hops(),
            sent_to: counters.next_hops.marks(),
            knows_paths: TUNNELS && self.counts.paths().any(),
            copies_dont_fragment: snapshot.knobs.is_on(Knob::PmtuDisc),
            counters: counters.servers().get(..servers).unwrap_or_default(),
        };
        let frames = lane.frames.get_mut(run.clone()).unwrap_or_default();
        let probes = lane.probes.get(run.clone()).unwrap_or_default();
        let leave_by = lane.fates.leave_by(run.start);
        let mut packets = frames.iter_mut().zip(probes).zip(leave_by);
        let mut end = run.end;
        while let Some(((frame, probe), leaves_by)) = packets.next() {
            let place = run.end - packets.len() - 1;
            let at = (place as u8, *probe);
            let hop = if is_tcp::<F>(frame.head()) {
                self.serve_usual::<F, B, TcpRest, TUNNELS>(flows, &tables, at, frame)
            } else {
                self.serve_usual::<F, B, UdpRest, TUNNELS>(flows, &tables, at, frame)
            };
            let Some(hop) = hop else {
                end = place;
                break;
            };
            *leaves_by = hop.nic;
        }
        end
    }

    /// Serves a packet of the usual case, and says where it leaves; none leaves it as it was.
    #[inline(always)]
    fn serve_usual<'t, F: Balanced, B: Frame, T: Transport, const TUNNELS: bool>(
        &mut self,
        flows: &mut Flows<'_, F>,
        tables: &Tables<'t>,
        (index, probe): (u8, Probe),
        frame: &mut B,
    ) -> Option<&'t NextHop> {
        let (direction, conn) = flows.candidate(probe)?;
        let frame_len = frame.len();
        let (plain, rest) = Plain::<F>::mut_from_prefix(frame.head_mut()).ok()?;
        let (rest, _) = T::mut_from_prefix(rest).ok()?;
        let said = F::said(&plain.front);
        let (usual, (action, back)) = (T::usual(tables), conn.actions(direction));
        if said.ttl <= 1 || !conn.is_usual(usual) || !back.tuple.is_mirror_of(&plain.tuple) {
            return None;
        }
        let id = conn.server();
        let view = server(tables.servers, id).filter(|view| view.in_service)?;
        let counters = tables.counters.get(id.slot as usize)?;
        let hop = tables.next_hops.place(&action.next_hop)?;
        if TUNNELS {
            let delta = action.header_delta;
            let way = WayIn { hop, delta, copies_dont_fragment: tables.copies_dont_fragment };
            self.enter::<F, B>(frame, &view.outer, way, tables.knows_paths)?;
            counters.way(direction).add(said.ip_len.into());
        } else {
            if frame_len > size_of::<Eth>() + usize::from(hop.mtu) {
                return None;
            }
            counters.way(direction).add(said.ip_len.into());
            rest.mend(action.l4_delta);
            plain.eth.set_link(hop.link);
            F::forward_plain(&mut plain.front, action.header_delta);
            plain.tuple = action.tuple;
        }
        tables.sent_to.mark(action.next_hop.place());
        let here = self.counters.worker;
        if self.origin == Origin::Wire {
            self.witness.note(index, || Fact::Owner(here));
        }
        self.tell(conn, index, direction, Fact::Found);
        conn.go_on(usual, direction);
        self.tell(conn, index, direction, Fact::Tracked);
        self.tell_way(index, (conn.action(direction), direction), Some(view), &Ok(hop));
        Some(hop)
    }
}

/// What of TCP or UDP lies behind the ports of a plain packet.
trait Transport: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {
    /// What its connections are usually like.
    fn usual<'t>(tables: &'t Tables<'_>) -> &'t Usual;

    /// Applies a change of what the checksum covers.
    fn mend(&mut self, delta: Delta);
}

impl Transport for TcpRest {
    #[inline(always)]
    fn usual<'t>(tables: &'t Tables<'_>) -> &'t Usual {
        &tables.tcp
    }

    #[inline(always)]
    fn mend(&mut self, delta: Delta) {
        self.csum = delta.apply(self.csum);
    }
}

impl Transport for UdpRest {
    #[inline(always)]
    fn usual<'t>(tables: &'t Tables<'_>) -> &'t Usual {
        &tables.udp
    }

    #[inline(always)]
    fn mend(&mut self, delta: Delta) {
        self.csum = delta.apply_udp(self.csum);
    }
}
