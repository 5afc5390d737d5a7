//! The end of a runtime.
//!
//! 1. The registry is closed: nothing can be spawned any more.
//! 2. Every green thread that is alive is cancelled: it unwinds at its next wait, or from the one
//!    that it is in, and its destructors run, on its own stack. One that has not started drops its
//!    closure.
//! 3. The caller waits until the registry is empty.
//! 4. The workers are told to stop, and joined.
//!
//! With `panic = "abort"` nothing can unwind. Then step 2 is left out, and so is step 3 for those
//! that are parked: they stay as they are, and the memory of the runtime with theirs, as with OS threads that are
//! alive when `main` returns. What they have lent of the thread-locals of a worker stays, too, and so do the workers, where
//! green threads have those.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::Runtime;
use crate::run::context;
use crate::run::os_thread;
use crate::run::shared::Shared;
use crate::stack;
use crate::stack::mode::ThreadLocals;
use crate::wait::{self, Outcome};

impl Runtime {
    /// Ends the runtime, if that has not been done; gives how many green threads were alive at the
    /// deadline.
    pub(super) fn end(&mut self, deadline: Option<Instant>) -> usize {
        let Some(workers) = self.workers.take() else {
            return 0;
        };
        let shared = &self.shared;
        if !shared.process.is_current() {
            // A forked child has a copy, and must not join the threads of its parent.
            mem::forget(workers);
            return 0;
        }
        let alive = shared.registry.close();
        if cfg!(panic = "unwind") {
            for waiter in alive {
                waiter.cancel(true);
            }
            // A green thread of this runtime cannot wait for its own end.
            if on_worker_of(shared) {
                stop_in_background(shared, workers);
                return 0;
            }
            let alive = wait_until_all_ended(shared, deadline);
            if alive > 0 {
                stop_in_background(shared, workers);
                return alive;
            }
        }
        if shared.registry.len() > 0 {
            // Those that are parked [belong](crate::run::belongs) to it.
            mem::forget(shared.clone());
            if shared.mode.thread_locals != ThreadLocals::Own {
                mem::forget(workers);
                return 0;
            }
        }
        stop(shared, workers);
        0
    }
}

/// Blocks until no green thread is alive, or until the deadline; gives how many are alive. The
/// registry is closed.
fn wait_until_all_ended(shared: &Shared, deadline: Option<Instant>) -> usize {
    loop {
        // Whoever shuts a runtime down does so to the end, even when its own runtime cancels it.
        let wait = wait::begin_masked();
        shared.await_end(wait.ticket());
        if shared.registry.len() == 0 {
            return 0;
        }
        if wait.block(deadline) == Outcome::TimedOut {
            return shared.registry.len();
        }
    }
}

/// Some green threads did not end in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownTimedOut {
    pub(super) alive: usize,
}

impl ShutdownTimedOut {
    /// Returns how many were alive when the time was up.
    pub fn green_threads(&self) -> usize {
        self.alive
    }
}

impl fmt::Display for ShutdownTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} green threads were still alive when the time for the shutdown was up: they compute, or block outside Roving",
            self.alive
        )
    }
}

impl std::error::Error for ShutdownTimedOut {}

fn stop(shared: &Shared, workers: Vec<JoinHandle<()>>) {
    shared.stop();
    for worker in workers {
        // A worker that panics aborts the process, so it has ended well.
        let _ = worker.join();
    }
    shared.spares.join();
    // No worker of this runtime will do it any more.
    shared.end_waits();
    stack::cool_all();
}

/// Stops the workers when the last green thread has ended, whenever that is.
fn stop_in_background(shared: &Arc<Shared>, workers: Vec<JoinHandle<()>>) {
    let shared = shared.clone();
    let spawned = os_thread::start("roving-shutdown".to_owned(), move || {
        wait_until_all_ended(&shared, None);
        stop(&shared, workers);
    });
    // Where no thread can be had, the workers stay, asleep.
    drop(spawned);
}

fn on_worker_of(shared: &Shared) -> bool {
    context::with_worker(|worker| worker.is_some_and(|worker| worker.shared().id == shared.id))
}
