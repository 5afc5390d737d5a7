//! Whoever never waits lets others run now and then.
//!
//! A green thread whose descriptor is ready each time would keep its worker. So every [`TURNS`]th operation lets the
//! others run first; as a future, it is pending for once.

use std::sync::atomic::{AtomicU8, Ordering};

use roving_scheduler::{is_green, shield, thread};

/// How many operations come between two that let others run first. Divides the range of the counter.
const TURNS: u8 = 128;

/// Counts operations, more or less: it is not worth an atomic increment.
#[derive(Debug)]
pub(crate) struct Operations(AtomicU8);

impl Operations {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// Counts one. Lets others run if it is their turn.
    #[inline]
    pub(crate) fn take_turn(&self) {
        if self.is_others_turn() && is_green() {
            let_others_run();
        }
    }

    /// Counts one, and tells whether it should let others run first.
    #[inline]
    pub(crate) fn is_others_turn(&self) -> bool {
        let count = self.0.load(Ordering::Relaxed).wrapping_add(1);
        self.0.store(count, Ordering::Relaxed);
        count.is_multiple_of(TURNS)
    }
}

/// Yields. Who is interrupted then learns of it where the operation waits, which gives an error, and is not unwound.
pub(crate) fn let_others_run() {
    shield(thread::yield_now);
}
