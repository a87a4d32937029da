// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reader against the lister of a worker without connections.

use lb::catalog::Catalog;
use lb::conn::table::ConnTable;
use lb::counters::{ServerCounts, WorkerCounters};
use lb::ids::{Seed, WorkerId};
use lb::limits::Limits;
use lb::memory::TableMemory;
use lb::network::Network;
use lb::pipeline::Parts;
use lb::snapshot::Snapshot;
use lb::steer::{Owner, Wiring};
use wire::{V4, V6, VecFrame};

use super::*;

/// Places in the tables of the worker: more than one piece of each family.
const PLACES: u32 = 400_000;

/// Calls `with` with a worker whose tables are large and empty.
fn with_worker(with: impl FnOnce(&Worker<'_, VecFrame>)) {
    let limits = Limits { services: 1, servers: 1, connections: PLACES, ..Limits::DEFAULT };
    let seed = Seed::fixed(1);
    let mut v4 = TableMemory::new(ConnTable::<V4>::memory_bytes(PLACES));
    let mut v6 = TableMemory::new(ConnTable::<V6>::memory_bytes(PLACES));
    let wiring = Wiring {
        workers: 1,
        owner: Owner::Hash,
        nics: vec![],
        local_ports: 1..=2,
        rss: None,
        marks: std::sync::Arc::default(),
        seed,
    };
    let snapshot = Snapshot::new(&Catalog::new(&limits), &Network::new(vec![]), seed);
    let parts = Parts {
        id: WorkerId(0),
        wiring: Arc::new(wiring),
        snapshot: Arc::new(snapshot),
        v4: ConnTable::new(v4.bytes_mut(), PLACES, seed).unwrap(),
        v6: ConnTable::new(v6.bytes_mut(), PLACES, seed).unwrap(),
        counters: WorkerCounters::new(WorkerId(0), &limits),
        counts: ServerCounts::new(&limits),
        half_open: limits.half_open,
    };
    with(&Worker::new(parts, Tick::default()));
}

#[test]
fn a_large_empty_table_is_answered_piece_by_piece() {
    with_worker(|worker| {
        let (mut reader, mut lister) = pair();
        let mut next = Next::Piece(ListCursor::default());
        let mut pieces = 0;
        while let Next::Piece(cursor) = next {
            reader.ask((cursor, ConnFilter::default()));
            let mut answer = None;
            for turn in 0..=TURNS_PER_PIECE {
                answer = reader.answer(|record| panic!("{record:?}"));
                if answer.is_some() {
                    break;
                }
                lister.turn(worker, Tick::default());
                let ended = reader.shared.answers.is_full();
                assert_eq!(lister.is_busy(), !ended, "it rests only when turn {turn} was the last");
            }
            next = answer.expect("a piece within its turns");
            pieces += 1;
        }
        let entries = 2 * PLACES as usize;
        assert!(pieces >= entries / (ENTRIES_PER_TURN * TURNS_PER_PIECE as usize), "{pieces}");
        assert!(pieces > 2, "{pieces}: the test needs larger tables");
    });
}

#[test]
fn the_answer_to_a_question_that_was_overruled_is_nobodys() {
    with_worker(|worker| {
        let (mut reader, mut lister) = pair();
        reader.ask((ListCursor::default(), ConnFilter::default()));
        (0..TURNS_PER_PIECE).for_each(|_| lister.turn(worker, Tick::default()));
        reader.ask((ListCursor::default(), ConnFilter::default()));
        assert_eq!(reader.answer(|_| {}), None, "the answer that is there is to the first");
        lister.turn(worker, Tick::default());
        assert_eq!(reader.answer(|_| {}), None);
        (1..TURNS_PER_PIECE).for_each(|_| lister.turn(worker, Tick::default()));
        assert!(matches!(reader.answer(|_| {}), Some(Next::Piece(_))));
    });
}
