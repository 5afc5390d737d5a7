//! Threads as the scheduler sees them: what can wait, and what of it is green.
//!
//! A [`Waiter`] is the control block of a thread: its wait word, its park token, its name. A green
//! thread has a [`Green`] in it: the coroutine, the runtime, its home. A plain OS thread that
//! blocks in Roving gets a waiter too, and so does a future that waits, so that every lock, channel and
//! join wakes all three kinds in one way.
//!
//! A green thread is at any time in exactly one of these places, and whoever has it there owns its
//! stack:
//!
//! | state of the wait word | where it is                                              | who owns the stack   |
//! |------------------------|----------------------------------------------------------|----------------------|
//! | no open wait, fresh    | one run queue, as a [`Runnable`]; it has no stack yet     |                      |
//! | no open wait, queued   | one run queue (local, inbox, injector), as a [`Runnable`] | that queue           |
//! | no open wait, running  | a worker's stack, below its `resume`                     | itself               |
//! | `Armed`                | still with its worker, which is about to commit          | itself, the worker   |
//! | `Parked`               | in no queue                                              | whoever fires its wait |
//! | just `Ended`           | on the way to a queue, or still with its worker          | the firer, the worker |

use std::cell::UnsafeCell;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::protocol::completion::Completion;
use crate::protocol::parker::Parker;
use crate::protocol::task::Task;
use crate::protocol::token::Token;
use crate::protocol::word::{Fire, WaitWord};
use crate::run::ambient::Ambient;
use crate::run::panic_state;
use crate::run::registry;
use crate::run::shared::Shared;
use crate::run::ticket::Ticket;
use crate::stack::coroutine::{Body, Coroutine, Suspender};
use crate::stack::fp::{Environment, Saved};
use crate::stack::mode::ThreadLocals;
use crate::stack::{Promise, Stack};

/// See the [module](self).
pub(crate) struct Waiter {
    pub(crate) word: WaitWord,
    pub(crate) token: Token,
    pub(crate) ambient: Ambient,
    /// Given at the first question; 0 before that.
    id: AtomicU64,
    name: Option<Box<str>>,
    pub(crate) kind: Kind,
}

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are green, and are reached in one step"
)]
pub(crate) enum Kind {
    /// A plain OS thread, which sleeps in this.
    Os(Parker),
    Green(Green),
    /// The task of an executor, which it wakes with this.
    Task(Task<Waker>),
}

impl Waiter {
    pub(crate) fn new(name: Option<Box<str>>, kind: Kind) -> Self {
        Self {
            word: WaitWord::new(),
            token: Token::new(),
            ambient: Ambient::default(),
            id: AtomicU64::new(0),
            name,
            kind,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The number of this thread, never used again in this process.
    pub(crate) fn id(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let seen = self.id.load(Ordering::Relaxed);
        if seen != 0 {
            return seen;
        }
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        match self
            .id
            .compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => new,
            Err(raced) => raced,
        }
    }

    pub(crate) fn green(&self) -> Option<&Green> {
        match &self.kind {
            Kind::Green(green) => Some(green),
            Kind::Os(_) | Kind::Task(_) => None,
        }
    }

    /// The task that this is the waiter of.
    pub(crate) fn task(&self) -> &Task<Waker> {
        match &self.kind {
            Kind::Task(task) => task,
            Kind::Os(_) | Kind::Green(_) => unreachable!("no thread is a task"),
        }
    }

    /// Asks the thread, which its worker or itself holds, to unwind at its next wait, or out of the
    /// one that it has begun.
    pub(crate) fn cancel_running(&self) {
        // Nobody has to queue it: whoever holds it goes on with it.
        let _: Fire = self.ambient.cancel_thread(&self.word, true);
    }
}

// What a waiter holds changes in single atomic steps, so that a panic leaves nothing half done.
impl UnwindSafe for Waiter {}
impl RefUnwindSafe for Waiter {}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("green", &self.green().is_some())
            .finish_non_exhaustive()
    }
}

/// What a green thread must not outlive: it is told when the thread has ended and its stack is gone.
pub(crate) trait Enclosing: Send + Sync {
    /// Counts a thread off. Gives whoever must be told.
    #[must_use]
    fn thread_ended(&self) -> Option<Ticket>;
}

/// What only green threads have.
pub(crate) struct Green {
    pub(crate) runtime: Arc<Shared>,
    stage: UnsafeCell<Stage>,
    /// Where it was spawned.
    pub(crate) site: &'static Location<'static>,
    /// Where it is in the registry, if it is: it comes there with its first suspension.
    key: OnceLock<registry::Key>,
    /// Whoever joins it.
    pub(crate) completion: Completion<Ticket>,
    /// What it must not outlive.
    pub(crate) scope: Option<Arc<dyn Enclosing>>,
    suspender: AtomicPtr<()>,
    /// The wait that [`reclaim`](crate::run::reclaim) has seen it in.
    pub(crate) scanned: AtomicU64,
    home: AtomicUsize,
    ending: AtomicBool,
}

/// How far a green thread has come. It changes once, by whoever has the right to run it.
enum Stage {
    /// It has not run: it is what it will do, the promise of a stack to do it on, and the
    /// floating-point environment of the thread that has spawned it.
    Fresh(Option<(Body, Promise, Environment)>),
    Started(Started),
}

/// What a green thread has from its first run on.
pub(crate) struct Started {
    pub(crate) coroutine: Coroutine,
    /// That of its own thread-locals, if it has any.
    pub(crate) thread_pointer: Option<NonZeroUsize>,
    /// Its floating-point environment, while it does not run.
    pub(crate) environment: Saved,
}

// SAFETY: the stage is written by whoever has the right to run the green thread, before it runs, and
// read by those for whom that has happened: see `started`. The rest is `Sync` by itself.
unsafe impl Sync for Green {}

impl Green {
    const NOWHERE: usize = usize::MAX;
    /// The bit of `scanned` that says that the wait was long, and all has been given back.
    pub(crate) const RECLAIMED: u64 = 1;

    pub(crate) fn new(
        runtime: Arc<Shared>,
        body: Body,
        stack: Promise,
        site: &'static Location<'static>,
        scope: Option<Arc<dyn Enclosing>>,
    ) -> Self {
        Self {
            runtime,
            stage: UnsafeCell::new(Stage::Fresh(Some((body, stack, Environment::current())))),
            site,
            key: OnceLock::new(),
            completion: Completion::new(),
            scope,
            suspender: AtomicPtr::new(ptr::null_mut()),
            scanned: AtomicU64::new(0),
            home: AtomicUsize::new(Self::NOWHERE),
            ending: AtomicBool::new(false),
        }
    }

    /// Starts it if it is fresh, on the stack that `redeem` gives for the promise.
    ///
    /// # Safety
    ///
    /// The caller has the right to run it.
    pub(crate) unsafe fn start(&self, redeem: impl FnOnce(Promise) -> Stack) {
        // SAFETY: only whoever has the right to run it gets here, and nobody else reads the stage
        // before it has started.
        if let Stage::Fresh(fresh) = unsafe { &mut *self.stage.get() } {
            let (body, promise, environment) = fresh.take().expect("it starts once");
            let stack = redeem(promise);
            let started = Started {
                thread_pointer: stack.thread_pointer(),
                environment: Saved::new(environment),
                coroutine: Coroutine::new(stack, body),
            };
            // SAFETY: as above.
            unsafe { *self.stage.get() = Stage::Started(started) };
        }
    }

    /// What it runs on.
    ///
    /// # Safety
    ///
    /// The caller is this green thread, or has the right to run it, or has found it in the registry;
    /// and it has started.
    pub(crate) unsafe fn started(&self) -> &Started {
        // SAFETY: it has started, so nobody writes to the stage any more; and that happened before
        // what the caller has come by.
        match unsafe { &*self.stage.get() } {
            Stage::Started(started) => started,
            Stage::Fresh(_) => unreachable!("the green thread has not started"),
        }
    }

    /// Where it is in the registry, if it is.
    pub(crate) fn key(&self) -> Option<registry::Key> {
        self.key.get().copied()
    }

    pub(crate) fn set_key(&self, key: registry::Key) {
        self.key.set(key).expect("it is registered once");
    }

    /// The worker on which it has run last; `None` before the first.
    pub(crate) fn home(&self) -> Option<usize> {
        let home = self.home.load(Ordering::Relaxed);
        (home != Self::NOWHERE).then_some(home)
    }

    pub(crate) fn set_home(&self, worker: usize) {
        self.home.store(worker, Ordering::Relaxed);
    }

    /// The only worker that may run it next, if not every one may.
    pub(crate) fn bound_to(&self) -> Option<usize> {
        let home = self.home()?;
        let mode = &self.runtime.mode;
        let stays = match mode.thread_locals {
            ThreadLocals::Own => false,
            ThreadLocals::Pinned => true,
            // The count of panics that it has raised must be lowered where it was, unless it goes along.
            ThreadLocals::Shared => !panic_state::goes_along(),
        };
        if stays {
            Some(home)
        } else {
            mode.migrate_always
                .then(|| (home + 1) % self.runtime.workers.len())
        }
    }

    /// Whether its thread-locals move with it.
    pub(crate) fn owns_thread_locals(&self) -> bool {
        self.runtime.mode.thread_locals == ThreadLocals::Own
    }

    /// Whether it drops its result and its thread-locals, whose destructors must not be unwound.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn suspender(&self) -> Suspender {
        // SAFETY: set from a suspender as the first thing that a green thread does, and asked for
        // on that thread only.
        unsafe { Suspender::from_raw(self.suspender.load(Ordering::Relaxed)) }
    }

    pub(crate) fn set_suspender(&self, suspender: Suspender) {
        self.suspender.store(suspender.to_raw(), Ordering::Relaxed);
    }
}

/// The right to run a green thread. There is at most one for each.
#[derive(Debug)]
pub(crate) struct Runnable(pub(crate) Arc<Waiter>);

impl Runnable {
    pub(crate) fn green(&self) -> &Green {
        self.0.green().expect("only green threads are queued")
    }
}
