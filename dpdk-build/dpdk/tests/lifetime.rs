// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of EAL: not under what uses it, and without a trace. One test, since one life.

mod unprivileged;

use std::env;
use std::path::PathBuf;

use dpdk::{Burst, Eal, EalError, Nic, NicConfig, Pool, PoolConfig, RingConfig, Socket};

/// Where EAL keeps its files: for root and for others.
fn runtime_folders() -> Vec<PathBuf> {
    let own = format!("dpdk/{}", unprivileged::prefix());
    let user = env::var_os("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into());
    vec![PathBuf::from("/run").join(&own), PathBuf::from(user).join(&own)]
}

#[test]
fn eal_ends_after_its_users_and_leaves_nothing_behind() {
    let eal = Eal::init(&unprivileged::args()).unwrap();
    assert!(dpdk::release().starts_with("DPDK 2"), "{}", dpdk::release());
    for folder in runtime_folders() {
        assert!(!folder.exists(), "{} was left", folder.display());
    }
    let pool = Pool::new(&eal, &PoolConfig::new("last", 1023)).unwrap();
    let ring = RingConfig { name: "last", slots: 64, socket: Socket::Any };
    let (producer, consumer) = dpdk::many_to_one(&eal, &ring).unwrap();
    let mut nic = Nic::open(&eal, "net_null0").unwrap();
    nic.configure(&NicConfig::default(), &pool).unwrap();
    let mut queues = nic.start().unwrap();
    let mut burst = Burst::new();
    queues.rx[0].receive(&mut burst, 10);
    producer.enqueue(&mut burst);
    assert_eq!(eal.clone().cleanup(), Err(EalError::InUse));

    let keeper = eal.clone();
    let worker = eal.spawn("holder", None, move |_| drop(keeper)).unwrap();
    worker.join().unwrap();
    drop((queues, nic, producer, consumer, pool));
    eal.cleanup().unwrap();
    assert_eq!(Eal::init(&unprivileged::args()).unwrap_err(), EalError::AlreadyStarted);
}
