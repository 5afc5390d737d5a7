//! Green threads, as `std::thread` has them.
//!
//! What std's module does for OS threads, this one does for green threads: [`spawn()`],
//! [`Builder`], [`JoinHandle`], [`current`], [`park()`], [`sleep`], [`yield_now`] and the rest have
//! std's names, signatures and meaning. All of it may be called on plain OS threads too, where it
//! blocks only the OS thread.
//!
//! # Examples
//!
//! ```
//! use roving::thread;
//!
//! let handles: Vec<_> = (0..1000).map(|n| thread::spawn(move || n * 2)).collect();
//! let sum: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
//! assert_eq!(sum, 999_000);
//! ```
//!
//! # Panics
//!
//! A panic unwinds the green thread and no other; [`JoinHandle::join`] returns the payload. As in
//! std, a panic in the destructor of a result that nobody takes, or of a thread-local, aborts the
//! process.
//! The panic message comes from std, which knows only names of OS threads: it prints `<unnamed>` for a green
//! thread with its own thread-locals, and otherwise the name of its worker. Roving prints a line before
//! it with the green thread's name and where it was spawned.
//!
//! # Names and stacks
//!
//! [`Builder`] gives a green thread a name and a stack size. A stack that overflows ends the
//! process with a message with the name, where the thread was spawned, and how to get a
//! larger stack. [`stack_usage`] returns how much of it a green thread has used so far.

// The floor of what users call. It may use all floors below: `runtime`, `wait`, `run`, `stack`, `protocol`;
// of its neighbours this folder uses none. What it relies on and keeps: a thread is counted by whoever
// spawns it and counted off by the worker that has buried it (`spawn`); a result is taken by one (`handle`);
// nothing that a scope lends outlives it (`scope`).

mod handle;
mod identity;
mod join_future;
mod on_runtime;
pub(crate) mod park;
pub(crate) mod scope;
mod spawn;

use std::io;
use std::num::NonZero;
use std::time::{Duration, Instant};

use crate::run::context;
use crate::run::guest::Guest;
use crate::run::worker::Worker;
use crate::stack::coroutine::Suspend;
use crate::wait;

pub use crate::run::stack_use::stack_usage;
pub use crate::runtime::state::{Parked, State};
pub use crate::stack::usage::StackUsage;
pub use handle::JoinHandle;
pub use identity::{Thread, ThreadId, current};
pub use join_future::{JoinFuture, ScopedJoinFuture};
pub use park::{park, park_timeout};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub(crate) use spawn::begin_to_end;
#[cfg(feature = "adopt")]
pub(crate) use spawn::spawn_kept;
#[doc(hidden)]
pub use spawn::spawn_with;
pub use spawn::{Builder, spawn};

/// What [`JoinHandle::join`] returns: the thread's result, or the payload of the panic that
/// ended it.
pub use std::thread::Result;

/// Lets other threads run. The current green thread continues when those that are runnable on its worker
/// have had their turn.
///
/// On a plain OS thread this is [`std::thread::yield_now`].
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use roving::thread;
///
/// static READY: AtomicBool = AtomicBool::new(false);
/// thread::spawn(|| READY.store(true, Ordering::Release));
/// while !READY.load(Ordering::Acquire) {
///     thread::yield_now();
/// }
/// ```
pub fn yield_now() {
    wait::cancellation_point();
    let_others_run();
}

/// The same, but nothing unwinds from it.
pub(crate) fn let_others_run() {
    if context::is_green() {
        if !wait::yields_in_hook() {
            context::suspend(Suspend::Yielded);
        }
    } else {
        std::thread::yield_now();
    }
}

/// Notes that something was tried that does not block, and there was nothing. A green thread that
/// does nothing else for long lets the others run: what it waits for may be theirs to do. So does what a
/// [`greenly`](crate::greenly) runs, for the tasks of its executor.
pub(crate) fn polled_in_vain() {
    let of_worker = context::with_worker(|worker| worker.map(Worker::polled_in_vain));
    let of_guest = || context::with_running(|waiter| waiter.guest().map(Guest::polled_in_vain));
    if of_worker.or_else(|| of_guest().flatten()) == Some(true) {
        let_others_run();
    }
}

/// Lets other workers have the green thread that the current one has woken last. For operations
/// that never block, of which a green thread may do any number before it switches.
pub(crate) fn share_woken() {
    context::with_worker(|worker| worker.into_iter().for_each(Worker::release_lifo));
}

/// Blocks the current thread for at least `duration`.
///
/// Timers are as exact as the system's clock and the load let them be; they are not rounded to
/// ticks. A duration beyond the range of the clock blocks for ever.
///
/// # Examples
///
/// ```
/// use roving::thread;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// thread::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) {
    if !duration.is_zero() {
        wait::begin()
            .why(&wait::Lasting("sleep"))
            .block(Instant::now().checked_add(duration));
    }
}

/// Blocks the current thread until `deadline`.
///
/// # Examples
///
/// ```
/// use roving::thread;
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(2);
/// thread::sleep_until(deadline);
/// assert!(Instant::now() >= deadline);
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    if deadline > Instant::now() {
        wait::begin()
            .why(&wait::Lasting("sleep"))
            .block(Some(deadline));
    }
}

/// Returns whether the current thread is unwinding: the same as [`std::thread::panicking`], which on a green
/// thread is about that green thread alone.
pub fn panicking() -> bool {
    std::thread::panicking()
}

/// Returns how many workers green threads of the current runtime run on; on a plain OS thread, how many the
/// machine suggests.
///
/// # Errors
///
/// Those of [`std::thread::available_parallelism`], on a plain OS thread.
pub fn available_parallelism() -> io::Result<NonZero<usize>> {
    let workers = context::with_worker(|worker| worker.map(|worker| worker.shared().workers.len()));
    match workers.and_then(NonZero::new) {
        Some(workers) => Ok(workers),
        None => std::thread::available_parallelism(),
    }
}
