//! Children are started a few at a time.
//!
//! Whoever starts one waits in the system until it executes its program, and takes an OS thread for that. If a thousand
//! green threads did so at once, they would take hundreds, and none would be done sooner. So they take turns, of which there
//! are as many as processors.
//!
//! A child may take long, since its program comes over a network, or since what is called in it before waits for
//! something, and be it for another child. It holds up nobody: whoever has waited for a while in which no child was
//! started goes on without a turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roving_scheduler::sync::{Semaphore, SemaphorePermit};
use roving_scheduler::{PerProcess, is_green, shield, thread};

/// Far longer than it takes to start a child, beside others too.
const PATIENCE: Duration = Duration::from_millis(100);

/// Those of this process: the threads that hold them are not there in a forked child.
static TURNS: PerProcess<Turns> = PerProcess::new();

struct Turns {
    permits: Semaphore,
    /// How many children have been started, or could not be.
    done: AtomicUsize,
}

impl Turns {
    fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            permits: Semaphore::new(processors.max(2)),
            done: AtomicUsize::new(0),
        }
    }

    /// Waits for a turn. `None` if it does not come.
    fn wait(&self) -> Option<SemaphorePermit<'_>> {
        loop {
            // Relaxed: it only tells that something goes on.
            let before = self.done.load(Ordering::Relaxed);
            if let Some(permit) = self.permits.try_acquire_for(PATIENCE) {
                return Some(permit);
            }
            if self.done.load(Ordering::Relaxed) == before {
                return None;
            }
        }
    }
}

/// Calls `start`, which starts a child, when it is the turn of the current thread. A plain OS thread has its own.
pub(super) fn in_turn<T>(start: impl FnOnce() -> T) -> T {
    if !is_green() {
        return start();
    }
    let turns = TURNS.get_or_make(Turns::new);
    let permit = shield(|| turns.wait());
    let started = start();
    turns.done.fetch_add(1, Ordering::Relaxed);
    drop(permit);
    started
}
