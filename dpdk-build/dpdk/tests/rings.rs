// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings between threads: bounded, in order, and nothing is lost or freed twice.

mod unprivileged;

use std::sync::LazyLock;
use std::thread;

use dpdk::{
    Burst, Eal, Errno, Pool, PoolConfig, RingConfig, RingError, Socket, many_to_one, one_to_one,
};
use wire::Frame;

/// EAL, started by whichever test comes first.
static EAL: LazyLock<Eal> = LazyLock::new(|| {
    Eal::init(&unprivileged::args()).expect("EAL starts without hugepages and without root")
});

fn pool(name: &str, mbufs: u32) -> Pool {
    Pool::new(&EAL, &PoolConfig { cache: 0, ..PoolConfig::new(name, mbufs) }).unwrap()
}

fn ring(name: &str, slots: u32) -> RingConfig<'_> {
    RingConfig { name, slots, socket: Socket::Any }
}

fn filled(pool: &Pool, numbers: impl Iterator<Item = u32>) -> Burst {
    let mut burst = Burst::new();
    for number in numbers {
        burst.push(pool.alloc_from(&number.to_ne_bytes()).unwrap()).unwrap();
    }
    burst
}

fn numbers(burst: &Burst) -> Vec<u32> {
    let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
    burst.as_slice().iter().map(|frame| number(frame.head())).collect()
}

#[test]
fn a_full_ring_leaves_the_rest_in_the_burst_in_order() {
    let pool = pool("ring-full", 63);
    let (mut producer, mut consumer) = one_to_one(&EAL, &ring("full", 8)).unwrap();
    let mut burst = filled(&pool, 0..10);
    assert_eq!(producer.enqueue(&mut burst), 7);
    assert_eq!(numbers(&burst), [7, 8, 9]);
    assert_eq!(producer.enqueue(&mut burst), 0);
    assert_eq!(numbers(&burst), [7, 8, 9]);

    let mut out = Burst::new();
    assert_eq!(consumer.len(), 7);
    assert_eq!(consumer.dequeue(&mut out, 4), 4);
    assert_eq!(producer.enqueue(&mut burst), 3);
    assert!(burst.is_empty());
    assert_eq!(consumer.dequeue(&mut out, 64), 6);
    assert_eq!(numbers(&out), (0..10).collect::<Vec<_>>());
    assert!(consumer.is_empty());
}

#[test]
fn a_burst_takes_only_what_it_has_room_for() {
    let pool = pool("ring-room", 127);
    let (mut producer, mut consumer) = one_to_one(&EAL, &ring("room", 128)).unwrap();
    producer.enqueue(&mut filled(&pool, 0..20));
    let mut out = filled(&pool, 100..160);
    assert_eq!(consumer.dequeue(&mut out, 64), 4);
    assert_eq!(consumer.dequeue(&mut out, 64), 0);
    assert_eq!(numbers(&out)[60..], [0, 1, 2, 3]);
}

#[test]
fn what_is_in_a_ring_is_freed_with_it() {
    let pool = pool("ring-dropped", 127);
    let (producer, consumer) = many_to_one(&EAL, &ring("dropped", 128)).unwrap();
    producer.enqueue(&mut filled(&pool, 0..64));
    producer.clone().enqueue(&mut filled(&pool, 0..36));
    assert_eq!(pool.available(), 27);
    drop(consumer);
    assert_eq!(pool.available(), 27, "a producer still holds the ring");
    drop(producer);
    assert_eq!(pool.available(), 127);
    drop(many_to_one(&EAL, &ring("dropped", 128)).expect("its name is free again"));
}

#[test]
fn many_unregistered_threads_feed_one() {
    const PRODUCERS: u32 = 4;
    const EACH: u32 = 5_000;
    let pool = pool("ring-crowd", 1023);
    let (producer, mut consumer) = many_to_one(&EAL, &ring("crowd", 256)).unwrap();
    let feed = |id: u32| {
        let (pool, producer) = (pool.clone(), producer.clone());
        thread::spawn(move || {
            let mut next = id * EACH;
            while next < (id + 1) * EACH {
                let Some(frame) = pool.alloc_from(&next.to_ne_bytes()) else {
                    thread::yield_now();
                    continue;
                };
                let mut burst = Burst::new();
                burst.push(frame).unwrap();
                while producer.enqueue(&mut burst) == 0 {
                    thread::yield_now();
                }
                next += 1;
            }
        })
    };
    let threads: Vec<_> = (0..PRODUCERS).map(feed).collect();
    let mut expected: Vec<u32> = (0..PRODUCERS).map(|id| id * EACH).collect();
    let mut out = Burst::new();
    let mut received = 0;
    while received < PRODUCERS * EACH {
        if consumer.dequeue(&mut out, 64) == 0 {
            thread::yield_now();
        }
        for number in numbers(&out) {
            let next = &mut expected[(number / EACH) as usize];
            assert_eq!(number, *next, "a producer's frames came out of order");
            *next += 1;
            received += 1;
        }
        out.clear();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(pool.available(), 1023);
}

#[test]
fn rings_that_cannot_be_are_refused_in_words() {
    let refuse = |config: RingConfig<'_>| one_to_one(&EAL, &config).unwrap_err();
    for slots in [0, 1, 6, 1 << 30] {
        assert_eq!(refuse(ring("odd", slots)), RingError::Slots(slots));
    }
    assert_eq!(refuse(ring("a-name-of-twenty-nine-bytes--", 8)), RingError::Name);
    let _first = one_to_one(&EAL, &ring("twice", 8)).unwrap();
    assert_eq!(refuse(ring("twice", 8)), RingError::Refused(Errno::Exists));
}
