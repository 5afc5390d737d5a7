//! What green threads must not outlive: it counts them, and is told when one has ended and its stack is gone.
//!
//! In a forked child it is that of its parent still: what it counts does not exist there, so nothing is waited for, and
//! nothing can be added.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::AtomicBool;

use super::ticket::Ticket;
use crate::protocol::primitive::{AtomicUsize, Mutex, Ordering};
use crate::protocol::process::Process;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Enclosure {
    pub(crate) process: Process,
    running: AtomicUsize,
    /// A thread has panicked, and nobody has taken the payload.
    panicked: AtomicBool,
    /// A thread was cancelled or its deadline came, and nobody has taken the payload.
    interrupted: AtomicBool,
    /// Who waits for the last thread to end.
    waiting: Mutex<Option<Ticket>>,
}

// What it counts changes in single steps.
impl UnwindSafe for Enclosure {}
impl RefUnwindSafe for Enclosure {}

impl Enclosure {
    pub(crate) fn new() -> Self {
        Self {
            process: Process::current(),
            running: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            waiting: Mutex::new(None),
        }
    }

    /// Counts a thread that is about to be spawned. Gives how many there were before.
    pub(crate) fn thread_begins(&self) -> usize {
        self.running.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a thread off. Gives whoever must be told.
    #[must_use]
    pub(crate) fn thread_ended(&self) -> Option<Ticket> {
        // Release and acquire: what the threads did happens before the end of the scope.
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiting.lock().take()
        } else {
            None
        }
    }

    /// How many threads are running. If none is, all that they did has happened.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Leaves a ticket for the end of the last thread, which may have come already. Gives the one that was there.
    #[must_use]
    pub(crate) fn wait(&self, ticket: Ticket) -> Option<Ticket> {
        self.waiting.lock().replace(ticket)
    }

    /// The payload by which a thread has ended is dropped, and nobody has taken it: it `was_interrupted`, or else has panicked.
    pub(crate) fn payload_is_lost(&self, was_interrupted: bool) {
        let lost = if was_interrupted {
            &self.interrupted
        } else {
            &self.panicked
        };
        lost.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
