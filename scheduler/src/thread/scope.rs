//! Threads that borrow: [`scope()`].
//!
//! # Why it is sound
//!
//! A thread that is spawned in a scope may use what `'scope` borrows until it has ended.
//! [`scope()`] does not return, and does not unwind, before all of them have:
//!
//! - A thread is counted before it exists, and counted off by the worker that has taken its stack
//!   apart. By then its closure has run or been dropped, its result has been given to the handle or
//!   dropped, and its thread-locals are gone. One that is counted and never comes to exist, since
//!   its spawn fails or unwinds, is counted off by the guard that counted it.
//! - The scope waits for the count in the function itself, not in a destructor that a program could
//!   leak. Whatever interrupts that wait makes it cancel the threads and wait on in a wait that
//!   nothing interrupts.
//! - The handle of a thread cannot leave the scope, as it has its lifetime, and neither can its future; one
//!   that is leaked keeps a result from being dropped, which uses nothing.
//! - What the last thread touches when it counts itself off lies in an [`Arc`], as the scope may
//!   have returned then.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::spawn::Belonging;
use super::{Builder, JoinHandle, Result, Thread};
use crate::run::ambient::FrameId;
use crate::run::enclosure::Enclosure;
use crate::wait::ambient::Inheritance;
use crate::wait::cancel::Token;
use crate::wait::selectable::{Registration, Selectable};
use crate::wait::{self, Interrupt, Needs, Ticket, Whom, Why};

struct ScopeData {
    /// What its threads have of it.
    enclosure: Arc<Enclosure>,
    /// Cancels the threads.
    token: Arc<Token>,
    frame: FrameId,
}

// What its parts hold changes in single steps.
impl UnwindSafe for ScopeData {}
impl RefUnwindSafe for ScopeData {}

impl ScopeData {
    fn new() -> Self {
        Self {
            enclosure: Arc::new(Enclosure::new()),
            token: Arc::default(),
            frame: FrameId::next(),
        }
    }

    /// Blocks until no thread is left in this process. Gives what interrupted that: then they have been cancelled.
    #[track_caller]
    fn wait_for_all(&self) -> Option<Interrupt> {
        let enclosure = &*self.enclosure;
        let mut interrupted = None;
        while enclosure.process.is_current() && enclosure.running() > 0 {
            let wait = if interrupted.is_none() {
                wait::begin()
            } else {
                wait::begin_masked()
            };
            let earlier = enclosure.wait(wait.ticket());
            drop(earlier);
            if enclosure.running() == 0 {
                break;
            }
            if let Err(interrupt) = wait.needs_threads(&EndOf(enclosure)).try_block(None) {
                self.token.cancel();
                interrupted = Some(interrupt);
            }
        }
        interrupted
    }
}

/// Why a scope waits at its end.
struct EndOf<'a>(&'a Enclosure);

impl Why for EndOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.0.running();
        write!(f, "end of a scope with {running} threads")
    }

    fn in_short(&self) -> &'static str {
        "end of a scope"
    }

    fn needs(&self) -> Option<Needs<'_>> {
        Some(Needs(Whom::Scope(self.0)))
    }
}

/// Calls `f` with a scope in which threads can be spawned that borrow from outside it, like
/// [`std::thread::scope`]. When this returns they have all ended.
///
/// They are green threads, as many as you like, of the runtime of the green thread that spawns
/// them; on a plain OS thread, of the global one. They are subject to the deadlines and
/// cancellations that the scope is subject to: if one of these ends the scope, its threads are
/// cancelled and waited for, and then it unwinds.
///
/// # Panics
///
/// A panic of `f` propagates after all threads have ended. Panics if one of the threads panicked and
/// was not joined.
///
/// # Examples
///
/// ```
/// use roving::thread;
///
/// let mut numbers = vec![1, 2, 3];
/// let mut doubled = 0;
/// thread::scope(|scope| {
///     scope.spawn(|| doubled = numbers.iter().map(|n| n * 2).sum());
///     scope.spawn(|| assert_eq!(numbers.len(), 3));
/// });
/// numbers.push(doubled);
/// assert_eq!(numbers, [1, 2, 3, 12]);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        data: ScopeData::new(),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if let Err(payload) = &result
        && wait::interrupts_current(&**payload)
    {
        scope.data.token.cancel();
    }
    let interrupted = scope.data.wait_for_all();
    let enclosure = &scope.data.enclosure;
    match (result, interrupted) {
        (Err(payload), _) => panic::resume_unwind(payload),
        (Ok(_), Some(interrupt)) => interrupt.unwind(),
        (Ok(_), None) if enclosure.has_panicked() => {
            panic!("a scoped thread panicked")
        }
        (Ok(value), None) => {
            if enclosure.running() > 0 {
                enclosure.process.insist("the rest of the scope");
            }
            // What has ended one of the threads may be due for this one too, which has not blocked: its
            // caller must not take a part of the work for the whole.
            if enclosure.was_interrupted() {
                wait::cancellation_point();
            }
            value
        }
    }
}

/// A scope in which threads that borrow can be spawned: see [`scope()`].
pub struct Scope<'scope, 'env: 'scope> {
    data: ScopeData,
    /// Invariant, as in std: `'scope` neither grows nor shrinks.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Spawns a thread that does not outlive the scope.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack. [`Builder::spawn_scoped`] returns an error instead.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match Builder::new().spawn_scoped(self, f) {
            Ok(handle) => handle,
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        }
    }

    /// # Errors
    ///
    /// This is a forked child, and the scope is its parent's.
    pub(super) fn check_process(&self) -> io::Result<()> {
        self.data.enclosure.process.check("the scope")
    }

    /// Counts a thread that is about to be spawned.
    #[track_caller]
    pub(super) fn admit(&self) -> Belonging {
        let before = self.data.enclosure.thread_begins();
        let admitted = Admitted(Some(self.data.enclosure.clone()));
        assert!(
            before <= usize::MAX / 2,
            "too many running threads in thread scope"
        );
        let mut inheritance = Inheritance::everything();
        inheritance.and_token(self.data.frame, self.data.token.clone());
        Belonging {
            inheritance,
            scope: Some(admitted),
        }
    }
}

/// That a thread is counted which does not exist yet. Dropping this counts it off: the spawn has
/// failed, or unwinds.
pub(super) struct Admitted(Option<Arc<Enclosure>>);

impl Admitted {
    /// The thread is about to exist: from now on its end counts it off.
    pub(super) fn hand_over(mut self) -> Option<Arc<Enclosure>> {
        self.0.take()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take().and_then(|scope| scope.thread_ended()) {
            ticket.fire();
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("num_running_threads", &self.data.enclosure.running())
            .field("a_thread_panicked", &self.data.enclosure.has_panicked())
            .finish_non_exhaustive()
    }
}

/// An owned permission to join a thread of a [`scope()`]. Dropping it leaves joining to the end of the scope.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    pub(super) fn new(handle: JoinHandle<T>) -> Self {
        Self {
            handle,
            scope: PhantomData,
        }
    }

    /// What joins the thread wherever it is.
    pub(super) fn into_handle(self) -> JoinHandle<T> {
        self.handle
    }

    /// Returns the thread.
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// Waits for the thread to end and returns its result. In a future, `.await` the handle instead.
    ///
    /// # Errors
    ///
    /// The payload of the panic that ended the thread; [`Cancelled`](crate::wait::Cancelled) if it
    /// was cancelled.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.handle.join()
    }

    /// Returns whether the thread has ended, so that [`join`](Self::join) returns at once.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Cancels the thread, as [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }
}

impl<T> Selectable for ScopedJoinHandle<'_, T> {
    fn is_ready(&self) -> io::Result<bool> {
        self.handle.is_ready()
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        self.handle.watch(ticket)
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").finish_non_exhaustive()
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;

    struct Borrowed(UnsafeCell<u32>);

    // SAFETY: what the model checks.
    unsafe impl Sync for Borrowed {}

    #[test]
    fn the_scope_ends_after_its_threads() {
        loom::model(|| {
            let data = ScopeData::new();
            let borrowed =
                loom::sync::Arc::new([Borrowed(UnsafeCell::new(0)), Borrowed(UnsafeCell::new(0))]);
            for thread in 0..2 {
                data.enclosure.thread_begins();
                let (enclosure, borrowed) = (data.enclosure.clone(), borrowed.clone());
                loom::thread::spawn(move || {
                    // SAFETY: this thread's own, until it has ended.
                    borrowed[thread].0.with_mut(|value| unsafe { *value = 1 });
                    if let Some(ticket) = enclosure.thread_ended() {
                        ticket.fire();
                    }
                });
            }
            assert!(data.wait_for_all().is_none());
            for value in borrowed.iter() {
                // SAFETY: the threads have ended.
                value.0.with(|value| assert_eq!(unsafe { *value }, 1));
            }
        });
    }
}
