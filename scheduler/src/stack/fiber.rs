//! Coroutines that are no threads: the other file that knows the coroutine library.
//!
//! A [`Fiber`] is a closure on a stack of its own, as a [`Coroutine`](super::coroutine::Coroutine) is, but
//! it runs as part of the thread that resumes it, like a function that it calls: under that one's thread
//! pointer, with values both ways. It stays with that thread: the type is not `Send`.
//!
//! One that has suspended can be [ended](Fiber::end): then its suspension unwinds, with a payload that
//! names the fiber, so that destructors run. The library can do that too, but begins anew at each
//! suspension on the way; here such a suspension is refused with a panic.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::thread;

use corosensei::CoroutineResult;

use super::Stack;
#[cfg(feature = "thread-sanitizer")]
use super::thread_sanitizer;

/// What a fiber is told when it is resumed.
enum Order<I> {
    GoOn(I),
    End,
}

/// How a fiber came back: [`coroutine::State`](crate::coroutine::State) is this for those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State<Y, R> {
    /// It has yielded this, and can be resumed.
    Yielded(Y),
    /// It has returned this.
    Complete(R),
}

/// The payload that unwinds a fiber which is ended, with its id.
struct Ended(usize);

/// See the [module](self). Dropping one that has not come to its end aborts the process: it is to be
/// [ended](Self::end) before, or forgotten.
pub(crate) struct Fiber<I, Y, R> {
    inner: corosensei::Coroutine<Order<I>, Y, Option<R>, Stack>,
    /// The base of its stack, which no other has meanwhile.
    id: usize,
}

impl<I, Y, R> Fiber<I, Y, R> {
    /// Makes a fiber that will call `body` on `stack`.
    ///
    /// # Safety
    ///
    /// What `body`, `I`, `Y` and `R` borrow stays borrowed until the fiber has returned, panicked or been
    /// ended; for one that is forgotten, for ever.
    pub(crate) unsafe fn new(stack: Stack, body: impl FnOnce(Way<I, Y>, I) -> R) -> Self {
        let id = stack.bounds().base;
        let main = move |yielder: &corosensei::Yielder<Order<I>, Y>, order| match order {
            Order::GoOn(input) => {
                let ends = Cell::new(false);
                let way = Way {
                    yielder: NonNull::from(yielder),
                    ends: NonNull::from(&ends),
                    id,
                };
                Some(body(way, input))
            }
            Order::End => {
                drop(body);
                None
            }
        };
        // SAFETY: the caller's promise.
        let inner = unsafe { corosensei::Coroutine::with_stack_unchecked(stack, main) };
        Self { inner, id }
    }

    /// Whether it has ever been resumed.
    pub(crate) fn has_started(&self) -> bool {
        self.inner.started()
    }

    /// Takes the stack out of one that has come to its end.
    pub(crate) fn into_stack(self) -> Stack {
        self.inner.into_stack()
    }

    /// Runs it until it yields or returns. If it panics, so does this.
    #[inline]
    pub(crate) fn resume(&mut self, input: I) -> State<Y, R> {
        match self.switch(Order::GoOn(input)) {
            CoroutineResult::Yield(value) => State::Yielded(value),
            CoroutineResult::Return(Some(result)) => State::Complete(result),
            CoroutineResult::Return(None) => unreachable!("it was not told to end"),
        }
    }

    /// Brings it to its end: what is on its stack is dropped there, by unwinding if it has run.
    ///
    /// # Errors
    ///
    /// It panicked meanwhile.
    pub(crate) fn end(&mut self) -> thread::Result<()> {
        let id = self.id;
        let end = || match self.switch(Order::End) {
            CoroutineResult::Return(result) => drop(result),
            CoroutineResult::Yield(_) => unreachable!("one that ends does not yield"),
        };
        match panic::catch_unwind(AssertUnwindSafe(end)) {
            Err(payload) if !is_end_of(id, &*payload) => Err(payload),
            _ => Ok(()),
        }
    }

    #[cfg(not(feature = "thread-sanitizer"))]
    #[inline]
    fn switch(&mut self, order: Order<I>) -> CoroutineResult<Y, Option<R>> {
        self.inner.resume(order)
    }

    #[cfg(feature = "thread-sanitizer")]
    fn switch(&mut self, order: Order<I>) -> CoroutineResult<Y, Option<R>> {
        let switched = panic::catch_unwind(AssertUnwindSafe(|| self.inner.resume(order)));
        if self.inner.done() {
            // SAFETY: that was the last switch.
            unsafe { thread_sanitizer::coroutine_returned() };
        }
        switched.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

fn is_end_of(id: usize, payload: &(dyn Any + Send)) -> bool {
    let ended = payload.downcast_ref::<Ended>();
    ended.is_some_and(|ended| ended.0 == id)
}

/// A running fiber's way back to whoever resumed it.
pub(crate) struct Way<I, Y> {
    yielder: NonNull<corosensei::Yielder<Order<I>, Y>>,
    /// Whether it has been ended.
    ends: NonNull<Cell<bool>>,
    id: usize,
}

impl<I, Y> Way<I, Y> {
    /// Whether the fiber has been told to end.
    ///
    /// # Safety
    ///
    /// The fiber has not come back yet.
    pub(crate) unsafe fn ends(&self) -> bool {
        // SAFETY: it lies at the base of the stack until the fiber comes back.
        unsafe { self.ends.as_ref() }.get()
    }

    /// Gives `value` to whoever resumed the fiber, and waits for the next input. If the fiber is
    /// ended instead, this unwinds.
    ///
    /// # Safety
    ///
    /// Called by what runs on the fiber's stack, or above it; the fiber does not [end](Self::ends).
    #[inline]
    pub(crate) unsafe fn suspend(&self, value: Y) -> I {
        // SAFETY: the yielder, too, lies at the base of the stack.
        match unsafe { self.yielder.as_ref() }.suspend(value) {
            Order::GoOn(input) => input,
            // SAFETY: as above.
            Order::End => unsafe { self.unwind() },
        }
    }

    #[cold]
    unsafe fn unwind(&self) -> ! {
        // SAFETY: the caller runs on the fiber.
        unsafe { self.ends.as_ref() }.set(true);
        panic::resume_unwind(Box::new(Ended(self.id)))
    }
}
