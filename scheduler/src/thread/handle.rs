//! Joining: [`JoinHandle`].

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use super::{Result, Thread};
use crate::protocol::completion::Completion;
use crate::run::context;
use crate::run::enclosure::Enclosure;
use crate::run::green::{Green, Waiter};
use crate::run::panicking;
use crate::wait::selectable::{Registration, Selectable};
use crate::wait::{self, Interrupt, Needs, Outcome, Ticket, Whom, Why};

/// Drops a result that nobody takes: the thread does, or the owner of the handle, whoever
/// [comes second](crate::protocol::completion). As in std, a panic of its destructor ends the process then.
pub(super) fn drop_untaken<T>(result: Result<T>, scope: Option<&Enclosure>, was_interrupted: bool) {
    let has_destructor = match &result {
        Ok(_) => mem::needs_drop::<T>(),
        Err(_) => {
            scope
                .into_iter()
                .for_each(|scope| scope.payload_is_lost(was_interrupted));
            true
        }
    };
    if has_destructor && let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(result))) {
        // What interrupts the one who drops the handle is no fault of the result.
        if wait::interrupts_current(&*payload) && context::with_current(wait::is_interruptible) {
            panic::resume_unwind(payload);
        }
        panicking::abort("thread result panicked on drop");
    }
}

/// What ends the wait for a thread before that has ended, beside a deadline.
#[derive(Clone, Copy)]
enum Ends {
    ByInterrupt,
    Masked,
    #[cfg(feature = "adopt")]
    ByNudge,
}

/// An owned permission to join a green thread, like [`std::thread::JoinHandle`]. Dropping it detaches the
/// thread, which continues to run; its result is dropped then, and as in std a panic of the result's destructor
/// aborts the process.
pub struct JoinHandle<T> {
    thread: Thread,
    /// Its result, which lies in its control block: an [errand](crate::stack::errand)'s.
    result: PhantomData<Arc<UnsafeCell<Result<T>>>>,
}

// SAFETY: a result is moved between threads and never shared: it is taken by `self`; and the thread was spawned with a
// `T` that is `Send`.
unsafe impl<T> Send for JoinHandle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// The thread is a green one that leaves a `Result<T>`, and has no other handle.
    pub(super) unsafe fn new(thread: Thread) -> Self {
        Self {
            thread,
            result: PhantomData,
        }
    }

    /// Returns the thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Waits for the thread to end and returns its result.
    ///
    /// When this returns, the thread is gone: its stack is free and it is no longer counted. Everything
    /// that it did happens before the return.
    ///
    /// # Errors
    ///
    /// The payload of the panic that ended the thread; [`Cancelled`](crate::wait::Cancelled) if it was
    /// [cancelled](Self::cancel) or its runtime was shut down.
    ///
    /// # Panics
    ///
    /// Panics if a green thread joins itself, or if this is a forked child and the thread, its parent's, had not
    /// ended.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        if let Err(interrupt) = self.wait_for_end(false) {
            interrupt.unwind();
        }
        self.take()
    }

    /// Like `join`, but nothing interrupts it.
    #[cfg(feature = "adopt")]
    #[track_caller]
    pub(crate) fn join_masked(self) -> Result<T> {
        let masked = self.wait_for_end(true);
        debug_assert_eq!(masked, Ok(()), "nothing interrupts a masked wait");
        self.take()
    }

    /// Whether the thread has ended by then. A nudge ends the wait too, and nothing else.
    #[cfg(feature = "adopt")]
    #[track_caller]
    pub(crate) fn ends_by(&mut self, deadline: Option<Instant>) -> bool {
        let ends = self.wait_for_end_until(Ends::ByNudge, deadline);
        ends.expect("nothing interrupts a masked wait")
    }

    /// Like `join` for a caller who has lent something to the thread: this returns only when the thread
    /// has ended. What interrupts the caller meanwhile cancels the thread, and is given too.
    #[track_caller]
    pub(super) fn join_lent(self) -> (Result<T>, Option<Interrupt>) {
        let interrupted = self.wait_for_end(false).err();
        if interrupted.is_some() {
            self.cancel();
            let masked = self.wait_for_end(true);
            debug_assert_eq!(masked, Ok(()), "nothing interrupts a masked wait");
        }
        (self.take(), interrupted)
    }

    /// Waits for the thread to end, unless something interrupts that or the wait is `masked`. For one who has
    /// taken the handle.
    #[track_caller]
    fn wait_for_end(&self, masked: bool) -> std::result::Result<(), Interrupt> {
        let ends = if masked {
            Ends::Masked
        } else {
            Ends::ByInterrupt
        };
        let has_ended = self.wait_for_end_until(ends, None)?;
        debug_assert!(has_ended, "there is no deadline");
        Ok(())
    }

    /// The same, but not beyond a deadline. `false` if that came first.
    #[track_caller]
    fn wait_for_end_until(
        &self,
        ends: Ends,
        deadline: Option<Instant>,
    ) -> std::result::Result<bool, Interrupt> {
        let completion = self.completion();
        while !completion.is_done() {
            self.check_joinable();
            let wait = match ends {
                Ends::ByInterrupt => wait::begin(),
                Ends::Masked => wait::begin_masked(),
                #[cfg(feature = "adopt")]
                Ends::ByNudge => wait::begin_masked().nudgeable(),
            };
            let _retract = Retract(completion);
            // SAFETY: this is the only joiner: a thread has one handle, which cannot be cloned, and
            // the callers of this private function have taken it. What was left in an earlier round
            // has been taken back.
            if unsafe { completion.join(wait.ticket()) } {
                let outcome = wait
                    .needs_threads(&EndOf(self.thread.waiter()))
                    .try_block(deadline)?;
                if outcome == Outcome::TimedOut {
                    return Ok(completion.is_done());
                }
            }
        }
        Ok(true)
    }

    /// Insists that the current thread can wait for the thread, which has not ended.
    #[track_caller]
    pub(super) fn check_joinable(&self) {
        let is_itself =
            context::with_current(|current| ptr::eq(&raw const **self.thread.waiter(), current));
        assert!(
            !is_itself,
            "a green thread cannot join itself: it would wait for ever"
        );
        self.green()
            .completion
            .process
            .insist("the green thread to join");
    }

    /// The result of the thread, which has ended.
    pub(super) fn take(self) -> Result<T> {
        assert!(self.green().completion.has_result());
        let this = ManuallyDrop::new(self);
        // SAFETY: it has been left, by what `new` was promised one of this type; and this is the only handle, which
        // detaches no more.
        let result = unsafe { this.green().own_stack.errand.take() };
        // SAFETY: nothing else of `this` is used or dropped.
        drop(unsafe { ptr::read(&raw const this.thread) });
        result
    }

    /// Cancels the thread: the blocking call of this crate that it is in, or otherwise its next one, ends.
    ///
    /// If that call returns an [`io::Result`], it returns an error of kind
    /// [`Other`](std::io::ErrorKind::Other) with [`Cancelled`](crate::wait::Cancelled) in it; otherwise,
    /// and after such an error has been returned once, the thread unwinds, without calling the panic
    /// hook, and [`join`](Self::join) returns a `Cancelled`. Destructors run and may block. A
    /// thread that catches the unwinding and continues is unwound again at its next blocking
    /// call, and one that has not started drops its closure.
    ///
    /// This does not wait for the thread to end. Cancelling a thread that has ended has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::{Cancelled, thread};
    /// use std::time::Duration;
    ///
    /// let sleeps = thread::spawn(|| thread::sleep(Duration::MAX));
    /// sleeps.cancel();
    /// assert!(sleeps.join().unwrap_err().is::<Cancelled>());
    /// ```
    pub fn cancel(&self) {
        self.thread.waiter().cancel(false);
    }

    /// Returns whether the thread has ended, so that [`join`](Self::join) returns at once.
    pub fn is_finished(&self) -> bool {
        let finished = self.has_ended();
        if !finished {
            super::polled_in_vain();
        }
        finished
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.green().completion.is_done()
    }

    pub(super) fn completion(&self) -> &Completion<Ticket> {
        &self.green().completion
    }

    fn green(&self) -> &Green {
        let green = self.thread.waiter().green();
        green.expect("handles are to green threads")
    }
}

/// A select that waits for a thread gets ready when [`JoinHandle::join`] would not block.
impl<T> Selectable for JoinHandle<T> {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(self.is_finished())
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        let completion = self.completion();
        let key = completion.watch(ticket);
        Ok(key.map(|key| Registration::new(move || completion.unwatch(&key))))
    }
}

/// Why one waits who joins. Debuggers read it.
#[repr(C)]
struct EndOf<'a>(&'a Waiter);

impl Why for EndOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "join of thread {}", self.0.id())?;
        self.0.name().map_or(Ok(()), |name| write!(f, " {name:?}"))
    }

    fn in_short(&self) -> &'static str {
        "join"
    }

    fn needs(&self) -> Option<Needs<'_>> {
        Some(Needs(Whom::Thread(self.0)))
    }
}

/// Takes the ticket of the one who joins back when it stops waiting, also when it unwinds.
struct Retract<'a>(&'a Completion<Ticket>);

impl Drop for Retract<'_> {
    fn drop(&mut self) {
        // SAFETY: made by the one who joins, and dropped before it goes on.
        unsafe { self.0.retract() };
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let green = self.green();
        if let Some(was_interrupted) = green.completion.detach() {
            // SAFETY: it has been left, is of this type, and has become this caller's.
            let result: Result<T> = unsafe { green.own_stack.errand.take() };
            drop_untaken(result, green.scope.as_deref(), was_interrupted);
        }
    }
}

// As std's: a result is taken once, whole.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}
