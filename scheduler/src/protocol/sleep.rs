//! How an OS thread of ours sleeps: a lock and a condition variable that it waits for.
//!
//! They are std's. As with the [locks](super::lock), the sleepers are in no list in the memory of the process, which a
//! forked child would inherit without them. In a program that is adopted they wait by the system call itself.

use std::time::Instant;

#[cfg(feature = "adopt")]
use rustix_futex_sync as sync;
#[cfg(not(feature = "adopt"))]
use std::sync;

/// The lock, which has been taken.
pub(crate) type SleepGuard<'a> = sync::MutexGuard<'a, ()>;

/// For threads that sleep in a [`Condvar`].
#[derive(Debug, Default)]
pub(crate) struct SleepLock(sync::Mutex<()>);

#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

impl SleepLock {
    pub(crate) fn lock(&self) -> SleepGuard<'_> {
        whatever_became(self.0.lock())
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn wait<'a>(&self, guard: SleepGuard<'a>) -> SleepGuard<'a> {
        whatever_became(self.0.wait(guard))
    }

    /// `true` if the deadline came.
    pub(crate) fn wait_until<'a>(
        &self,
        guard: SleepGuard<'a>,
        deadline: Instant,
    ) -> (SleepGuard<'a>, bool) {
        let left = deadline.saturating_duration_since(Instant::now());
        let (guard, result) = whatever_became(self.0.wait_timeout(guard, left));
        (guard, result.timed_out())
    }
}

/// The lock is of nothing that a panic could leave half done.
#[cfg(not(feature = "adopt"))]
fn whatever_became<T>(result: sync::LockResult<T>) -> T {
    result.unwrap_or_else(sync::PoisonError::into_inner)
}

/// These locks know of no panics.
#[cfg(feature = "adopt")]
fn whatever_became<T>(result: T) -> T {
    result
}
