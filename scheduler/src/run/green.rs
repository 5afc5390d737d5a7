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

use std::fmt;
use std::mem::offset_of;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use crate::protocol::completion::Completion;
#[cfg(feature = "adopt")]
use crate::protocol::nudge::Nudge;
use crate::protocol::outline::{Field, fields};
use crate::protocol::parker::Parker;
use crate::protocol::task::Task;
use crate::protocol::token::Token;
use crate::protocol::word::{Fire, WaitWord};
use crate::run::ambient::Ambient;
use crate::run::belongs::Belongs;
use crate::run::enclosure::Enclosure;
use crate::run::given_name::GivenName;
use crate::run::guest::Guest;
use crate::run::own_stack::OwnStack;
use crate::run::panic_state;
use crate::run::reason::Given;
use crate::run::registry::{self, NO_KEY};
use crate::run::shared::Shared;
use crate::run::ticket::Ticket;
use crate::stack::mode::{Mode, ThreadLocals};
use crate::stack::prefetch::prefetch_range;

/// See the [module](self).
///
/// What each wait and each switch touches lies together, at the beginning: that is a few cache lines, which for one of
/// thousands of threads come from memory each time.
#[repr(C)]
pub(crate) struct Waiter {
    pub(crate) word: WaitWord,
    pub(crate) reason: Given,
    /// When it was switched out last, or if it is timed, queued; in [ticks](crate::run::ticks).
    pub(crate) since: AtomicU64,
    pub(crate) ambient: Ambient,
    pub(crate) kind: Kind,
    pub(crate) token: Token,
    #[cfg(feature = "adopt")]
    pub(crate) nudge: Nudge,
    /// Given at the first question; 0 before that.
    id: AtomicU64,
    name: GivenName,
}

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are green, and are reached in one step"
)]
#[repr(C)]
pub(crate) enum Kind {
    /// A plain OS thread, which sleeps in this.
    Os(Parker),
    Green(Green),
    /// What runs on a stack of its own when it is polled.
    Guest(Guest),
    /// A future, whose task is woken with this.
    Task(Task<Waker>),
}

impl Waiter {
    pub(crate) const FIELDS: [Field; 5] = fields!(Waiter: word, reason, id, name, kind);
    /// So much of it, from the beginning, is what a switch touches.
    const HOT: usize = offset_of!(Self, kind) + align_of::<Kind>() + Green::HOT;

    /// A new one, made where it will be: it is large.
    #[inline]
    pub(crate) fn new_in_place(make: impl FnOnce() -> Self) -> Arc<Self> {
        let waiter = Arc::<Self>::new_uninit();
        // SAFETY: nobody else has it, and this is its memory. If `make` unwinds, nothing has been written.
        unsafe {
            let place = Arc::as_ptr(&waiter).cast::<Self>().cast_mut();
            place.write(make());
            waiter.assume_init()
        }
    }

    /// Brings what a switch touches of the one at `address` nearer. Nothing need be there.
    #[inline]
    pub(crate) fn prefetch(address: usize) {
        // The counts of references are in front of it.
        let counts = 2 * size_of::<usize>();
        prefetch_range(
            address.wrapping_sub(counts),
            address.wrapping_add(Self::HOT),
        );
    }

    #[inline]
    pub(crate) fn new(name: GivenName, kind: Kind) -> Self {
        Self {
            word: WaitWord::new(),
            reason: Given::new(),
            since: AtomicU64::new(0),
            ambient: Ambient::new(),
            kind,
            token: Token::new(),
            #[cfg(feature = "adopt")]
            nudge: Nudge::new(),
            id: AtomicU64::new(0),
            name,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.get()
    }

    /// Names it, if it has no name.
    #[cfg(feature = "adopt")]
    pub(crate) fn give_name(&self, name: &str) {
        self.name.give(name);
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
            Kind::Os(_) | Kind::Guest(_) | Kind::Task(_) => None,
        }
    }

    pub(crate) fn guest(&self) -> Option<&Guest> {
        match &self.kind {
            Kind::Guest(guest) => Some(guest),
            Kind::Os(_) | Kind::Green(_) | Kind::Task(_) => None,
        }
    }

    /// The stack of its own that this runs on, if it has one.
    pub(crate) fn own_stack(&self) -> Option<&OwnStack> {
        match &self.kind {
            Kind::Green(green) => Some(&green.own_stack),
            Kind::Guest(guest) => Some(&guest.own_stack),
            Kind::Os(_) | Kind::Task(_) => None,
        }
    }

    /// What is told when the wait of this has ended, if that is a task.
    pub(crate) fn task(&self) -> Option<&Task<Waker>> {
        match &self.kind {
            Kind::Guest(guest) => Some(&guest.task),
            Kind::Task(task) => Some(task),
            Kind::Os(_) | Kind::Green(_) => None,
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

/// What only green threads have. What a switch touches comes first, as in a [`Waiter`].
#[repr(C)]
pub(crate) struct Green {
    pub(crate) runtime: Belongs,
    home: AtomicU64,
    /// Where it is in the registry, if it is: it comes there with its first suspension.
    key: AtomicU64,
    pub(crate) own_stack: OwnStack,
    /// Whoever joins it.
    pub(crate) completion: Completion<Ticket>,
    /// What it must not outlive.
    pub(crate) scope: Option<Arc<Enclosure>>,
    /// The [wait](crate::protocol::word::Epoch::short) that [`reclaim`](crate::run::reclaim) has seen it in.
    pub(crate) scanned: AtomicU32,
    /// The wait of which it is known whether it is part of a deadlock.
    pub(crate) judged: AtomicU32,
}

/// A worker, as the threads that have run on it know it: for one OS thread at most, since a seat is taken by one spare after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(u64);

impl Home {
    const NOWHERE: Self = Self(u64::MAX);

    /// The worker `index`, the `term`th one that is called so.
    pub(crate) fn new(index: usize, term: u32) -> Self {
        let index = u32::try_from(index).expect("workers are not so many");
        Self(u64::from(term) << u32::BITS | u64::from(index))
    }

    fn index(self) -> usize {
        self.0 as u32 as usize
    }
}

impl Green {
    pub(crate) const FIELDS: [Field; 1] = fields!(Green: own_stack);
    /// Where it is in its kind, whose tag is in front of it.
    pub(crate) const IN_KIND: Field = Field::new("Kind.green", align_of::<Kind>());

    const HOT: usize = offset_of!(Self, own_stack) + OwnStack::HOT;
    /// The bit of `scanned` that says that the wait was long, and all has been given back.
    pub(crate) const RECLAIMED: u32 = 1;
    /// The bit of `judged` that says that it is, and all have been told.
    pub(crate) const TOLD: u32 = 1;

    #[inline]
    pub(crate) fn new(
        runtime: &Arc<Shared>,
        own_stack: OwnStack,
        scope: Option<Arc<Enclosure>>,
    ) -> Self {
        Self {
            runtime: Belongs::to(runtime),
            home: AtomicU64::new(Home::NOWHERE.0),
            key: AtomicU64::new(NO_KEY),
            own_stack,
            completion: Completion::new(runtime.process),
            scope,
            scanned: AtomicU32::new(0),
            judged: AtomicU32::new(0),
        }
    }

    /// Where it is in the registry, if it is.
    pub(crate) fn key(&self) -> Option<registry::Key> {
        registry::Key::from_number(self.key.load(Ordering::Acquire))
    }

    /// For whoever has the right to run it.
    pub(crate) fn set_key(&self, key: registry::Key) {
        debug_assert!(self.key().is_none(), "it is registered once");
        self.key.store(key.to_number(), Ordering::Release);
    }

    /// The index of the worker on which it has run last; `None` before the first.
    pub(crate) fn home(&self) -> Option<usize> {
        let home = Home(self.home.load(Ordering::Relaxed));
        (home != Home::NOWHERE).then(|| home.index())
    }

    /// Whether it has run last on this worker, and so on its OS thread.
    pub(crate) fn is_at(&self, worker: Home) -> bool {
        self.home.load(Ordering::Relaxed) == worker.0
    }

    pub(crate) fn set_home(&self, worker: Home) {
        self.home.store(worker.0, Ordering::Relaxed);
    }

    /// The only worker that may run it next, if not every one of its `runtime` may.
    pub(crate) fn bound_to(&self, runtime: &Shared) -> Option<usize> {
        let home = self.home()?;
        let mode = &runtime.mode;
        if stays(mode) {
            Some(home)
        } else {
            mode.migrate_always
                .then(|| (home + 1) % runtime.workers.len())
        }
    }
}

/// Whether green threads that have begun stay on their worker.
fn stays(mode: &Mode) -> bool {
    match mode.thread_locals {
        ThreadLocals::Own => false,
        ThreadLocals::Pinned => true,
        // The count of panics that one has raised must be lowered where it was, unless it goes along.
        ThreadLocals::Shared => !panic_state::goes_along(),
    }
}

/// Whether what is left to one worker is so only to [migrate](Mode::migrate_always): while that worker is stuck, others run it.
pub(crate) fn may_be_passed_on(mode: &Mode) -> bool {
    mode.migrate_always && !stays(mode)
}

/// The right to run a green thread. There is at most one for each.
#[derive(Debug)]
pub(crate) struct Runnable(pub(crate) Arc<Waiter>);

impl Runnable {
    pub(crate) fn green(&self) -> &Green {
        self.0.green().expect("only green threads are queued")
    }

    /// That of the thread.
    pub(crate) fn runtime(&self) -> Arc<Shared> {
        // SAFETY: nobody else runs it, so it does not end.
        let runtime = unsafe { self.green().runtime.lend() };
        Arc::clone(&runtime)
    }
}
