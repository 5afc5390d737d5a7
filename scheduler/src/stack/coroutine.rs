//! The one file that knows the coroutine library.
//!
//! A [`Coroutine`] is a closure on a stack of its own. The worker resumes it, it suspends itself
//! back to the worker, and when its closure has returned, the stack is taken out of it. A coroutine
//! is never unwound from outside: corosensei can do that, but restarts the unwinding at each
//! suspension in it, so destructors could not block. A green thread that must end early unwinds
//! itself (see [`wait`](crate::wait)).
//!
//! # Why a coroutine may be sent
//!
//! corosensei's coroutines are not `Send`, because values on the stack need not be. Here, two
//! things make it sound:
//!
//! - Before it has started, a coroutine is its closure, which is `Send`.
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

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use corosensei::{CoroutineResult, Yielder};

use crate::stack::Stack;

/// What a coroutine does.
pub(crate) type Body = Box<dyn FnOnce(Suspender) + Send>;

/// Why a coroutine gave control back to its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspend {
    /// It can go on at any time.
    Yielded,
    /// It has begun a wait, which the worker must now commit.
    Waiting,
}

/// What `resume` came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Resumed {
    Suspended(Suspend),
    Returned,
}

/// See the [module](self). Dropping one that has not been taken apart leaks its stack with all that
/// lies on it.
pub(crate) struct Coroutine {
    inner: UnsafeCell<ManuallyDrop<corosensei::Coroutine<(), Suspend, (), Stack>>>,
}

// SAFETY: see the module: what lies on the stack is `Send` until the first resume, and belongs to one
// thread from then on, the green one or the OS thread that it stays on.
unsafe impl Send for Coroutine {}
// SAFETY: through a shared reference only the unsafe methods reach the inside, and their callers
// promise to be alone.
unsafe impl Sync for Coroutine {}

impl Coroutine {
    /// Makes a coroutine that will call `body` on `stack`.
    pub(crate) fn new(stack: Stack, body: Body) -> Self {
        let main =
            move |yielder: &Yielder<(), Suspend>, ()| body(Suspender(NonNull::from(yielder)));
        let inner = corosensei::Coroutine::with_stack(stack, main);
        Self {
            inner: UnsafeCell::new(ManuallyDrop::new(inner)),
        }
    }

    /// Runs the coroutine until it suspends or returns.
    ///
    /// # Safety
    ///
    /// The caller holds the right to run it (see [`word`](crate::protocol::word)), and it has not returned.
    pub(crate) unsafe fn resume(&self) -> Resumed {
        // SAFETY: the right to run is exclusive, and it excludes `into_stack`.
        match unsafe { &mut *self.inner.get() }.resume(()) {
            CoroutineResult::Yield(suspend) => Resumed::Suspended(suspend),
            CoroutineResult::Return(()) => Resumed::Returned,
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

/// A running coroutine's way back to whoever resumed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suspender(NonNull<Yielder<(), Suspend>>);

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

    /// Switches to whoever resumed the coroutine, until it is resumed again.
    ///
    /// # Safety
    ///
    /// Called on the coroutine that this belongs to.
    pub(crate) unsafe fn suspend(self, why: Suspend) {
        // SAFETY: the yielder lives at the base of the coroutine's stack while the coroutine runs.
        unsafe { self.0.as_ref() }.suspend(why);
    }
}
