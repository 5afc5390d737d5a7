//! What a worker does that has nothing to do: it looks for work, and sleeps until there is some.
//!
//! The argument is that of [`idle`](super). Here are its steps in their order, for whatever is an
//! [`Idler`]: the workers and the spares of a runtime, and those of the models.
//!
//! Who has led and comes back with events counts as searching before it queues what they let run. So whoever queues that need
//! wake nobody: least of all itself, through the driver, since it does not announce that it sleeps any more. What it leaves
//! to others is told when it has found work, as by any who has searched.
//!
//! A spare in [reserve](crate::protocol::roster) does the same, but for what is for all to do: that it
//! leaves to others. If it has been claimed all the same, be it to watch or before it was dismissed, it counts
//! as searching, so whoever has pushed work meanwhile relies on it: it claims another one in its place, as who
//! finds work does.
//!
//! Nor does it lead. Others may have fallen asleep because it did, and was dismissed in the driver, or because it just
//! looked in there. So one that has been in the driver and falls asleep in reserve claims one of them if nobody
//! leads. Whoever falls asleep announces that, and looks then, behind a fence, whether anybody leads; the spare has left
//! the driver, and looks then, behind a fence, who sleeps. So one of them sees the other.

use std::time::{Duration, Instant};

use super::{Idle, Watcher};
use crate::protocol::nap::Naps;
use crate::protocol::parker::Parker;
use crate::protocol::primitive::{Ordering, fence};
use crate::protocol::roster::Roster;

/// So many times in a row a worker watches though nobody is busy. In a model none does, so that whoever must
/// be woken is asleep.
const WATCHES: u32 = if cfg!(roving_loom) { 0 } else { 30 };

/// A worker, as its sleep needs to know it.
pub(crate) trait Idler {
    type Work;

    fn idle(&self) -> &Idle;
    fn roster(&self) -> &Roster;
    fn index(&self) -> usize;
    fn parker(&self) -> &Parker;

    /// Unparks a worker that was claimed.
    fn unpark(&self, worker: usize);

    fn is_stopping(&self) -> bool;

    /// Whether it has nothing to do any more, and nobody will have anything for it.
    fn may_end(&self) -> bool;

    /// Lets what waits for a time that has come run again: if it `takes_part`, also that of busy workers,
    /// else that of those who are stuck.
    fn expire_timers(&self, takes_part: bool);

    /// Leaves what waits in its queues to others, who take part.
    fn surrender(&self);

    /// Takes what was left to it, and if it `takes_part` to all, what others hold up, and if it `searches`,
    /// what waits in the queues of the others.
    fn find(&self, takes_part: bool, searches: bool, naps: &mut Naps) -> Option<Self::Work>;

    /// Whether there is work that nobody else may do.
    fn sees_own_work(&self) -> bool;

    /// Whether there is work in the queues that any worker may do; `lone` work counts only if it is said
    /// so.
    fn sees_shared_work(&self, lone: bool) -> bool;

    /// Does a piece of what is left to do for those who are idle; if it `takes_part`, of all of it. `false` if
    /// nothing is.
    fn tidy(&self, takes_part: bool) -> bool;

    /// It is about to announce that it sleeps.
    fn rests(&self);

    /// It has announced that it sleeps, so it is not stuck, if somebody has thought so.
    fn is_not_stuck(&self);

    /// Whether anybody runs a green thread and is not stuck.
    fn somebody_is_busy(&self) -> bool;

    /// When it must not sleep any more.
    fn sleeps_until(
        &self,
        takes_part: bool,
        nap: Option<Duration>,
        watches: bool,
    ) -> Option<Instant>;

    /// It has watched: looks who is stuck.
    fn look_for_stuck(&self);

    /// It is awake again, and nobody has called it.
    fn has_slept(&self);

    /// It has slept, and is about to be busy.
    fn goes_on(&self);

    /// Nobody is left who could watch. Starts another spare, if there may be one.
    fn lacks_watcher(&self);

    /// Whether there is a driver, and nobody seems to be in it.
    fn may_lead(&self) -> bool;

    /// Whether it has been in the driver since this was last asked.
    fn has_led(&self) -> bool;

    /// Waits in the driver, until then or until it is woken, and keeps what became ready. `None` if another
    /// worker is there; else whether this one was unparked.
    ///
    /// First nobody else can be there any more, and then it says so to those who unpark it: what wakes the driver is for
    /// who is in it, and another one would take it.
    fn wait_in_driver(&self, until: Option<Instant>) -> Option<bool>;

    /// Whether anything became ready in the driver.
    fn has_events(&self) -> bool;

    /// Lets what became ready in the driver run again, and waits there no more.
    fn attend(&self);
}

/// Why a worker does not sleep any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awoken {
    /// There was work, or there are events, or somebody has unparked it. It counts as searching.
    Called,
    /// Its time has come, or the runtime stops.
    ByItself,
}

/// Finds work, or sleeps until there is some. `None` when the runtime stops, or the worker may end.
pub(crate) fn find_or_sleep<W: Idler>(worker: &W) -> Option<W::Work> {
    let idle = worker.idle();
    let mut takes_part = takes_part_in(worker);
    let mut searching = takes_part && idle.start_search();
    let mut naps = Naps::new();
    let mut has_slept = false;
    let mut quiet = 0;
    loop {
        worker.expire_timers(takes_part);
        if !takes_part {
            worker.surrender();
        }
        let found = worker.find(takes_part, searching, &mut naps);
        if found.is_some() {
            get_busy(worker, searching, has_slept);
            return found;
        }
        if worker.tidy(takes_part) {
            continue;
        }
        let nap = naps.next().filter(|_| takes_part && idle.begin_nap());
        worker.rests();
        idle.announce_sleep(worker.index(), searching);
        worker.is_not_stuck();
        let called = sleep(worker, searching, nap, &mut quiet) == Awoken::Called;
        has_slept = true;
        if worker.is_stopping() {
            return None;
        }
        if !called && nap.is_none() && worker.may_end() {
            pass_lead_on(worker);
            return None;
        }
        takes_part = takes_part_in(worker);
        searching = if nap.is_some() {
            idle.end_nap(called);
            true
        } else {
            called || takes_part && idle.start_search()
        };
        if called {
            naps.missed();
        }
    }
}

fn takes_part_in<W: Idler>(worker: &W) -> bool {
    worker.roster().takes_part(worker.idle(), worker.index())
}

/// Leaves to others what it leaves behind: to search, and if it has slept, to watch.
fn get_busy<W: Idler>(worker: &W, searching: bool, has_slept: bool) {
    let idle = worker.idle();
    if searching && idle.search_found() {
        pass_on(worker);
    }
    if has_slept {
        worker.goes_on();
        match idle.claim_watcher() {
            Watcher::Claimed(other) => worker.unpark(other),
            Watcher::Missing => worker.lacks_watcher(),
            Watcher::NotNeeded => {}
        }
    }
}

/// Has another one see to the work that waits for all, if there is any. The caller has fenced.
fn pass_on<W: Idler>(worker: &W) {
    if worker.sees_shared_work(true)
        && let Some(other) = worker.idle().claim_any()
    {
        worker.unpark(other);
    }
}

/// Has another one lead who sleeps, if the worker has led, and nobody does.
fn pass_lead_on<W: Idler>(worker: &W) {
    if !worker.has_led() {
        return;
    }
    fence(Ordering::SeqCst);
    if worker.may_lead()
        && let Some(other) = worker.idle().claim_any()
    {
        worker.unpark(other);
    }
}

/// Sleeps, having announced it, unless there is work after all.
fn sleep<W: Idler>(worker: &W, searched: bool, nap: Option<Duration>, quiet: &mut u32) -> Awoken {
    let idle = worker.idle();
    let takes_part = takes_part_in(worker);
    let sees_work = || worker.sees_shared_work(!idle.somebody_naps());
    if worker.sees_own_work() || takes_part && sees_work() {
        if idle.retract_sleep(worker.index()) {
            idle.resume_search();
        } else {
            worker.parker().absorb();
        }
        return Awoken::Called;
    }
    if !takes_part {
        if searched {
            pass_on(worker);
        }
        pass_lead_on(worker);
    }
    if worker.is_stopping() {
        return Awoken::ByItself;
    }
    let watches = idle.lacks_watcher() && is_to_watch(worker, quiet) && idle.begin_watch();
    let until = worker.sleeps_until(takes_part, nap, watches);
    let led = lead(worker, takes_part, until);
    let unparked = led.unwrap_or_else(|| worker.parker().park(until));
    if watches {
        idle.end_watch();
    }
    let called = unparked
        || !idle.retract_sleep(worker.index()) && {
            worker.parker().absorb();
            true
        };
    let has_events = led.is_some() && worker.has_events();
    if has_events && !called {
        idle.resume_search();
    }
    if led.is_some() {
        worker.attend();
    }
    if watches {
        worker.look_for_stuck();
    }
    if !called {
        worker.has_slept();
    }
    if called || has_events {
        return Awoken::Called;
    }
    // Timers are due. What they let run is its own to do, and nobody need be woken for it.
    Awoken::ByItself
}

/// Whether others are busy, or were a short while ago.
fn is_to_watch<W: Idler>(worker: &W, quiet: &mut u32) -> bool {
    *quiet = if worker.somebody_is_busy() {
        0
    } else {
        *quiet + 1
    };
    *quiet <= WATCHES
}

/// Sleeps in the driver. `None` if there is none or another worker leads, or who sleeps does not take part;
/// else whether the worker was unparked.
fn lead<W: Idler>(worker: &W, takes_part: bool, until: Option<Instant>) -> Option<bool> {
    if !takes_part || !worker.may_lead() {
        return None;
    }
    worker.wait_in_driver(until)
}
