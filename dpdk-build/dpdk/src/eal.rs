// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start and end of DPDK's environment abstraction layer, once per process.
//!
//! `rte_eal_init` makes its caller an lcore and pins it to one CPU, which every thread the caller
//! starts later would inherit. So a thread of ours, `eal-main`, calls it, waits, and calls
//! `rte_eal_cleanup` in the end; the caller's thread stays as it was.
//!
//! Every pool, NIC, ring and registered thread holds an [`Eal`]. Clean-up, which unmaps DPDK's
//! memory, runs when the last is dropped, and not at all while a buffer is still out.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_int};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use dpdk_sys as sys;

use crate::error::check;
use crate::lcore::{self, Cpu};
use crate::pool::Mempool;
use crate::{Errno, NicId};

/// Proof that EAL is up, and the handle that keeps it up.
#[derive(Clone, Debug)]
pub struct Eal(Arc<Instance>);

impl Eal {
    /// Starts EAL with `args`, its own command line without the program's name; once per process.
    ///
    /// One lcore (`--lcores 0@CPU`) is enough: workers are threads of [`Eal::spawn`].
    pub fn init<S: AsRef<str>>(args: &[S]) -> Result<Self, EalError> {
        let argv = command_line(args).map_err(|_| EalError::Argument)?;
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyStarted);
        }
        let (report, started) = channel();
        let (end, ended) = channel();
        let main = thread::Builder::new()
            .name("eal-main".into())
            .spawn(move || run_main_thread(&argv, &report, &ended))
            .map_err(|_| EalError::Thread)?;
        started.recv().map_err(|_| EalError::Thread)??;
        remove_empty_runtime_folder();
        Ok(Self(Arc::new(Instance {
            main: Some(MainThread { end, thread: main }),
            registered_count: AtomicUsize::new(0),
            open_nics: Mutex::default(),
            retired_pools: Mutex::default(),
        })))
    }

    /// Ends EAL now; refused while a pool, NIC, ring or registered thread still holds it.
    ///
    /// Dropping the last handle does the same, without an answer.
    pub fn cleanup(self) -> Result<(), EalError> {
        Arc::into_inner(self.0).ok_or(EalError::InUse)?.end()
    }

    /// Ticks per second of the time stamp counter, which runs at one rate whatever the clock of the
    /// core.
    #[must_use]
    pub fn tsc_hz(&self) -> u64 {
        // SAFETY: reads a number that EAL's start set.
        unsafe { sys::rte_get_tsc_hz() }
    }

    /// The NICs that are open. Its lock also serialises probing, opening and closing of devices,
    /// which DPDK does not.
    pub(crate) fn open_nics(&self) -> MutexGuard<'_, BTreeSet<NicId>> {
        self.0.open_nics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn thread_registered(&self) {
        self.0.registered_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn thread_unregistered(&self) {
        // Release: what the thread did with buffers happened before `retire` sees it gone.
        self.0.registered_count.fetch_sub(1, Ordering::Release);
    }

    /// Frees a pool nobody holds any more, or keeps it until clean-up.
    ///
    /// A registered thread counts a buffer as returned to its cache before it has written it
    /// there. Only when no other thread is registered is "all are back" the whole truth.
    pub(crate) fn retire(&self, pool: Mempool) {
        let registered = self.0.registered_count.load(Ordering::Acquire);
        let others = registered - usize::from(lcore::current_id().is_some());
        let kept = if others == 0 {
            // SAFETY: only a pool's last handle calls this, and no other thread has a cache.
            unsafe { pool.free_if_unused() }.err()
        } else {
            Some(pool)
        };
        if let Some(pool) = kept {
            self.0.retired_pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
        }
    }
}

/// What all handles share.
#[derive(Debug)]
struct Instance {
    main: Option<MainThread>,
    /// Threads of ours that are lcores.
    registered_count: AtomicUsize,
    open_nics: Mutex<BTreeSet<NicId>>,
    retired_pools: Mutex<Vec<Mempool>>,
}

impl Instance {
    /// Frees what pools are left and ends EAL; does neither to a pool with a buffer out.
    fn end(&mut self) -> Result<(), EalError> {
        let Some(main) = self.main.take() else {
            return Ok(());
        };
        let pools = self.retired_pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: each registered thread holds a handle of EAL, and there is none left.
        let freed = pools.drain(..).map(|pool| unsafe { pool.free_if_unused() });
        if freed.fold(false, |out, pool| out | pool.is_err()) {
            return Err(EalError::BuffersOut);
        }
        main.end.send(()).map_err(|_| EalError::Thread)?;
        main.thread.join().map_err(|_| EalError::Thread)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // There is nobody to tell; the process ends with the memory still mapped.
        let _ = self.end();
    }
}

/// The thread that started EAL and is to end it.
#[derive(Debug)]
struct MainThread {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

/// Why EAL did not start, did not end, or did not take a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EalError {
    /// A second start.
    #[error("EAL starts once per process; clone the handle of the first start")]
    AlreadyStarted,
    /// An argument that C cannot hold.
    #[error("an EAL argument contains a zero byte; remove it")]
    Argument,
    /// `rte_eal_init` failed.
    #[error("EAL did not start: {0}. Its log, above, names the argument or the memory")]
    Refused(Errno),
    /// The system gave no thread, or it ended early.
    #[error("a thread for EAL could not be run; raise the limit of threads (ulimit -u)")]
    Thread,
    /// Clean-up while something holds EAL.
    #[error("EAL is in use; drop NICs, rings and pools and join the registered threads first")]
    InUse,
    /// Clean-up while a frame of a dropped pool still exists.
    #[error("frames are still held; drop every Mbuf and Burst first")]
    BuffersOut,
    /// `rte_thread_register` found no free lcore id.
    #[error("all {max} lcore ids are taken; start fewer threads", max = sys::RTE_MAX_LCORE)]
    NoLcoreLeft,
    /// The thread is an lcore already.
    #[error("this thread is registered already; use the Lcore it has")]
    AlreadyRegistered,
    /// The CPU does not exist or is not ours.
    #[error("CPU {0} cannot be used; name one that is online and in this process's cpuset")]
    Affinity(Cpu),
}

/// Set by the first start, successful or not.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The release of the libdpdk that is loaded, as `DPDK 22.11.11`.
#[must_use]
pub fn release() -> &'static str {
    // SAFETY: `rte_version` answers with a static, terminated string.
    unsafe { CStr::from_ptr(sys::rte_version()) }.to_str().unwrap_or("DPDK")
}

fn command_line<S: AsRef<str>>(args: &[S]) -> Result<Vec<CString>, NulError> {
    let words = args.iter().map(AsRef::as_ref);
    std::iter::once("pointsman").chain(words).map(CString::new).collect()
}

/// Starts EAL, waits for the word, ends it. `argv` outlives EAL, which keeps pointers into it.
fn run_main_thread(argv: &[CString], report: &Sender<Result<(), EalError>>, ended: &Receiver<()>) {
    let mut pointers: Vec<*mut c_char> = argv.iter().map(|word| word.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
    pointers.push(std::ptr::null_mut());
    // SAFETY: `pointers` holds `count` terminated strings and a null; EAL permutes the pointers and
    // writes no string. STARTED proves that this is the only call in the process.
    let parsed = unsafe { sys::rte_eal_init(count, pointers.as_mut_ptr()) };
    if parsed < 0 {
        let _ = report.send(Err(EalError::Refused(Errno::of_thread())));
        return;
    }
    let _ = report.send(Ok(()));
    // A sender dropped without a word means that buffers are out: the memory stays.
    if ended.recv().is_ok() {
        // SAFETY: `Instance::end` sends the word after the last handle is gone and every pool is
        // freed, so nothing of ours points into DPDK's memory.
        let _ = check(unsafe { sys::rte_eal_cleanup() });
    }
}

/// Removes the runtime folder where EAL made one and put nothing into it, as it does with
/// `--no-shconf` and `--in-memory`. A folder in use is not empty and stays, and so does the common
/// one above it while another DPDK program has its own there.
fn remove_empty_runtime_folder() {
    // SAFETY: EAL is up; it answers with a terminated string in static memory.
    let own = unsafe { CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    let own = Path::new(OsStr::from_bytes(own.to_bytes()));
    if fs::remove_dir(own).is_ok()
        && let Some(common) = own.parent()
    {
        let _ = fs::remove_dir(common);
    }
}
