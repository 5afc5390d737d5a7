//! Locks, and what threads wait for each other with, as `std::sync` has them, for green threads and OS threads alike.
//!
//! [`Mutex`], [`RwLock`], [`Condvar`], [`Once`], [`OnceLock`], [`LazyLock`], [`Barrier`] and [`mpsc`] have std's names,
//! signatures and meaning; a green thread that waits for one costs no OS thread, so they may be
//! held over calls that block, and what initialises may block. Both kinds of thread may share them. Beyond std there are
//! [`Semaphore`], [`WaitGroup`], [`Notify`], [`oneshot`], [`broadcast`] and [`watch`].
//! In a future they are waited for by the methods whose names end in `_async`, and held by a [`TaskGuard`].
//! What needs no counterpart is std's own: [`Arc`], [`Weak`], [`atomic`], the errors.
//!
//! # Examples
//!
//! ```
//! use roving::sync::{Arc, Condvar, Mutex};
//! use roving::thread;
//!
//! let pair = Arc::new((Mutex::new(0), Condvar::new()));
//! let counting = pair.clone();
//! thread::spawn(move || {
//!     *counting.0.lock().unwrap() += 1;
//!     counting.1.notify_one();
//! });
//! let (count, changed) = &*pair;
//! let count = changed.wait_while(count.lock().unwrap(), |count| *count == 0).unwrap();
//! assert_eq!(*count, 1);
//! ```

// The floor of what users call. It may use all floors below, and `channel` and `thread` beside it. Locks are
// built in two storeys: `raw_mutex`, `raw_rwlock` and `once` are a word and, for those who must wait,
// a queue (`parking`); the types of std's names are made of them. Each is model-checked (`models`).

#[cfg(any(feature = "adopt", all(test, roving_loom)))]
#[cfg_attr(roving_loom, allow(unreachable_pub))]
pub(crate) mod address;
#[cfg(feature = "adopt")]
pub(crate) mod announced;
mod barrier;
pub mod broadcast;
mod condvar;
mod holder;
mod lazy_lock;
mod lock_future;
#[cfg(all(test, roving_loom))]
mod models;
pub mod mpsc;
mod mutex;
#[cfg(feature = "adopt")]
pub(crate) mod noted;
mod notify;
mod once;
mod once_lock;
pub mod oneshot;
mod parking;
mod poison;
mod raw_mutex;
mod raw_rwlock;
mod rwlock;
mod semaphore;
mod wait_group;
pub mod watch;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use lazy_lock::LazyLock;
pub use lock_future::{LockFuture, ReadFuture, TaskGuard, WriteFuture};
pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notify, NotifyFuture};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{AcquireFuture, Semaphore, SemaphorePermit};
pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};
pub use wait_group::WaitGroup;
