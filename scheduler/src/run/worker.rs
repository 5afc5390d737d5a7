//! The worker loop: find a green thread, switch to it, do what it asked for when it switched back;
//! else sleep.
//!
//! # Where work is looked for
//!
//! 1. Every [`LOOK_AROUND`] runs: expire timers, poll the driver without blocking, take from the
//!    injector first.
//! 2. The LIFO slot, the local queues, the inbox, the injector.
//! 3. Timers that are due, also those of workers that are too busy to look.
//! 4. The queues of the others, half of one, from a random start; unless half of the workers are
//!    doing that. What waits alone for its worker is stolen only if it still does after a moment.
//! 5. The LIFO slots of the others, from which is taken what has been there for [long](crate::protocol::slot).
//! 6. Dead pages of long-parked green threads, which are given back ([`reclaim`](crate::run::reclaim)).
//! 7. Sleep (see [`idle`](crate::protocol::idle)): as the leader in the driver if nobody is there, else on
//!    the parker; in both cases at most until the next timer of this worker or the next reclaim, and
//!    if it watches, that of a busy one.
//!
//! So with a run queue that never empties, events, timers and injected threads wait for at most
//! [`LOOK_AROUND`] runs of green threads on some worker. That is the fairness that the crate
//! documentation promises.
//!
//! # Invariants
//!
//! - A worker runs on the stack of its OS thread, never on a green one, and green threads run on
//!   nothing but workers.
//! - Between `resume` and `commit` nobody else touches a green thread. After a successful commit
//!   the worker does not touch it.
//! - Nothing of the runtime is locked or borrowed while a green thread runs.
//! - User code runs within `resume`: closures, and the destructors of what they captured, of results
//!   that nobody takes, of inherited values and of thread-locals, all on the green thread's stack, before
//!   it returns. What is left of a thread then holds nothing of the user's, so whoever drops the
//!   last reference to it, be it a worker with a lock in its hand, runs nobody's destructor. (A driver
//!   may go with a runtime; it is no user's.)
//! - A panic of any of these ends within `resume`, as the thread's result or with the process, so
//!   a panic that unwinds a worker is a defect in the runtime, or in a driver: the process is aborted.

use std::cell::{Cell, RefCell};
use std::hint;
use std::io::Write;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::nap::Naps;
use crate::protocol::parker::Parker;
use crate::protocol::timer::Shard;
use crate::protocol::word::{By, Commit};
use crate::run::context;
use crate::run::green::{Runnable, Waiter};
use crate::run::queue::{Inbox, Local};
use crate::run::shared::Shared;
use crate::run::stack_use;
use crate::run::ticket::Ticket;
use crate::run::wake;
use crate::stack::coroutine::{Resumed, Suspend};
use crate::stack::fp::Environment;
use crate::stack::tls;
use crate::stack::usage::StackUsage;
use crate::stack::{Cache, Class, Promise};

/// A busy worker looks for events, timers and injected green threads after so many runs. A prime,
/// so that it does not keep step with the program's own periods (as in Go).
const LOOK_AROUND: u32 = 61;

/// A green thread that has polled so often without a switch, and never found anything, waits for
/// something that perhaps nobody can do while it keeps this worker.
const SPINNING: u32 = 1000;

/// A thief looks so often whether a green thread that waits alone is still there, each time after so
/// many pauses of the processor: in all some microseconds.
const LONE_LOOKS: u32 = 4;
const PAUSES_A_LOOK: u32 = 32;

/// An idle worker keeps room for so many tickets that are to be fired.
const TICKETS: usize = 1024;

/// How long events and timers may go unattended because who should look for them is busy.
const WATCH_PERIOD: Duration = Duration::from_millis(10);
/// So many times in a row a worker that has nothing to do watches though all are asleep.
const WATCHES: u32 = 30;

/// One worker. Everything in it is touched by its own OS thread only, be it from the loop or from
/// the green thread on it.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    thread_pointer: usize,
    os_thread: u32,
    /// That of the loop, which computes nothing that raises a flag.
    environment: Environment,
    local: Local,
    stacks: RefCell<Cache>,
    running: RefCell<Option<Arc<Waiter>>>,
    /// Since it has looked around.
    runs: Cell<u32>,
    /// How often the green thread that runs has polled in vain.
    polls: Cell<u32>,
    random: Cell<u64>,
    tickets: RefCell<Vec<Ticket>>,
    /// When a green thread has last kept this worker in a panic hook in vain.
    pub(crate) gave_up_in_hook: Cell<Option<Instant>>,
}

impl Worker {
    /// Makes the current OS thread's worker.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, local: Local) -> Self {
        let class = shared.stack_class;
        Self {
            shared,
            index,
            thread_pointer: tls::thread_pointer(),
            os_thread: tls::os_thread(),
            environment: Environment::current(),
            local,
            stacks: RefCell::new(Cache::new(class)),
            running: RefCell::new(None),
            runs: Cell::new(0),
            polls: Cell::new(0),
            random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1)),
            tickets: RefCell::new(Vec::new()),
            gave_up_in_hook: Cell::new(None),
        }
    }

    /// Runs until the runtime stops.
    pub(crate) fn run(&self) {
        let guard = AbortOnUnwind;
        context::enter_worker(self, || {
            while !self.shared.is_stopping()
                && let Some(runnable) = self.next().or_else(|| self.search_and_sleep())
            {
                self.execute(runnable);
            }
        });
        std::mem::forget(guard);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// That of its OS thread.
    pub(crate) fn thread_pointer(&self) -> usize {
        self.thread_pointer
    }

    /// The same, if that is the current OS thread.
    pub(crate) fn thread_pointer_here(&self) -> Option<usize> {
        (tls::os_thread() == self.os_thread).then_some(self.thread_pointer)
    }

    /// The green thread that this worker runs.
    pub(crate) fn current(&self) -> Option<Arc<Waiter>> {
        self.running.borrow().clone()
    }

    /// The same, for those on its stack or in a signal handler above it.
    pub(crate) fn running(&self) -> Option<&Waiter> {
        // SAFETY: `running` changes in `execute` only, while nobody is on the green thread's stack.
        unsafe { (*self.running.as_ptr()).as_deref() }
    }

    /// Lets others steal what the green thread that runs has woken.
    pub(crate) fn release_lifo(&self) {
        if let Some(runnable) = self.local.take_lifo() {
            self.push_back(runnable);
        }
    }

    /// Notes that the green thread that runs has polled in vain. `true` if it evidently spins.
    pub(crate) fn polled_in_vain(&self) -> bool {
        self.polls.set(self.polls.get() + 1);
        self.running().is_some() && self.polls.get().is_multiple_of(SPINNING)
    }

    pub(crate) fn timers(&self) -> &Shard<Ticket> {
        self.timers_of(self.index)
    }

    pub(crate) fn timers_of(&self, worker: usize) -> &Shard<Ticket> {
        &self.shared.workers[worker].timers
    }

    pub(crate) fn promise_stack(&self, class: Class) -> std::io::Result<Promise> {
        self.stacks.borrow_mut().promise(class)
    }

    /// Queues a green thread that was spawned or woken on this OS thread, or gives it back if it is
    /// one of another runtime.
    pub(crate) fn schedule(&self, runnable: Runnable) -> Option<Runnable> {
        if !self.is_of_its_runtime(&runnable) {
            return Some(runnable);
        }
        let is_fresh = runnable.green().home().is_none();
        if is_fresh || self.running().is_none() {
            self.push_back(runnable);
        } else {
            self.push_next(runnable);
        }
        None
    }

    fn is_of_its_runtime(&self, runnable: &Runnable) -> bool {
        Arc::ptr_eq(&runnable.green().runtime, &self.shared)
    }

    /// Ends a wait, and queues its green thread with `push` if it is one of this runtime.
    fn wake(&self, ticket: Ticket, push: fn(&Self, Runnable)) {
        match ticket.end(By::Ticket).into_runnable() {
            Some(runnable) if self.is_of_its_runtime(&runnable) => push(self, runnable),
            Some(runnable) => wake::schedule(runnable),
            None => {}
        }
    }

    /// Queues a green thread that has run before all that wait here, or at its home.
    fn push_next(&self, runnable: Runnable) {
        match runnable.green().bound_to() {
            Some(home) if home != self.index => self.shared.push_inbox(home, runnable),
            bound => {
                if let Some(displaced) = self.local.push_lifo(runnable, bound.is_some()) {
                    self.push_back(displaced);
                }
            }
        }
    }

    /// Queues a green thread behind all that wait here, or at its home.
    fn push_back(&self, runnable: Runnable) {
        match runnable.green().bound_to() {
            None => {
                match runnable.green().home() {
                    None => self.local.push_fresh(runnable),
                    Some(_) => self.local.push_woken(runnable),
                }
                self.wake_others();
            }
            Some(home) if home == self.index => self.local.push_bound(runnable),
            Some(home) => self.shared.push_inbox(home, runnable),
        }
    }

    /// Something was queued here that others may run.
    fn wake_others(&self) {
        if self.shared.workers.len() > 1 {
            self.shared.wake_for_work(|| self.local.is_lone());
        }
    }

    fn next(&self) -> Option<Runnable> {
        let runs = self.runs.get() + 1;
        self.runs.set(runs);
        if runs >= LOOK_AROUND
            && let Some(injected) = self.look_around()
        {
            return Some(injected);
        }
        self.local.take_inbox(self.inbox());
        if let Some(overdue) = self.local.overdue_lifo() {
            self.push_back(overdue);
        }
        self.local.pop().or_else(|| self.take_injected())
    }

    fn inbox(&self) -> &Inbox {
        &self.shared.workers[self.index].inbox
    }

    fn take_injected(&self) -> Option<Runnable> {
        let injected = self.local.take_injected(&self.shared.injector)?;
        if self.local.has_stealable() {
            self.wake_others();
        }
        Some(injected)
    }

    /// What a busy worker does now and then, so that nothing starves.
    #[cold]
    fn look_around(&self) -> Option<Runnable> {
        self.runs.set(0);
        self.serve();
        self.take_injected()
    }

    /// Ends the waits of those whose events or deadlines have come.
    pub(crate) fn serve(&self) {
        self.expire(self.timers());
        self.poll_driver(Some(Duration::ZERO));
    }

    /// Ends the waits whose deadlines in `timers` have come.
    fn expire(&self, timers: &Shard<Ticket>) {
        if timers.next().is_none() {
            return;
        }
        let mut due = self.tickets.take();
        timers.expire(Instant::now(), &mut due);
        for ticket in due.drain(..) {
            drop(ticket.end(By::Timer));
        }
        self.tickets.replace(due);
    }

    /// Waits in the driver and fires what became ready. `false` if there is no driver or another
    /// worker is in it.
    fn poll_driver(&self, timeout: Option<Duration>) -> bool {
        let Some(driver) = self.shared.driver() else {
            return false;
        };
        let Some(leading) = self.shared.leader.try_lock() else {
            return false;
        };
        let mut ready = self.tickets.take();
        let polled = driver.wait(timeout, &mut ready);
        drop(leading);
        if let Err(error) = polled {
            die(&format!("the IO driver failed: {error}"));
        }
        for ticket in ready.drain(..) {
            self.wake(ticket, Self::push_back);
        }
        self.tickets.replace(ready);
        true
    }

    /// Finds work elsewhere, or sleeps until there is some. `None` when the runtime stops.
    fn search_and_sleep(&self) -> Option<Runnable> {
        let mut searching = self.shared.idle.start_search();
        self.shared.reclaim.threads_have_run();
        let mut naps = Naps::new();
        let mut sleeps = 0;
        loop {
            for worker in &self.shared.workers {
                self.expire(&worker.timers);
            }
            let found = self
                .find_anywhere(searching, &mut naps)
                .or_else(|| self.take_old_lifo());
            if found.is_some() {
                if searching && self.shared.idle.search_found() && self.shared.has_work_for_any() {
                    self.shared.wake_any();
                }
                if sleeps > 0 {
                    self.shared.wake_watcher();
                }
                return found;
            }
            if self
                .shared
                .reclaim
                .slice(&self.shared.registry, Waiter::run_again)
            {
                self.poll_driver(Some(Duration::ZERO));
                continue;
            }
            let nap = naps.next().filter(|_| self.shared.idle.begin_nap());
            self.shared.idle.announce_sleep(self.index, searching);
            let called = self.sleep(nap, sleeps < WATCHES) == Awoken::Called;
            sleeps += 1;
            if self.shared.is_stopping() {
                return None;
            }
            searching = if nap.is_some() {
                self.shared.idle.end_nap(called);
                true
            } else {
                called || self.shared.idle.start_search()
            };
            if called {
                naps.missed();
            }
        }
    }

    fn find_anywhere(&self, searching: bool, naps: &mut Naps) -> Option<Runnable> {
        self.local.take_inbox(self.inbox());
        let mine = self.local.pop().or_else(|| self.take_injected());
        if mine.is_some() || !searching {
            return mine;
        }
        self.steal(2).or_else(|| self.steal_lone(naps))
    }

    /// Takes what another worker would run next and has not got to for long.
    fn take_old_lifo(&self) -> Option<Runnable> {
        let now = || self.shared.start.elapsed();
        let mut workers = self.shared.workers.iter();
        workers.find_map(|worker| worker.stealable.take_old_lifo(now))
    }

    /// Steals from some worker that has so many to steal, or more.
    fn steal(&self, least: usize) -> Option<Runnable> {
        let workers = &self.shared.workers;
        let start = self.next_random() as usize % workers.len();
        let victims = workers[start..].iter().chain(&workers[..start]);
        victims
            .map(|victim| &victim.stealable)
            .filter(|stealable| stealable.len() >= least)
            .find_map(|stealable| self.local.steal_from(stealable))
    }

    /// Steals what waits alone for its worker, if it still does after a moment.
    ///
    /// Most often its worker gets to it at once: what was spawned is joined, what has yielded goes
    /// on. To take it then would cost both workers more than it saves. Go's thieves leave its
    /// `runnext` alone for a while for the same reason.
    fn steal_lone(&self, naps: &mut Naps) -> Option<Runnable> {
        for _ in 0..LONE_LOOKS {
            if self.shared.workers.iter().all(|w| w.stealable.is_empty()) {
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

    /// Sleeps, having announced it, unless there is work after all.
    fn sleep(&self, nap: Option<Duration>, watches_anyhow: bool) -> Awoken {
        let shared = &self.shared;
        if shared.has_work_for(self.index) {
            if shared.idle.retract_sleep(self.index) {
                shared.idle.resume_search();
            } else {
                self.parker().absorb();
            }
            return Awoken::Called;
        }
        if shared.is_stopping() {
            return Awoken::ByItself;
        }
        let watches = shared.idle.begin_watch(watches_anyhow);
        let scan = shared.reclaim.next();
        let until = self.wake_at(nap, watches);
        let unparked = self
            .lead(until)
            .unwrap_or_else(|| self.parker().park(until));
        if watches {
            shared.idle.end_watch();
        }
        if unparked {
            return Awoken::Called;
        }
        if shared.idle.retract_sleep(self.index) {
            // Timers are due. What they let run is its own to do, and nobody need be woken for it.
            if scan.is_some_and(|scan| Instant::now() >= scan) {
                self.give_back();
            }
            return Awoken::ByItself;
        }
        self.parker().absorb();
        Awoken::Called
    }

    /// Gives back what a burst has left to an idle worker: room in its lists, and the stacks that it keeps,
    /// of which a later scan cools those that nobody needs.
    fn give_back(&self) {
        self.local.shrink();
        self.timers().shrink();
        self.shared.registry.shrink(self.index);
        self.tickets.borrow_mut().shrink_to(TICKETS);
        if self.stacks.borrow_mut().empty() {
            self.shared.reclaim.threads_have_run();
        }
    }

    /// Sleeps in the driver. `None` if there is none or another worker leads; else whether the
    /// worker was unparked.
    fn lead(&self, until: Option<Instant>) -> Option<bool> {
        self.shared.driver()?;
        if self.shared.leader.is_locked() {
            return None;
        }
        if !self.parker().enter_driver() {
            return Some(true);
        }
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let led = self.poll_driver(timeout);
        let unparked = self.parker().leave_driver();
        if led || unparked {
            Some(unparked)
        } else {
            None
        }
    }

    /// When it must not sleep any more.
    fn wake_at(&self, nap: Option<Duration>, watches: bool) -> Option<Instant> {
        let end_of_nap = nap.map(|nap| Instant::now() + nap);
        let own = [self.timers().next(), self.shared.reclaim.next(), end_of_nap];
        let own = own.into_iter().flatten();
        if !watches {
            return own.min();
        }
        let is_busy = |worker: &usize| !self.shared.idle.is_asleep(*worker);
        let busy = (0..self.shared.workers.len()).filter(is_busy);
        let of_the_busy = busy.filter_map(|worker| self.timers_of(worker).next());
        let a_period = Instant::now() + WATCH_PERIOD;
        own.chain(of_the_busy).chain([a_period]).min()
    }

    fn parker(&self) -> &Parker {
        &self.shared.workers[self.index].parker
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

    /// Runs a green thread until it gives the worker back, and does what it asked for.
    fn execute(&self, runnable: Runnable) {
        let arrives = runnable.green().home() != Some(self.index);
        if arrives {
            self.welcome(&runnable);
        }
        self.running.replace(Some(runnable.0));
        let green = self
            .running()
            .and_then(Waiter::green)
            .expect("only green threads are queued");
        // SAFETY: it has been started when it arrived.
        let started = unsafe { green.started() };
        self.polls.set(0);
        // SAFETY: the runnable was the right to run it.
        let resume = || unsafe { started.coroutine.resume() };
        let switch = || match started.thread_pointer {
            None => resume(),
            Some(pointer) => {
                // SAFETY: the right to run it is the right to its thread-locals.
                unsafe { context::with_thread_locals(pointer, self, arrives, resume) }
            }
        };
        let resumed = started.environment.run_in(self.environment, switch);
        let waiter = self.running.take().expect("it was put there above");
        if let Resumed::Suspended(_) = resumed {
            self.see_to_entry(&waiter);
        }
        match resumed {
            Resumed::Suspended(Suspend::Yielded) => self.push_back(Runnable(waiter)),
            Resumed::Suspended(Suspend::Waiting) => match waiter.word.commit() {
                Commit::Parked => {}
                Commit::Ended => self.push_next(Runnable(waiter)),
            },
            Resumed::Returned => self.bury(&waiter),
        }
    }

    /// Enters a green thread that has suspended into the registry, if it is not there.
    fn see_to_entry(&self, waiter: &Arc<Waiter>) {
        let green = waiter.green().expect("only green threads are run");
        if green.key().is_none() {
            let registry = &self.shared.registry;
            green.set_key(registry.enter(self.index, waiter));
            if registry.is_closed() && cfg!(panic = "unwind") {
                waiter.cancel_running();
            }
        }
    }

    /// Takes in a green thread that has not run here last, and starts it if it is fresh.
    fn welcome(&self, runnable: &Runnable) {
        let green = runnable.green();
        // SAFETY: the runnable is the right to run it.
        let pointer = unsafe {
            green.start(|promise| self.stacks.borrow_mut().redeem(promise));
            green.started().thread_pointer
        };
        green.set_home(self.index);
        if let (Some(pointer), Some(own)) = (pointer, tls::own()) {
            // It uses this worker's cache of the allocator from now on.
            own.lend_allocator(self.thread_pointer, pointer.get());
        }
    }

    /// Takes a green thread that has returned apart, and then tells whoever joins it: so after a
    /// join its stack is free and it is not counted any more.
    fn bury(&self, waiter: &Arc<Waiter>) {
        let green = waiter.green().expect("only green threads are run");
        // SAFETY: it has just returned, here.
        let (stack, bounds) = unsafe {
            let started = green.started();
            (started.coroutine.take_stack(), started.coroutine.stack())
        };
        if self.shared.mode.report_stacks {
            let usage = StackUsage::of(bounds);
            stack_use::record(green.site, usage);
            // SAFETY: nobody runs on it any more.
            unsafe { stack.wipe(usage.high_water) };
        }
        // SAFETY: nobody runs on it any more.
        unsafe { stack.renew() };
        self.stacks.borrow_mut().give_back(stack);
        if let Some(key) = green.key() {
            self.shared.registry.remove(key);
        }
        for ticket in self.shared.thread_ended(self.index) {
            ticket.fire();
        }
        let of_scope = green.scope.as_ref().and_then(|scope| scope.thread_ended());
        let told = green.completion.complete();
        let waiting = [told.joiner, of_scope].into_iter().flatten();
        for ticket in waiting.chain(told.watchers) {
            self.wake(ticket, Self::push_next);
        }
    }
}

/// Why a worker does not sleep any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awoken {
    /// There was work, or somebody has unparked it. It counts as searching.
    Called,
    /// Its time has come, there are events, or the runtime stops.
    ByItself,
}

/// Ends the process if the worker loop unwinds.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        die("a worker panicked");
    }
}

/// Aborts with one line on standard error.
#[cold]
pub(crate) fn die(why: &str) -> ! {
    let _ = writeln!(
        std::io::stderr(),
        "fatal error in the roving runtime: {why}"
    );
    process::abort();
}
