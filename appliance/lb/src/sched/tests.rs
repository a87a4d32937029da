// SPDX-License-Identifier: MIT OR Apache-2.0
//! Schedulers by themselves: against recordings of the kernel, against models, and over threads.

mod desk;
mod models;
mod recorded;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::knobs::Knob;
use desk::Desk;

fn client(number: u32) -> IpAddr {
    (0xC633_6400_u32 + number).to_be_bytes().into()
}

/// How many of the clients 0..1000 each server has.
fn shares(desk: &mut Desk) -> HashMap<u8, u32> {
    let mut shares = HashMap::new();
    for number in 0..1000 {
        *shares.entry(desk.pick(client(number), 40000).unwrap()).or_default() += 1;
    }
    shares
}

#[test]
fn wrr_goes_on_after_a_worker_used_weights_from_before_an_edit() {
    let mut desk = Desk::new("wrr");
    desk.add(1, 10);
    desk.add(2, 3);
    let before = desk.snapshot.clone();
    desk.edit(1, 1);
    let after = std::mem::replace(&mut desk.snapshot, before);
    for number in 0..4 {
        assert!(desk.pick(client(number), 1).is_some());
    }
    desk.snapshot = after;
    for number in 0..8 {
        assert!(desk.pick(client(number), 1).is_some(), "no server although both have weights");
    }
}

#[test]
fn every_scheduler_skips_servers_that_are_overloaded_or_without_weight() {
    for (_, name) in super::Scheduler::NAMES.iter().filter(|(_, name)| *name != "none") {
        let mut desk = Desk::with_flags(name, &[1]);
        desk.add(1, 4);
        desk.add(2, 7);
        desk.add(3, 0);
        desk.overload(2, true);
        // lblc stays with a server that became overloaded, as the kernel does.
        let mut chosen: Vec<_> = (0..64).filter_map(|n| desk.pick(client(n), 1)).collect();
        assert!(!chosen.is_empty(), "{name}");
        chosen.retain(|server| *server != 1);
        assert!(chosen.is_empty(), "{name}: {chosen:?}");
        desk.overload(1, true);
        let is_stuck = *name == "lblc";
        assert!((0..64).all(|n| desk.pick(client(n), 1).is_some() == is_stuck), "{name}");
        desk.overload(2, false);
        // All clients speak to one address, which dh has given to the first server.
        let is_bound = is_stuck || *name == "dh";
        assert!(is_bound || (0..64).any(|n| desk.pick(client(n), 1) == Some(2)), "{name}");
    }
}

#[test]
fn a_service_without_scheduler_or_server_has_no_server() {
    for (_, name) in super::Scheduler::NAMES {
        let mut desk = Desk::with_flags(name, &[1, 2]);
        assert_eq!(desk.pick(client(0), 1), None, "{name}");
        desk.add(1, 1);
        assert_eq!(desk.pick(client(0), 1).is_none(), *name == "none", "{name}");
        desk.delete(1);
        assert_eq!(desk.pick(client(0), 1), None, "{name}");
    }
}

#[test]
fn conhash_gives_each_server_its_weight_of_the_clients() {
    let mut desk = Desk::new("conhash");
    (1..=3).for_each(|server| desk.add(server, server.into()));
    let shares = shares(&mut desk);
    for server in 1..=3 {
        let expected = 1000 * u32::from(server) / 6;
        assert!(shares[&server].abs_diff(expected) < 60, "{shares:?}");
    }
}

#[test]
fn conhash_moves_only_the_clients_of_the_server_that_comes_or_goes() {
    let mut desk = Desk::new("conhash");
    (1..=9).for_each(|server| desk.add(server, 1));
    let owners = |desk: &mut Desk| -> Vec<_> {
        (0..1000).map(|number| desk.pick(client(number), 1).unwrap()).collect()
    };
    let before = owners(&mut desk);
    desk.add(10, 1);
    let with_one_more = owners(&mut desk);
    let moved: Vec<_> = before.iter().zip(&with_one_more).filter(|(a, b)| a != b).collect();
    assert!(moved.iter().all(|(_, to)| **to == 10), "to others than the new one: {moved:?}");
    assert!((50..160).contains(&moved.len()), "{} of 1000 moved", moved.len());
    desk.edit(10, 0);
    assert_eq!(owners(&mut desk), before, "a drained server gives back what it took");
    desk.edit(10, 1);
    desk.overload(10, true);
    assert_eq!(owners(&mut desk), before, "an overloaded server lends what it has");
}

#[test]
fn twos_spreads_by_weight() {
    let mut desk = Desk::new("twos");
    (1..=3).for_each(|server| desk.add(server, server.into()));
    for number in 0..1200 {
        desk.open(client(number), 1);
    }
    let counts = [1, 2, 3].map(|server| desk.active(server));
    assert!(
        counts.iter().zip([200, 400, 600]).all(|(n, want)| n.abs_diff(want) < 60),
        "{counts:?}"
    );
}

#[test]
fn lblc_forgets_a_destination_at_the_check_after_its_expiration() {
    for (name, knob) in [("lblc", Knob::LblcExpiration), ("lblcr", Knob::LblcrExpiration)] {
        let mut desk = Desk::marked(name);
        desk.add(1, 100);
        desk.add(2, 100);
        let first = desk.open(client(0), 1);
        assert_eq!(first, Some(2));
        desk.now_s += 86_400;
        assert_eq!(desk.open(client(0), 1), first, "{name}: as long as it is used once a day");
        desk.now_s += 86_400 + 1_800;
        assert_eq!(desk.open(client(0), 1), Some(1), "{name}: by wlc again");
        desk.knobs.set(knob, 600);
        desk.now_s += 1_700;
        assert_eq!(desk.open(client(0), 1), Some(1), "{name}: the check did not come yet");
        desk.now_s += 1_800 + 600;
        assert_eq!(desk.open(client(0), 1), Some(2), "{name}: after 10 minutes and a check");
    }
}

/// As recorded of the kernel, with an expiration of two seconds.
#[test]
fn lblcr_gives_up_the_busiest_server_of_a_set_that_did_not_change_for_long() {
    let mut desk = Desk::new("lblcr");
    desk.knobs.set(Knob::LblcrExpiration, 2);
    (1..=3).for_each(|server| desk.add(server, 2));
    let open = |desk: &mut Desk, count| -> Vec<u8> {
        (0..count).filter_map(|_| desk.open(client(0), 1)).collect()
    };
    assert_eq!(open(&mut desk, 5), [3, 3, 3, 2, 2]);
    desk.now_s += 4;
    assert_eq!(open(&mut desk, 3), [2, 1, 1]);
    (0..3).for_each(|_| desk.settle(3));
    assert_eq!(open(&mut desk, 4), [1, 3, 3, 3]);
    desk.now_s += 4;
    assert_eq!(open(&mut desk, 4), [1, 2, 1, 2]);
}

#[test]
fn a_full_memory_of_destinations_forgets_the_longest_unused() {
    let mut desk = Desk::marked("lblc");
    desk.add(1, 1);
    for number in 0..40_000 {
        desk.vip = number_address(number);
        assert_eq!(desk.pick(client(0), 1), Some(1));
    }
}

fn number_address(number: u32) -> IpAddr {
    (0x0A00_0000 + number).to_be_bytes().into()
}

#[test]
fn workers_together_spread_rr_and_wrr_as_one_would() {
    const EACH: u32 = 3000;
    for (name, weights) in [("rr", [1, 1, 1]), ("wrr", [1, 2, 3])] {
        let mut desk = Desk::new(name);
        (1..).zip(weights).for_each(|(server, weight)| desk.add(server, weight));
        let desk = &desk;
        let counts = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut counts = [0_u32; 4];
                        for number in 0..EACH {
                            let server = desk.look(client(number), 1).unwrap();
                            counts[usize::from(server)] += 1;
                        }
                        counts
                    })
                })
                .collect();
            workers.into_iter().fold([0; 4], |sum, worker| {
                let counts = worker.join().unwrap();
                std::array::from_fn(|server| sum[server] + counts[server])
            })
        });
        let total: u32 = weights.iter().sum();
        for (server, weight) in (1..).zip(weights) {
            let exact = 4 * EACH * weight / total;
            assert!(counts[server].abs_diff(exact) <= weight, "{name}: {counts:?}");
        }
    }
}

#[test]
fn workers_that_meet_a_new_destination_at_once_agree_on_its_server() {
    let mut desk = Desk::marked("lblc");
    (1..=8).for_each(|server| desk.add(server, 1));
    for number in 0..500 {
        desk.vip = number_address(number);
        let together = &desk;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| together.look(client(0), 1));
            }
        });
        let settled = desk.look(client(0), 1);
        assert!((0..3).all(|_| desk.look(client(0), 1) == settled), "destination {number}");
    }
}
