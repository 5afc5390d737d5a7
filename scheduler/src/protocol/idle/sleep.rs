//! What a worker does that has nothing to do: it looks for work, and sleeps until there is some.
//!
//! The argument is that of [`idle`](super). Here are its steps in their order, for whatever is an
//! [`Idler`]: the workers of a runtime, and those of the models.

use std::time::{Duration, Instant};

use super::Idle;
use crate::protocol::nap::Naps;
use crate::protocol::parker::Parker;

/// So many times in a row a worker that has nothing to do watches though all are asleep. In a model none
/// does, so that whoever must be woken is asleep.
const WATCHES: u32 = if cfg!(roving_loom) { 0 } else { 30 };

/// A worker, as its sleep needs to know it.
pub(crate) trait Idler {
    type Work;

    fn idle(&self) -> &Idle;
    fn index(&self) -> usize;
    fn parker(&self) -> &Parker;

    /// Unparks a worker that was claimed.
    fn unpark(&self, worker: usize);

    fn is_stopping(&self) -> bool;

    /// Lets what waits for a time that has come run again, also that of busy workers.
    fn expire_timers(&self);

    /// Takes what was left to it or to all, what others hold up, and if it `searches`, what waits in the
    /// queues of the others.
    fn find(&self, searches: bool, naps: &mut Naps) -> Option<Self::Work>;

    /// Whether there is work that nobody else may do.
    fn sees_own_work(&self) -> bool;

    /// Whether there is work in the queues that any worker may do; `lone` work counts only if it is said
    /// so.
    fn sees_shared_work(&self, lone: bool) -> bool;

    /// Does a piece of what is left to do for those who are idle. `false` if nothing is.
    fn tidy(&self) -> bool;

    /// When it must not sleep any more.
    fn sleeps_until(&self, nap: Option<Duration>, watches: bool) -> Option<Instant>;

    /// It is awake again, and nobody has called it.
    fn has_slept(&self);

    /// Whether there is a driver, and nobody seems to wait in it.
    fn may_lead(&self) -> bool;

    /// Waits in the driver, until then or until it is woken, and lets what became ready run again. `false`
    /// if another worker waits there.
    fn wait_in_driver(&self, until: Option<Instant>) -> bool;
}

/// Why a worker does not sleep any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awoken {
    /// There was work, or somebody has unparked it. It counts as searching.
    Called,
    /// Its time has come, there are events, or the runtime stops.
    ByItself,
}

/// Finds work, or sleeps until there is some. `None` when the runtime stops.
pub(crate) fn find_or_sleep<W: Idler>(worker: &W) -> Option<W::Work> {
    let idle = worker.idle();
    let mut searching = idle.start_search();
    let mut naps = Naps::new();
    let mut sleeps = 0;
    loop {
        worker.expire_timers();
        let found = worker.find(searching, &mut naps);
        if found.is_some() {
            get_busy(worker, searching, sleeps > 0);
            return found;
        }
        if worker.tidy() {
            continue;
        }
        let nap = naps.next().filter(|_| idle.begin_nap());
        idle.announce_sleep(worker.index(), searching);
        let called = sleep(worker, nap, sleeps < WATCHES) == Awoken::Called;
        sleeps += 1;
        if worker.is_stopping() {
            return None;
        }
        searching = if nap.is_some() {
            idle.end_nap(called);
            true
        } else {
            called || idle.start_search()
        };
        if called {
            naps.missed();
        }
    }
}

/// Leaves to others what it leaves behind: to search, and if it has slept, to watch.
fn get_busy<W: Idler>(worker: &W, searching: bool, has_slept: bool) {
    let idle = worker.idle();
    if searching
        && idle.search_found()
        && worker.sees_shared_work(true)
        && let Some(other) = idle.claim_any()
    {
        worker.unpark(other);
    }
    if has_slept && let Some(other) = idle.claim_watcher() {
        worker.unpark(other);
    }
}

/// Sleeps, having announced it, unless there is work after all.
fn sleep<W: Idler>(worker: &W, nap: Option<Duration>, watches_anyhow: bool) -> Awoken {
    let idle = worker.idle();
    if worker.sees_own_work() || worker.sees_shared_work(!idle.somebody_naps()) {
        if idle.retract_sleep(worker.index()) {
            idle.resume_search();
        } else {
            worker.parker().absorb();
        }
        return Awoken::Called;
    }
    if worker.is_stopping() {
        return Awoken::ByItself;
    }
    let watches = idle.begin_watch(watches_anyhow);
    let until = worker.sleeps_until(nap, watches);
    let unparked = lead(worker, until).unwrap_or_else(|| worker.parker().park(until));
    if watches {
        idle.end_watch();
    }
    if unparked {
        return Awoken::Called;
    }
    if idle.retract_sleep(worker.index()) {
        // Timers are due. What they let run is its own to do, and nobody need be woken for it.
        worker.has_slept();
        return Awoken::ByItself;
    }
    worker.parker().absorb();
    Awoken::Called
}

/// Sleeps in the driver. `None` if there is none or another worker leads; else whether the worker was
/// unparked.
fn lead<W: Idler>(worker: &W, until: Option<Instant>) -> Option<bool> {
    if !worker.may_lead() {
        return None;
    }
    if !worker.parker().enter_driver() {
        return Some(true);
    }
    let led = worker.wait_in_driver(until);
    let unparked = worker.parker().leave_driver();
    (led || unparked).then_some(unparked)
}
