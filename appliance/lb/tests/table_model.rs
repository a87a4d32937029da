// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connection table and its timers against plain maps, under random operations.

mod lab;

use std::collections::HashMap;
use std::net::SocketAddr;

use lab::{Lab, Plan, mac_of};
use lb::action::{Ends, connect};
use lb::conn::table::ConnTable;
use lb::conn::tcp_state::{self, Sender, State, TcpTables, Timeouts};
use lb::conn::{Conn, Direction};
use lb::ids::{ConnId, NicId, Seed, ServerId, Tick};
use lb::limits::Limits;
use lb::memory::TableMemory;
use lb::service::ForwardMode;
use proptest::prelude::*;
use wire::{Addr4, Endpoint, FlowKey, L4, TcpFlags, V4, VecFrame, build};

fn endpoint(addr: [u8; 4], port: u16) -> Endpoint<V4> {
    Endpoint { addr: Addr4(addr), port: port.into() }
}

/// The connection of client `number`, by NAT (found by two keys) or DR (by one).
fn conn(number: u16, mode: ForwardMode) -> Conn<V4> {
    let client = endpoint([198, 51, (number >> 8) as u8, number as u8], number | 1);
    let (vip, server) = (endpoint([192, 0, 2, 1], 80), endpoint([10, 0, 0, 11], 80));
    let ends = Ends { client, vip, server, local: client };
    connect(L4::Tcp, mode, ServerId { slot: 0, generation: 1 }, &ends)
}

fn keys(conn: &Conn<V4>) -> Vec<(FlowKey<V4>, Direction)> {
    let directions = match conn.traits().sees_replies {
        true => &[Direction::Request, Direction::Reply][..],
        false => &[Direction::Request],
    };
    directions.iter().map(|direction| (conn.key(*direction), *direction)).collect()
}

#[derive(Clone, Debug)]
enum Operation {
    Insert(u16, bool),
    Remove(u16),
}

fn operations(clients: u16) -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        3 => (0..clients, any::<bool>()).prop_map(|(client, nat)| Operation::Insert(client, nat)),
        2 => (0..clients).prop_map(Operation::Remove),
    ];
    prop::collection::vec(operation, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_table_finds_what_a_map_finds(
        capacity in 1u32..40,
        seed in any::<u64>(),
        operations in operations(60),
    ) {
        let mut memory = TableMemory::new(ConnTable::<V4>::memory_bytes(capacity));
        let mut table = ConnTable::new(memory.bytes_mut(), capacity, Seed::fixed(seed)).unwrap();
        let mut model: HashMap<u16, (ConnId, Conn<V4>)> = HashMap::new();
        for operation in operations {
            match operation {
                Operation::Insert(client, _) if model.contains_key(&client) => {}
                Operation::Insert(client, nat) => {
                    let mode = if nat { ForwardMode::Masquerade } else { ForwardMode::Direct };
                    let conn = conn(client, mode);
                    match table.insert(conn) {
                        Ok(id) => drop(model.insert(client, (id, conn))),
                        Err(_) => prop_assert_eq!(model.len() as u32, capacity),
                    }
                }
                Operation::Remove(client) => {
                    if let Some((id, _)) = model.remove(&client) {
                        table.remove(id);
                    }
                }
            }
            prop_assert_eq!(table.live() as usize, model.len());
            for client in 0..60 {
                for mode in [ForwardMode::Masquerade, ForwardMode::Direct] {
                    for (key, direction) in keys(&conn(client, mode)) {
                        let known = model.get(&client);
                        let expected = known.and_then(|(id, conn)| {
                            keys(conn).contains(&(key, direction)).then_some((*id, direction))
                        });
                        prop_assert_eq!(table.look_up(&key), expected);
                    }
                }
            }
        }
    }
}

#[test]
fn every_entry_of_a_table_can_be_used() {
    for capacity in [1, 2, 3, 5, 6, 7, 12, 13, 24, 100, 192, 384, 1000, 3072, 12_288] {
        // Few buckets leave little room to give way, so small tables are tried more often.
        for seed in 0..if capacity <= 24 { 1000 } else { 8 } {
            let mut memory = TableMemory::new(ConnTable::<V4>::memory_bytes(capacity));
            let mut table =
                ConnTable::new(memory.bytes_mut(), capacity, Seed::fixed(seed)).unwrap();
            for number in 0..capacity as u16 {
                let inserted = table.insert(conn(number, ForwardMode::Masquerade));
                assert!(inserted.is_ok(), "{number} of {capacity} with seed {seed}");
            }
            assert!(table.insert(conn(u16::MAX, ForwardMode::Masquerade)).is_err());
            for number in 0..capacity as u16 {
                for (key, direction) in keys(&conn(number, ForwardMode::Masquerade)) {
                    let found = table.look_up(&key);
                    assert_eq!(found.map(|(_, found)| found), Some(direction));
                }
            }
        }
    }
}

#[test]
fn memory_that_is_too_small_or_too_much_to_ask_makes_no_table() {
    let mut memory = TableMemory::new(ConnTable::<V4>::memory_bytes(100));
    assert!(ConnTable::<V4>::new(memory.bytes_mut(), 100, Seed::fixed(1)).is_some());
    assert!(ConnTable::<V4>::new(memory.bytes_mut(), 110, Seed::fixed(1)).is_none());
    assert!(ConnTable::<V4>::new(&mut memory.bytes_mut()[1..], 10, Seed::fixed(1)).is_none());
    assert!(ConnTable::<V4>::new(memory.bytes_mut(), u32::MAX, Seed::fixed(1)).is_none());
}

/// Connections that the model keeps: state and deadline by client.
type Known = HashMap<u16, (State, u64)>;

/// How much later than its deadline a connection may end: the units of deadline and timer.
const LATE_MS: u64 = 64 + 256;
const CAPACITY: usize = 6;

#[derive(Clone, Debug)]
enum Event {
    Segment { client: u16, reply: bool, flags: u8 },
    Wait { ms: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let common = vec![0x02, 0x12, 0x10, 0x18, 0x11, 0x01, 0x04, 0x14, 0x00, 0x06, 0x03];
    let flags = prop_oneof![9 => prop::sample::select(common), 1 => any::<u8>()];
    let event = prop_oneof![
        6 => (0u16..10, any::<bool>(), flags)
            .prop_map(|(client, reply, flags)| Event::Segment { client, reply, flags }),
        2 => (0u64..70_000).prop_map(|ms| Event::Wait { ms }),
        1 => prop::sample::select(vec![200_000, 1_100_000, 30_000_000_000])
            .prop_map(|ms| Event::Wait { ms }),
    ];
    prop::collection::vec(event, 1..120)
}

struct Modelled {
    lab: Lab,
    known: Known,
    /// Half-open connections, the oldest first.
    half_open: Vec<u16>,
    now_ms: u64,
}

impl Modelled {
    fn new() -> Self {
        let limits = Limits {
            services: 4,
            servers: 4,
            connections: CAPACITY as u32,
            templates: 64,
            ..Limits::DEFAULT
        };
        let mut lab = Lab::new(Plan { limits, ..Plan::default() });
        lab.know_all(["198.51.100.7".parse().unwrap(), "10.0.0.11".parse().unwrap()]);
        lab.rules("-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.11:80 -m");
        Self { lab, known: Known::new(), half_open: Vec::new(), now_ms: 0 }
    }

    fn segment(&mut self, client: u16, reply: bool, flags: TcpFlags) {
        let client_at = ([198, 51, 100, 7], 1000 + client);
        let (nic, from, to) = match reply {
            false => (0, client_at, ([192, 0, 2, 1], 80)),
            true => (1, ([10, 0, 0, 11], 80), client_at),
        };
        let ether = build::eth().src(mac_of(from.0.into())).dst(self.lab.plan().nics[nic].mac);
        let bytes = ether.ipv4(from.0, to.0).tcp(from.1, to.1).flags(flags).payload(b"");
        let now = Tick::from_millis(self.now_ms);
        self.lab.receive([(NicId(nic as u16), VecFrame::new(&bytes))], now);

        if flags.syn() && !reply && self.is_over(client) {
            self.known.remove(&client);
        }
        let opens = !reply && flags.syn() && !flags.rst() && !self.known.contains_key(&client);
        if opens && self.known.len() == CAPACITY && !self.half_open.is_empty() {
            self.known.remove(&self.half_open.remove(0));
        }
        let opens = opens && self.known.len() < CAPACITY;
        let before = match self.known.get(&client) {
            Some((state, _)) => *state,
            None if opens => State::None,
            None => return,
        };
        let sender = if reply { Sender::Server } else { Sender::Client };
        let state = tcp_state::next(&TcpTables::PLAIN, before, sender, flags);
        let timeout_s = u64::from(Timeouts::default().of(state));
        self.known.insert(client, (state, self.now_ms + timeout_s * 1000));
        match (state.is_half_open(), self.half_open.contains(&client)) {
            (true, false) => self.half_open.push(client),
            (false, true) => self.half_open.retain(|other| *other != client),
            _ => {}
        }
    }

    fn is_over(&self, client: u16) -> bool {
        let known = self.known.get(&client);
        known.is_some_and(|(state, _)| matches!(state, State::TimeWait | State::Close))
    }

    /// Lets time pass, and on until it is certain which connections have ended.
    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        while let Some((_, deadline)) = self
            .known
            .values()
            .find(|(_, deadline)| *deadline <= self.now_ms && self.now_ms <= deadline + LATE_MS)
        {
            self.now_ms = deadline + LATE_MS + 1;
        }
        self.lab.tick(Tick::from_millis(self.now_ms));
        let now_ms = self.now_ms;
        self.known.retain(|_, (_, deadline)| *deadline > now_ms);
        self.half_open.retain(|client| self.known.contains_key(client));
    }

    fn check(&mut self) {
        let now = Tick::from_millis(self.now_ms);
        let found: HashMap<SocketAddr, State> = self
            .lab
            .ensemble()
            .connections(now)
            .into_iter()
            .map(|conn| (conn.client, conn.state))
            .collect();
        let known: HashMap<SocketAddr, State> = self
            .known
            .iter()
            .map(|(client, (state, _))| (([198, 51, 100, 7], 1000 + client).into(), *state))
            .collect();
        assert_eq!(found, known);
        let active = known.values().filter(|state| state.is_active()).count() as u32;
        let counts = self.lab.director().figures().counts();
        assert_eq!((counts.active(0), counts.inactive(0)), (active, known.len() as u32 - active));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn connections_open_move_and_end_as_in_a_map(events in events()) {
        let mut modelled = Modelled::new();
        for event in events {
            match event {
                Event::Segment { client, reply, flags } => {
                    modelled.segment(client, reply, TcpFlags(flags));
                }
                Event::Wait { ms } => modelled.wait(ms),
            }
            modelled.check();
        }
    }
}

/// Would not end if time were walked through moment by moment.
#[test]
fn a_leap_of_time_costs_one_turn_of_the_wheel() {
    let mut modelled = Modelled::new();
    modelled.segment(0, false, TcpFlags::SYN);
    modelled.wait(4_000_000_000_000);
    modelled.check();
    modelled.segment(0, false, TcpFlags::SYN);
    modelled.wait(30_000);
    modelled.check();
    assert_eq!(modelled.known.len(), 1);
}
