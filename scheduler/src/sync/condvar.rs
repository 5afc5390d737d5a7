//! [`Condvar`].
//!
//! A thread that waits is in the [waiting list](super::parking) of the variable before it releases
//! its mutex, so a change that is made under the mutex comes with a notification that finds it. A
//! notification is one wake-up of one thread whose wait has not ended otherwise, so none is lost to
//! a timeout or a cancellation; and a thread that has been notified comes back with its mutex,
//! whatever would interrupt it.

use std::fmt;
use std::future::poll_fn;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::parking::{self, End, For, Left, ParkedTask, Patience, Place};
use super::{MutexGuard, TaskGuard};
use crate::protocol::primitive::{AtomicU32, Ordering};
use crate::wait::Why;

/// A condition variable, as [`std::sync::Condvar`], for [`Mutex`](super::Mutex).
///
/// A thread that is cancelled, or whose deadline comes, while it waits unwinds without its mutex,
/// so this poisons nothing.
///
/// # Examples
///
/// ```
/// use roving::sync::{Condvar, Mutex};
/// use roving::thread;
///
/// static READY: Mutex<bool> = Mutex::new(false);
/// static CHANGED: Condvar = Condvar::new();
///
/// thread::spawn(|| {
///     *READY.lock().unwrap() = true;
///     CHANGED.notify_one();
/// });
/// let ready = CHANGED.wait_while(READY.lock().unwrap(), |ready| !*ready).unwrap();
/// assert!(*ready);
/// ```
pub struct Condvar {
    /// How many wait.
    waiting: AtomicU32,
    /// What it is a part of.
    of: Of,
}

/// What a condition variable is a part of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Itself,
    Barrier,
    Broadcast,
    Watch,
    WaitGroup,
}

impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

/// Whether a wait ended by its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns whether the wait ended by its timeout.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Makes a condition variable.
    #[cfg(not(roving_loom))]
    pub const fn new() -> Self {
        Self::of(Of::Itself)
    }

    #[cfg(not(roving_loom))]
    pub(super) const fn of(of: Of) -> Self {
        Self {
            waiting: AtomicU32::new(0),
            of,
        }
    }

    /// Makes a condition variable.
    #[cfg(roving_loom)]
    pub fn new() -> Self {
        Self::of(Of::Itself)
    }

    #[cfg(roving_loom)]
    pub(super) fn of(of: Of) -> Self {
        Self {
            waiting: AtomicU32::new(0),
            of,
        }
    }

    /// Releases the mutex and blocks until a notification; then locks it again.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the guard.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_with(guard, Patience::Forever).0
    }

    /// Waits until `condition` is false.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Like [`wait`](Self::wait), for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let patience = Patience::Until(Instant::now().checked_add(timeout));
        let (result, timed_out) = self.wait_with(guard, patience);
        match result {
            Ok(guard) => Ok((guard, timed_out)),
            Err(error) => Err(PoisonError::new((error.into_inner(), timed_out))),
        }
    }

    /// Like [`wait_timeout`](Self::wait_timeout), with a number of milliseconds.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[deprecated(note = "replaced by `Condvar::wait_timeout`, as in std")]
    #[track_caller]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        match self.wait_timeout(guard, Duration::from_millis(ms.into())) {
            Ok((guard, result)) => Ok((guard, !result.timed_out())),
            Err(error) => {
                let (guard, result) = error.into_inner();
                Err(PoisonError::new((guard, !result.timed_out())))
            }
        }
    }

    /// Waits until `condition` is false, for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                return Ok((guard, WaitTimeoutResult(true)));
            };
            guard = self.wait_timeout(guard, left)?.0;
        }
    }

    /// Releases the mutex and waits for a notification; then locks it again: [`wait`](Self::wait) in a
    /// future, in any executor.
    ///
    /// The mutex is released when this is first polled. Dropped before it is ready, it leaves the mutex
    /// unlocked, and a notification that it had been given goes on to another.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the guard.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::{Condvar, Mutex};
    /// use roving::{block_on, thread};
    ///
    /// static READY: Mutex<bool> = Mutex::new(false);
    /// static CHANGED: Condvar = Condvar::new();
    ///
    /// thread::spawn(|| {
    ///     *READY.lock().unwrap() = true;
    ///     CHANGED.notify_one();
    /// });
    /// block_on(async {
    ///     let ready = READY.lock_async().await.unwrap();
    ///     let ready = CHANGED.wait_while_async(ready, |ready| !*ready).await.unwrap();
    ///     assert!(*ready);
    /// });
    /// ```
    pub async fn wait_async<'a, T>(
        &self,
        guard: TaskGuard<MutexGuard<'a, T>>,
    ) -> LockResult<TaskGuard<MutexGuard<'a, T>>> {
        let mutex = guard.into_mutex();
        let mut waits = TaskWaits {
            condvar: self,
            waits: ParkedTask::default(),
            holds_notification: false,
        };
        waits.waits.park(self.key(), (0, Place::Back), || {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            true
        });
        // SAFETY: the guard was the lock.
        unsafe { mutex.raw.unlock() };
        poll_fn(|context| waits.waits.poll(context)).await;
        waits.holds_notification = true;
        let guard = mutex.lock_async().await;
        waits.holds_notification = false;
        guard
    }

    /// Waits until `condition` is false: [`wait_while`](Self::wait_while) in a future. As
    /// [`wait_async`](Self::wait_async) otherwise.
    ///
    /// # Errors
    ///
    /// As `wait_async`.
    pub async fn wait_while_async<'a, T, F>(
        &self,
        mut guard: TaskGuard<MutexGuard<'a, T>>,
        mut condition: F,
    ) -> LockResult<TaskGuard<MutexGuard<'a, T>>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait_async(guard).await?;
        }
        Ok(guard)
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    #[track_caller]
    fn wait_with<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        patience: Patience,
    ) -> (LockResult<MutexGuard<'a, T>>, WaitTimeoutResult) {
        let mutex = guard.into_mutex();
        let mut counted = Counted {
            condvar: self,
            notified: false,
        };
        let enter = || {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            true
        };
        let release = || {
            // SAFETY: the guard was the lock.
            unsafe { mutex.raw.unlock() };
        };
        let why = For::Event(self);
        let end = parking::park(why, self.key(), (0, Place::Back), patience, enter, release);
        counted.notified = matches!(end, End::Woken(_));
        drop(counted);
        let timed_out = WaitTimeoutResult(end == End::TimedOut);
        (mutex.lock_uninterruptible(), timed_out)
    }

    /// Wakes one thread that waits, if there is one.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        self.notify(u32::MAX);
    }

    fn notify(&self, limit: u32) {
        // One who waits has counted itself before it released the mutex under which the caller has
        // seen or made the change.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        parking::with_parked(self.key(), |parked| {
            let mut woken = 0;
            while woken < limit && parked.wake_one(|_| true, 0) {
                woken += 1;
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }
}

impl Drop for Condvar {
    #[inline]
    fn drop(&mut self) {
        parking::abandon(self.key());
    }
}

impl Why for Condvar {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x}", self.in_short(), self.key())
    }

    fn in_short(&self) -> &'static str {
        match self.of {
            Of::Itself => "notification of Condvar",
            Of::Barrier => "the others at Barrier",
            Of::Broadcast => "message of broadcast channel",
            Of::Watch => "change of watch channel",
            Of::WaitGroup => "the end of WaitGroup",
        }
    }
}

/// One who waits is counted until it is notified, or gives up.
struct Counted<'a> {
    condvar: &'a Condvar,
    notified: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.notified {
            self.condvar.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A future that waits.
struct TaskWaits<'a> {
    condvar: &'a Condvar,
    waits: ParkedTask,
    /// Whether it has been notified and has not locked its mutex yet.
    holds_notification: bool,
}

impl Drop for TaskWaits<'_> {
    fn drop(&mut self) {
        match self.waits.leave() {
            Left::Waiting => {
                self.condvar.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Left::Woken(_) => self.condvar.notify_one(),
            Left::Nothing if self.holds_notification => self.condvar.notify_one(),
            Left::Nothing => {}
        }
    }
}

#[cfg(not(roving_loom))]
impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
