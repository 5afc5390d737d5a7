//! What all threads of one runtime reach: its queues, its sleepers, its driver.

use std::any::Any;
use std::io;
use std::mem;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::protocol::idle::Idle;
use crate::protocol::parker::{Parker, Rouse};
use crate::protocol::process::Process;
use crate::protocol::timer::{Shard, TimerKey};
use crate::protocol::word::By;
use crate::run::driver::Driver;
use crate::run::green::Runnable;
use crate::run::helpers::Helpers;
use crate::run::queue::{Inbox, Stealable};
use crate::run::reclaim::Reclaim;
use crate::run::registry::Registry;
use crate::run::ticket::Ticket;
use crate::stack::Class;
use crate::stack::mode::Mode;

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
    pub(crate) stealable: Stealable,
    pub(crate) inbox: Inbox,
    pub(crate) parker: Parker,
    pub(crate) timers: Shard<Ticket>,
}

/// See the [module](self).
pub(crate) struct Shared {
    pub(crate) id: RuntimeId,
    /// Where its workers are.
    pub(crate) process: Process,
    pub(crate) mode: Mode,
    pub(crate) stack_class: Class,
    pub(crate) injector: Injector<Runnable>,
    pub(crate) workers: Box<[CachePadded<Remote>]>,
    pub(crate) idle: Idle,
    /// Since when the looks at the LIFO slots are timed.
    pub(crate) start: Instant,
    pub(crate) registry: Registry,
    pub(crate) reclaim: Reclaim,
    pub(crate) helpers: Helpers,
    driver: OnceLock<Arc<dyn Driver>>,
    /// The right to call the driver's `wait`.
    pub(crate) leader: Mutex<()>,
    installing: Mutex<()>,
    stopping: AtomicBool,
    /// Whoever waits for the last green thread of a closed runtime to end.
    awaiting_end: Mutex<Vec<Ticket>>,
}

impl Shared {
    pub(crate) fn new(
        mode: Mode,
        stack_class: Class,
        max_blocking: usize,
        stealable: Vec<Stealable>,
    ) -> Self {
        let workers = stealable.len();
        Self {
            id: RuntimeId::next(),
            process: Process::current(),
            mode,
            stack_class,
            injector: Injector::new(),
            workers: stealable
                .into_iter()
                .map(|stealable| {
                    CachePadded::new(Remote {
                        stealable,
                        inbox: Inbox::default(),
                        parker: Parker::new(),
                        timers: Shard::new(),
                    })
                })
                .collect(),
            idle: Idle::new(workers),
            start: Instant::now(),
            registry: Registry::new(workers),
            reclaim: Reclaim::default(),
            helpers: Helpers::new(max_blocking),
            driver: OnceLock::new(),
            leader: Mutex::new(()),
            installing: Mutex::new(()),
            stopping: AtomicBool::new(false),
            awaiting_end: Mutex::new(Vec::new()),
        }
    }

    /// Queues a green thread of this runtime from outside of its workers.
    pub(crate) fn inject(&self, runnable: Runnable) {
        if !self.process.is_current() {
            // The parent will run its own copy. Of this one nobody knows who else has a part of it.
            mem::forget(runnable);
            return;
        }
        match runnable.green().bound_to() {
            Some(home) => self.push_inbox(home, runnable),
            None => {
                self.injector.push(runnable);
                self.wake_for_work(|| false);
            }
        }
    }

    /// Queues what only the worker `home` may run, from outside that worker.
    pub(crate) fn push_inbox(&self, home: usize, runnable: Runnable) {
        self.workers[home].inbox.push(runnable);
        if self.idle.claim(home) {
            self.unpark(home);
        }
    }

    /// Arms a timer of the worker `shard`, from any thread. `None` if the time will never come.
    pub(crate) fn arm_timer(
        &self,
        shard: usize,
        time: Instant,
        ticket: Ticket,
    ) -> Option<TimerKey> {
        let timers = &self.workers[shard].timers;
        let key = timers.arm(time, ticket)?;
        // A worker that is awake looks at its timers before it sleeps. One that sleeps does so for too
        // long if this is the first.
        if timers.next().is_none_or(|next| next >= time) && self.idle.claim(shard) {
            self.unpark(shard);
        }
        Some(key)
    }

    /// Ends all waits for a time or an event, of which there are only those of futures when no green
    /// thread is left.
    pub(crate) fn end_waits(&self) {
        for worker in &self.workers {
            for ticket in worker.timers.take_all() {
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
        if self.workers[worker].parker.unpark() == Rouse::WakeDriver {
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
        !self.injector.is_empty() || self.workers.iter().any(|worker| counts(&worker.stealable))
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
            let _one_at_a_time = self.installing.lock();
            if self.driver.get().is_none() {
                let driver = make()?;
                self.driver.get_or_init(|| Arc::new(driver));
                // Somebody must wait in it, and those who sleep do not know of it.
                self.wake_any();
            }
        }
        let driver: Arc<dyn Any + Send + Sync> = self.driver.get().expect("just installed").clone();
        driver
            .downcast()
            .map_err(|_| io::Error::other("the runtime has a driver of another kind"))
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
        self.helpers.close();
        for worker in 0..self.workers.len() {
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
