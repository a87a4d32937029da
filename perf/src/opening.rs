// SPDX-License-Identifier: MIT OR Apache-2.0
//! New connections: their first packets, their whole lives, and both kinds of packets mixed.
//!
//! For whole lives time runs so fast that as many connections end as begin: the table holds a
//! steady number of connections in TIME_WAIT, and what their expiry costs is in the figure.

use std::sync::Arc;

use lb::conn::tcp_state::{State, Timeouts};
use wire::L4;

use crate::cost::{Effort, Lap, Span, beside};
use crate::established::Established;
use crate::plan::{Group, Plan, WAN, family_number, mac, mode_name};
use crate::reference::{BURST, Work, answer, swap};
use crate::rig::{Rig, Side};
use crate::row::{Failure, Row};
use crate::site::table_bytes;
use crate::stand::Stand;
use crate::traffic::{Flow, Kind, Segment, Traffic};

/// Different clients that open connections.
const FRESH: u32 = 1 << 20;
/// Connections in the table while connections begin and end.
const STEADY: u64 = 1 << 17;
/// New connections in a burst of [`BURST`]: one for about ten established packets.
const MIXED: usize = 6;

/// What new connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// They send their first packet.
    First,
    /// SYN, handshake, FIN from both sides, expiry.
    Whole,
    /// They send their first packet, among those of established ones, and expire.
    Mixed,
}

impl Life {
    fn name(self, protocol: L4) -> &'static str {
        match (self, protocol) {
            (Self::First, L4::Tcp) => "SYN, schedule, insert",
            (Self::First, L4::Udp | L4::Sctp) => "first packet, schedule, insert",
            (Self::Whole, L4::Tcp) => "SYN..FIN and expiry",
            (Self::Whole, L4::Udp | L4::Sctp) => "packet, reply and expiry",
            (Self::Mixed, _) => "1 new : 10 established",
        }
    }
}

/// Measures one kind of life beside 5tswap. `windows` of the first kind are counted in connections,
/// since the table fills up.
///
/// # Errors
/// A packet was lost.
pub fn row(
    stand: &mut Stand,
    plan: &Plan,
    life: Life,
    effort: Effort,
    tsc_hz: u64,
) -> Result<Row, Failure> {
    // What is half-open must not end others while first packets are counted: the flood has that.
    let plan = &match life {
        Life::First => Plan { half_open: plan.capacity, ..*plan },
        Life::Whole | Life::Mixed => *plan,
    };
    let open = if life == Life::Mixed { 100_000 } else { 1 };
    let mut established = Established::new(stand, plan, open, &[60])?;
    let mut reference = established.reference(Work::FiveTupleSwap)?;
    let mut opening = Opening {
        rig: &mut established.rig,
        requests: Arc::clone(&established.requests),
        fresh: fresh(plan, Group::Fresh, FRESH),
        plan,
        life,
        next: [0; 2],
        late_ms: 0.0,
    };
    let mut effort = effort;
    match life {
        Life::First => {
            effort.windows *= 3;
            let per_window = u64::from(plan.capacity) * 3 / 4 / (effort.windows as u64 + 1);
            effort.span = Span::Units(per_window);
        }
        Life::Whole | Life::Mixed => opening.reach_steady_state()?,
    }
    let costs = beside(&mut opening, &mut reference, effort)?;
    let name = life.name(plan.protocol);
    let row = match life {
        Life::Mixed => Row::new("mixed", name).packets(costs, tsc_hz),
        _ => Row::new("new connections", name).openings(costs, tsc_hz),
    };
    Ok(Row {
        connections: Some(established.rig.live()),
        mode: Some(mode_name(plan.mode)),
        family: Some(family_number(plan.family)),
        bytes_per_connection: Some(table_bytes(plan) as f64 / f64::from(plan.capacity)),
        ..row
    })
}

/// Clients without connections, in random order.
pub fn fresh(plan: &Plan, group: Group, count: u32) -> Traffic {
    let mut traffic = Traffic::new(Kind {
        family: plan.family,
        protocol: plan.protocol,
        to: mac(WAN),
        sizes: &[60],
    });
    for number in 0..count {
        let dst = plan.vip(plan.service_of(number));
        traffic.push(Flow { src: plan.client(group, number), dst });
    }
    traffic.shuffle(3);
    traffic
}

struct Opening<'a> {
    rig: &'a mut Rig,
    requests: Arc<Traffic>,
    fresh: Traffic,
    plan: &'a Plan,
    life: Life,
    /// Where fresh and established traffic goes on.
    next: [usize; 2],
    /// Time that is still to pass.
    late_ms: f64,
}

impl Opening<'_> {
    /// As many milliseconds per connection as make [`STEADY`] connections.
    fn ms_per_connection(&self) -> f64 {
        let timeouts = Timeouts::default();
        let last = match (self.life, self.plan.protocol) {
            (_, L4::Udp) => State::Udp,
            (Life::Mixed, L4::Tcp) => State::SynRecv,
            (_, L4::Tcp) => State::TimeWait,
            (_, L4::Sctp) => State::SctpInit1,
        };
        let steady = if self.life == Life::Mixed { STEADY / 2 } else { STEADY };
        f64::from(timeouts.of(last)) * 1000.0 / steady as f64
    }

    fn reach_steady_state(&mut self) -> Result<(), Failure> {
        let mut opened = 0;
        while opened < STEADY * 3 / 2 {
            self.lap()?;
            opened += if self.life == Life::Mixed { MIXED as u64 } else { BURST as u64 };
        }
        self.check()
    }

    fn pass_time(&mut self, connections: usize) {
        self.late_ms += self.ms_per_connection() * connections as f64;
        let whole = self.late_ms as u64;
        self.late_ms -= whole as f64;
        self.rig.wait_ms(whole);
    }

    /// A burst of segments, and the server's answers where they come back.
    fn exchange(&mut self, from: usize, segment: Segment) -> Result<usize, Failure> {
        let next = self.rig.send(Side::Wan, &self.fresh, from, BURST, segment)?;
        self.rig.turn_through();
        let talks_back = self.plan.protocol == L4::Udp || segment != Segment::Data;
        if talks_back && self.plan.mode.sees_replies() {
            let is_tcp = self.plan.protocol == L4::Tcp;
            self.rig.echo(Side::Lan, |frame| {
                if is_tcp {
                    return answer(frame);
                }
                swap(frame);
                true
            })?;
            self.rig.turn_through();
            self.rig.drain(Side::Wan, |_| ());
        } else {
            self.rig.drain(Side::Lan, |_| ());
        }
        Ok(next)
    }

    fn mixed(&mut self) -> Result<u64, Failure> {
        let [fresh, known] = self.next;
        self.rig.blank(BURST)?;
        self.next = [
            self.rig.write(0..MIXED, &self.fresh, fresh, Segment::Open)?,
            self.rig.write(MIXED..BURST, &self.requests, known, Segment::Data)?,
        ];
        self.rig.feed(Side::Wan)?;
        self.rig.turn();
        self.rig.drain(Side::Lan, |_| ());
        self.pass_time(MIXED);
        Ok(BURST as u64)
    }
}

impl Lap for Opening<'_> {
    fn lap(&mut self) -> Result<u64, Failure> {
        let from = self.next[0];
        match self.life {
            Life::First => {
                self.next[0] = self.rig.send(Side::Wan, &self.fresh, from, BURST, Segment::Open)?;
                self.rig.turn();
                self.rig.drain(Side::Lan, |_| ());
            }
            Life::Mixed => return self.mixed(),
            Life::Whole => {
                self.next[0] = self.exchange(from, Segment::Open)?;
                if self.plan.protocol == L4::Tcp {
                    self.exchange(from, Segment::Data)?;
                    self.exchange(from, Segment::Close)?;
                    self.exchange(from, Segment::Data)?;
                }
                self.pass_time(BURST);
            }
        }
        Ok(BURST as u64)
    }

    fn check(&mut self) -> Result<(), Failure> {
        self.rig.check_all_left()
    }
}
