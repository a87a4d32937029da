// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that DPDK knows.
//!
//! Workers are ordinary threads, registered with EAL, not EAL's own: they have names, can be
//! joined, return values, and are pinned where the caller says. Registration gives a thread its
//! cache in every pool; an unregistered thread may use pools and rings too, only slower.

use std::fmt;
use std::marker::PhantomData;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use dpdk_sys as sys;

use crate::{Eal, EalError};

/// A CPU by the number Linux gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(pub u16);

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Proof that the current thread is registered; unregisters it when dropped.
#[derive(Debug)]
pub struct Lcore {
    id: u16,
    eal: Eal,
    /// The registration is the thread's: not `Send`.
    _this_thread: PhantomData<*const ()>,
}

impl Lcore {
    /// DPDK's number for this thread, below `RTE_MAX_LCORE`.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }
}

impl Drop for Lcore {
    fn drop(&mut self) {
        // SAFETY: `register` registered this thread, and the token cannot leave it.
        unsafe { sys::rte_thread_unregister() };
        self.eal.thread_unregistered();
    }
}

impl Eal {
    /// Makes the current thread an lcore for as long as the token lives.
    pub fn register(&self) -> Result<Lcore, EalError> {
        if current_id().is_some() {
            return Err(EalError::AlreadyRegistered);
        }
        // Counted before, so that a pool is never freed between registration and count.
        self.thread_registered();
        // SAFETY: EAL is up, and this thread is not registered.
        let returned = unsafe { sys::rte_thread_register() };
        match current_id() {
            Some(id) if returned == 0 => {
                Ok(Lcore { id, eal: self.clone(), _this_thread: PhantomData })
            }
            _ => {
                self.thread_unregistered();
                Err(EalError::NoLcoreLeft)
            }
        }
    }

    /// Runs `body` in a registered thread, pinned to `cpu` if one is given.
    ///
    /// Returns when the thread is pinned and registered, or could not be.
    pub fn spawn<T, F>(
        &self,
        name: &str,
        cpu: Option<Cpu>,
        body: F,
    ) -> Result<LcoreThread<T>, EalError>
    where
        T: Send + 'static,
        F: FnOnce(&Lcore) -> T + Send + 'static,
    {
        let (report, entered) = channel();
        let eal = self.clone();
        let run = move || match enter(&eal, cpu) {
            Ok(lcore) => {
                let _ = report.send(Ok(()));
                Some(body(&lcore))
            }
            Err(error) => {
                let _ = report.send(Err(error));
                None
            }
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|_| EalError::Thread)?;
        entered.recv().map_err(|_| EalError::Thread)??;
        Ok(LcoreThread(thread))
    }
}

/// A running registered thread.
#[derive(Debug)]
pub struct LcoreThread<T>(JoinHandle<Option<T>>);

impl<T> LcoreThread<T> {
    /// Waits for the thread's end; the error is its panic.
    pub fn join(self) -> thread::Result<T> {
        self.0.join()?.ok_or_else(|| Box::new(EalError::Thread) as _)
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// The current thread's lcore id, or `None` if it is not registered.
pub(crate) fn current_id() -> Option<u16> {
    // SAFETY: reads a thread-local integer.
    let id = unsafe { sys::shim_lcore_id() };
    if id == sys::SHIM_LCORE_NONE { None } else { u16::try_from(id).ok() }
}

/// Pins first, because EAL notes the thread's CPUs when it registers.
fn enter(eal: &Eal, cpu: Option<Cpu>) -> Result<Lcore, EalError> {
    if let Some(cpu) = cpu {
        pin(cpu)?;
    }
    eal.register()
}

/// Ties the current thread to one CPU.
fn pin(cpu: Cpu) -> Result<(), EalError> {
    let index = usize::from(cpu.0);
    if index >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(EalError::Affinity(cpu));
    }
    // SAFETY: a set of CPUs is an array of bits, for which zero is a value; `index` is within it;
    // pid 0 is this thread.
    let returned = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(index, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if returned == 0 { Ok(()) } else { Err(EalError::Affinity(cpu)) }
}
