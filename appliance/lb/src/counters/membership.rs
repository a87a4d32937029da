// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which service the packets of each server count for.
//!
//! Workers count a packet once, at its server, and never start anew; so a service's packets are
//! those of its servers, each from the moment on at which it got the server. The place of a server
//! that was deleted goes to another service in time: what was counted there until then stays with
//! the service that it was counted for.

use super::Traffic;
use crate::limits::Limits;

/// Which service the packets of each server count for, and from where on.
#[derive(Debug)]
pub(super) struct Membership {
    /// By slot of the server.
    members: Vec<Member>,
    /// By slot of the service.
    shares: Vec<Share>,
}

/// What a server counts for.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// The slot of its service, and its position among that one's servers.
    of: Option<(u32, u32)>,
    /// What workers had counted of it when it began to count for that service.
    since: Traffic,
}

/// What counts for a service.
#[derive(Clone, Debug, Default)]
struct Share {
    /// The slots of its servers, in no particular order.
    servers: Vec<u32>,
    /// What was counted for it where servers of others are now.
    former: Traffic,
}

impl Membership {
    /// No server counts for a service.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            members: vec![Member::default(); limits.servers as usize],
            shares: vec![Share::default(); limits.services as usize],
        }
    }

    /// Lets what is counted of a server beyond `counted` count for a service; what was counted up
    /// to then stays with the service that it counted for.
    pub(super) fn place(&mut self, server: u32, service: u32, counted: Traffic) {
        let Self { members, shares } = self;
        let Some(member) = members.get_mut(server as usize) else { return };
        let before = std::mem::take(member);
        if let Some((former, position)) = before.of
            && let Some(share) = shares.get_mut(former as usize)
        {
            share.former += counted - before.since;
            share.servers.swap_remove(position as usize);
            let moved = share.servers.get(position as usize).copied();
            let moved = moved.and_then(|moved| members.get_mut(moved as usize));
            if let Some(moved) = moved {
                moved.of = Some((former, position));
            }
        }
        let Some(share) = shares.get_mut(service as usize) else { return };
        let position = share.servers.len() as u32;
        share.servers.push(server);
        if let Some(member) = members.get_mut(server as usize) {
            *member = Member { of: Some((service, position)), since: counted };
        }
    }

    /// What was counted for a service, where `counted` says what was counted of a server.
    pub(super) fn sum(&self, service: u32, counted: impl Fn(u32) -> Traffic) -> Traffic {
        let Some(share) = self.shares.get(service as usize) else { return Traffic::default() };
        let given = share.servers.iter().map(|server| {
            let since = self.members.get(*server as usize).map(|member| member.since);
            counted(*server) - since.unwrap_or_default()
        });
        given.fold(share.former, |sum, given| sum + given)
    }
}
