//! Green threads that keep their workers for so long that somebody should know.
//!
//! Their places are [handed over](crate::run::watch), so nobody else waits for them; but one that never comes back
//! is a mistake most often. So whoever watches keeps an eye on each run that it has seen, also when its place has
//! been handed over, until it has lasted for too long, and then hands it to who [tells](Tell) of it. That is the same
//! measure as for handing over: a thread that waits for a processor only is not at fault, and so is not one that has
//! [said](crate::blocking::run) that it blocks.
//!
//! While there is a run that may come to be told of, somebody watches, be all others idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;

use crate::protocol::pace::Seen;
use crate::run::green::Waiter;
use crate::run::own_stack::OwnStack;
use crate::run::shared::{Remote, Shared};
use crate::run::ticks;
use crate::run::watch::Look;

/// A thread that has kept its worker for too long.
pub(crate) struct Overlong {
    pub(crate) thread: Arc<Waiter>,
    pub(crate) worker: Arc<Remote>,
    /// For how long.
    pub(crate) elapsed: Duration,
}

/// Tells of it, soon and elsewhere. `false` if it must be asked again.
pub(crate) type Tell = fn(Overlong) -> bool;

/// What is too long, and who tells of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) limit: Duration,
    pub(crate) tell: Tell,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Overlongs {
    patience: Option<Patience>,
    /// By the number of the worker.
    runs: Mutex<Vec<Option<Run>>>,
    is_awaited: AtomicBool,
}

#[derive(Debug)]
struct Run {
    look: Look,
    is_told: bool,
}

impl Overlongs {
    pub(crate) fn new(patience: Option<Patience>) -> Self {
        Self {
            patience,
            runs: Mutex::default(),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// How long after a look the next is due.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.patience.map(|patience| patience.limit / 2)
    }

    /// Whether a run is under way that may come to be told of.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed)
    }

    /// Looks how long runs take. There is one caller at a time.
    pub(crate) fn look(&self, shared: &Shared, now: Instant) {
        let Some(Patience { limit, tell }) = self.patience else {
            return;
        };
        let mut runs = self.runs.lock();
        let mut is_awaited = false;
        for (number, worker) in shared.everybody().enumerate() {
            if runs.len() <= number {
                runs.push(None);
            }
            let last = &mut runs[number];
            let seen = worker.pace.run();
            if seen != last.as_ref().map(|last| last.look.run()) {
                *last = seen.map(|run| Run {
                    look: Look::at(worker, run, now),
                    is_told: false,
                });
            }
            let Some(run) = last.as_mut().filter(|run| !run.is_told) else {
                continue;
            };
            if run.look.is_too_long(worker, now, limit, limit) {
                // If it has gone on, the next look finds another run.
                let found = overlong(shared, worker, run.look.run());
                run.is_told = found.is_none_or(tell);
            }
            is_awaited |= !run.is_told;
        }
        self.is_awaited.store(is_awaited, Ordering::Relaxed);
    }
}

/// What a worker runs, if it is in that run still, and does not call what blocks.
fn overlong(shared: &Shared, worker: &Arc<Remote>, run: Seen) -> Option<Overlong> {
    let thread = shared.onlookers.look(&worker.running.thread)?;
    let since = worker.running.since.load(Ordering::Relaxed);
    let has_said_so = thread.own_stack().is_some_and(OwnStack::is_calling);
    let is_it = worker.pace.run() == Some(run) && !has_said_so;
    is_it.then(|| Overlong {
        thread,
        worker: worker.clone(),
        elapsed: ticks::elapsed_since(since).unwrap_or_default(),
    })
}
