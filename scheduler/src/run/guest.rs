//! Guests: threads that are run by whoever polls them.
//!
//! A guest has a stack of its own as a green thread has, and thread-locals where those have them, but
//! no worker: it is the inside of a future, and runs when the future is polled, on the OS thread of
//! the executor, or of a green thread, or of another guest. That is its *host*. What blocks in it
//! begins a wait as everywhere, and switches back to the host, whose poll is pending then; whoever ends
//! the wait wakes the task, and its next poll goes on.
//!
//! # What it asks
//!
//! A guest that wants the value of a future does not poll it itself: that is done by the host, on the
//! host's stack and with its thread-locals, so that the future finds the runtime that it is made for.
//! The guest waits meanwhile, and each poll of its own begins with one of what it [asks](Guest::ask).
//!
//! # Invariants
//!
//! - A guest is run by one host at a time, who has the right to run it: the `&mut` of its future.
//! - It is polled to its end, also when its future is dropped, or else leaked with its stack.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::protocol::task::Task;
use crate::run::alarm::Alarm;
use crate::run::context;
use crate::run::green::Waiter;
use crate::run::own_stack::OwnStack;
use crate::run::shared::Shared;
use crate::run::ticket::Ticket;
use crate::run::worker::{SPINNING, Worker};
use crate::stack::Promise;
use crate::stack::coroutine::{Resumed, Suspend};
use crate::stack::fp::Environment;

/// Polls what a guest waits for.
type Question<'a> = dyn FnMut(&mut Context<'_>) -> Poll<()> + Send + 'a;

/// See the [module](self).
pub(crate) struct Guest {
    pub(crate) own_stack: OwnStack,
    pub(crate) task: Task<Waker>,
    /// The runtime that has its timers.
    timers: fn() -> io::Result<Arc<Shared>>,
    /// The thread pointer of the OS thread that runs it, where its own is another.
    os_thread_pointer: AtomicUsize,
    /// Touched by whoever has the right to run it.
    turn: UnsafeCell<Turn>,
    asks: Cell<Option<NonNull<Question<'static>>>>,
    /// How often it has polled in vain since it was run. Touched by itself, and by whoever runs it.
    polls: Cell<u32>,
}

/// What is left to do before it runs again.
#[derive(PartialEq, Eq)]
enum Turn {
    Runs,
    /// To see whether its wait has ended.
    Waits,
}

// SAFETY: `turn` is touched by whoever has the right to run it, and `asks` and `polls` by that one and by itself while
// that one runs it; what `asks` leads to is `Send`. The rest is `Sync` by itself.
unsafe impl Sync for Guest {}
// SAFETY: as above.
unsafe impl Send for Guest {}

impl Guest {
    pub(crate) fn new(own_stack: OwnStack, timers: fn() -> io::Result<Arc<Shared>>) -> Self {
        Self {
            own_stack,
            task: Task::new(),
            timers,
            os_thread_pointer: AtomicUsize::new(0),
            turn: UnsafeCell::new(Turn::Runs),
            asks: Cell::new(None),
            polls: Cell::new(0),
        }
    }

    /// Notes that it has polled in vain. `true` if it evidently spins, and its executor gets to nothing else. For the guest itself.
    pub(crate) fn polled_in_vain(&self) -> bool {
        self.polls.set(self.polls.get() + 1);
        self.polls.get().is_multiple_of(SPINNING)
    }

    /// The thread pointer of the OS thread that runs it, where its own is another. Safe in a signal
    /// handler.
    pub(crate) fn os_thread_pointer(&self) -> Option<usize> {
        let pointer = self.os_thread_pointer.load(Ordering::Relaxed);
        (pointer != 0).then_some(pointer)
    }

    pub(crate) fn set_os_thread_pointer(&self, pointer: usize) {
        self.os_thread_pointer.store(pointer, Ordering::Relaxed);
    }

    /// Sets a timer for it. `None` if the time will never come.
    ///
    /// # Panics
    ///
    /// Panics if there is no runtime that could have it.
    pub(crate) fn alarm(&self, time: Instant, ticket: Ticket) -> Option<Alarm> {
        Alarm::set((self.timers)(), time, ticket)
    }

    /// Lets whoever runs it call `question`, each time it is polled, until `wait` returns.
    ///
    /// # Safety
    ///
    /// The caller is the guest.
    pub(crate) unsafe fn ask<R>(&self, question: &mut Question<'_>, wait: impl FnOnce() -> R) -> R {
        /// Nobody is asked any more when this is dropped.
        struct Asked<'a>(&'a Guest);

        impl Drop for Asked<'_> {
            fn drop(&mut self) {
                self.0.asks.set(None);
            }
        }

        // SAFETY: only the lifetime changes. It is forgotten before this returns or unwinds, and called
        // only by whoever runs the guest, while that has suspended below.
        let question = unsafe {
            std::mem::transmute::<NonNull<Question<'_>>, NonNull<Question<'static>>>(NonNull::from(
                question,
            ))
        };
        self.asks.set(Some(question));
        let _asked = Asked(self);
        wait()
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Guest { .. }")
    }
}

/// Runs the guest `waiter` until it waits, or has returned and been taken apart.
///
/// # Safety
///
/// The caller has the right to run it, and it has not returned.
pub(crate) unsafe fn poll(waiter: &Arc<Waiter>, context: &mut Context<'_>) -> Poll<()> {
    let guest = waiter.guest().expect("a guest is polled");
    // SAFETY: the caller's promise.
    let turn = unsafe { &mut *guest.turn.get() };
    loop {
        if *turn == Turn::Waits {
            if let Some(mut question) = guest.asks.get() {
                // SAFETY: it has suspended in `ask`, which keeps it alive until it runs again.
                let answer = unsafe { question.as_mut() }(context);
                if answer.is_ready() {
                    waiter.end_wait();
                }
            }
            if waiter.poll(context).is_pending() {
                return Poll::Pending;
            }
            *turn = Turn::Runs;
        }
        // SAFETY: the caller's promise.
        match unsafe { resume(waiter, guest) } {
            Resumed::Suspended(Suspend::Waiting) => {
                *turn = Turn::Waits;
            }
            Resumed::Suspended(Suspend::Yielded) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Resumed::Returned => {
                guest.task.forget();
                // SAFETY: it has just returned, and nobody runs on its stack any more.
                unsafe {
                    let stack = guest.own_stack.started().coroutine.take_stack();
                    stack.renew();
                    drop(stack);
                }
                return Poll::Ready(());
            }
        }
    }
}

/// # Safety
///
/// As [`poll`].
unsafe fn resume(waiter: &Arc<Waiter>, guest: &Guest) -> Resumed {
    guest.polls.set(0);
    // SAFETY: the caller has the right to run it.
    let started = unsafe {
        guest.own_stack.start(Promise::redeem);
        guest.own_stack.started()
    };
    // SAFETY: as above, and it has not returned.
    let resume = || unsafe { started.coroutine.resume() };
    // SAFETY: the right to run it is the right to its thread-locals.
    let switch = || unsafe { context::run_guest(waiter, started.thread_pointer, resume) };
    let is_calling = || guest.own_stack.is_calling();
    if is_calling() {
        context::with_busy_worker(Worker::gets_stuck);
    }
    let resumed = started.environment.run_in(Environment::current(), switch);
    if is_calling() {
        context::with_busy_worker(Worker::call_has_ended);
    }
    resumed
}
