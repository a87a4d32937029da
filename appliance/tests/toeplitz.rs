// SPDX-License-Identifier: MIT OR Apache-2.0
//! The balancer's Toeplitz hash is the one that NICs compute: DPDK's `rte_softrss` agrees.

use dpdk::RssKey;
use lb::steer::toeplitz::Toeplitz;

/// Bytes that look random and are the same in each run.
fn noise() -> impl Iterator<Item = u8> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(42), step).map(|state| (state >> 56) as u8)
}

#[test]
fn the_hash_of_every_kind_of_tuple_agrees_with_dpdk() {
    let mut noise = noise();
    for _ in 0..64 {
        let key: Vec<u8> = noise.by_ref().take(40).collect();
        let (ours, theirs) = (Toeplitz::new(&key).unwrap(), RssKey::new(&key).unwrap());
        for words in [2, 3, 5, 9] {
            let tuple: Vec<u8> = noise.by_ref().take(4 * words).collect();
            let host_order: Vec<u32> =
                tuple.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
            assert_eq!(Some(ours.hash(&tuple)), dpdk::toeplitz(&host_order, &theirs));
        }
    }
}
