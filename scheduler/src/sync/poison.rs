//! Poisoning, as in std: a lock remembers that a thread panicked while it held it for writing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};
use std::thread::panicking;

/// Whether a lock is poisoned.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

/// Whether the thread was panicking when it took the lock: what it does then poisons nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    panicking: bool,
}

impl Flag {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Called by one who takes the lock.
    #[inline]
    pub(super) fn enter(&self) -> Entry {
        Entry {
            panicking: panicking(),
        }
    }

    /// Called by one who releases the lock.
    #[inline]
    pub(super) fn leave(&self, entry: Entry) {
        if !entry.panicking && panicking() {
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
