// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame that outlives everything else: EAL's memory stays for it. One test, since one life.

mod unprivileged;

use dpdk::{Eal, EalError, Pool, PoolConfig};
use wire::Frame;

#[test]
fn memory_stays_mapped_under_a_frame() {
    let eal = Eal::init(&unprivileged::args()).unwrap();
    let pool = Pool::new(&eal, &PoolConfig::new("last", 1023)).unwrap();
    let mut frame = pool.alloc_from(&[1, 2, 3]).unwrap();
    drop(pool);
    let error = eal.cleanup().unwrap_err();
    assert_eq!(error, EalError::BuffersOut);
    assert!(error.to_string().contains("drop every Mbuf"));
    assert!(frame.push_front(2).is_some());
    frame.head_mut().fill(9);
    assert_eq!(frame.head(), [9; 5]);
}
