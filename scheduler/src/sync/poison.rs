//! Poisoning, as in std: a lock remembers that a thread panicked while it held it for writing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};
use std::thread::panicking;

use crate::run::context;

/// Whether a lock is poisoned.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

/// The number of the thread that was panicking when it took the lock, or 0: what that one does then
/// poisons nothing. Another, which may have been given the guard, has a panic of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    panicking: u64,
}

#[cold]
fn me() -> u64 {
    context::with_current(|waiter| waiter.id())
}

impl Flag {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Called by one who takes the lock.
    #[inline]
    pub(super) fn enter(&self) -> Entry {
        Entry {
            panicking: if panicking() { me() } else { 0 },
        }
    }

    /// Called by one who releases the lock.
    #[inline]
    pub(super) fn leave(&self, entry: Entry) {
        if panicking() && entry.panicking != me() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// The result of taking the lock.
    #[inline]
    pub(super) fn result<G>(&self, guard: G) -> LockResult<G> {
        if self.is_set() {
            Err(PoisonError::new(guard))
        } else {
            Ok(guard)
        }
    }
}
