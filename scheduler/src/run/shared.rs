//! What all threads of one runtime reach: its queues, its sleepers, its driver.

use std::any::Any;
use std::io;
use std::mem;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;
use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;

use crate::protocol::idle::{Idle, Watcher};
use crate::protocol::outline::{Field, fields};
use crate::protocol::pace::{Pace, Seen};
use crate::protocol::parker::{Parker, Rouse};
use crate::protocol::process::Process;
use crate::protocol::roster::{Place, Roster};
use crate::protocol::shown::{Onlookers, Shown};
use crate::protocol::timer::{Shard, TimerKey};
use crate::protocol::word::By;
use crate::run::counts::{Counts, Outside};
use crate::run::driver::Driver;
use crate::run::event::Event;
use crate::run::green::{self, Runnable, Waiter};
use crate::run::lead::Lead;
use crate::run::lookout::{self, Lookout};
use crate::run::overlong::Patience;
use crate::run::processor;
use crate::run::queue::{Inbox, Stealable};
use crate::run::reclaim::Reclaim;
use crate::run::recorder::Recorder;
use crate::run::registry::Registry;
use crate::run::signals;
use crate::run::spares::{self, Spares};
use crate::run::ticket::Ticket;
use crate::run::ticks;
use crate::run::watch::Watch;
use crate::stack::Class;
use crate::stack::mode::Mode;

/// How long events and timers may go unattended because who should look for them is busy.
pub(crate) const WATCH_PERIOD: Duration = Duration::from_millis(10);

/// The name of a runtime, never used again in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuntimeId(NonZeroU64);

impl RuntimeId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("starts at 1"))
    }
}

/// What the other threads reach of a worker.
pub(crate) struct Remote {
    /// Written with each run.
    pub(crate) pace: CachePadded<Pace>,
    /// The same.
    pub(crate) running: CachePadded<Running>,
    /// The same.
    pub(crate) counts: CachePadded<Counts>,
    pub(crate) stealable: Stealable,
    pub(crate) inbox: Inbox,
    pub(crate) parker: Parker,
    os_thread: AtomicU32,
    /// Whether it is in the driver, or fires what it has found there.
    attends: AtomicBool,
    /// Whether it has parked threads, since it last told, that only other threads can wake. Written by the worker.
    pub(crate) has_parked_needy: AtomicBool,
}

impl Remote {
    pub(crate) const FIELDS: [Field; 2] = fields!(Remote: running, os_thread);

    pub(crate) fn new(stealable: Stealable) -> Self {
        Self {
            pace: CachePadded::new(Pace::new()),
            running: CachePadded::new(Running::new()),
            counts: CachePadded::default(),
            stealable,
            inbox: Inbox::default(),
            parker: Parker::new(),
            os_thread: AtomicU32::new(0),
            attends: AtomicBool::new(false),
            has_parked_needy: AtomicBool::new(false),
        }
    }

    /// The current OS thread is this worker.
    pub(crate) fn begins(&self) {
        self.os_thread
            .store(processor::os_thread(), Ordering::Relaxed);
        self.pace.go_on();
    }

    /// The worker is about to wait in the driver, or has done what came of that.
    pub(crate) fn set_attends(&self, attends: bool) {
        // Release: who sees that it has done it finds it done.
        self.attends.store(attends, Ordering::Release);
    }

    pub(crate) fn attends(&self) -> bool {
        self.attends.load(Ordering::Acquire)
    }

    /// The kernel's number of the OS thread that is this worker, or was.
    pub(crate) fn os_thread(&self) -> u32 {
        self.os_thread.load(Ordering::Relaxed)
    }
}

/// What a worker runs, and since when, for those who ask.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) thread: Shown<Waiter>,
    /// When it has switched last, in [ticks].
    pub(crate) since: AtomicU64,
}

impl Running {
    pub(crate) const FIELDS: [Field; 1] = fields!(Running: thread);

    fn new() -> Self {
        Self {
            thread: Shown::new(),
            since: AtomicU64::new(0),
        }
    }

    /// The worker switches to a green thread, or back. Gives the ticks.
    #[inline]
    pub(crate) fn switches(&self) -> u64 {
        let now = ticks::now();
        self.since.store(now, Ordering::Relaxed);
        now
    }
}

/// How a runtime is made up.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) stack_class: Class,
    /// The name of its OS threads.
    pub(crate) name: String,
    pub(crate) max_spares: usize,
    /// How long a green thread may keep its worker; `None` if for ever.
    pub(crate) stuck_after: Option<Duration>,
    /// How long before it is told that it does.
    pub(crate) warn_stuck: Option<Patience>,
    /// How many events of each worker are recorded.
    pub(crate) record: Option<usize>,
    /// How deadlocks are looked for; `None` if they are not.
    pub(crate) look: Option<lookout::Begin>,
}

/// See the [module](self).
pub(crate) struct Shared {
    pub(crate) id: RuntimeId,
    /// Where its workers are.
    pub(crate) process: Process,
    pub(crate) mode: Mode,
    /// The signals that its workers have blocked: those of who has made it.
    pub(crate) blocked: signals::Signals,
    pub(crate) stack_class: Class,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) injector: Injector<Runnable>,
    pub(crate) outside: CachePadded<Outside>,
    pub(crate) workers: Box<[Arc<Remote>]>,
    pub(crate) spares: Spares,
    pub(crate) roster: Roster,
    pub(crate) watch: Watch,
    /// One shard a worker, which it shares with the spares that come to it when all are numbered round.
    pub(crate) timers: Box<[CachePadded<Shard<Ticket>>]>,
    pub(crate) idle: Idle,
    /// Those who look at what workers run.
    pub(crate) onlookers: Onlookers,
    /// Since when the looks at the LIFO slots are timed.
    pub(crate) start: Instant,
    pub(crate) registry: Registry,
    pub(crate) reclaim: Reclaim,
    pub(crate) lookout: Lookout,
    driver: OnceLock<Arc<dyn Driver>>,
    pub(crate) lead: Lead,
    installing: Mutex<()>,
    stopping: AtomicBool,
    /// Whoever waits for the last green thread of a closed runtime to end.
    awaiting_end: Mutex<Vec<Ticket>>,
}

impl Shared {
    pub(crate) const FIELDS: [Field; 3] = fields!(Shared: workers, spares, registry);

    pub(crate) fn new(plan: Plan, stealable: Vec<Stealable>) -> Self {
        let workers = stealable.len();
        let spares = Spares::new(&plan.name, plan.max_spares);
        let recorder = plan
            .record
            .map(|events| Recorder::new(events, workers + spares.bound()));
        let watch = Watch::new(
            plan.stuck_after.filter(|_| spares.bound() > 0),
            plan.warn_stuck,
        );
        Self {
            id: RuntimeId::next(),
            process: Process::current(),
            mode: plan.mode,
            blocked: signals::blocked(),
            stack_class: plan.stack_class,
            recorder,
            injector: Injector::new(),
            outside: CachePadded::default(),
            workers: stealable
                .into_iter()
                .map(|stealable| Arc::new(Remote::new(stealable)))
                .collect(),
            timers: (0..workers)
                .map(|_| CachePadded::new(Shard::new()))
                .collect(),
            idle: Idle::new(workers, spares.bound(), watch.is_on()),
            spares,
            roster: Roster::default(),
            watch,
            onlookers: Onlookers::new(),
            start: Instant::now(),
            registry: Registry::new(workers),
            reclaim: Reclaim::default(),
            lookout: Lookout::new(plan.look),
            driver: OnceLock::new(),
            lead: Lead::new(),
            installing: Mutex::new(()),
            stopping: AtomicBool::new(false),
            awaiting_end: Mutex::new(Vec::new()),
        }
    }

    /// The numbers of the workers, and of the spares that there are now or will be in a moment.
    pub(crate) fn seated(&self) -> Vec<usize> {
        let workers = self.workers.len();
        let spares = self.spares.seated();
        (0..workers)
            .chain(spares.into_iter().map(|spare| workers + spare))
            .collect()
    }

    /// Whether all workers and spares sleep.
    pub(crate) fn is_asleep(&self) -> bool {
        (0..self.workers.len()).all(|worker| self.idle.is_asleep(worker)) && {
            let seated = self.seated();
            seated.into_iter().all(|worker| self.idle.is_asleep(worker))
        }
    }

    /// The workers, and the spares that there are.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.workers.iter().chain(self.spares.iter())
    }

    pub(crate) fn remote(&self, worker: usize) -> &Arc<Remote> {
        match worker.checked_sub(self.workers.len()) {
            None => &self.workers[worker],
            Some(spare) => self.spares.get(spare),
        }
    }

    /// Queues a green thread of this runtime from outside of its workers.
    pub(crate) fn inject(&self, runnable: Runnable) {
        if !self.process.is_current() {
            // The parent will run its own copy. Of this one nobody knows who else has a part of it.
            mem::forget(runnable);
            return;
        }
        self.outside.note(&runnable);
        self.inject_again(runnable);
    }

    /// Queues one for all, or at its home, that has been counted.
    pub(crate) fn inject_again(&self, runnable: Runnable) {
        match runnable.green().bound_to(self) {
            Some(home) => self.push_inbox(home, runnable),
            None => {
                self.injector.push(runnable);
                self.wake_for_work(|| false);
            }
        }
    }

    /// Queues what only the worker `home` may run, from outside that worker.
    pub(crate) fn push_inbox(&self, home: usize, runnable: Runnable) {
        let remote = self.remote(home);
        remote.inbox.push(runnable);
        if self.idle.claim(home) {
            self.unpark(home);
        } else if self.passes_on() {
            // Who marks it as stuck after this look has a fence before its own, and finds what was pushed.
            fence(Ordering::SeqCst);
            if remote.pace.is_stuck() {
                self.wake_for_work(|| false);
            }
        }
    }

    /// Whether others run what is left to a worker that is stuck.
    pub(crate) fn passes_on(&self) -> bool {
        green::may_be_passed_on(&self.mode)
    }

    /// The inboxes of those that are stuck, if others are to look there.
    pub(crate) fn inboxes_of_the_stuck(&self) -> impl Iterator<Item = (usize, &Inbox)> {
        let looks = self.passes_on() && self.roster.stuck() > 0;
        let everybody = looks.then(|| self.everybody().enumerate());
        let stuck = everybody
            .into_iter()
            .flatten()
            .filter(|(_, remote)| remote.pace.is_stuck());
        stuck.map(|(worker, remote)| (worker, &remote.inbox))
    }

    /// Arms a timer of the worker `shard`, from any thread. `None` if the time will never come.
    pub(crate) fn arm_timer(
        &self,
        shard: usize,
        time: Instant,
        ticket: Ticket,
    ) -> Option<TimerKey> {
        let timers = &self.timers[shard];
        let key = timers.arm(time, ticket)?;
        // A worker that is awake looks at its timers before it sleeps. One that sleeps does so for too
        // long if this is the first; and if it is stuck, so do all that sleep.
        if timers.next().is_none_or(|next| next >= time) {
            if self.idle.claim(shard) {
                self.unpark(shard);
            } else if self.roster.stuck() > 0 {
                self.wake_any();
            }
        }
        Some(key)
    }

    /// Ends all waits for a time or an event, of which there are only those of futures when no green
    /// thread is left.
    pub(crate) fn end_waits(&self) {
        for timers in &self.timers {
            for ticket in timers.take_all() {
                drop(ticket.end(By::Timer));
            }
        }
        if let Some(driver) = self.driver() {
            let mut tickets = Vec::new();
            driver.end(&mut tickets);
            for ticket in tickets {
                ticket.fire();
            }
        }
    }

    /// Something was queued that any worker may run; `is_lone` is whether it waits alone for the worker
    /// that queued it.
    pub(crate) fn wake_for_work(&self, is_lone: impl FnOnce() -> bool) {
        if let Some(worker) = self.idle.claim_for_work(is_lone) {
            self.unpark(worker);
        }
    }

    /// Wakes some sleeping worker, if there is one, to look around.
    pub(crate) fn wake_any(&self) {
        if let Some(worker) = self.idle.claim_any() {
            self.unpark(worker);
        }
    }

    /// Unparks a worker that the caller has claimed.
    pub(crate) fn unpark(&self, worker: usize) {
        if self.remote(worker).parker.unpark() == Rouse::WakeDriver {
            self.driver().expect("the worker is in the driver").wake();
        }
    }

    /// Whether there is work in the queues that any worker may do. What waits [alone](Stealable::is_lone)
    /// counts only if `lone` work does.
    pub(crate) fn has_work_for_any(&self, lone: bool) -> bool {
        let counts = |stealable: &Stealable| match lone {
            true => !stealable.is_empty(),
            false => !stealable.is_lone(),
        };
        !self.injector.is_empty()
            || self.workers.iter().any(|worker| counts(&worker.stealable))
            || self.spares.iter().any(|spare| counts(&spare.stealable))
            || self
                .inboxes_of_the_stuck()
                .any(|(_, inbox)| !inbox.is_empty())
    }

    /// The green thread that the worker runs blocks in the system from now on.
    pub(crate) fn gets_stuck(self: &Arc<Self>, worker: usize) {
        let place = self
            .roster
            .gets_stuck(&self.idle, &self.remote(worker).pace);
        self.see_to_place(worker, place);
    }

    /// A worker is stuck if it is still in the run that was `seen`. The caller has its place if it is in
    /// reserve.
    pub(crate) fn is_found_stuck(self: &Arc<Self>, worker: usize, seen: Seen, caller: usize) {
        let pace = &self.remote(worker).pace;
        let place = self.roster.is_found_stuck(&self.idle, pace, seen, caller);
        self.see_to_place(worker, place);
    }

    /// The green thread that the worker runs has given it back, or blocks no more.
    pub(crate) fn is_back(self: &Arc<Self>, worker: usize) {
        self.note(|| Event::IsBack(worker));
        if self.roster.is_back(&self.idle, &self.remote(worker).pace) {
            self.has_watcher();
        }
    }

    /// Sees to it that somebody watches, now that the caller is busy.
    pub(crate) fn has_watcher(self: &Arc<Self>) {
        match self.idle.claim_watcher() {
            Watcher::Claimed(worker) => self.unpark(worker),
            Watcher::Missing if self.watch.is_on() => spares::start(self),
            Watcher::Missing | Watcher::NotNeeded => {}
        }
    }

    fn see_to_place(self: &Arc<Self>, worker: usize, place: Place) {
        if place != Place::Kept {
            self.note(|| Event::HandedOver(worker));
            if self.remote(worker).has_parked_needy.load(Ordering::Relaxed) {
                // It may never get to tell of that itself.
                self.lookout.somebody_waits();
            }
        }
        match place {
            Place::Kept => {}
            Place::Free => spares::start(self),
            Place::Taken if self.is_somebody_wanted(worker) => self.wake_any(),
            Place::Taken => {}
        }
    }

    /// Whether there is anything to do for whoever has the place of a worker that is stuck, and perhaps
    /// sleeps.
    fn is_somebody_wanted(&self, worker: usize) -> bool {
        // Who watches looks at these timers by then, without being told.
        let interval = self
            .idle
            .is_watched()
            .then(|| self.watch.longest_interval());
        let soon = interval
            .flatten()
            .and_then(|interval| Instant::now().checked_add(interval));
        let next_timer = self.timers[worker % self.timers.len()].next();
        self.has_work_for_any(true)
            || self.lookout.is_scheduled()
            || self.driver().is_some() && !self.lead.is_taken()
            || next_timer.is_some_and(|next| soon.is_none_or(|soon| next < soon))
    }

    pub(crate) fn driver(&self) -> Option<&dyn Driver> {
        self.driver.get().map(|driver| &**driver)
    }

    /// The driver of type `D`, made by `make` if there is none.
    pub(crate) fn driver_or_install<D: Driver>(
        self: &Arc<Self>,
        make: impl FnOnce() -> io::Result<D>,
    ) -> io::Result<Arc<D>> {
        self.process.check("this runtime")?;
        if self.driver.get().is_none() {
            self.install_driver(make)?;
        }
        let driver: Arc<dyn Any + Send + Sync> = self.driver.get().expect("just installed").clone();
        driver
            .downcast()
            .map_err(|_| io::Error::other("the runtime has a driver of another kind"))
    }

    // Not inlined: a driver is large, and whoever asks for it may be on a small stack.
    #[cold]
    #[inline(never)]
    fn install_driver<D: Driver>(
        self: &Arc<Self>,
        make: impl FnOnce() -> io::Result<D>,
    ) -> io::Result<()> {
        let _one_at_a_time = self.installing.lock();
        if self.driver.get().is_none() {
            let driver = make()?;
            self.driver.get_or_init(|| Arc::new(driver));
            // Somebody must wait in it, and those who sleep do not know of it.
            self.wake_any();
        }
        Ok(())
    }

    /// A green thread has ended, or was counted and not spawned. Gives whoever must be told.
    #[must_use]
    pub(crate) fn thread_ended(&self, shard: usize) -> Vec<Ticket> {
        if self.registry.ended(shard) {
            mem::take(&mut *self.awaiting_end.lock())
        } else {
            Vec::new()
        }
    }

    /// Leaves a ticket, to be fired when the last green thread of the closed runtime has ended.
    pub(crate) fn await_end(&self, ticket: Ticket) {
        self.awaiting_end.lock().push(ticket);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Makes all workers end. No green thread is alive.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.spares.close();
        for worker in 0..self.everybody().count() {
            if self.idle.claim(worker) {
                self.unpark(worker);
            }
        }
    }
}

// No user code runs while anything here is half done.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("id", &self.id)
            .field("workers", &self.workers.len())
            .field("thread_locals", &self.mode.thread_locals)
            .field("green_threads", &self.registry.len())
            .finish_non_exhaustive()
    }
}
