// SPDX-License-Identifier: MIT OR Apache-2.0
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use wire::L4;

use super::*;
use crate::hash::Keyed;
use crate::ids::Seed;

const TIMEOUT_S: u32 = 300;

fn table(templates: u32) -> Templates {
    Templates::new(&Limits { servers: 16, templates, ..Limits::DEFAULT })
}

fn key(client: u32) -> TemplateKey {
    let vip = [192, 0, 2, 1].into();
    let client = std::net::Ipv4Addr::from(client).into();
    TemplateKey::address(L4::Tcp, client, vip, 80).complete(None, &Keyed::new(Seed::fixed(1)))
}

fn server(slot: u32) -> ServerId {
    ServerId { slot, generation: 1 }
}

fn s(seconds: u64) -> Tick {
    Tick::from_secs(seconds)
}

fn records(templates: &Templates, now: Tick) -> Vec<TemplateRecord> {
    let (mut records, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        from = templates.list(at, 7, now, |record| records.push(record));
    }
    records
}

#[test]
fn the_second_to_bind_a_client_takes_the_server_of_the_first() {
    let templates = table(8);
    assert_eq!(templates.enter(&key(1), s(0)), None);
    let first = templates.bind(&key(1), server(3), TIMEOUT_S, s(0)).unwrap();
    let second = templates.bind(&key(1), server(4), TIMEOUT_S, s(0)).unwrap();
    assert_eq!(second, first);
    assert_eq!(templates.enter(&key(1), s(1)), Some(first));
    assert_eq!([3, 4].map(|slot| templates.of_server(slot)), [1, 0]);
}

#[test]
fn a_template_lives_its_time_from_the_last_new_connection() {
    let templates = table(8);
    let held = templates.bind(&key(1), server(3), TIMEOUT_S, s(0)).unwrap();
    templates.leave(held.id, Leaving::Ended, s(1));
    let again = templates.enter(&key(1), s(200)).unwrap();
    templates.restart(again, s(200));
    templates.leave(again.id, Leaving::Ended, s(201));
    assert_eq!(records(&templates, s(499)).len(), 1);
    assert_eq!(records(&templates, s(500)), []);
    assert_eq!(templates.enter(&key(1), s(500)), None);
    assert_eq!(templates.of_server(3), 0);
}

#[test]
fn connections_keep_a_template_a_minute_at_a_time() {
    let templates = table(8);
    let held = templates.bind(&key(1), server(3), TIMEOUT_S, s(0)).unwrap();
    let expires = |now| records(&templates, now)[0].expires_s;
    assert_eq!([299, 300, 350, 365].map(|now| expires(s(now))), [1, 60, 10, 55]);
    templates.leave(held.id, Leaving::Ended, s(400));
    assert_eq!(expires(s(400)), 20);
    let again = templates.enter(&key(1), s(410)).unwrap();
    templates.restart(again, s(410));
    templates.leave(again.id, Leaving::Ended, s(411));
    assert_eq!(expires(s(411)), 59, "it has no more than a minute from then on");
    assert_eq!(records(&templates, s(470)), []);
}

#[test]
fn a_template_of_a_dropped_connection_goes_unless_it_was_assured() {
    let templates = table(8);
    for (client, assured) in [(1, false), (2, true)] {
        let held = templates.bind(&key(client), server(3), TIMEOUT_S, s(0)).unwrap();
        if assured {
            templates.assure(held.id);
        }
        templates.leave(held.id, Leaving::Dropped, s(1));
    }
    assert_eq!(templates.enter(&key(1), s(2)), None);
    assert!(templates.enter(&key(2), s(2)).is_some());
}

#[test]
fn a_template_whose_server_is_gone_gets_another_and_is_not_assured_any_more() {
    let templates = table(8);
    let held = templates.bind(&key(1), server(3), TIMEOUT_S, s(0)).unwrap();
    templates.assure(held.id);
    let moved = templates.rebind(held, server(5), TIMEOUT_S, s(10));
    assert_eq!(moved.server, server(5));
    assert_eq!(templates.rebind(held, server(6), TIMEOUT_S, s(10)).server, server(5));
    let [record] = records(&templates, s(10))[..] else { panic!() };
    assert_eq!((record.server, record.assured), (server(5), false));
    assert_eq!([3, 5, 6].map(|slot| templates.of_server(slot)), [0, 1, 0]);
}

#[test]
fn a_full_table_refuses_and_has_room_again_after_a_sweep() {
    let templates = table(4);
    let mut sweep = Sweep::new(0, 1, s(0));
    for client in 0..4 {
        let held = templates.bind(&key(client), server(1), TIMEOUT_S, s(0)).unwrap();
        templates.leave(held.id, Leaving::Ended, s(0));
    }
    assert_eq!(templates.bind(&key(9), server(1), TIMEOUT_S, s(1)), Err(Full));
    while templates.sweep(&mut sweep, s(299)) {}
    assert_eq!(templates.bind(&key(9), server(1), TIMEOUT_S, s(299)), Err(Full));
    while templates.sweep(&mut sweep, s(310)) {}
    assert_eq!(templates.of_server(1), 0);
    for client in 10..14 {
        assert!(templates.bind(&key(client), server(1), TIMEOUT_S, s(310)).is_ok());
    }
}

#[test]
fn marks_calls_and_addresses_are_told_apart_and_listed() {
    let templates = table(32);
    let keyed = Keyed::new(Seed::fixed(1));
    let client: std::net::IpAddr = [198, 51, 100, 0].into();
    let client6: std::net::IpAddr = "2001:db8::".parse().unwrap();
    let call = CallId::new(b"a84b4c76e66710@pc33.example.com", &keyed);
    let vip = [192, 0, 2, 1].into();
    let keys = [
        TemplateKey::mark(client, 5).complete(None, &keyed),
        TemplateKey::mark(client6, 5).complete(None, &keyed),
        TemplateKey::address(L4::Udp, client, vip, 5060).complete(Some(call), &keyed),
        TemplateKey::address(L4::Udp, client, vip, 5060).complete(None, &keyed),
        TemplateKey::address(L4::Tcp, client6, client6, 0).complete(None, &keyed),
    ];
    for (slot, key) in (0..).zip(&keys) {
        templates.bind(key, server(slot), TIMEOUT_S, s(0)).unwrap();
    }
    let mut listed = records(&templates, s(0));
    listed.sort_by_key(|record| record.server.slot);
    let shown =
        listed.iter().map(|r| format!("{:?} {} {}:{}", r.protocol, r.client, r.vip, r.port));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            "None 198.51.100.0 0.0.0.5:0",
            "None 2001:db8:: 0:5:::0",
            "Some(Udp) 198.51.100.0 192.0.2.1:5060",
            "Some(Udp) 198.51.100.0 192.0.2.1:5060",
            "Some(Tcp) 2001:db8:: 2001:db8:::0",
        ]
    );
    assert!(listed[2].call_id.unwrap().starts_with(b"a84b4c76e66710@pc33.example.com\0"));
    assert_eq!(listed[3].call_id, None);
}

/// Random workers on few keys of a small table: as long as anybody is under a template, everybody
/// who comes gets the server that it names, and in the end nothing is lost.
#[test]
fn workers_agree_on_the_server_of_a_client() {
    const WORKERS: u16 = 4;
    const CLIENTS: u32 = 24;
    for seed in 1..=4_u64 {
        let templates = table(16);
        let seen: Vec<Mutex<(u32, ServerId)>> =
            (0..CLIENTS).map(|_| Mutex::new((0, server(0)))).collect();
        let (clock, refused) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (templates, seen, clock, refused) = (&templates, &seen, &clock, &refused);
                scope.spawn(move || {
                    let keyed = Keyed::new(Seed::fixed(seed << 8 | u64::from(worker)));
                    let mut sweep = Sweep::new(worker, WORKERS, s(0));
                    let mut under: Vec<(u32, Held)> = Vec::new();
                    for step in 0..20_000 {
                        let dice = keyed.words(step, 0);
                        let now = Tick::from_millis(clock.fetch_add(dice >> 60, Ordering::Relaxed));
                        if under.len() > 6 || (dice & 3 == 0 && !under.is_empty()) {
                            let (client, held) = under.swap_remove(dice as usize % under.len());
                            seen[client as usize].lock().unwrap().0 -= 1;
                            templates.leave(held.id, Leaving::Ended, now);
                            continue;
                        }
                        templates.sweep(&mut sweep, now);
                        let client = (dice >> 8) as u32 % CLIENTS;
                        let Ok(held) = templates.bind(&key(client), server(worker.into()), 1, now)
                        else {
                            refused.store(true, Ordering::Relaxed);
                            continue;
                        };
                        templates.restart(held, now);
                        let mut known = seen[client as usize].lock().unwrap();
                        assert!(known.0 == 0 || known.1 == held.server, "client {client}");
                        *known = (known.0 + 1, held.server);
                        under.push((client, held));
                    }
                    for (client, held) in under {
                        seen[client as usize].lock().unwrap().0 -= 1;
                        templates.leave(held.id, Leaving::Ended, s(1_000));
                    }
                });
            }
        });
        let end = s(10_000);
        for worker in 0..WORKERS {
            let mut sweep = Sweep::new(worker, WORKERS, s(0));
            while templates.sweep(&mut sweep, end) {}
        }
        assert_eq!((0..16).map(|slot| templates.of_server(slot)).sum::<u32>(), 0);
        let whole = (0..16)
            .filter(|client| templates.bind(&key(100 + client), server(1), TIMEOUT_S, end).is_ok());
        assert_eq!(whole.count(), 16, "places were lost with seed {seed}");
    }
}
