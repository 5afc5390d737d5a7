//! What every coroutine is: a fiber, and how far it has come.
//!
//! # Invariants
//!
//! - The fiber is touched by whoever has set the stage to [`Running`](Stage::Running), and by nobody else.
//!   All of this is one thread's: neither this nor what refers to it is `Send` or `Sync`.
//! - A fiber that has come to its end, by whichever way, is gone, and its stack is back in the pool.
//! - One that has not is brought to its end when its coroutine is dropped, or else by whom it was made in: what was made in a
//!   [scope](super::Scope) may have borrowed, and is ended by that; all others are [their thread's](crate::run::unended). Where nothing can
//!   be unwound, one that has run is forgotten for ever, with its stack.
//! - One that runs is dropped only when it is ended by its thread, or below `exit`, from which nobody comes back. It is then left
//!   to who runs it.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem;
use std::panic::{self, Location};
use std::ptr::NonNull;
use std::rc::Rc;
use std::thread;

use super::nesting::Nesting;
use crate::protocol::process::Process;
use crate::run::unended::{Entry, Unended};
use crate::run::{context, panicking, stack_use, thread_end};
use crate::runtime::builder::prepare_stacks;
use crate::stack::fiber::{Fiber, State, Way};
use crate::stack::usage::StackUsage;
use crate::stack::{Bounds, Class, DEFAULT_SIZE, Promise};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not run, or has yielded.
    Suspended,
    /// It runs, or what it has resumed does.
    Running,
    Complete,
    Panicked,
    /// It was dropped, or ended by its scope or its thread.
    Ended,
}

/// See the [module](self).
pub(super) struct Core<I, Y, R> {
    stage: Cell<Stage>,
    /// How deep the thread was when it was resumed.
    nesting: Cell<Nesting>,
    fiber: UnsafeCell<Option<Fiber<I, Y, R>>>,
    stack: Bounds,
    /// Whether it may borrow what is gone after its scope.
    may_borrow: bool,
    /// Among those of its thread, unless it is a scope's.
    entry: Entry,
    /// In which it was made. A child that was forked since has a copy, but no pool to give it back to.
    process: Process,
    site: &'static Location<'static>,
}

impl<I, Y, R> Core<I, Y, R> {
    /// Makes a coroutine that will run `body` on a stack of the default size or another one.
    ///
    /// # Safety
    ///
    /// What `body`, `I`, `Y` and `R` borrow stays borrowed until it has [ended](Self::end), if it
    /// `may_borrow`, and else for ever.
    pub(super) unsafe fn new(
        stack_size: Option<usize>,
        site: &'static Location<'static>,
        may_borrow: bool,
        body: impl FnOnce(&Yielder<I, Y>, I) -> R,
    ) -> io::Result<Rc<Self>> {
        prepare_stacks();
        context::watch_forks();
        // Thread-locals are those of whoever resumes it.
        let class = Class::of(stack_size.unwrap_or(DEFAULT_SIZE))?.for_calls();
        let mut stack = Promise::new(class)?.redeem();
        stack.lend(site);
        let core = Rc::new(Self {
            stage: Cell::new(Stage::Suspended),
            nesting: Cell::new(Nesting::NONE),
            fiber: UnsafeCell::new(None),
            stack: stack.bounds(),
            may_borrow,
            entry: Entry::of_thread(),
            process: Process::current(),
            site,
        });
        let nesting = NonNull::from(&core.nesting);
        let main = move |way, input| body(&Yielder { way, nesting }, input);
        // SAFETY: the caller's promise; `end` ends it, or forgets it if it does not borrow.
        let fiber = unsafe { Fiber::new(stack, main) };
        // SAFETY: nobody else knows it.
        unsafe { *core.fiber.get() = Some(fiber) };
        if !may_borrow {
            core.enter();
        }
        Ok(core)
    }

    /// Makes it one of its thread's. It does not borrow.
    #[inline]
    fn enter(&self) {
        let this: NonNull<dyn Unended + '_> = NonNull::from(self);
        // SAFETY: only the lifetime changes; what it does not borrow stays for ever.
        let this =
            unsafe { mem::transmute::<NonNull<dyn Unended + '_>, NonNull<dyn Unended>>(this) };
        // SAFETY: it has just been made, in an `Rc`, and leaves before the last handle lets go of that.
        unsafe { self.entry.enter(this) };
    }

    /// Why it cannot be resumed, if it cannot.
    #[inline]
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        match self.stage.get() {
            Stage::Suspended => None,
            Stage::Running => Some("it is running"),
            Stage::Complete => Some("it has returned"),
            Stage::Panicked => Some("it has panicked"),
            Stage::Ended => Some("it has ended with its thread"),
        }
    }

    /// Where it was made.
    pub(super) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// Whether it has come to its end.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        !matches!(self.stage.get(), Stage::Suspended | Stage::Running)
    }

    #[track_caller]
    #[inline]
    pub(super) fn resume(&self, input: I) -> State<Y, R> {
        if let Some(obstacle) = self.obstacle() {
            refuse("resume", obstacle);
        }
        if self.entry.is_anothers() {
            refuse("resume", "it belongs to another thread");
        }
        self.nesting.set(Nesting::current());
        let running = Running::new(self);
        // SAFETY: it runs from now on, by this call: see the module. It is there until its end.
        let fiber = unsafe { (*self.fiber.get()).as_mut().unwrap_unchecked() };
        let state = fiber.resume(input);
        mem::forget(running);
        match state {
            State::Yielded(_) => self.stage.set(Stage::Suspended),
            State::Complete(_) => self.has_come_to(Stage::Complete),
        }
        state
    }

    /// How much of its stack it has used; `None` if it has none any more.
    pub(super) fn stack_usage(&self) -> Option<StackUsage> {
        (!self.is_done()).then(|| StackUsage::of(self.stack))
    }

    /// Its fiber has returned, panicked or been ended.
    #[cold]
    fn has_come_to(&self, stage: Stage) {
        self.stage.set(stage);
        self.entry.leave();
        // SAFETY: nobody runs on it, and nobody will.
        if let Some(fiber) = unsafe { (*self.fiber.get()).take() } {
            let stack = fiber.into_stack();
            if self.process.is_current() {
                stack_use::coroutine_ended(self.site, &stack);
            } else {
                mem::forget(stack);
            }
        }
    }
}

/// What a scope knows of its coroutines.
pub(super) trait Member {
    /// Brings a coroutine that is not running to its end. Afterwards nothing that it has borrowed is used.
    ///
    /// # Errors
    ///
    /// It panicked meanwhile.
    fn end(&self) -> thread::Result<()>;
}

impl<I, Y, R> Member for Core<I, Y, R> {
    fn end(&self) -> thread::Result<()> {
        self.end_if_whole(|| self.may_borrow || !thread_end::may_be_too_late())
    }
}

impl<I, Y, R> Unended for Core<I, Y, R> {
    fn rests(&self) -> bool {
        self.stage.get() == Stage::Suspended
    }

    fn end(&self) {
        // Threads that one would wait for which unwinds are not there in a forked child.
        let is_whole = || self.process.is_current();
        panicking::contain(|| {
            if let Err(payload) = self.end_if_whole(is_whole) {
                panic::resume_unwind(payload);
            }
        });
    }
}

impl<I, Y, R> Core<I, Y, R> {
    /// Brings it to its end, if it has not come to that: by unwinding if it has run, and what it has borrowed is whole.
    ///
    /// # Errors
    ///
    /// It panicked meanwhile.
    fn end_if_whole(&self, is_whole: impl FnOnce() -> bool) -> thread::Result<()> {
        match self.stage.get() {
            Stage::Complete | Stage::Panicked | Stage::Ended => return Ok(()),
            // Whoever could drop it is kept by whoever resumes it.
            Stage::Running => panicking::abort("a coroutine was dropped while it runs"),
            Stage::Suspended => {}
        }
        self.nesting.set(Nesting::current());
        self.stage.set(Stage::Running);
        // SAFETY: it runs from now on, by this call: see the module. It is there until its end.
        let fiber = unsafe { (*self.fiber.get()).as_mut().unwrap_unchecked() };
        if fiber.has_started() && !(cfg!(panic = "unwind") && is_whole()) {
            self.forget();
            return Ok(());
        }
        let ended = fiber.end();
        self.has_come_to(Stage::Ended);
        ended
    }

    /// Leaves what is on its stack where it is.
    #[cold]
    fn forget(&self) {
        if self.may_borrow {
            panicking::abort("a coroutine of a scope has not come to its end, and nothing unwinds");
        }
        self.stage.set(Stage::Ended);
        self.entry.leave();
        // SAFETY: nobody runs on it.
        mem::forget(unsafe { (*self.fiber.get()).take() });
    }

    /// Whether it is left to others to end it when it is dropped: to who runs it, or to the thread that it belongs to.
    fn is_left_to_others(&self) -> bool {
        match self.stage.get() {
            Stage::Running => !self.may_borrow,
            Stage::Suspended => self.entry.is_anothers(),
            Stage::Complete | Stage::Panicked | Stage::Ended => false,
        }
    }
}

/// That a coroutine runs. Dropped only if it panics.
struct Running<'a, I, Y, R>(&'a Core<I, Y, R>);

impl<'a, I, Y, R> Running<'a, I, Y, R> {
    #[inline]
    fn new(core: &'a Core<I, Y, R>) -> Self {
        core.stage.set(Stage::Running);
        Self(core)
    }
}

impl<I, Y, R> Drop for Running<'_, I, Y, R> {
    fn drop(&mut self) {
        self.0.has_come_to(Stage::Panicked);
    }
}

/// Ends a coroutine that is dropped.
pub(super) fn drop_coroutine<I, Y, R>(core: &Rc<Core<I, Y, R>>) {
    if core.is_left_to_others() {
        mem::forget(core.clone());
        return;
    }
    if let Err(payload) = Member::end(&**core) {
        panic::resume_unwind(payload);
    }
}

#[cold]
#[inline(never)]
#[track_caller]
pub(super) fn refuse(what: &str, obstacle: &str) -> ! {
    panic!("cannot {what} a coroutine: {obstacle}");
}

/// What a coroutine yields with.
///
/// It is lent to the coroutine's closure, which may hand it to the functions that it calls, however deep.
pub struct Yielder<I, Y> {
    way: Way<I, Y>,
    /// That of the coroutine.
    nesting: NonNull<Cell<Nesting>>,
}

impl<I, Y> Yielder<I, Y> {
    /// Gives `value` to whoever has resumed the coroutine, and waits until it is resumed again, with
    /// the input that it gets then.
    ///
    /// # Panics
    ///
    /// If the coroutine is dropped meanwhile, this unwinds, without the panic hook, so that destructors
    /// run. Panics
    ///
    /// - when the coroutine is being dropped, in a destructor or after the unwinding was caught;
    /// - when a panic unwinds the coroutine, in a destructor;
    /// - inside of a [`deadline`](crate::deadline()), a [`CancelToken::run`](crate::CancelToken::run), a
    ///   [`shield`](crate::shield()) or a [`Local::set`](crate::wait::local::Local::set) that the coroutine
    ///   has entered since it was resumed: these belong to the thread, and would be left to whoever has
    ///   resumed it.
    ///
    /// What panics in a destructor while a thread unwinds aborts the process.
    #[track_caller]
    #[inline(always)]
    pub fn yield_(&self, value: Y) -> I {
        self.insist();
        // SAFETY: it may yield, as has just been seen.
        unsafe { self.suspend(value) }
    }

    /// Panics if the coroutine may not yield now.
    #[track_caller]
    #[inline]
    pub(super) fn insist(&self) {
        // SAFETY: who has this was lent it by the closure that runs on the fiber, and can be neither
        // another thread, since it is not `Sync`, nor a coroutine that outlives the closure: it runs on the
        // fiber, or above it on another one that was resumed from it. The core is kept by whoever has
        // resumed the fiber.
        let (ends, nesting) = unsafe { (self.way.ends(), self.nesting.as_ref().get()) };
        if ends {
            refuse("yield from", "it is being dropped");
        }
        if Nesting::current() != nesting {
            refuse("yield from", nesting.obstacle());
        }
    }

    /// Always inlined: of a call that spans a switch, processors predict the return wrongly, and that takes longer than
    /// the switch.
    ///
    /// # Safety
    ///
    /// As [`insist`](Self::insist) has just said, it may yield.
    #[inline(always)]
    pub(super) unsafe fn suspend(&self, value: Y) -> I {
        // SAFETY: as in `insist`, and it does not end.
        unsafe { self.way.suspend(value) }
    }
}

impl<I, Y> std::fmt::Debug for Yielder<I, Y> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}
