//! Waits in the panic hook.
//!
//! While a hook runs, std holds a lock that [`take_hook`](std::panic::take_hook) and
//! [`set_hook`](std::panic::set_hook) wait for, with the OS thread. If a green thread suspended in
//! the hook, a neighbour that calls one of these would keep their worker from it: both would wait
//! for ever. So a wait in the hook keeps its worker, as it would keep an OS thread, and the worker
//! goes on to look for events and timers. That is for reports that are sent off, locks that are
//! soon free, short sleeps. What takes longer than [`PATIENCE`] may be for this very worker to do: then
//! the thread suspends after all, and for a [`WHILE`] so do the next ones at once, so that many
//! panics do not stop a worker for long. To yield is to wait for a moment.

use std::thread;
use std::time::{Duration, Instant};

use super::Wait;
use crate::protocol::word::{By, Fire};
use crate::run::context;
use crate::run::panicking;
use crate::run::worker::Worker;

const PATIENCE: Duration = Duration::from_millis(500);
const WHILE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_micros(200);

impl Wait<'_> {
    /// Waits in the panic hook. `true` if the wait has ended.
    #[cold]
    pub(super) fn block_in_hook(&self, deadline: Option<Instant>) -> bool {
        let start = Instant::now();
        if with_worker(|worker| has_given_up(worker, start)).unwrap_or(false) {
            return false;
        }
        let word = &self.waiter.word;
        while !word.has_ended() {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                // Won or lost, the wait has ended, and this thread runs.
                let _: Fire = word.fire(self.epoch, By::Timer);
            } else if now - start >= PATIENCE {
                with_worker(|worker| worker.gave_up_in_hook.set(Some(now)));
                return false;
            } else {
                with_worker(Worker::serve);
                let left = deadline.map_or(LOOK, |deadline| deadline - now);
                thread::sleep(left.min(LOOK));
            }
        }
        true
    }
}

/// Yields, if a hook runs that may keep the worker. `false` if the thread is to suspend.
#[inline]
pub(crate) fn yields_in_hook() -> bool {
    panicking::is_in_hook() && with_worker(yields_on).unwrap_or(false)
}

#[cold]
fn yields_on(worker: &Worker) -> bool {
    let now = Instant::now();
    if has_given_up(worker, now) {
        return false;
    }
    let runs_since = worker.runs_since();
    let earlier = worker.yields_in_hook.get();
    let (_, since) = earlier
        .filter(|(of, _)| *of == runs_since)
        .unwrap_or((runs_since, now));
    worker.yields_in_hook.set(Some((runs_since, since)));
    if now - since >= PATIENCE {
        worker.gave_up_in_hook.set(Some(now));
        return false;
    }
    worker.serve();
    thread::yield_now();
    true
}

fn has_given_up(worker: &Worker, now: Instant) -> bool {
    let gave_up = worker.gave_up_in_hook.get();
    gave_up.is_some_and(|gave_up| now - gave_up < WHILE)
}

fn with_worker<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    context::with_worker(|worker| worker.map(f))
}
