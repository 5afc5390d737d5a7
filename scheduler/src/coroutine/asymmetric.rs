//! [`Coroutine`]: resumed by whoever wants its next value.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::builder::{Builder, or_panic};
use super::core::{self, Core, Yielder};
use super::scope::Membership;
use crate::stack::fiber::State;
use crate::thread::StackUsage;

/// A function that can be suspended with a value, and resumed.
///
/// It is a closure with a stack of its own, so it may stop in any function that it calls. Each
/// [`resume`](Self::resume) gives it an input and runs it until it [yields](Yielder::yield_) or returns. The
/// first input is the closure's argument.
///
/// It is neither `Send` nor `Sync`: it runs on the thread that made it, as a function that is called does,
/// with the thread-locals of that thread. It may block there.
///
/// # Its end
///
/// - **It returns**: `resume` returns [`State::Complete`].
/// - **It panics**: so does `resume`.
/// - **It is dropped**: if it has been resumed, the call of `yield_` that it is in unwinds, so that destructors
///   run, as when a panic unwinds a thread, but without the panic hook. They may block, and must not yield.
///   What panics in them goes on out of the drop.
/// - **Its thread ends**, or calls [`exit`](std::process::exit), while the handle is forgotten
///   ([`mem::forget`](std::mem::forget)), in a cycle of `Rc`s, or in a thread-local: it is dropped before the thread's
///   thread-locals are, and its thread waits for what it waits for. A panic of it goes nowhere then. What it borrows must be
///   `'static`; in a [`scope()`](super::scope()) it may be less, since there it ends with the scope, whatever becomes of the handle.
///
/// In two cases one that has been resumed is not unwound, and its stack never used again: where panics abort; and on systems without glibc,
/// where it is forgotten, or in a thread-local, when an OS thread ends. There it must not have lent a thread-local to another thread
/// that goes on.
///
/// Threads that share thread-locals ([`Pinned`](crate::ThreadLocals::Pinned)) may find one another's coroutines there. Such a one
/// cannot be resumed, and if it is dropped it ends with its own thread.
///
/// # Examples
///
/// ```
/// use roving::coroutine::{Coroutine, State};
///
/// let average = Coroutine::new(|yielder, mut number: f64| {
///     let (mut sum, mut count) = (0.0, 0.0);
///     while number.is_finite() {
///         sum += number;
///         count += 1.0;
///         number = yielder.yield_(sum / count);
///     }
///     count as usize
/// });
/// assert_eq!(average.resume(2.0), State::Yielded(2.0));
/// assert_eq!(average.resume(4.0), State::Yielded(3.0));
/// assert_eq!(average.resume(f64::NAN), State::Complete(2));
/// assert!(average.is_done());
/// ```
#[must_use = "a coroutine does nothing before it is resumed"]
pub struct Coroutine<'scope, Input, Yield, Return> {
    core: Rc<Core<Input, Yield, Return>>,
    /// Of a scope, if it was made in one.
    membership: Option<Membership<'scope>>,
}

impl<Input, Yield, Return> Coroutine<'static, Input, Yield, Return> {
    /// Creates a coroutine. It runs when it is first resumed.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack. [`Builder::coroutine`] returns an error instead.
    #[track_caller]
    pub fn new<F>(body: F) -> Self
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'static,
        Input: 'static,
        Yield: 'static,
        Return: 'static,
    {
        or_panic(Builder::new().coroutine(body))
    }
}

impl<'scope, Input, Yield, Return> Coroutine<'scope, Input, Yield, Return> {
    /// The coroutine of a core, which belongs to a scope if it may borrow.
    pub(super) fn of(
        core: Rc<Core<Input, Yield, Return>>,
        membership: Option<Membership<'scope>>,
    ) -> Self {
        Self { core, membership }
    }

    /// Runs the coroutine until it yields or returns.
    ///
    /// # Panics
    ///
    /// Panics if the coroutine does, with the same payload; and if it cannot be resumed, since it runs,
    /// which is so for itself and for those that have resumed it, has returned or panicked, was ended with its thread,
    /// or belongs to another thread.
    #[track_caller]
    #[inline]
    pub fn resume(&self, input: Input) -> State<Yield, Return> {
        self.core.resume(input)
    }

    /// Returns whether the coroutine has returned or panicked, and cannot be resumed any more.
    pub fn is_done(&self) -> bool {
        self.core.is_done()
    }

    /// Returns how much of its stack the coroutine has used so far; `None` if it is [done](Self::is_done).
    /// Another coroutine may have had the stack before, and used more of it.
    pub fn stack_usage(&self) -> Option<StackUsage> {
        self.core.stack_usage()
    }
}

impl<Input, Yield, Return> Drop for Coroutine<'_, Input, Yield, Return> {
    fn drop(&mut self) {
        if let Some(membership) = &self.membership {
            membership.leave(&self.core);
        }
        core::drop_coroutine(&self.core);
    }
}

impl<Input, Yield, Return> fmt::Debug for Coroutine<'_, Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("made_at", &format_args!("{}", self.core.site()))
            .field("is_done", &self.is_done())
            .finish_non_exhaustive()
    }
}

/// Makes the core of a coroutine that borrows nothing.
pub(super) fn free<F, Input, Yield, Return>(
    stack_size: Option<usize>,
    site: &'static Location<'static>,
    body: F,
) -> std::io::Result<Rc<Core<Input, Yield, Return>>>
where
    F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'static,
    Input: 'static,
    Yield: 'static,
    Return: 'static,
{
    // SAFETY: nothing is borrowed.
    unsafe { Core::new(stack_size, site, false, body) }
}
