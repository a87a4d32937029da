// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads as lcores: pinned, registered while they hold the token, joined like any thread.

mod unprivileged;

use std::fs;
use std::sync::{Barrier, LazyLock};
use std::thread;

use dpdk::{Cpu, Eal, EalError, Lcore, Pool, PoolConfig};

/// EAL, started by whichever test comes first.
static EAL: LazyLock<Eal> = LazyLock::new(|| {
    Eal::init(&unprivileged::args()).expect("EAL starts without hugepages and without root")
});

fn allowed_cpus() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn starting_eal_leaves_the_callers_cpus_alone() {
    let before = allowed_cpus();
    LazyLock::force(&EAL);
    assert_eq!(allowed_cpus(), before);
    assert_eq!(EAL.register().map(drop), Ok(()), "the caller was made an lcore");
}

#[test]
fn a_second_start_is_refused() {
    LazyLock::force(&EAL);
    let error = Eal::init(&unprivileged::args()).unwrap_err();
    assert_eq!(error, EalError::AlreadyStarted);
}

#[test]
fn a_worker_has_a_name_a_cpu_and_a_value() {
    let body =
        |lcore: &Lcore| (thread::current().name().map(str::to_owned), allowed_cpus(), lcore.id());
    let cpu = unprivileged::first_cpu();
    let worker = EAL.spawn("worker-0", Some(cpu), body).unwrap();
    let (name, cpus, id) = worker.join().unwrap();
    assert_eq!((name.as_deref(), cpus), (Some("worker-0"), cpu.to_string()));
    assert!((1..128).contains(&id), "lcore 0 is EAL's own, not {id}");
}

#[test]
fn a_cpu_that_is_not_there_is_refused_in_words() {
    for cpu in [Cpu(1023), Cpu(u16::MAX)] {
        let error = EAL.spawn("nowhere", Some(cpu), |_| ()).unwrap_err();
        assert_eq!(error, EalError::Affinity(cpu));
        assert!(error.to_string().starts_with(&format!("CPU {cpu} cannot be used")));
    }
}

#[test]
fn a_thread_is_registered_once_at_a_time() {
    let lcore = EAL.register().unwrap();
    assert_eq!(EAL.register().unwrap_err(), EalError::AlreadyRegistered);
    drop(lcore);
    assert!(EAL.register().is_ok());
}

#[test]
fn lcores_at_work_have_different_ids() {
    let together: &'static Barrier = Box::leak(Box::new(Barrier::new(4)));
    let body = |lcore: &Lcore| {
        together.wait();
        lcore.id()
    };
    let threads: Vec<_> = (0..4).map(|_| EAL.spawn("crowd", None, body).unwrap()).collect();
    let mut ids: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_worker_that_panics_gives_its_id_back() {
    for _ in 0..200 {
        let thread = EAL.spawn("panics", None, |_| std::panic::resume_unwind(Box::new(())));
        let ended: thread::Result<()> = thread.unwrap().join();
        assert!(ended.is_err());
    }
}

#[test]
fn frames_freed_into_a_workers_cache_are_counted_as_back() {
    let pool = Pool::new(&EAL, &PoolConfig::new("cached", 1023)).unwrap();
    let frames: Vec<_> = (0..100).map(|_| pool.alloc().unwrap()).collect();
    assert_eq!(pool.available(), 923);
    EAL.spawn("frees", None, move |_| drop(frames)).unwrap().join().unwrap();
    assert_eq!(pool.available(), 1023);
}
