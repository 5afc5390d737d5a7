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
//! A thread is in one wait at a time. One that is begun while another is open takes its place: the
//! tickets of the other are worthless, and to block in it is a mistake that panics.
//!
//! A green thread blocks by switching to its worker, which commits the wait after the switch and
//! goes on with another green thread; a guest, which is what a [`greenly`](crate::greenly()) runs, by switching to whoever polls it; a plain OS thread blocks
//! itself. The protocol is in
//! `word.rs`.
//!
//! # Cancellation and deadlines
//!
//! A thread may be cancelled, by a runtime that shuts down, a [`JoinHandle`], a token or a group,
//! and be subject to [deadlines](crate::deadline()). The wait that it is in, or else the next one
//! that it begins, then ends with an [`Interrupt`]. An operation that has an error to give
//! [asks for it](Interrupt::into_error) and gives it, once; in all other cases the thread unwinds,
//! without the panic hook, so that destructors run. These may block: waits in a destructor that runs
//! while the thread unwinds, or while its result and thread-locals are dropped at its end, are not
//! interrupted by what was set up outside of the destructor; a deadline or a token that it sets up
//! itself bounds what it does within. A thread that catches the payload and goes on is unwound
//! again at its next wait. In the panic hook nothing is interrupted.
//!
//! With `panic = "abort"` nothing can unwind: only operations that [say](begin_interruptible) that
//! they can give an error are interrupted.
//!
//! # The floor
//!
//! | file       | what it is                                                       |
//! |------------|------------------------------------------------------------------|
//! | this one   | the door                                                         |
//! | `interrupt`| what ends a wait before what was waited for has come             |
//! | `ambient`  | frames for as long as a closure runs, and what children inherit  |
//! | `deadline` | deadlines over whatever blocks                                   |
//! | `cancel`   | tokens that cancel, and shields                                  |
//! | `local`    | values that children inherit                                     |
//! | `selectable` | whatever a select can wait for                                 |
//! | `polled`   | waits of futures                                                 |
//! | `hook`     | waits in the panic hook                                          |
//!
//! It may use the floors below: `run`, `stack` and `protocol`.
//!
//! [`JoinHandle`]: crate::thread::JoinHandle

pub(crate) mod ambient;
pub(crate) mod cancel;
pub(crate) mod deadline;
mod hook;
pub(crate) mod interrupt;
pub mod local;
pub(crate) mod polled;
pub(crate) mod selectable;

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use self::hook::yields_in_hook;
pub use self::interrupt::{Cancelled, Interrupt};
pub(crate) use self::interrupt::{DeadlineElapsed, interrupts_current, is_interrupt};
pub use self::polled::Polled;
use crate::protocol::lock::Inside;
use crate::protocol::parker::Parker;
use crate::protocol::timer::TimerKey;
use crate::protocol::word::{By, Commit, Epoch, Fire};
use crate::run::context;
use crate::run::event::{self, Event, Told};
use crate::run::green::{Green, Kind, Waiter};
use crate::run::guest::Guest;
use crate::run::panicking;
pub(crate) use crate::run::reason::Lasting;
use crate::run::reason::Reason;
pub use crate::run::reason::Why;
pub(crate) use crate::run::reason::{Holder, Needs, Whom};
use crate::run::shared::Shared;
use crate::run::silence::{self, Enduring};
pub use crate::run::ticket::Ticket;
use crate::run::worker::Worker;
use crate::stack::coroutine::Suspend;

/// Begins a wait of the current thread, green or not.
#[inline]
#[track_caller]
pub fn begin() -> Wait<'static> {
    if cfg!(panic = "abort") {
        begin_masked()
    } else {
        begin_interruptible()
    }
}

/// Begins a wait for an operation that can give an error when it is interrupted: one that ends with
/// [`Wait::try_block`] and [`Interrupt::into_error`].
#[inline]
#[track_caller]
pub fn begin_interruptible() -> Wait<'static> {
    let waiter = context::current();
    let masked = !is_interruptible(&waiter);
    open(waiter, masked)
}

/// Whether waits of the current thread can be interrupted: it neither unwinds nor ends, or what is
/// in the destructor that it is in was set up there.
pub(crate) fn is_interruptible(current: &Waiter) -> bool {
    match panicking::depth(current) {
        Some(0) => true,
        Some(depth) => current.ambient.depth() == depth,
        None => false,
    }
}

/// Begins a wait that nothing interrupts.
#[track_caller]
pub(crate) fn begin_masked() -> Wait<'static> {
    open(context::current(), true)
}

#[inline]
#[track_caller]
fn open(waiter: Arc<Waiter>, masked: bool) -> Wait<'static> {
    let epoch = waiter.word.begin(masked);
    Wait {
        waiter,
        epoch,
        masked,
        needs_threads: false,
        reason: Reason {
            why: &"a wait",
            place: Location::caller(),
            deadline: None,
        },
        this_thread: PhantomData,
        _inside: Inside::enter(),
    }
}

/// Unwinds the current thread if it has been cancelled, or a deadline of its has come. The door of
/// what lets others run without waiting.
pub(crate) fn cancellation_point() {
    let interrupted = context::with_current(|waiter| {
        let deadline = waiter.ambient.deadline();
        waiter.word.cancel_requested() || deadline.is_some_and(|(at, _)| at <= Instant::now())
    });
    if interrupted {
        let wait = begin();
        if let Some(interrupt) = wait.due() {
            drop(wait);
            interrupt.unwind();
        }
    }
}

/// Unwinds the current thread, which has been cancelled.
pub(crate) fn unwind_cancelled() -> ! {
    let frame = context::current().ambient.cancellation();
    Interrupt::Cancelled(Cancelled { frame }).unwind()
}

/// Returns whether anything may interrupt the waits of the current thread: a cancellation, as every green thread's unless it unwinds
/// or ends, or else a deadline or a token.
pub fn may_be_interrupted() -> bool {
    context::with_current(|waiter| {
        is_interruptible(waiter) && (waiter.own_stack().is_some() || waiter.ambient.any())
    })
}

/// An open wait. Dropping it abandons the wait; its tickets are worthless then.
pub struct Wait<'a> {
    waiter: Arc<Waiter>,
    epoch: Epoch,
    masked: bool,
    /// Whether only other threads end it, whom the reason may know.
    needs_threads: bool,
    /// Others get at it while the thread is suspended in the wait.
    reason: Reason<'a>,
    /// Only the thread that waits may end up in `block`.
    this_thread: PhantomData<*const ()>,
    /// And it begins no other meanwhile.
    _inside: Inside,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A ticket was fired.
    Fired,
    /// The deadline came.
    TimedOut,
}

impl<'a> Wait<'a> {
    /// Says what is waited for, to whoever asks.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving_scheduler::wait;
    /// use std::time::{Duration, Instant};
    ///
    /// let tea = "tea, which takes its time";
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// assert_eq!(wait::begin().why(&tea).block(Some(soon)), wait::Outcome::TimedOut);
    /// ```
    #[must_use]
    #[inline]
    pub fn why<'b>(self, why: &'b (dyn Why + 'b)) -> Wait<'b>
    where
        'a: 'b,
    {
        let mut wait: Wait<'b> = self;
        wait.reason.why = why;
        wait
    }

    /// Says what is waited for, which only other threads can do: where they wait for this one, all wait for
    /// ever, and whoever looks for deadlocks tells so.
    #[must_use]
    pub(crate) fn needs_threads<'b>(self, why: &'b (dyn Why + 'b)) -> Wait<'b>
    where
        'a: 'b,
    {
        let mut wait = self.why(why);
        wait.needs_threads = true;
        wait
    }

    /// Lets it end as if its time had come when the thread is [nudged](crate::adopt::nudge).
    #[cfg(feature = "adopt")]
    #[must_use]
    pub fn nudgeable(self) -> Self {
        self.waiter.nudge.opens(self.epoch, &self.waiter.word);
        self
    }

    /// Whether a limit has come that is the reason why a timer has ended this wait, unless that was a nudge.
    #[inline]
    fn has_come(&self, limit: Instant) -> bool {
        #[cfg(feature = "adopt")]
        if self.waiter.nudge.is_open(self.epoch) {
            return limit <= Instant::now();
        }
        let _ = limit;
        true
    }

    /// Creates a ticket that ends this wait. There may be many.
    pub fn ticket(&self) -> Ticket {
        Ticket::new(self.waiter.clone(), self.epoch)
    }

    /// Blocks the current thread until a ticket of this wait is fired or the deadline comes. `None`
    /// waits for as long as it takes.
    ///
    /// # Panics
    ///
    /// Unwinds with a payload of its own if the thread is interrupted and not already unwinding.
    /// Panics if the thread has begun another wait since.
    #[track_caller]
    pub fn block(self, deadline: Option<Instant>) -> Outcome {
        match self.try_block(deadline) {
            Ok(outcome) => outcome,
            Err(interrupt) => interrupt.unwind(),
        }
    }

    /// Like `block`, for operations that can tell of a timeout: a [deadline](crate::deadline())
    /// that the thread is subject to is one, the first time.
    ///
    /// # Panics
    ///
    /// As `block`.
    #[track_caller]
    pub fn block_timed(self, deadline: Option<Instant>) -> Outcome {
        match self.try_block(deadline) {
            Ok(outcome) => outcome,
            Err(interrupt) if interrupt.is_told_timeout() => Outcome::TimedOut,
            Err(interrupt) => interrupt.unwind(),
        }
    }

    /// Like `block`, but gives back what interrupted it.
    ///
    /// # Errors
    ///
    /// The thread has been cancelled, or a deadline that it is subject to has come.
    #[inline]
    #[track_caller]
    pub fn try_block(mut self, deadline: Option<Instant>) -> Result<Outcome, Interrupt> {
        self.try_block_in_place(deadline)
    }

    /// Not inlined, and called with a reference, so that the wait lies in one frame only.
    #[inline(never)]
    #[track_caller]
    fn try_block_in_place(&mut self, deadline: Option<Instant>) -> Result<Outcome, Interrupt> {
        let limit = if self.masked {
            None
        } else {
            self.waiter.ambient.deadline()
        };
        let earliest = match (deadline, limit) {
            (Some(deadline), Some((limit, _))) => Some(deadline.min(limit)),
            (deadline, limit) => deadline.or(limit.map(|(at, _)| at)),
        };
        match (self.end(earliest), limit) {
            (By::Ticket, _) => Ok(Outcome::Fired),
            (By::Timer, Some((at, frame)))
                if deadline.is_none_or(|own| at < own) && self.has_come(at) =>
            {
                Err(Interrupt::Deadline(DeadlineElapsed { frame }))
            }
            (By::Timer, _) => Ok(Outcome::TimedOut),
            (By::Cancel, _) => Err(self.cancelled()),
            (By::Deadlock, _) => Err(Interrupt::Deadlock),
        }
    }

    /// What interrupts this wait already.
    fn due(&self) -> Option<Interrupt> {
        if self.masked {
            None
        } else if self.waiter.word.cancel_requested() {
            Some(self.cancelled())
        } else {
            let (at, frame) = self.waiter.ambient.deadline()?;
            (at <= Instant::now()).then_some(Interrupt::Deadline(DeadlineElapsed { frame }))
        }
    }

    fn cancelled(&self) -> Interrupt {
        Interrupt::Cancelled(Cancelled {
            frame: self.waiter.ambient.cancellation(),
        })
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the thread has begun another wait since.
    pub(crate) fn is_overtaken(&self) -> bool {
        !self.waiter.word.is_at(self.epoch)
    }

    /// Whether a ticket has been fired, or the wait ended otherwise, so that `block` would return at
    /// once.
    pub(crate) fn is_fired(&self) -> bool {
        self.waiter.word.has_ended()
    }

    #[track_caller]
    fn end(&mut self, deadline: Option<Instant>) -> By {
        assert!(
            !self.is_overtaken(),
            "cannot block in a wait inside of which another was begun"
        );
        assert!(
            !context::is_neighbour(&self.waiter),
            "cannot block in a wait that another thread has begun"
        );
        self.reason.deadline = deadline;
        let needs_threads = self.needs_threads && deadline.is_none();
        self.waiter.reason.set(&self.reason, needs_threads);
        match &self.waiter.kind {
            Kind::Green(green) => self.block_green(green),
            Kind::Os(parker) => self.block_os(parker, deadline),
            Kind::Guest(guest) => self.block_guest(guest, deadline),
            Kind::Task(_) => unreachable!("what blocks is a thread"),
        }
        self.ended_by()
    }

    #[cold]
    #[inline(never)]
    fn note(&self, runtime: &Shared) {
        let reason = &self.reason;
        runtime.note(|| Event::Waits(&self.waiter, reason.why.in_short(), reason.place));
    }

    fn ended_by(&self) -> By {
        self.waiter.word.finish().expect("the wait has ended")
    }

    fn block_green(&self, green: &Green) {
        let deadline = self.reason.deadline;
        // In the hook every wait is masked.
        if self.masked && panicking::is_in_hook() && self.block_in_hook(deadline) {
            return;
        }
        match deadline {
            None => self.suspend(green),
            Some(deadline) => self.suspend_until(green, deadline),
        }
    }

    // Not inlined, as the next two: who waits without a deadline needs no room on its stack for what they have there.
    #[inline(never)]
    fn suspend_until(&self, green: &Green, deadline: Instant) {
        let timer = Timer::arm(deadline, self.ticket());
        self.suspend(green);
        if let Some(timer) = timer {
            timer.cancel();
        }
    }

    fn suspend(&self, green: &Green) {
        if self.waiter.word.has_ended() {
            return;
        }
        event::tell(|| Told::Waits(&self.reason));
        if let Some(runtime) = green.runtime.recorded() {
            self.note(runtime);
        }
        if self.needs_threads {
            context::with_busy_worker(Worker::parks_needy);
        }
        context::suspend(Suspend::Waiting);
        event::tell(|| Told::GoesOn(self.ended_by()));
    }

    #[inline(never)]
    fn block_guest(&self, guest: &Guest, deadline: Option<Instant>) {
        if self.masked && panicking::is_in_hook() && self.block_in_hook(deadline) {
            return;
        }
        let alarm = deadline.and_then(|deadline| guest.alarm(deadline, self.ticket()));
        if !self.waiter.word.has_ended() {
            context::suspend(Suspend::Waiting);
        }
        drop(alarm);
    }

    #[inline(never)]
    fn block_os(&self, parker: &Parker, deadline: Option<Instant>) {
        if self.waiter.word.commit() == Commit::Ended {
            return;
        }
        let mut patience = deadline.is_none().then(silence::patience).flatten();
        let mut _enduring = None;
        loop {
            let unparked = parker.park(deadline.or(patience));
            if self.waiter.word.has_ended() {
                return;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                // Won or lost, the wait has ended, and nobody else has to run this thread.
                let _: Fire = self.waiter.word.fire(self.epoch, By::Timer);
                return;
            }
            if !unparked && patience.take().is_some() {
                _enduring = Some(Enduring::new(&self.waiter));
                silence::look(None);
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.is_overtaken() {
            self.waiter.word.finish();
        }
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("thread", &self.waiter)
            .finish_non_exhaustive()
    }
}

/// A timer in a worker's shard that ends a wait.
struct Timer {
    shard: usize,
    key: TimerKey,
}

impl Timer {
    /// Arms a timer in the shard of the current worker. `None` if the deadline will never come.
    fn arm(deadline: Instant, ticket: Ticket) -> Option<Self> {
        context::with_worker(|worker| {
            let worker = worker.expect("a green thread runs on a worker");
            let key = worker.timers().arm(deadline, ticket)?;
            Some(Self {
                shard: worker.shard(),
                key,
            })
        })
    }

    fn cancel(self) {
        let ticket = context::with_worker(|worker| {
            let worker = worker.expect("a green thread runs on a worker");
            worker.timers_of(self.shard).cancel(self.key)
        });
        drop(ticket);
    }
}
