// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames in DPDK's memory: what a chain shows, and that every buffer comes back.

mod unprivileged;

use std::sync::LazyLock;

use dpdk::{BURST_MAX, Burst, Eal, Errno, HEADROOM, Mbuf, NicId, Pool, PoolConfig, PoolError};
use wire::Frame;

/// EAL, started by whichever test comes first.
static EAL: LazyLock<Eal> = LazyLock::new(|| {
    Eal::init(&unprivileged::args()).expect("EAL starts without hugepages and without root")
});

/// A pool whose `available` is exact: without caches.
fn pool(name: &str, mbufs: u32) -> Pool {
    Pool::new(&EAL, &PoolConfig { cache: 0, ..PoolConfig::new(name, mbufs) }).unwrap()
}

/// A pool whose frames become chains after 64 bytes.
fn small_segments(name: &str) -> Pool {
    let config = PoolConfig { cache: 0, segment_bytes: 64, ..PoolConfig::new(name, 63) };
    Pool::new(&EAL, &config).unwrap()
}

fn bytes(frame: &Mbuf) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

fn numbers(count: u8) -> Vec<u8> {
    (0..count).collect()
}

#[test]
fn an_empty_pool_gives_nothing_until_a_frame_comes_back() {
    let pool = pool("exhausted", 7);
    let mut frames: Vec<Mbuf> = (0..7).map(|_| pool.alloc().unwrap()).collect();
    assert_eq!(pool.available(), 0);
    assert!(pool.alloc().is_none());
    frames.pop();
    assert!(pool.alloc().is_some());
    drop(frames);
    assert_eq!(pool.available(), 7);
}

#[test]
fn a_chain_that_does_not_fit_the_pool_is_given_back() {
    let pool = small_segments("chain-too-long");
    assert!(pool.alloc_from(&[0; 64 * 64]).is_none());
    assert_eq!(pool.available(), 63);
}

#[test]
fn a_frame_is_what_was_put_in() {
    let pool = pool("frame-bytes", 7);
    let frame = pool.alloc_from(&numbers(100)).unwrap();
    assert_eq!((frame.head(), frame.len()), (&numbers(100)[..], 100));
    assert_eq!((bytes(&frame), frame.segment_count()), (numbers(100), 1));
    let empty = pool.alloc_from(&[]).unwrap();
    assert!(empty.is_empty() && empty.head().is_empty());
    assert_eq!(empty.segments().count(), 0);
}

#[test]
fn a_piece_has_new_headers_and_bytes_from_anywhere_in_a_chain() {
    let pool = small_segments("pieces");
    let frame = pool.alloc_from(&numbers(200)).unwrap();
    for (start, len) in [(0, 200), (0, 10), (60, 10), (64, 64), (130, 70), (199, 1), (200, 0)] {
        let piece = pool.piece(&frame, &[255; 14], start, len).unwrap();
        let whole = [&[255; 14], &numbers(200)[start..start + len]].concat();
        assert_eq!((bytes(&piece), piece.len()), (whole, 14 + len), "{len} from {start}");
        assert_eq!(piece.head().len(), (14 + len).min(64), "segments are filled");
    }
    assert!(pool.piece(&frame, &[], 150, 51).is_none(), "beyond the end");
    assert!(pool.piece(&frame, &[0; 65], 0, 1).is_none(), "headers lie in one segment");
    drop(frame);
    assert_eq!(pool.available(), 63, "every buffer is back");
}

#[test]
fn a_piece_that_the_pool_cannot_make_leaves_nothing_behind() {
    let pool = pool("no-pieces", 3);
    let frame = pool.alloc_from(&numbers(100)).unwrap();
    let kept = [pool.alloc().unwrap(), pool.alloc().unwrap()];
    assert!(pool.piece(&frame, &[], 0, 10).is_none());
    drop((frame, kept));
    assert_eq!(pool.available(), 3);
}

#[test]
fn headers_grow_into_the_headroom_and_no_further() {
    let pool = pool("headroom", 7);
    let mut frame = pool.alloc_from(&[1, 2, 3]).unwrap();
    assert!(frame.push_front(usize::from(HEADROOM)).is_some());
    assert!(frame.push_front(1).is_none());
    assert!(frame.push_front(1 << 16).is_none());
    assert_eq!(frame.len(), usize::from(HEADROOM) + 3);
    frame.head_mut().fill(9);
    assert!(frame.pull_front(usize::from(HEADROOM) + 1));
    assert_eq!((frame.head(), frame.len()), (&[9, 9][..], 2));
    assert!(!frame.pull_front(3));
    assert!(frame.pull_front(2) && frame.is_empty());
}

#[test]
fn a_chain_shows_its_first_segment_and_the_length_of_all() {
    let pool = small_segments("chain");
    let mut frame = pool.alloc_from(&numbers(150)).unwrap();
    assert_eq!((frame.head(), frame.len()), (&numbers(64)[..], 150));
    assert_eq!((frame.segment_count(), bytes(&frame)), (3, numbers(150)));
    assert!(!frame.pull_front(65), "pulled into the second segment");
    assert!(frame.pull_front(64));
    assert_eq!((frame.head().len(), frame.len()), (0, 86));
    assert_eq!(bytes(&frame), numbers(150)[64..], "an empty head hid the rest");
    assert!(frame.push_front(4).is_some());
    assert_eq!(frame.len(), 90);
}

#[test]
fn truncating_frees_the_tail() {
    let pool = small_segments("truncate");
    let mut frame = pool.alloc_from(&numbers(150)).unwrap();
    assert_eq!(pool.available(), 60);
    assert!(!frame.truncate(65), "truncated into the second segment");
    assert_eq!((frame.len(), pool.available()), (150, 60));
    assert!(frame.truncate(64), "a tail goes even if the head keeps its length");
    assert_eq!((frame.len(), frame.segment_count(), pool.available()), (64, 1, 62));
    assert!(frame.truncate(0));
    assert!(frame.is_empty());
    drop(frame);
    assert_eq!(pool.available(), 63);
}

#[test]
fn bytes_are_appended_to_the_last_segment_while_there_is_room() {
    let pool = small_segments("append");
    let mut frame = pool.alloc_from(&numbers(100)).unwrap();
    assert!(frame.append(&[7; 28]));
    assert!(!frame.append(&[7]), "appended beyond the segment");
    assert_eq!((frame.len(), frame.segment_count()), (128, 2));
    assert_eq!(bytes(&frame)[100..], [7; 28]);
}

#[test]
fn a_frame_remembers_the_nic_it_was_given() {
    let pool = pool("nic-tag", 7);
    let mut frame = pool.alloc().unwrap();
    frame.set_nic(NicId::new(3));
    assert_eq!(frame.nic(), NicId::new(3));
}

#[test]
fn a_burst_keeps_order_and_refuses_the_sixty_fifth() {
    let pool = pool("burst-order", 127);
    let mut burst = Burst::new();
    for number in numbers(64) {
        burst.push(pool.alloc_from(&[number]).unwrap()).unwrap();
    }
    assert!(burst.is_full());
    let refused = burst.push(pool.alloc_from(&[64]).unwrap()).unwrap_err();
    assert_eq!(refused.head(), [64]);
    drop(refused);
    assert_eq!(burst.pop().unwrap().head(), [63]);
    let order: Vec<u8> = burst.drain().map(|frame| frame.head()[0]).collect();
    assert_eq!(order, numbers(63));
    assert_eq!(pool.available(), 127);
}

#[test]
fn a_burst_frees_what_is_left_in_it() {
    let pool = small_segments("burst-freed");
    let mut burst = Burst::new();
    for _ in 0..10 {
        burst.push(pool.alloc_from(&numbers(150)).unwrap()).unwrap();
    }
    assert_eq!(pool.available(), 33);
    burst.drain().next();
    assert!(burst.is_empty());
    assert_eq!(pool.available(), 63, "a drain that is not finished frees the rest");
    burst.push(pool.alloc().unwrap()).unwrap();
    burst.clear();
    assert_eq!(pool.available(), 63);
    burst.push(pool.alloc().unwrap()).unwrap();
    drop(burst);
    assert_eq!(pool.available(), 63);
    const { assert!(BURST_MAX == 64) };
}

#[test]
fn a_pools_name_is_free_again_after_its_last_frame() {
    let config = PoolConfig { cache: 0, ..PoolConfig::new("reused", 7) };
    let first = Pool::new(&EAL, &config).unwrap();
    assert_eq!(Pool::new(&EAL, &config).unwrap_err(), PoolError::Refused(Errno::Exists));
    let second_handle = first.clone();
    drop(first);
    assert_eq!(second_handle.available(), 7);
    drop(second_handle);
    drop(Pool::new(&EAL, &config).expect("the first pool was freed"));
}

#[test]
fn a_frame_outlives_the_handles_of_its_pool() {
    let config = PoolConfig { cache: 0, ..PoolConfig::new("outlived", 7) };
    let frame = Pool::new(&EAL, &config).unwrap().alloc_from(&[1, 2, 3]).unwrap();
    assert_eq!(frame.head(), [1, 2, 3]);
    assert!(Pool::new(&EAL, &config).is_err(), "the pool was freed under its frame");
}

#[test]
fn pools_that_cannot_be_are_refused_in_words() {
    let refuse = |config: PoolConfig<'_>| Pool::new(&EAL, &config).unwrap_err();
    let good = PoolConfig::new("refused", 1023);
    assert_eq!(refuse(PoolConfig { name: "", ..good }), PoolError::Name);
    let long = "a-name-of-twenty-six-bytes";
    assert_eq!(refuse(PoolConfig { name: long, ..good }), PoolError::Name);
    let error = refuse(PoolConfig { cache: 513, ..good });
    assert_eq!(error, PoolError::Cache { asked: 513, max: 512 });
    let error = refuse(PoolConfig { mbufs: 300, ..good });
    assert_eq!(error, PoolError::Cache { asked: 256, max: 200 });
    assert!(error.to_string().contains("at most 200"));
    let error = refuse(PoolConfig { segment_bytes: u16::MAX, ..good });
    assert_eq!(error, PoolError::Segment { asked: 65535, max: 65407 });
    let error = refuse(PoolConfig { mbufs: 1 << 24, ..good });
    assert_eq!(error, PoolError::Refused(Errno::NoMemory));
}
