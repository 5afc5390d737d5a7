//! What a thread has that runs on a stack of its own: the coroutine, its way back, the place in the
//! source where it comes from.

use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::protocol::outline::{Field, fields};
use crate::run::context;
use crate::run::unended::List;
use crate::stack::coroutine::{Coroutine, Suspender};
use crate::stack::errand::Errand;
use crate::stack::fp::{Environment, Saved};
use crate::stack::{Bounds, Promise, Stack};

/// How long it has waited to be run is noted.
const TIMED: u32 = 1;
/// It may have a mask of signals of its own, or signals that are pending.
const SIGNALS: u32 = 2;
/// Whoever comes to its stack, or from there, has all signals held back.
const HELD_BACK: u32 = 4;
const CALL: u32 = 8;

/// See the [module](self). What a switch touches comes first, as in a [`Waiter`](super::green::Waiter).
#[repr(C)]
pub(crate) struct OwnStack {
    /// What whoever runs it has to see to first: how many calls that block in the system it is in, one within the
    /// other, times [`CALL`]; [`TIMED`]; and [`HELD_BACK`], afterwards too. What itself has to see to: [`SIGNALS`].
    care: AtomicU32,
    ending: AtomicBool,
    suspender: AtomicPtr<()>,
    stage: UnsafeCell<Stage>,
    /// What it will do, until it has begun. Then what it leaves may be there.
    pub(crate) errand: Errand,
    /// That which it has been [lent](super::lent_stack), or null.
    lent: AtomicPtr<Bounds>,
    /// What it has begun, if it is a green thread that shares thread-locals. For the thread itself.
    pub(crate) unended: List,
    /// Where it was spawned.
    pub(crate) site: &'static Location<'static>,
}

/// How far it has come. It changes once, by whoever has the right to run it.
#[repr(C)]
enum Stage {
    /// It has not run: it has the promise of a stack, and the floating-point environment of the thread that has
    /// spawned it.
    Fresh(Option<(Promise, Environment)>),
    Started(Started),
}

/// What it has from its first run on.
#[repr(C)]
pub(crate) struct Started {
    /// That of its own thread-locals, if it has any.
    pub(crate) thread_pointer: Option<NonZeroUsize>,
    /// Its floating-point environment, while it does not run.
    pub(crate) environment: Saved,
    pub(crate) coroutine: Coroutine,
}

impl Started {
    pub(crate) const FIELDS: [Field; 1] = fields!(Started: coroutine);
    /// Where it is in its stage, whose tag is in front of it.
    pub(crate) const IN_STAGE: Field = Field::new("Stage.started", align_of::<Stage>());
}

// SAFETY: the stage is written by whoever has the right to run the thread, before it runs, and read by
// those for whom that has happened: see `started`. The errand is touched by the unsafe methods only, whose callers
// promise to be alone. The rest is `Sync` by itself.
unsafe impl Sync for OwnStack {}

impl OwnStack {
    pub(crate) const FIELDS: [Field; 2] = fields!(OwnStack: site, stage);
    /// So much of it, from the beginning, is what a switch touches.
    pub(super) const HOT: usize = offset_of!(Self, errand);

    #[inline]
    pub(crate) fn new(errand: Errand, stack: Promise, site: &'static Location<'static>) -> Self {
        Self {
            care: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            suspender: AtomicPtr::new(ptr::null_mut()),
            stage: UnsafeCell::new(Stage::Fresh(Some((stack, Environment::current())))),
            errand,
            lent: AtomicPtr::new(ptr::null_mut()),
            unended: List::new(),
            site,
        }
    }

    /// Starts it if it is fresh, on the stack that `redeem` gives for the promise.
    ///
    /// # Safety
    ///
    /// The caller has the right to run it, and it stays where it is.
    pub(crate) unsafe fn start(&self, redeem: impl FnOnce(Promise) -> Stack) {
        // SAFETY: only whoever has the right to run it gets here, and nobody else reads the stage
        // before it has started.
        if let Stage::Fresh(fresh) = unsafe { &mut *self.stage.get() } {
            let (promise, environment) = fresh.take().expect("it starts once");
            let stack = redeem(promise);
            if stack.thread_pointer().is_none() {
                context::begins_to_share();
            }
            let started = Started {
                thread_pointer: stack.thread_pointer(),
                environment: Saved::new(environment),
                // SAFETY: the errand stays where it is, by the caller's promise, and whoever runs the coroutine has this.
                coroutine: unsafe { Coroutine::new(stack, NonNull::from(&self.errand)) },
            };
            // SAFETY: as above. What was there has been taken.
            unsafe { self.stage.get().write(Stage::Started(started)) };
        }
    }

    /// What it runs on.
    ///
    /// # Safety
    ///
    /// The caller is this thread, or has the right to run it, or has found it in the registry; and it has
    /// started.
    pub(crate) unsafe fn started(&self) -> &Started {
        // SAFETY: it has started, so nobody writes to the stage any more; and that happened before
        // what the caller has come by.
        match unsafe { &*self.stage.get() } {
            Stage::Started(started) => started,
            Stage::Fresh(_) => unreachable!("the thread has not started"),
        }
    }

    /// Whether it drops its result and its thread-locals, whose destructors must not be unwound.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether whoever runs it has anything to see to first.
    #[inline]
    pub(crate) fn needs_care(&self) -> bool {
        self.care.load(Ordering::Relaxed) & !SIGNALS != 0
    }

    /// Whether it is in a call that blocks in the system.
    #[inline]
    pub(crate) fn is_calling(&self) -> bool {
        self.care.load(Ordering::Relaxed) >= CALL
    }

    /// For the thread itself, as is [`end_call`](Self::end_call).
    pub(crate) fn begin_call(&self) {
        self.care.fetch_add(CALL, Ordering::Relaxed);
    }

    pub(crate) fn end_call(&self) {
        self.care.fetch_sub(CALL, Ordering::Relaxed);
    }

    /// For whoever has the right to run it, as is [`take_timed`](Self::take_timed).
    pub(crate) fn set_timed(&self) {
        self.care.fetch_or(TIMED, Ordering::Relaxed);
    }

    /// Whether it is timed, until now.
    pub(crate) fn take_timed(&self) -> bool {
        self.care.fetch_and(!TIMED, Ordering::Relaxed) & TIMED != 0
    }

    /// Whether it is marked as one that may have [signals](super::signals) of its own.
    #[inline]
    pub(crate) fn keeps_signals(&self) -> bool {
        self.care.load(Ordering::Relaxed) & SIGNALS != 0
    }

    /// Marks it so, or takes the mark away. For the thread itself, or a handler that has interrupted it.
    #[cfg(feature = "adopt")]
    pub(crate) fn keep_signals(&self, keep: bool) {
        if keep {
            self.care.fetch_or(SIGNALS, Ordering::Relaxed);
        } else {
            self.care.fetch_and(!SIGNALS, Ordering::Relaxed);
        }
    }

    /// Says whether all signals are [held back](super::signals) where one comes to its stack, and from there. For the thread itself, or for who
    /// makes it.
    #[cfg(feature = "adopt")]
    pub(crate) fn set_held_back(&self, is_held_back: bool) {
        if is_held_back {
            self.care.fetch_or(HELD_BACK, Ordering::Relaxed);
        } else {
            self.care.fetch_and(!HELD_BACK, Ordering::Relaxed);
        }
    }

    /// The same for whoever runs it, before and afterwards.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.care.load(Ordering::Relaxed) & HELD_BACK != 0
    }

    /// For the thread itself, which is on another stack from now on, or on its own if that is null.
    pub(crate) fn set_lent(&self, lent: *const Bounds) {
        self.lent.store(lent.cast_mut(), Ordering::Relaxed);
    }

    /// The stacks that it has: its own, and what it has been lent. Safe in a signal handler.
    ///
    /// # Safety
    ///
    /// The caller is this thread, which has started.
    pub(crate) unsafe fn stacks(&self) -> impl Iterator<Item = Bounds> {
        // SAFETY: the caller's promise.
        let own = unsafe { self.started() }.coroutine.stack();
        // SAFETY: null, or in a frame of this thread, which takes it from here before it returns.
        let lent = unsafe { self.lent.load(Ordering::Relaxed).as_ref() };
        std::iter::once(own).chain(lent.copied())
    }

    pub(crate) fn suspender(&self) -> Suspender {
        // SAFETY: set from a suspender as the first thing that the thread does, and asked for on that
        // thread only.
        unsafe { Suspender::from_raw(self.suspender.load(Ordering::Relaxed)) }
    }

    /// In a forked child, where it goes on alone: [cuts it off](Suspender::cut_off).
    pub(crate) fn cut_off_in_child(&self) {
        let suspender = self.suspender.load(Ordering::Relaxed);
        // A signal's handler may have forked before the thread did anything.
        if !suspender.is_null() {
            // SAFETY: set from a suspender. There is nobody to go back to, so it does not suspend, and the
            // process ends before it returns.
            unsafe { Suspender::from_raw(suspender).cut_off() };
        }
    }

    pub(crate) fn set_suspender(&self, suspender: Suspender) {
        self.suspender.store(suspender.to_raw(), Ordering::Relaxed);
    }
}
