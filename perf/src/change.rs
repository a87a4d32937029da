// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules that change under load: what is lost, what moves to another server, what is delayed.
//!
//! One thread forwards packets of established connections and looks at each that leaves; the other
//! is the management core, which reads lines of ipvsadm. A turn's delay is its processor time,
//! since on a busy machine the clock on the wall tells of other programs.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::apply::Outcome;
use control::names::NumbersOnly;
use control::{parse, rules, words};
use dpdk::LcoreThread;
use lb::service::ForwardMode;
use wire::{FamilyId, Frame};

use crate::cost::thread_ns;
use crate::established::Established;
use crate::plan::{Group, Plan};
use crate::reference::BURST;
use crate::rig::{Rig, Side};
use crate::row::{Failure, Row};
use crate::site::Site;
use crate::stand::{Stand, cpus};
use crate::traffic::{Flow, Segment, Traffic, flow_of};

const CONNECTIONS: u32 = 100_000;
/// Services of the large set of rules.
const SERVICES: u32 = 10_000;
/// How long a command waits for the worker to take a snapshot.
const SETTLED_WITHIN: Duration = Duration::from_millis(20);

/// What changes of rules did.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    /// Seconds that the large set took, from text to the last worker.
    pub load_s: f64,
    /// Packets that did not leave.
    pub lost: u64,
    /// Packets that left for another server than the first of their connection.
    pub moved: u64,
    /// Processor time of the longest turn while the large set was loaded, in microseconds.
    pub turn_us: f64,
    /// The longest turn before, while nobody changed anything, in microseconds.
    pub at_rest_us: f64,
}

/// Changes rules for `churn`, then loads the large set, all under load.
///
/// # Errors
/// A rule was refused, or the connections could not be opened.
pub fn rows(stand: &mut Stand, churn: Duration) -> Result<(Vec<Row>, Disturbance), Failure> {
    let plan = Plan::new(FamilyId::V4, ForwardMode::Masquerade, CONNECTIONS);
    let Established { mut site, rig, requests, .. } =
        Established::new(stand, &plan, CONNECTIONS, &[60])?;
    let quiet = forward_while(stand, (rig, &requests), || {
        thread::sleep(churn / 2);
        Ok(())
    })?;
    let mut changes = 0;
    let busy = forward_while(stand, (quiet.rig, &requests), || {
        let end = Instant::now() + churn;
        while Instant::now() < end {
            changes += change_and_undo(&mut site)?;
        }
        Ok(())
    })?;
    let mut load_s = 0.0;
    let loading = forward_while(stand, (busy.rig, &requests), || {
        let start = Instant::now();
        site.director.load(&rules::read(&large_set(&plan))?)?;
        wait_until_settled(&mut site);
        load_s = start.elapsed().as_secs_f64();
        Ok(())
    })?;
    let disturbance = Disturbance {
        load_s,
        lost: busy.seen.lost() + loading.seen.lost(),
        moved: busy.seen.moved + loading.seen.moved,
        turn_us: loading.seen.turn_ns as f64 / 1000.0,
        at_rest_us: quiet.seen.turn_ns as f64 / 1000.0,
    };
    let (fed, moved) = (busy.seen.fed, busy.seen.moved);
    let mut churned = Row::new("rules", "changes under load");
    churned.note = format!(
        "{changes} changes; {fed} packets, {} lost, {moved} moved; longest turn {:.1} us \
         (at rest {:.1} us)",
        busy.seen.lost(),
        busy.seen.turn_ns as f64 / 1000.0,
        disturbance.at_rest_us,
    );
    let mut loaded = Row::new("rules", format!("{SERVICES} services x 10 servers loaded"));
    loaded.note = format!(
        "{load_s:.2} s; {} packets, {} lost, {} moved; longest turn {:.1} us",
        loading.seen.fed,
        loading.seen.lost(),
        loading.seen.moved,
        disturbance.turn_us,
    );
    churned.connections = Some(CONNECTIONS);
    loaded.connections = Some(CONNECTIONS);
    Ok((vec![churned, loaded], disturbance))
}

/// What a forwarding thread saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    fed: u64,
    left: u64,
    moved: u64,
    turn_ns: u64,
}

impl Seen {
    fn lost(&self) -> u64 {
        self.fed.abs_diff(self.left)
    }
}

struct Forwarded {
    rig: Rig,
    seen: Seen,
}

/// Forwards in another thread while the current one does `work`.
fn forward_while(
    stand: &Stand,
    (rig, requests): (Rig, &Arc<Traffic>),
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<Forwarded, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let (requests, seen_stop) = (Arc::clone(requests), Arc::clone(&stop));
    let cpu = cpus().first().copied();
    let thread: LcoreThread<_> =
        stand.eal.spawn("forward", cpu, move |_| forward(rig, &requests, &seen_stop))?;
    let worked = work();
    stop.store(true, Ordering::Relaxed);
    let forwarded = thread.join().map_err(|_| Failure::Thread)??;
    worked.map(|()| forwarded)
}

fn forward(mut rig: Rig, requests: &Traffic, stop: &AtomicBool) -> Result<Forwarded, Failure> {
    let mut seen = Seen::default();
    let mut servers: Vec<Option<u8>> = vec![None; requests.len()];
    let mut next = 0;
    rig.forget();
    while !stop.load(Ordering::Relaxed) {
        next = rig.send(Side::Wan, requests, next, BURST, Segment::Data)?;
        let before = thread_ns();
        rig.turn();
        seen.turn_ns = seen.turn_ns.max(thread_ns() - before);
        rig.drain(Side::Lan, |frame| {
            let flow = flow_of(frame.head(), FamilyId::V4);
            if let Some((client, server)) = flow.and_then(|flow| Some((client_of(&flow)?, flow)))
                && let Some(first) = servers.get_mut(client)
            {
                let server = frame.head()[33] ^ server.dst.port() as u8;
                seen.moved += u64::from(*first.get_or_insert(server) != server);
            }
        });
    }
    rig.turn_through();
    rig.drain(Side::Lan, |_| ());
    (seen.fed, seen.left) = rig.books();
    Ok(Forwarded { rig, seen })
}

/// The number of the established client that a packet is from.
fn client_of(flow: &Flow) -> Option<usize> {
    let std::net::IpAddr::V4(address) = flow.src.ip() else {
        return None;
    };
    let host = u32::from(address).checked_sub((Group::Established as u32) << 24)?;
    Some((host.checked_sub(1)? * 1000 + u32::from(flow.src.port()).checked_sub(1024)?) as usize)
}

/// Adds a service with servers, changes weights of the loaded service, removes the new one again;
/// returns how many commands that was.
fn change_and_undo(site: &mut Site) -> Result<u32, Failure> {
    let lines = [
        "-A -t 203.0.113.7:443 -s wrr",
        "-a -t 203.0.113.7:443 -r 10.0.0.11:8443 -m -w 3",
        "-a -t 203.0.113.7:443 -r 10.0.0.12:8443 -m -w 1",
        "-e -t 203.0.0.1:80 -r 10.0.0.11:8080 -m -w 5",
        "-E -t 203.0.0.1:80 -s wlc",
        "-d -t 203.0.113.7:443 -r 10.0.0.12:8443",
        "-e -t 203.0.0.1:80 -r 10.0.0.11:8080 -m -w 1",
        "-E -t 203.0.0.1:80 -s rr",
        "-D -t 203.0.113.7:443",
    ];
    for line in lines {
        let command = parse::parse(&words::split_rule(line), &NumbersOnly)
            .map_err(|reason| rules::RulesError::NoCommand { line: 0, reason })?;
        if let Outcome::Reply(reply) = site.director.execute(&command)
            && reply.status != 0
        {
            let reason = format!("{line}: {}", reply.errors.join(" "));
            return Err(rules::RulesError::Refused { line: 0, reason }.into());
        }
        wait_until_settled(site);
    }
    Ok(lines.len() as u32)
}

/// Waits as the appliance does before it answers a command.
fn wait_until_settled(site: &mut Site) {
    let give_up = Instant::now() + SETTLED_WITHIN;
    while !site.director.plane().is_settled() && Instant::now() < give_up {
        thread::sleep(Duration::from_micros(20));
    }
}

/// Rules beside those of the plan.
fn large_set(plan: &Plan) -> String {
    let mut text = String::new();
    for service in 1..=SERVICES {
        plan.write_service(&mut text, service);
    }
    let written = text.write_str("# end\n");
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}
