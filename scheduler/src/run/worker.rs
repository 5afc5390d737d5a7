//! The worker loop: [find](search) a green thread, switch to it, do what it asked for when it switched
//! back; else sleep.
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

mod search;

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::protocol::timer::Shard;
use crate::protocol::word::{By, Commit};
use crate::run::context;
use crate::run::counts::{Countdown, Counts};
use crate::run::event::{Event, Ran};
use crate::run::green::{Green, Home, Runnable, Waiter};
use crate::run::panicking;
use crate::run::processor;
use crate::run::queue::Local;
use crate::run::shared::{Remote, Shared};
use crate::run::signals;
use crate::run::stack_use;
use crate::run::ticket::Ticket;
use crate::run::ticks;
use crate::run::wake;
use crate::run::whereabouts;
use crate::stack::coroutine::{Resumed, Suspend};
use crate::stack::fp::Environment;
use crate::stack::tls;
use crate::stack::usage::StackUsage;
use crate::stack::{Cache, Class, Promise, Stack};

/// A green thread that has polled so often without a switch, and never found anything, waits for
/// something that perhaps nobody can do while it keeps this worker.
pub(super) const SPINNING: u32 = 1000;

/// One worker, or a spare. Everything in it is touched by its own OS thread only, be it from the loop or from
/// the green thread on it.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    index: usize,
    home: Home,
    is_spare: bool,
    /// Whether its runtime has a recorder.
    is_recorded: bool,
    /// That of the registry and of the timers.
    shard: usize,
    thread_pointer: usize,
    /// That of the loop, which computes nothing that raises a flag.
    environment: Environment,
    local: Local,
    stacks: RefCell<Cache>,
    /// Those that it [lends](super::lent_stack).
    to_lend: RefCell<Cache>,
    running: RefCell<Option<Arc<Waiter>>>,
    /// How often the green thread that runs has polled in vain.
    polls: Cell<u32>,
    random: Cell<u64>,
    /// To the next run that is timed, and to the next queued thread that is.
    to_timed_run: Countdown,
    to_timed_delay: Countdown,
    tickets: RefCell<Vec<Ticket>>,
    /// Whether it has been in the driver since it was last asked.
    has_led: Cell<bool>,
    /// Whether it has run something that no [scan](crate::run::reclaim) is scheduled for.
    has_run: Cell<bool>,
    /// When the next scan for what can be given back was due, as it fell asleep.
    scan: Cell<Option<Instant>>,
    /// When it looks whether anybody could wake it, and what its pace was when that was set.
    vigil: Cell<Option<(Instant, u64)>>,
    /// Whether it has looked since it last ran something.
    has_looked: Cell<bool>,
    spare: Spare,
    /// When a green thread has last kept this worker in a panic hook in vain.
    pub(crate) gave_up_in_hook: Cell<Option<Instant>>,
    /// Since when the green thread that [runs since](Self::runs_since) has yielded in a panic hook.
    pub(crate) yields_in_hook: Cell<Option<(u64, Instant)>>,
}

/// What only a spare needs to know of itself.
#[derive(Default)]
struct Spare {
    /// How many green threads are alive that are bound to it.
    bound: Cell<usize>,
    /// Whether it has taken part since it last left all to others.
    has_taken_part: Cell<bool>,
    /// Whether it has scheduled a scan since.
    has_scheduled_scan: Cell<bool>,
    /// Since when it has had nothing to do.
    idle_since: Cell<Option<Instant>>,
}

impl Worker {
    /// Makes the current OS thread's worker, the `term`th of this index.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, term: u32, local: Local) -> Self {
        let class = shared.stack_class;
        let workers = shared.workers.len();
        let remote = shared.remote(index).clone();
        remote.begins();
        signals::begin_worker(shared.blocked);
        let is_recorded = shared.recorder.as_ref().is_some_and(|recorder| {
            recorder.worker_begins(index);
            true
        });
        let thread_pointer = tls::thread_pointer();
        whereabouts::note_thread_locals(thread_pointer, context::anchor());
        Self {
            shared,
            remote,
            index,
            home: Home::new(index, term),
            is_spare: index >= workers,
            is_recorded,
            shard: index % workers,
            thread_pointer,
            environment: Environment::current(),
            local,
            stacks: RefCell::new(Cache::new(class)),
            to_lend: RefCell::new(Cache::new(class.for_calls())),
            running: RefCell::new(None),
            polls: Cell::new(0),
            random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1)),
            to_timed_run: Countdown::new(),
            to_timed_delay: Countdown::new(),
            tickets: RefCell::new(Vec::new()),
            has_run: Cell::new(false),
            scan: Cell::new(None),
            vigil: Cell::new(None),
            has_looked: Cell::new(false),
            has_led: Cell::new(false),
            spare: Spare::default(),
            gave_up_in_hook: Cell::new(None),
            yields_in_hook: Cell::new(None),
        }
    }

    /// Runs until the runtime stops, or a spare is not needed any more.
    pub(crate) fn run(&self) {
        let guard = AbortOnUnwind;
        let shift = &self.counts().shift;
        shift.begin(self.remote.running.switches());
        context::enter_worker(self, || {
            while !self.shared.is_stopping()
                && let Some(runnable) = self.next().or_else(|| self.find_or_sleep())
            {
                self.execute(runnable);
            }
        });
        shift.end(self.remote.running.switches());
        std::mem::forget(guard);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Its queues, for the next who sits in its place.
    pub(crate) fn into_local(self) -> Local {
        self.local
    }

    fn counts(&self) -> &Counts {
        &self.remote.counts
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn shard(&self) -> usize {
        self.shard
    }

    /// That of its OS thread.
    pub(crate) fn thread_pointer(&self) -> usize {
        self.thread_pointer
    }

    /// The same, if that is the current OS thread.
    pub(crate) fn thread_pointer_here(&self) -> Option<usize> {
        (processor::os_thread() == self.remote.os_thread()).then_some(self.thread_pointer)
    }

    /// The green thread that this worker runs, for those on its stack or in a signal handler above it.
    pub(crate) fn running(&self) -> Option<&Waiter> {
        // SAFETY: `running` changes in `execute` only, while nobody is on the green thread's stack.
        unsafe { (*self.running.as_ptr()).as_deref() }
    }

    /// The green thread that runs is about to park, and only other threads can wake it.
    pub(crate) fn parks_needy(&self) {
        self.remote.has_parked_needy.store(true, Ordering::Relaxed);
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

    /// When it has switched last, in [ticks]: to the green thread that runs, or back.
    pub(crate) fn runs_since(&self) -> u64 {
        self.remote.running.since.load(Ordering::Relaxed)
    }

    pub(crate) fn timers(&self) -> &Shard<Ticket> {
        self.timers_of(self.shard)
    }

    pub(crate) fn timers_of(&self, shard: usize) -> &Shard<Ticket> {
        &self.shared.timers[shard]
    }

    /// The green thread that runs blocks in the system from now on: another worker takes the place of this
    /// one, if that has not been done.
    #[cold]
    pub(crate) fn gets_stuck(&self) {
        if !self.remote.pace.is_stuck() {
            self.release_lifo();
            self.shared.gets_stuck(self.index);
        }
    }

    /// A call that blocks in the system has ended on this worker. If it was the last of the green thread that
    /// runs, that blocks no more.
    pub(crate) fn call_has_ended(&self) {
        let running = self.running().and_then(Waiter::own_stack);
        if running.is_some_and(|own_stack| !own_stack.is_calling()) {
            self.is_back();
        }
    }

    /// The green thread that runs blocks no more, or has given the worker back.
    fn is_back(&self) {
        if self.remote.pace.is_stuck() {
            self.shared.is_back(self.index);
        }
    }

    pub(crate) fn promise_stack(&self, class: Class) -> std::io::Result<Promise> {
        self.stacks.borrow_mut().promise(class)
    }

    /// A stack to lend to a green thread whose own has `size` bytes, if there is one for it.
    pub(crate) fn lend_stack(&self, size: usize) -> Option<Stack> {
        let class = self.shared.stack_class.for_calls();
        if size > class.size() || self.shared.mode.report_stacks {
            return None;
        }
        let mut to_lend = self.to_lend.borrow_mut();
        let promise = to_lend.promise(class).ok()?;
        Some(to_lend.redeem(promise))
    }

    /// Takes a stack that was lent.
    pub(crate) fn take_back(&self, stack: Stack) {
        self.to_lend.borrow_mut().give_back(stack);
    }

    /// Queues a green thread that was spawned or woken on this OS thread, or gives it back if it is
    /// one of another runtime.
    pub(crate) fn schedule(&self, runnable: Runnable) -> Option<Runnable> {
        if !self.is_of_its_runtime(&runnable) {
            return Some(runnable);
        }
        let remote = &*self.remote;
        if runnable.is_fresh() {
            remote.counts.spawns.add(1);
            self.queue(runnable);
            return None;
        }
        remote.counts.wake_ups.add(1);
        // Nobody would look after the LIFO slot of one who is stuck.
        if self.running().is_none() || remote.pace.is_stuck() {
            self.queue(runnable);
        } else {
            self.push_next(runnable);
        }
        None
    }

    fn is_of_its_runtime(&self, runnable: &Runnable) -> bool {
        runnable.green().runtime.is_to(Arc::as_ptr(&self.shared))
    }

    /// Ends a wait, and queues its green thread before all that wait here if it is one of this runtime.
    fn wake(&self, ticket: Ticket) {
        if let Some(runnable) = self.woken_by(ticket) {
            self.push_next(runnable);
        }
    }

    /// Ends a wait, and gives its green thread to be queued if it is one of this runtime.
    #[inline]
    fn woken_by(&self, ticket: Ticket) -> Option<Runnable> {
        let runnable = ticket.end(By::Ticket).into_runnable()?;
        if !self.is_of_its_runtime(&runnable) {
            wake::schedule(runnable);
            return None;
        }
        self.counts().wake_ups.add(1);
        Some(runnable)
    }

    /// Queues a green thread that has been spawned or woken behind all that wait here, or at its home.
    #[inline]
    fn queue(&self, runnable: Runnable) {
        if self.queue_quietly(runnable) {
            self.wake_others();
        }
    }

    /// The same, without a word to others. Tells whether one may run it. Now and then it is timed.
    #[inline]
    fn queue_quietly(&self, runnable: Runnable) -> bool {
        if self.to_timed_delay.is_over() {
            self.time_delay(&runnable);
        }
        self.leave_behind(runnable)
    }

    #[cold]
    #[inline(never)]
    fn time_delay(&self, runnable: &Runnable) {
        self.to_timed_delay.begin();
        runnable.time_delay();
    }

    /// Queues a green thread that has run before all that wait here, or at its home.
    fn push_next(&self, runnable: Runnable) {
        match runnable.green().bound_to(&self.shared) {
            Some(home) if self.leaves_to(home) => self.shared.push_inbox(home, runnable),
            bound => {
                if let Some(displaced) = self.local.push_lifo(runnable, bound.is_some()) {
                    self.push_back(displaced);
                }
            }
        }
    }

    /// Queues a green thread behind all that wait here, or at its home.
    fn push_back(&self, runnable: Runnable) {
        if self.leave_behind(runnable) {
            self.wake_others();
        }
    }

    /// The same, without a word to others if it is queued here. Tells whether one may run it.
    #[inline]
    fn leave_behind(&self, runnable: Runnable) -> bool {
        match runnable.green().bound_to(&self.shared) {
            None => {
                match runnable.green().home() {
                    None => self.local.push_fresh(runnable),
                    Some(_) => self.local.push_woken(runnable),
                }
                true
            }
            Some(home) if self.leaves_to(home) => {
                self.shared.push_inbox(home, runnable);
                false
            }
            Some(_) => {
                self.local.push_bound(runnable);
                false
            }
        }
    }

    /// Whether what only the worker `home` may run waits in its inbox: that of others, or where others may find it.
    fn leaves_to(&self, home: usize) -> bool {
        home != self.index || self.shared.passes_on()
    }

    /// Something was queued here that others may run.
    fn wake_others(&self) {
        if self.shared.idle.has_others() {
            self.shared.wake_for_work(|| self.local.is_lone());
        }
    }

    /// As [`Shared::note`], at the price of a look at a field of its own.
    #[inline]
    fn note<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if self.is_recorded {
            self.shared.note(event);
        }
    }

    /// Runs a green thread until it gives the worker back, and does what it asked for.
    fn execute(&self, runnable: Runnable) {
        let arrives = !runnable.green().is_at(self.home);
        if arrives {
            self.welcome(&runnable);
        }
        let running = Arc::as_ptr(&runnable.0);
        self.running.replace(Some(runnable.0));
        let green = self
            .running()
            .and_then(Waiter::green)
            .expect("only green threads are queued");
        // SAFETY: it has been started when it arrived.
        let started = unsafe { green.own_stack.started() };
        self.polls.set(0);
        // SAFETY: the last `Arc` of a thread goes when it has been buried.
        unsafe { self.remote.running.thread.show(running) };
        self.note(|| Event::Runs(self.running().expect("it was put there above")));
        if green.own_stack.needs_care() {
            self.take_care(green);
        }
        // SAFETY: the runnable was the right to run it.
        let resume = || unsafe { started.coroutine.resume() };
        let switch = || match started.thread_pointer {
            None => context::with_workers_thread_locals(running, resume),
            Some(pointer) => {
                // SAFETY: the right to run it is the right to its thread-locals.
                unsafe { context::with_thread_locals(pointer, self, running, arrives, resume) }
            }
        };
        let resumed = started.environment.run_in(self.environment, switch);
        if green.own_stack.is_held_back() {
            signals::begin_worker(self.shared.blocked);
        }
        self.is_back();
        if self.to_timed_run.is_over() {
            self.time_run();
        }
        let waiter = self.running.take().expect("it was put there above");
        let remote = &*self.remote;
        let now = remote.running.switches();
        waiter.since.store(now, Ordering::Relaxed);
        // SAFETY: it shows nothing.
        unsafe { remote.running.thread.show(ptr::null()) };
        if let Resumed::Suspended(_) = resumed {
            self.see_to_entry(&waiter);
        }
        match resumed {
            Resumed::Suspended(Suspend::Yielded) => {
                self.note(|| Event::Ran(&waiter, Ran::Yields));
                remote.counts.yields.add(1);
                self.push_back(Runnable(waiter));
            }
            Resumed::Suspended(Suspend::Waiting) => {
                self.note(|| Event::Ran(&waiter, Ran::Waits));
                remote.counts.waits.add(1);
                if waiter.word.commit() == Commit::Ended {
                    remote.counts.wake_ups.add(1);
                    self.push_next(Runnable(waiter));
                }
            }
            Resumed::Returned => {
                self.bury(&waiter);
                self.note(|| Event::Ran(&waiter, Ran::Ends));
            }
        }
    }

    /// Sees to what must be seen to before a green thread runs.
    #[cold]
    fn take_care(&self, green: &Green) {
        if green.own_stack.take_timed() {
            let queued = self
                .running()
                .map(|waiter| waiter.since.load(Ordering::Relaxed));
            let delay = ticks::now().saturating_sub(queued.unwrap_or(u64::MAX));
            self.counts().delays.add(delay);
        }
        if green.own_stack.is_calling() {
            self.gets_stuck();
        }
        // Last: what is started here does not begin so.
        if green.own_stack.is_held_back() {
            signals::hold_back();
        }
    }

    /// Notes how long the green thread has run that has just given this worker back.
    #[cold]
    fn time_run(&self) {
        self.to_timed_run.begin();
        let run = ticks::now().saturating_sub(self.runs_since());
        self.counts().run_lengths.add(run);
    }

    /// Enters a green thread that has suspended into the registry, if it is not there.
    fn see_to_entry(&self, waiter: &Arc<Waiter>) {
        let green = waiter.green().expect("only green threads are run");
        if green.key().is_none() {
            let registry = &self.shared.registry;
            green.set_key(registry.enter(self.shard, waiter));
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
            let own_stack = &green.own_stack;
            own_stack.start(|promise| self.stacks.borrow_mut().redeem(promise));
            own_stack.started().thread_pointer
        };
        green.set_home(self.home);
        if self.is_spare && green.bound_to(&self.shared) == Some(self.index) {
            self.spare.bound.update(|bound| bound + 1);
        }
        if let (Some(pointer), Some(own)) = (pointer, tls::own()) {
            // It uses this worker's cache of the allocator from now on.
            own.lend_allocator(self.thread_pointer, pointer.get());
        }
    }

    /// Takes a green thread that has returned apart, and then tells whoever joins it: so after a
    /// join its stack is free and it is not counted any more.
    fn bury(&self, waiter: &Arc<Waiter>) {
        let green = waiter.green().expect("only green threads are run");
        // One that shares its worker's thread-locals has not seen to that itself.
        if green.own_stack.keeps_signals() {
            signals::end();
            signals::begin_worker(self.shared.blocked);
        }
        // SAFETY: it has just returned, here.
        let (stack, bounds) = unsafe {
            let started = green.own_stack.started();
            (started.coroutine.take_stack(), started.coroutine.stack())
        };
        if self.shared.mode.report_stacks {
            let usage = StackUsage::of(bounds);
            stack_use::record(green.own_stack.site, usage);
            // SAFETY: nobody runs on it any more.
            unsafe { stack.wipe(usage.high_water) };
        }
        // SAFETY: nobody runs on it any more.
        unsafe { stack.renew() };
        self.stacks.borrow_mut().give_back(stack);
        if let Some(key) = green.key() {
            self.shared.registry.remove(key);
        }
        if self.is_spare && green.bound_to(&self.shared) == Some(self.index) {
            self.spare.bound.update(|bound| bound - 1);
        }
        self.counts().ends.add(1);
        let of_runtime = self.shared.thread_ended(self.shard);
        if !of_runtime.is_empty() {
            for ticket in of_runtime {
                ticket.fire();
            }
        }
        let of_scope = green.scope.as_ref().and_then(|scope| scope.thread_ended());
        self.shared.onlookers.see_off();
        let told = green.completion.complete();
        if let Some(joiner) = told.joiner {
            self.wake(joiner);
        }
        if let Some(enclosing) = of_scope {
            self.wake(enclosing);
        }
        // Hardly ever is there any, and an empty list is asked in one step.
        if !told.watchers.is_empty() {
            for watcher in told.watchers {
                self.wake(watcher);
            }
        }
    }
}

/// Ends the process if the worker loop unwinds.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        panicking::abort("a worker of Roving panicked");
    }
}
