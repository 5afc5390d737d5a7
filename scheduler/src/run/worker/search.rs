//! Where a worker looks for work.
//!
//! 1. Every [`LOOK_AROUND`] runs: expire timers, poll the driver without blocking, take from the
//!    injector first.
//! 2. The LIFO slot, the local queues, the inbox, the injector.
//! 3. Timers that are due, also those of workers that are too busy to look.
//! 4. The queues of the others, half of one, from a random start; unless half of the workers are
//!    doing that. What waits alone for its worker is stolen only if it still does after a moment. Before, the inboxes of
//!    those that are stuck, if what is there may be run by others.
//! 5. The LIFO slots of the others, from which is taken what has been there for [long](crate::protocol::slot).
//! 6. What may be left to do of a look for deadlocks ([`lookout`](crate::run::lookout)).
//! 7. Dead pages of long-parked green threads, which are given back ([`reclaim`](crate::run::reclaim)).
//! 8. Sleep (see [`idle`](crate::protocol::idle)): as the leader in the driver if nobody is there, else on
//!    the parker; in both cases at most until the next timer of this worker, look or reclaim, and
//!    if it watches, that of a busy one.
//!
//! So with a run queue that never empties, events, timers and injected threads wait for at most
//! [`LOOK_AROUND`] runs of green threads on some worker. That is the fairness that the crate
//! documentation promises.

use std::hint;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Worker;
use crate::protocol::idle::Idle;
use crate::protocol::idle::sleep::{self, Idler};
use crate::protocol::nap::Naps;
use crate::protocol::parker::Parker;
use crate::protocol::roster::Roster;
use crate::protocol::timer::Shard;
use crate::protocol::word::By;
use crate::run::driver::Driver;
use crate::run::event::Event;
use crate::run::green::Runnable;
use crate::run::lead::Leading;
use crate::run::panicking;
use crate::run::processor;
use crate::run::queue::Inbox;
use crate::run::shared::WATCH_PERIOD;
use crate::run::silence::{self, PATIENCE, Seen};
use crate::run::spares::{self, KEEP_IDLE};
use crate::run::ticket::Ticket;

/// A busy worker looks for events, timers and injected green threads after so many runs. A prime,
/// so that it does not keep step with the program's own periods (as in Go).
const LOOK_AROUND: u8 = 61;

/// A thief looks so often whether a green thread that waits alone is still there, each time after so
/// many pauses of the processor: in all some microseconds.
const LONE_LOOKS: u32 = 4;
const PAUSES_A_LOOK: u32 = 32;

/// An idle worker keeps room for so many tickets that are to be fired.
const TICKETS: usize = 1024;

impl Worker {
    /// The next green thread that it can have without looking at the other workers.
    pub(super) fn next(&self) -> Option<Runnable> {
        let runs = self.remote.pace.runs();
        if self.is_spare && !self.still_takes_part() {
            return None;
        }
        if runs >= LOOK_AROUND
            && let Some(injected) = self.look_around()
        {
            return Some(injected);
        }
        self.take_inbox();
        if let Some(overdue) = self.local.overdue_lifo() {
            self.push_back(overdue);
        }
        self.pop().or_else(|| self.take_injected())
    }

    #[inline]
    fn pop(&self) -> Option<Runnable> {
        self.local.pop(|| self.pop_bound())
    }

    /// Only what this worker alone may run, or is the first to run. Out of the way of those who need not look there.
    #[inline(never)]
    fn pop_bound(&self) -> Option<Runnable> {
        if self.shared.passes_on() {
            self.inbox().pop()
        } else {
            self.local.pop_bound()
        }
    }

    #[inline]
    fn take_inbox(&self) {
        if !self.inbox().is_empty() && !self.shared.passes_on() {
            self.local.take_inbox(self.inbox());
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.remote.inbox
    }

    /// Whether a spare takes part, which has just run a green thread.
    fn still_takes_part(&self) -> bool {
        self.spare.has_taken_part.set(true);
        self.spare.idle_since.set(None);
        self.shared.roster.takes_part(&self.shared.idle, self.index)
    }

    fn take_injected(&self) -> Option<Runnable> {
        self.took_injected(self.local.take_injected(&self.shared.injector))
    }

    /// What came with it is in the queue.
    fn took_injected(&self, injected: Option<Runnable>) -> Option<Runnable> {
        let injected = injected?;
        if self.local.has_stealable() {
            self.wake_others();
        }
        Some(injected)
    }

    /// What a busy worker does now and then, so that nothing starves.
    #[cold]
    fn look_around(&self) -> Option<Runnable> {
        self.remote.pace.begin_turn();
        self.serve();
        self.remote.running.switches();
        self.tell_of_needy();
        self.shared.lookout.slice(&self.shared);
        // There may always be something of each, so neither is left out.
        let injected = self.local.take_many_injected(&self.shared.injector);
        let relieved = self.relieve_the_stuck();
        match self.took_injected(injected) {
            None => relieved,
            injected => {
                relieved.into_iter().for_each(|later| self.push_back(later));
                injected
            }
        }
    }

    /// Takes what waits at a worker that is stuck. It does not get to that, and the others would only when they have
    /// nothing of their own.
    fn relieve_the_stuck(&self) -> Option<Runnable> {
        if self.shared.roster.stuck() == 0 {
            return None;
        }
        let everybody = self.shared.everybody().enumerate();
        let mut stuck = everybody.filter(|(_, worker)| worker.pace.is_stuck());
        let relieved = stuck.find_map(|(victim, worker)| {
            let runnable = self.local.steal_from(&worker.stealable)?;
            Some(self.stolen(runnable, victim))
        });
        relieved
            .or_else(|| self.take_from_the_stuck())
            .or_else(|| self.take_old_lifo())
    }

    /// Takes what has been left to a worker that is stuck.
    fn take_from_the_stuck(&self) -> Option<Runnable> {
        let mut inboxes = self.shared.inboxes_of_the_stuck();
        inboxes.find_map(|(victim, inbox)| Some(self.stolen(inbox.pop()?, victim)))
    }

    /// If it has parked threads that only others can wake, tells so. While it sleeps, there are none of which it has not told.
    fn tell_of_needy(&self) {
        let has_parked = &self.remote.has_parked_needy;
        if has_parked.load(Ordering::Relaxed) {
            has_parked.store(false, Ordering::Relaxed);
            self.shared.lookout.somebody_waits();
        }
    }

    /// Ends the waits of those whose events or deadlines have come.
    pub(crate) fn serve(&self) {
        self.expire(self.timers());
        self.look_into_driver();
    }

    /// Ends the waits whose deadlines in `timers` have come.
    fn expire(&self, timers: &Shard<Ticket>) {
        if timers.next().is_none() {
            return;
        }
        let mut due = self.tickets.take();
        timers.expire(Instant::now(), &mut due);
        self.counts().expired_timers.add(due.len() as u64);
        for ticket in due.drain(..) {
            drop(ticket.end(By::Timer));
        }
        self.tickets.replace(due);
    }

    /// Fires what is ready, if there is a driver and no other worker is in it.
    fn look_into_driver(&self) {
        if let Some(driver) = self.shared.driver()
            && let Some(leading) = self.shared.lead.take()
        {
            self.take_events(driver, leading, Some(Duration::ZERO));
            self.attend();
        }
    }

    /// Waits in the driver, and keeps what became ready, to [attend](Idler::attend) to it.
    fn take_events(&self, driver: &dyn Driver, leading: Leading<'_>, timeout: Option<Duration>) {
        self.has_led.set(true);
        let mut ready = self.tickets.take();
        self.remote.set_attends(true);
        let polled = driver.wait(timeout, &mut ready);
        drop(leading);
        self.counts().driver_waits.add(1);
        self.counts().events.add(ready.len() as u64);
        if let Err(error) = polled {
            panicking::abort(&format!("the IO driver of Roving failed: {error}"));
        }
        self.tickets.replace(ready);
    }

    /// Finds work elsewhere, or sleeps until there is some. `None` when the runtime stops.
    pub(super) fn find_or_sleep(&self) -> Option<Runnable> {
        self.has_run.set(true);
        let shift = &self.counts().shift;
        shift.rest(self.runs_since());
        self.has_looked.set(false);
        let found = sleep::find_or_sleep(self);
        shift.go_on(self.remote.running.switches());
        found
    }

    /// When a watcher must look: who is stuck, and if it takes part, for those who are busy.
    fn watches_until(&self, takes_part: bool) -> Option<Instant> {
        let shared = &self.shared;
        let look = shared.watch.next();
        if !takes_part {
            return look;
        }
        let everybody = shared.everybody().enumerate();
        let busy = everybody.filter(|(_, worker)| worker.pace.seen().is_some());
        let timers = busy.map(|(worker, _)| self.timers_of(worker % shared.timers.len()));
        let a_period = Instant::now() + WATCH_PERIOD;
        timers
            .filter_map(Shard::next)
            .chain(look)
            .chain([a_period])
            .min()
    }

    /// When to look whether anybody could wake those who sleep, if this worker is the last of them and somebody
    /// wants to know.
    fn keeps_vigil(&self) -> Option<Instant> {
        let shared = &self.shared;
        let may_keep = silence::is_awaited()
            && !self.has_looked.get()
            && shared.timers.iter().all(|timers| timers.next().is_none());
        if !may_keep {
            return None;
        }
        // Who sleeps often sets it once, and again when it has come.
        let set = || {
            let look = Instant::now() + PATIENCE;
            shared
                .is_asleep()
                .then(|| (look, self.remote.pace.rested()))
        };
        self.vigil.set(self.vigil.get().or_else(set));
        self.vigil.get().map(|(look, _)| look)
    }

    /// How long a spare that has nothing to do sleeps at most, to see whether it may end.
    fn stays_until(&self) -> Instant {
        let now = Instant::now();
        let since = self.spare.idle_since.get();
        // What kept it from its end then may do so for long.
        let since = since.filter(|since| *since + KEEP_IDLE > now);
        let since = since.unwrap_or(now);
        self.spare.idle_since.set(Some(since));
        since + KEEP_IDLE
    }

    /// The timers of those who are stuck, which everybody looks after.
    fn timers_of_the_stuck(&self) -> impl Iterator<Item = &Shard<Ticket>> {
        let everybody = self.shared.everybody().enumerate();
        let stuck = everybody.filter(|(_, worker)| worker.pace.is_stuck());
        stuck.map(|(worker, _)| self.timers_of(worker % self.shared.timers.len()))
    }

    /// Takes what another worker would run next and has not got to for long.
    fn take_old_lifo(&self) -> Option<Runnable> {
        let now = || self.shared.start.elapsed();
        let mut others = self.shared.everybody().enumerate();
        others.find_map(|(victim, worker)| {
            let runnable = worker.stealable.take_old_lifo(now)?;
            Some(self.stolen(runnable, victim))
        })
    }

    fn stolen(&self, runnable: Runnable, victim: usize) -> Runnable {
        self.counts().steals.add(1);
        self.shared.note(|| Event::Stolen(&runnable.0, victim));
        runnable
    }

    /// Steals from some worker that has so many to steal, or more.
    fn steal(&self, least: usize) -> Option<Runnable> {
        let workers = self.shared.workers.len();
        let start = self.next_random() as usize % workers;
        let from = |victim: usize| {
            let stealable = &self.shared.remote(victim).stealable;
            let stolen = (stealable.len() >= least).then(|| self.local.steal_from(stealable));
            Some(self.stolen(stolen??, victim))
        };
        let spares = self.shared.spares.iter().count();
        (start..workers)
            .chain(0..start)
            .chain(workers..workers + spares)
            .find_map(from)
    }

    /// Steals what waits alone for its worker, if it still does after a moment.
    ///
    /// Most often its worker gets to it at once: what was spawned is joined, what has yielded goes
    /// on. To take it then would cost both workers more than it saves. Go's thieves leave its
    /// `runnext` alone for a while for the same reason.
    fn steal_lone(&self, naps: &mut Naps) -> Option<Runnable> {
        for _ in 0..LONE_LOOKS {
            if self.shared.everybody().all(|w| w.stealable.is_empty()) {
                return None;
            }
            naps.missed();
            for _ in 0..PAUSES_A_LOOK {
                hint::spin_loop();
            }
            if let Some(runnable) = self.steal(2) {
                return Some(runnable);
            }
        }
        self.steal(1)
    }

    /// Gives back what a burst has left to an idle worker: room in its lists, and the stacks that it keeps,
    /// of which a later scan cools those that nobody needs.
    fn give_back(&self) {
        self.local.shrink();
        self.timers().shrink();
        self.shared.registry.shrink(self.shard);
        self.tickets.borrow_mut().shrink_to(TICKETS);
        self.give_stacks_back();
    }

    fn give_stacks_back(&self) {
        let gave = [&self.stacks, &self.to_lend].map(|stacks| stacks.borrow_mut().empty());
        if gave.contains(&true) {
            self.has_run.set(true);
        }
    }

    fn keeps_stacks(&self) -> bool {
        let stacks = [&self.stacks, &self.to_lend];
        stacks.iter().any(|stacks| !stacks.borrow().is_empty())
    }

    /// When a worker must be awake for it.
    fn schedule_scan(&self) -> Option<Instant> {
        self.has_run.set(false);
        let (next, is_new) = self.shared.reclaim.schedule()?;
        if is_new {
            self.spare.has_scheduled_scan.set(true);
        }
        Some(next)
    }

    fn next_random(&self) -> u64 {
        // Marsaglia's xorshift64.
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }
}

impl Idler for Worker {
    type Work = Runnable;

    fn idle(&self) -> &Idle {
        &self.shared.idle
    }

    fn roster(&self) -> &Roster {
        &self.shared.roster
    }

    fn index(&self) -> usize {
        self.index
    }

    fn parker(&self) -> &Parker {
        &self.remote.parker
    }

    fn unpark(&self, worker: usize) {
        self.shared.unpark(worker);
    }

    fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }

    fn may_end(&self) -> bool {
        let idle_since = self.spare.idle_since.get();
        self.is_spare
            && idle_since.is_some_and(|since| since.elapsed() >= KEEP_IDLE)
            && self.spare.bound.get() == 0
            && !processor::has_children()
            && self.shared.roster.leave(self.index)
    }

    fn expire_timers(&self, takes_part: bool) {
        if takes_part {
            for timers in &self.shared.timers {
                self.expire(timers);
            }
        } else {
            // It may have slept until one of its own, and not know yet that others see to them.
            self.expire(self.timers());
            for timers in self.timers_of_the_stuck() {
                self.expire(timers);
            }
        }
    }

    fn surrender(&self) {
        self.release_lifo();
        while let Some(runnable) = self.local.pop_unbound() {
            self.shared.inject_again(runnable);
        }
        self.give_stacks_back();
        if self.has_run.get() {
            self.schedule_scan();
        }
        // They are a worker's that may sleep, and not know of them.
        let leaves_scan = self.spare.has_scheduled_scan.take();
        let leaves_timers = self.spare.has_taken_part.take() && self.timers().next().is_some();
        if (leaves_scan || leaves_timers) && self.shared.idle.claim(self.shard) {
            self.shared.unpark(self.shard);
        }
    }

    fn find(&self, takes_part: bool, searches: bool, naps: &mut Naps) -> Option<Runnable> {
        self.take_inbox();
        if !takes_part {
            return self.pop_bound();
        }
        self.spare.has_taken_part.set(true);
        let mine = self.pop().or_else(|| self.take_injected());
        let stolen = || self.steal(2).or_else(|| self.steal_lone(naps));
        mine.or_else(|| self.take_from_the_stuck())
            .or_else(|| searches.then(stolen)?)
            .or_else(|| self.take_old_lifo())
    }

    fn sees_own_work(&self) -> bool {
        !self.inbox().is_empty()
    }

    fn sees_shared_work(&self, lone: bool) -> bool {
        self.shared.has_work_for_any(lone)
    }

    fn tidy(&self, takes_part: bool) -> bool {
        let shared = &self.shared;
        let has_looked = shared.lookout.slice(shared);
        let has_tidied = takes_part && shared.reclaim.slice(&shared.registry);
        if has_looked || has_tidied {
            self.remote.pace.begin_turn();
        }
        if has_tidied {
            self.look_into_driver();
        }
        has_looked || has_tidied
    }

    fn rests(&self) {
        self.counts().sleeps.add(1);
        self.tell_of_needy();
        self.remote.pace.rest();
    }

    fn is_not_stuck(&self) {
        if self.remote.pace.is_stuck() {
            self.shared.note(|| Event::IsBack(self.index));
            self.shared
                .roster
                .is_back(&self.shared.idle, &self.remote.pace);
        }
    }

    fn somebody_is_busy(&self) -> bool {
        let shared = &self.shared;
        shared.watch.overlongs.is_awaited()
            || shared
                .everybody()
                .any(|worker| worker.pace.seen().is_some())
    }

    fn sleeps_until(
        &self,
        takes_part: bool,
        nap: Option<Duration>,
        watches: bool,
    ) -> Option<Instant> {
        let shared = &self.shared;
        let mut until = shared.lookout.next();
        // In reserve too, if it is dismissed just now.
        let scan = if self.keeps_stacks() || takes_part && self.has_run.get() {
            self.schedule_scan()
        } else if takes_part {
            shared.reclaim.next()
        } else {
            None
        };
        self.scan.set(scan);
        until = until.into_iter().chain(scan).min();
        if takes_part {
            let end_of_nap = nap.map(|nap| Instant::now() + nap);
            let own = [self.timers().next(), end_of_nap];
            until = until.into_iter().chain(own.into_iter().flatten()).min();
        }
        if shared.roster.stuck() > 0 {
            let of_the_stuck = self.timers_of_the_stuck().filter_map(Shard::next);
            until = until.into_iter().chain(of_the_stuck).min();
        }
        if watches {
            until = until
                .into_iter()
                .chain(self.watches_until(takes_part))
                .min();
        }
        let sleeps_long = nap.is_none() && !watches;
        if let Some(look) = sleeps_long.then(|| self.keeps_vigil()).flatten() {
            until = Some(until.map_or(look, |until| until.min(look)));
        }
        if self.is_spare && shared.spares.iter().nth(1).is_some() {
            until = until.into_iter().chain([self.stays_until()]).min();
        }
        until
    }

    fn look_for_stuck(&self) {
        self.shared.watch.look(&self.shared, self.index);
    }

    fn has_slept(&self) {
        let (scan, vigil) = (self.scan.take(), self.vigil.get());
        if scan.is_none() && vigil.is_none() {
            return;
        }
        let now = Instant::now();
        if scan.is_some_and(|scan| now >= scan) {
            self.give_back();
        }
        if let Some((look, rested)) = vigil
            && now >= look
        {
            self.vigil.set(None);
            // Else it has run something, and must sleep for as long again.
            if self.remote.pace.rested() == rested {
                let seen = silence::look(Some((&self.shared, self.index)));
                self.has_looked.set(seen == Seen::Asleep);
            }
        }
    }

    fn goes_on(&self) {
        self.remote.pace.go_on();
    }

    fn lacks_watcher(&self) {
        if self.shared.watch.is_on() {
            spares::start(&self.shared);
        }
    }

    fn may_lead(&self) -> bool {
        self.shared.driver().is_some() && !self.shared.lead.is_taken()
    }

    fn has_led(&self) -> bool {
        self.has_led.take()
    }

    fn wait_in_driver(&self, until: Option<Instant>) -> Option<bool> {
        let driver = self.shared.driver()?;
        let leading = self.shared.lead.take()?;
        let parker = self.parker();
        if !parker.enter_driver() {
            self.has_led.set(true);
            return Some(true);
        }
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.take_events(driver, leading, timeout);
        Some(parker.leave_driver())
    }

    fn has_events(&self) -> bool {
        !self.tickets.borrow().is_empty()
    }

    fn attend(&self) {
        let mut ready = self.tickets.take();
        self.local.many_are_woken(ready.len());
        let mut for_others = false;
        for ticket in ready.drain(..) {
            if let Some(runnable) = self.woken_by(ticket) {
                for_others |= self.queue_quietly(runnable);
            }
        }
        if for_others {
            self.wake_others();
        }
        self.remote.set_attends(false);
        self.tickets.replace(ready);
    }
}
