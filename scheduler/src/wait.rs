//! The one door through which everything blocks.
//!
//! To block, a thread [begins](begin) a wait, hands [tickets](Ticket) to whoever may end it, and
//! [blocks](Wait::block):
//!
//! ```
//! use roving_scheduler::wait;
//!
//! let wait = wait::begin();
//! let ticket = wait.ticket();
//! std::thread::spawn(move || ticket.fire());
//! assert_eq!(wait.block(None), wait::Outcome::Fired);
//! ```
//!
//! A wait ends once: of all its tickets, its deadline and a cancellation, one wins. A ticket that
//! comes late does nothing, however late it comes, so tickets may be left behind wherever they are.
//! A ticket that is fired between `begin` and `block` is not lost: `block` then returns at once.
//! That makes the pattern against lost wake-ups always the same: begin, publish the ticket, look
//! once more at what is waited for, block.
//!
//! A green thread blocks by switching to its worker, which commits the wait after the switch and
//! goes on with another green thread; a plain OS thread blocks itself. The protocol is in
//! `word.rs`.
//!
//! # Cancellation
//!
//! A runtime that shuts down cancels its green threads: the wait that a green thread is in, or else
//! the next one that it begins, ends, and [`Wait::block`] unwinds its stack with a payload of its
//! own, [`Cancelled`], without calling the panic hook, so that destructors run. These may block:
//! waits that are begun while unwinding, or while the thread's result and thread-locals are dropped,
//! are not cancelled. A green thread that catches the payload
//! and goes on is unwound again at its next wait.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use crate::context;
use crate::coroutine::Suspend;
use crate::green::{Green, Kind, Waiter};
use crate::panicking::{self, Unwinding};
use crate::parker::Parker;
use crate::timer::TimerKey;
use crate::word::{By, Commit, Epoch, Fire};

/// Begins a wait of the current thread, green or not.
pub fn begin() -> Wait {
    let waiter = context::current();
    let unwinding = panicking::unwinding(&waiter);
    let ending = waiter.green().is_some_and(Green::is_ending);
    let wait = open(waiter, ending || unwinding != Unwinding::No);
    if unwinding == Unwinding::Perhaps {
        context::with_worker(|worker| {
            let worker = worker.expect("only green threads of one worker are in doubt");
            worker.doubts.masked(wait.waiter.clone(), wait.epoch);
        });
    }
    wait
}

/// Begins a wait that cancellation leaves alone.
pub(crate) fn begin_masked() -> Wait {
    open(context::current(), true)
}

fn open(waiter: Arc<Waiter>, masked: bool) -> Wait {
    let epoch = waiter.word.begin(masked);
    Wait {
        waiter,
        epoch,
        this_thread: PhantomData,
    }
}

/// Unwinds the current green thread if it has been cancelled. The door of what lets others run
/// without waiting.
pub(crate) fn cancellation_point() {
    let mut requested = false;
    context::with_running_green(|waiter| requested = waiter.word.cancel_requested());
    if !requested {
        return;
    }
    let wait = begin();
    if wait.waiter.word.has_ended() {
        wait.block(None);
    }
}

/// An open wait. Dropping it abandons the wait; its tickets are worthless then.
pub struct Wait {
    waiter: Arc<Waiter>,
    epoch: Epoch,
    /// Only the thread that waits may end up in `block`.
    this_thread: PhantomData<*const ()>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A ticket was fired.
    Fired,
    /// The deadline came.
    TimedOut,
}

impl Wait {
    /// Makes a ticket that ends this wait. There may be many.
    pub fn ticket(&self) -> Ticket {
        Ticket {
            waiter: self.waiter.clone(),
            epoch: self.epoch,
        }
    }

    /// Blocks the current thread until a ticket of this wait is fired or the deadline comes. `None`
    /// waits for as long as it takes.
    ///
    /// # Panics
    ///
    /// Unwinds with the payload [`Cancelled`] if the green thread is cancelled and not already
    /// unwinding.
    pub fn block(self, deadline: Option<Instant>) -> Outcome {
        match self.end(deadline) {
            By::Ticket => Outcome::Fired,
            By::Timer => Outcome::TimedOut,
            By::Cancel => unwind(self),
        }
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn end(&self, deadline: Option<Instant>) -> By {
        match &self.waiter.kind {
            Kind::Green(_) => self.block_green(deadline),
            Kind::Os(parker) => self.block_os(parker, deadline),
        }
        self.waiter.word.finish().expect("the wait has ended")
    }

    fn block_green(&self, deadline: Option<Instant>) {
        let timer = deadline.and_then(|deadline| Timer::arm(deadline, self.ticket()));
        if !self.waiter.word.has_ended() {
            context::suspend(Suspend::Waiting);
        }
        if let Some(timer) = timer {
            timer.cancel();
        }
    }

    fn block_os(&self, parker: &Parker, deadline: Option<Instant>) {
        if self.waiter.word.commit() == Commit::Ended {
            return;
        }
        loop {
            parker.park(deadline);
            if self.waiter.word.has_ended() {
                return;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                // Won or lost, the wait has ended, and nobody else has to run this thread.
                let _: Fire = self.waiter.word.fire(self.epoch, By::Timer);
                return;
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiter.word.finish();
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("thread", &self.waiter)
            .finish_non_exhaustive()
    }
}

/// A timer in a worker's shard that ends a wait.
struct Timer {
    worker: usize,
    key: TimerKey,
}

impl Timer {
    /// Arms a timer in the shard of the current worker. `None` if the deadline will never come.
    fn arm(deadline: Instant, ticket: Ticket) -> Option<Self> {
        context::with_worker(|worker| {
            let worker = worker.expect("a green thread runs on a worker");
            let key = worker.timers().arm(deadline, ticket)?;
            Some(Self {
                worker: worker.index(),
                key,
            })
        })
    }

    fn cancel(self) {
        let ticket = context::with_worker(|worker| {
            let worker = worker.expect("a green thread runs on a worker");
            worker.timers_of(self.worker).cancel(self.key)
        });
        drop(ticket);
    }
}

/// The payload with which a cancelled green thread unwinds, and what joining it gives as the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the green thread was cancelled: its runtime shut down")
    }
}

impl std::error::Error for Cancelled {}

#[cold]
fn unwind(wait: Wait) -> ! {
    drop(wait);
    panicking::resume(Box::new(Cancelled));
}

/// The right to end a wait. Firing one of a wait that has ended does nothing.
#[derive(Clone)]
pub struct Ticket {
    waiter: Arc<Waiter>,
    epoch: Epoch,
}

impl Ticket {
    /// Ends the wait and lets its thread run again. `true` for the one who did; never blocks.
    pub fn fire(&self) -> bool {
        self.waiter.fire(self.epoch, By::Ticket)
    }

    /// Whether the wait has ended, so that firing would do nothing.
    pub fn is_stale(&self) -> bool {
        self.waiter.word.is_stale(self.epoch)
    }

    /// Ends the wait because its deadline has come.
    pub(crate) fn time_out(&self) -> bool {
        self.waiter.fire(self.epoch, By::Timer)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("thread", &self.waiter)
            .field("stale", &self.is_stale())
            .finish()
    }
}
