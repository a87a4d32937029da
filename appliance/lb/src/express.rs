// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of nearly every packet: its connection is known, stays in its state, and its next hop
//! is known too.
//!
//! All that could make a packet another case is looked at first, and then the whole packet is
//! served at once. One of another case has not been touched, and goes through the phases of
//! [`Stage::serve`], which know every case; so what the two do cannot differ but in speed.

use wire::parse::plain::{Plain, TcpRest, UdpRest};
use wire::{Frame, L4, Parsed};
use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use crate::action::Action;
use crate::batch::Origin;
use crate::conn::flows::Flows;
use crate::conn::tcp_state::{State, Timeouts};
use crate::conn::{Deadline, Usual};
use crate::family::Balanced;
use crate::ids::{NicId, Tick};
use crate::network::NextHop;
use crate::stage::{Item, Stage};
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

impl<W: Witness> Stage<'_, W> {
    /// Serves a packet of the usual case, and says where it leaves; none leaves it as it was.
    #[inline(always)]
    pub(crate) fn express<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        frame: &mut B,
    ) -> Option<NicId> {
        let parsed = &item.parsed;
        let (direction, conn) = flows.candidate(item.probe)?;
        let usual = match parsed.protocol() {
            L4::Tcp if parsed.tcp_flags().is_only_ack() => self.steady.tcp,
            L4::Udp => self.steady.udp,
            L4::Tcp | L4::Sctp => return None,
        };
        if !conn.is_usual(&usual)
            || !conn.has_arrived(direction, parsed.tuple())
            || parsed.ttl() <= 1
        {
            return None;
        }
        let server = conn.server();
        let view = self.snapshot.server(server)?;
        let service = view.service?;
        let action = conn.action(direction);
        let hop = self.snapshot.network.next_hop(action.next_hop)?;
        let has_left = if conn.is_tunnel() {
            let outer = view.outer.as_ref()?;
            let fits = parsed.is_plain() && self.fits_tunnel(frame.len(), outer, hop);
            fits && self.encapsulate_plain(frame, parsed, action, outer, hop)
        } else {
            let fits = frame.len() <= parsed.l3() + usize::from(hop.mtu);
            fits && rewrite_plain(frame.head_mut(), parsed, action, hop)
        };
        if !has_left {
            return None;
        }
        let here = self.counters.worker;
        if self.origin == Origin::Wire {
            self.witness.note(item.index(), || Fact::Owner(here));
        }
        self.tell(conn, item, direction, Fact::Found);
        conn.go_on(&usual, direction);
        self.tell(conn, item, direction, Fact::Tracked);
        let action = conn.action(direction);
        self.tell_way(item.index(), (action, direction), Some(view), &Ok(hop));
        self.count_packet(service, server.slot, direction, parsed.ip_len() as u64);
        self.counters.next_hops.mark(action.next_hop.place());
        Some(hop.nic)
    }
}

/// Rewrites a packet as [`crate::rewrite::rewrite`] does, and addresses it to a next hop; false
/// leaves it as it was, if its tuple does not lie in one piece or its UDP checksum is missing.
#[inline(always)]
fn rewrite_plain<F: Balanced>(
    head: &mut [u8],
    parsed: &Parsed<F>,
    action: &Action<F>,
    hop: &NextHop,
) -> bool {
    if !parsed.is_plain() {
        return false;
    }
    let Ok((plain, rest)) = Plain::<F>::mut_from_prefix(head) else {
        return false;
    };
    match parsed.protocol() {
        L4::Tcp => {
            let Ok((tcp, _)) = TcpRest::mut_from_prefix(rest) else {
                return false;
            };
            tcp.csum = action.l4_delta.apply(tcp.csum);
        }
        L4::Udp => {
            let Ok((udp, _)) = UdpRest::mut_from_prefix(rest) else {
                return false;
            };
            if udp.csum == U16::ZERO {
                return false;
            }
            udp.csum = action.l4_delta.apply_udp(udp.csum);
        }
        L4::Sctp => return false,
    }
    plain.eth.set_link(hop.link);
    F::forward_plain(&mut plain.front, action.header_delta);
    plain.tuple = action.tuple;
    true
}
