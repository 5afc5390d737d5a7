//! What a green thread runs as. Beside [`fiber`](super::fiber), the one file that knows the coroutine library.
//!
//! A [`Coroutine`] is a closure on a stack of its own. The worker resumes it, it suspends itself
//! back to the worker, and when its closure has returned, the stack is taken out of it. A coroutine
//! is never unwound from outside: corosensei can do that, but restarts the unwinding at each
//! suspension in it, so destructors could not block. A green thread that must end early unwinds
//! itself (see [`wait`](crate::wait)).
//!
//! # Visits
//!
//! A suspended coroutine can be [visited](Coroutine::visit): it is resumed with the order to call
//! something, on a stack of the visitor's, and to suspend again where it was. What is called finds the frames
//! of the coroutine below its own. It is not the coroutine that runs then: the thread pointer, the
//! floating-point environment and all the runtime knows of the current thread are the visitor's. Of the
//! coroutine's stack hardly more is used than for suspending, and where even that may not be there, it is not
//! visited.
//!
//! # The root
//!
//! Who walks a stack, as a backtrace does, goes on from the root of a coroutine to the stack of whoever resumed
//! it: the library notes that one's top at the root, where the [`Yielder`] is. In a forked child it is the stack
//! of an OS thread that is not there any more, and the C library gives it to others. The coroutine that goes on
//! there is [cut off](Suspender::cut_off) from it.
//!
//! # Why a coroutine may be sent
//!
//! corosensei's coroutines are not `Send`, because values on the stack need not be. Here, two
//! things make it sound:
//!
//! - Before it has started, a coroutine is its errand, whose closure is `Send`.
//! - After it has started, one of two things holds. Either its thread-locals move with it
//!   ([`ThreadLocals::Own`]): then, to the code on its stack, it is one and the same thread wherever
//!   it runs, and what is not `Send` has never left that thread. Or it is resumed by the worker on
//!   which it started and by no other ([`ThreadLocals::Pinned`]). The exception is a runtime with
//!   [`ThreadLocals::Shared`], which is `unsafe` to ask for, and whose builder took the promise that
//!   makes it sound.
//!
//! [`ThreadLocals::Own`]: crate::ThreadLocals::Own
//! [`ThreadLocals::Pinned`]: crate::ThreadLocals::Pinned
//! [`ThreadLocals::Shared`]: crate::ThreadLocals::Shared

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::hint;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use corosensei::stack::DefaultStack;
use corosensei::{CoroutineResult, Yielder};

use crate::protocol::outline::{Field, fields};
use crate::protocol::process::Process;
use crate::stack::errand::Errand;
#[cfg(feature = "thread-sanitizer")]
use crate::stack::thread_sanitizer;
use crate::stack::{Bounds, Stack, frames, tls};

/// Why a coroutine gave control back to its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspend {
    /// It can go on at any time.
    Yielded,
    /// It has begun a wait, which the worker must now commit.
    Waiting,
}

/// What a coroutine is resumed for: to go on, or for a visit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Order(NonNull<Visit<'static>>);

impl Order {
    /// No visit has this address.
    const GO_ON: Self = Self(NonNull::dangling());
}

/// What a visitor does, and the stack that it has brought along.
struct Visit<'a> {
    stack: &'a mut DefaultStack,
    call: &'a mut dyn FnMut(),
}

/// What a coroutine hands over when it suspends.
#[derive(Clone, Copy)]
struct Suspended {
    why: Suspend,
    /// An address in the frame of [`Suspender::suspend`].
    at: usize,
}

/// A suspended coroutine has nothing so far below the address that [`Suspender::suspend`] notes: only
/// the rest of that frame, that of the library's own `suspend`, and the registers that it saves. Frames
/// are larger under a sanitizer, and on Windows, where a function saves more registers and makes room for what it calls.
const BELOW_NOTED: usize = if cfg!(any(
    feature = "address-sanitizer",
    feature = "thread-sanitizer"
)) {
    8192
} else if cfg!(windows) {
    2048
} else {
    1024
};

/// A visit uses so much of a stack at most below what suspending does.
const ROOM_FOR_VISITS: usize = BELOW_NOTED / 2;

/// What `resume` came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Resumed {
    Suspended(Suspend),
    Returned,
}

/// See the [module](self). Dropping one that has not been taken apart leaks its stack with all that
/// lies on it.
#[repr(C)]
pub(crate) struct Coroutine {
    /// Where it has suspended last.
    suspended_at: Cell<usize>,
    inner: UnsafeCell<ManuallyDrop<corosensei::Coroutine<Order, Suspended, (), Stack>>>,
    stack: Bounds,
}

// SAFETY: see the module: what lies on the stack is `Send` until the first resume, and belongs to one
// thread from then on, the green one or the OS thread that it stays on.
unsafe impl Send for Coroutine {}
// SAFETY: through a shared reference only the unsafe methods reach the inside, and their callers
// promise to be alone.
unsafe impl Sync for Coroutine {}

impl Coroutine {
    pub(crate) const FIELDS: [Field; 3] = fields!(Coroutine: inner, stack, suspended_at);
    /// How large what is the library's is. It has the stack pointer of one that has suspended, at most
    /// [so far](Self::BELOW_NOTED) below where that was; and that of one that has not run.
    pub(crate) const INNER: Field = Field::new(
        "Coroutine.inner.size",
        size_of::<corosensei::Coroutine<Order, Suspended, (), Stack>>(),
    );
    pub(crate) const BELOW_NOTED: Field = Field::new("Coroutine.below_noted", BELOW_NOTED);

    /// Makes a coroutine that will run `errand` on `stack`, and then end its thread if that has
    /// thread-locals of its own.
    ///
    /// # Safety
    ///
    /// The errand stays where it is until the coroutine has returned, for ever if it does not, and is run by this only.
    #[inline]
    pub(crate) unsafe fn new(stack: Stack, errand: NonNull<Errand>) -> Self {
        let bounds = stack.bounds();
        let owns_thread_locals = stack.thread_pointer().is_some();
        let main = move |yielder: &Yielder<Order, Suspended>, _: Order| {
            let home = Process::current();
            // SAFETY: the caller's promise.
            begin(
                unsafe { errand.as_ref() },
                Suspender(NonNull::from(yielder)),
            );
            // A destructor may have forked, and in the child there is nobody to switch back to.
            home.end_child();
            // The closure is gone, and nothing of it will be freed under this thread's pointer.
            if owns_thread_locals {
                // SAFETY: the thread-locals come with the stack, and nothing follows, or in a forked child
                // its end.
                unsafe { tls::end_thread() };
                home.end_child();
            }
        };
        let inner = corosensei::Coroutine::with_stack(stack, main);
        Self {
            suspended_at: Cell::new(0),
            inner: UnsafeCell::new(ManuallyDrop::new(inner)),
            stack: bounds,
        }
    }

    /// Its own stack. It may run on another at times.
    pub(crate) fn stack(&self) -> Bounds {
        self.stack
    }

    /// An address in the last frame of one that has suspended; 0 if it has not.
    pub(crate) fn suspended_at(&self) -> usize {
        self.suspended_at.get()
    }

    /// Runs the coroutine until it suspends or returns.
    ///
    /// # Safety
    ///
    /// The caller holds the right to run it (see [`word`](crate::protocol::word)), and it has not returned.
    pub(crate) unsafe fn resume(&self) -> Resumed {
        // SAFETY: the caller's promise.
        unsafe { self.switch(Order::GO_ON) }
    }

    /// # Safety
    ///
    /// As [`resume`](Self::resume).
    unsafe fn switch(&self, order: Order) -> Resumed {
        // SAFETY: the right to run is exclusive, and it excludes `into_stack`.
        match unsafe { &mut *self.inner.get() }.resume(order) {
            CoroutineResult::Yield(Suspended { why, at }) => {
                self.suspended_at.set(at);
                Resumed::Suspended(why)
            }
            CoroutineResult::Return(()) => {
                #[cfg(feature = "thread-sanitizer")]
                // SAFETY: that was the last switch.
                unsafe {
                    thread_sanitizer::coroutine_returned();
                }
                Resumed::Returned
            }
        }
    }

    /// Whether there is room for a visit. On a stack that is not its own nobody knows how much there is; a
    /// visit takes some ten bytes more there than suspending did.
    pub(crate) fn has_room_for_visits(&self) -> bool {
        let at = self.suspended_at.get();
        !self.stack.holds(at) || self.stack.holds(at - BELOW_NOTED - ROOM_FOR_VISITS)
    }

    /// Calls `call` on `stack`, above the frames of the coroutine. It must not unwind.
    ///
    /// # Safety
    ///
    /// It has suspended, and the caller holds the right to run it.
    pub(crate) unsafe fn visit(&self, stack: &mut DefaultStack, call: &mut dyn FnMut()) {
        let mut visit = Visit { stack, call };
        let order = Order(NonNull::from(&mut visit).cast());
        // SAFETY: the caller's promise; the coroutine suspends again before this frame ends.
        let resumed = unsafe { self.switch(order) };
        debug_assert_ne!(resumed, Resumed::Returned, "it suspends again");
    }

    /// Gives what it does not use of its stack back to the system.
    ///
    /// It may have suspended on a stack that is not its own: that of another coroutine that it runs, or
    /// one for a deep recursion. How far it uses its own is not known then, and all is left as it is.
    ///
    /// # Safety
    ///
    /// It has suspended, and the caller holds the right to run it.
    pub(crate) unsafe fn give_back_unused(&self) {
        let at = self.suspended_at.get();
        if self.stack.holds(at) {
            // SAFETY: it has suspended on its own stack, so all its frames there are above the end of
            // the last one, which is at most so far below `at`.
            unsafe { self.stack.give_back_below(at - BELOW_NOTED) };
        }
    }

    /// Takes the stack out of a coroutine that has returned.
    ///
    /// # Safety
    ///
    /// The caller has just seen it return, and calls this once.
    pub(crate) unsafe fn take_stack(&self) -> Stack {
        // SAFETY: the caller is alone with it, and nothing uses the inside again.
        unsafe { ManuallyDrop::take(&mut *self.inner.get()) }.into_stack()
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coroutine")
    }
}

/// Has a frame of its own, so that whoever walks a stack knows where a thread begins.
#[inline(never)]
fn begin(errand: &Errand, suspender: Suspender) {
    // SAFETY: this is how its thread begins.
    unsafe { errand.run(suspender) };
    hint::black_box(());
}

/// Of the frames that a visitor finds, those of what the coroutine does: between how it suspends and how it
/// begins, as far as these are found.
pub(crate) fn frames_of_body(frames: &[usize]) -> Range<usize> {
    let suspends = Suspender::suspend as unsafe fn(Suspender, Suspend) as *const ();
    let is_suspend = |frame: &usize| frames::function_of(*frame) == suspends.addr();
    let first = frames.iter().position(is_suspend).map_or(0, |at| at + 1);
    let end = frames.iter().position(|frame| begins(*frame));
    first..end.unwrap_or(frames.len()).max(first)
}

/// Whether a frame is the outermost one of what a coroutine does.
pub(super) fn begins(frame: usize) -> bool {
    frames::function_of(frame) == (begin as fn(&Errand, Suspender) as *const ()).addr()
}

/// What is saved at the top of a stack on which nothing is: the address that it goes on at, and with it the end
/// of every walk, is 0. No processor has so many registers saved there.
static NO_CALLER: [usize; 16] = [0; 16];

/// A running coroutine's way back to whoever resumed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suspender(NonNull<Yielder<Order, Suspended>>);

impl Suspender {
    pub(crate) fn to_raw(self) -> *mut () {
        self.0.as_ptr().cast()
    }

    /// # Safety
    ///
    /// `raw` came from [`to_raw`](Self::to_raw).
    pub(crate) unsafe fn from_raw(raw: *mut ()) -> Self {
        // SAFETY: the caller's promise; `to_raw` never gives null.
        Self(unsafe { NonNull::new_unchecked(raw.cast()) })
    }

    /// Switches to whoever resumed the coroutine, until it is resumed again. It has a frame of its own,
    /// so that what lies below its locals is known: see [`BELOW_NOTED`].
    ///
    /// # Safety
    ///
    /// Called on the coroutine that this belongs to, be it on another stack.
    #[inline(never)]
    pub(crate) unsafe fn suspend(self, why: Suspend) {
        let here = 0_u8;
        let at = (&raw const here).addr();
        // SAFETY: the yielder lives at the base of the coroutine's stack while the coroutine runs.
        let yielder = unsafe { self.0.as_ref() };
        let suspended = Suspended { why, at };
        loop {
            let order = yielder.suspend(suspended);
            if order == Order::GO_ON {
                return;
            }
            // SAFETY: whoever has ordered it waits for the suspension that follows.
            unsafe { receive(order) };
        }
    }

    /// Ends the stack of its thread at the root of the coroutine, for whoever walks it.
    ///
    /// # Safety
    ///
    /// Called on the coroutine that this belongs to, which suspends and returns no more.
    pub(crate) unsafe fn cut_off(self) {
        const {
            assert!(size_of::<Yielder<Order, Suspended>>() == size_of::<usize>());
        }
        let top = (&raw const NO_CALLER).expose_provenance();
        // SAFETY: the yielder lives at the base of the coroutine's stack, and is a cell with the top of the other
        // stack and nothing else, which only suspending and returning use beside who walks the stack.
        unsafe { self.0.cast::<Cell<usize>>().as_ref() }.set(top);
    }
}

/// Receives a visitor. Nothing here uses a thread-local: the thread pointer is the visitor's.
///
/// # Safety
///
/// The visit is there.
#[cold]
#[inline(never)]
unsafe fn receive(Order(visit): Order) {
    let mut visit = visit.cast::<Visit<'_>>();
    // SAFETY: the caller's promise; the visitor has lent it to this coroutine alone.
    let Visit { stack, call } = unsafe { visit.as_mut() };
    corosensei::on_stack(&mut **stack, call);
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use crate::stack::usage::StackUsage;
    use crate::stack::{Class, Promise};

    /// A coroutine on a stack that nobody has used before, suspended in `body`.
    fn suspended(size: usize, body: impl FnOnce(Suspender) + Send + 'static) -> Coroutine {
        let promise = Promise::new(Class::of(size).unwrap()).unwrap();
        // SAFETY: nothing is borrowed.
        let errand = Box::leak(Box::new(unsafe { Errand::new(body) }));
        // SAFETY: it stays for ever.
        let coroutine = unsafe { Coroutine::new(promise.redeem(), NonNull::from(errand)) };
        // SAFETY: it is this test's.
        let resumed = unsafe { coroutine.resume() };
        assert_eq!(resumed, Resumed::Suspended(Suspend::Yielded));
        coroutine
    }

    #[test]
    fn no_frame_is_further_below_the_noted_address_than_is_said() {
        // SAFETY: on the coroutine itself.
        let coroutine = suspended(1 << 20, |own| unsafe { own.suspend(Suspend::Yielded) });
        let at = coroutine.suspended_at.get();
        assert!(coroutine.stack.holds(at));
        let lowest = coroutine.stack.base - StackUsage::of(coroutine.stack).high_water;
        assert!(at - lowest < BELOW_NOTED / 2, "{} bytes", at - lowest);
    }

    /// How much of the coroutine's own stack was used.
    fn used(coroutine: &Coroutine) -> usize {
        StackUsage::of(coroutine.stack).high_water
    }

    #[test]
    fn a_visitor_finds_the_frames_and_leaves_all_as_it_was() {
        #[inline(never)]
        fn in_a_function_of_its_own(own: Suspender) {
            // SAFETY: on the coroutine itself.
            unsafe { own.suspend(Suspend::Yielded) };
            std::hint::black_box(());
        }
        let coroutine = suspended(1 << 20, in_a_function_of_its_own);
        let (at, before) = (coroutine.suspended_at.get(), used(&coroutine));
        let mut stack = DefaultStack::new(1 << 20).unwrap();
        for _ in 0..3 {
            let mut found = String::new();
            let mut call = || found = std::backtrace::Backtrace::force_capture().to_string();
            // SAFETY: it has suspended, and is this test's.
            unsafe { coroutine.visit(&mut stack, &mut call) };
            assert!(found.contains("in_a_function_of_its_own"), "{found}");
            assert_eq!(coroutine.suspended_at.get(), at);
        }
        println!(
            "{before} bytes were used, and {} after the visits",
            used(&coroutine)
        );
        assert!(used(&coroutine) - before <= ROOM_FOR_VISITS);
        // SAFETY: as above.
        assert_eq!(unsafe { coroutine.resume() }, Resumed::Returned);
    }

    #[test]
    fn the_stack_of_one_that_has_suspended_on_another_is_left_alone() {
        let coroutine = suspended(16 << 20, |own| {
            let kept = std::hint::black_box([7_u8; 64 << 10]);
            let other = corosensei::stack::DefaultStack::new(64 << 10).unwrap();
            // SAFETY: on the coroutine itself.
            corosensei::on_stack(other, || unsafe { own.suspend(Suspend::Yielded) });
            assert!(kept.iter().all(|&kept| kept == 7));
        });
        assert!(!coroutine.stack.holds(coroutine.suspended_at.get()));
        let used = StackUsage::of(coroutine.stack);
        // SAFETY: it has suspended, and is this test's.
        unsafe { coroutine.give_back_unused() };
        assert_eq!(StackUsage::of(coroutine.stack), used);
        // SAFETY: as above.
        assert_eq!(unsafe { coroutine.resume() }, Resumed::Returned);
    }
}
