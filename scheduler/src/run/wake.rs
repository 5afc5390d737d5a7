//! How a thread gets to run again whose wait has ended.
//!
//! Whoever has moved the word of a parked thread to `Ended` holds the only right to run it: a green
//! thread is [queued](schedule), an OS thread unparked, a task woken.
//!
//! If a ticket was fired under a lock, that is for after the lock. A thread that runs at once wants
//! the lock; waking a worker takes a system call; and a ticket may be the last that is left of
//! a thread, with which anything is dropped. So a [`Fired`] does it when it is dropped, and must not be
//! dropped under a lock. Locks and channels collect theirs in a [`Woken`].

use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::protocol::lock::Inside;
use crate::protocol::parker::Rouse;
use crate::protocol::word::{By, Epoch, Fire};
use crate::run::ambient::FrameId;
use crate::run::context;
use crate::run::event::Event;
use crate::run::green::{Kind, Runnable, Waiter};
use crate::run::guest::Guest;
use crate::run::panicking;
use crate::run::shared::Shared;
use crate::run::ticket::Ticket;
use crate::run::ticks;

/// Queues a green thread that has been spawned or woken, and sees to it that somebody runs it.
pub(crate) fn schedule(runnable: Runnable) {
    // A queue may grow, and what it calls for memory is not to queue anything meanwhile.
    let _inside = Inside::enter();
    let elsewhere = context::with_worker(|worker| match worker {
        Some(worker) => worker.schedule(runnable),
        None => Some(runnable),
    });
    if let Some(runnable) = elsewhere {
        // It may end as soon as it is queued.
        let runtime = runnable.runtime();
        runtime.inject(runnable);
    }
}

/// What is told of each thread that is cancelled.
#[cfg(feature = "adopt")]
pub(crate) static AT_CANCELLATION: std::sync::OnceLock<fn(usize)> = std::sync::OnceLock::new();

impl Waiter {
    /// Makes the token of this thread available.
    pub(crate) fn unpark(self: &Arc<Self>) {
        if let Some(epoch) = self.token.unpark()
            && self.fire(epoch, By::Ticket) == Fire::Parked
        {
            self.run_again();
        }
    }

    /// Ends the wait `epoch`, if it has not ended.
    #[inline]
    pub(crate) fn fire(&self, epoch: Epoch, by: By) -> Fire {
        if let Kind::Green(green) = &self.kind
            && let Some(runtime) = green.runtime.recorded()
        {
            self.fire_recorded(runtime, epoch, by)
        } else {
            self.word.fire(epoch, by)
        }
    }

    #[cold]
    #[inline(never)]
    fn fire_recorded(&self, runtime: &Shared, epoch: Epoch, by: By) -> Fire {
        // One that has only begun to wait may run again before this is noted.
        let before = ticks::now();
        let fire = self.word.fire(epoch, by);
        if fire != Fire::Lost {
            runtime.note_at(before, Event::Woken(self, epoch, by));
        }
        fire
    }

    /// Asks the thread to end, and ends the wait that it is in. It will be told by unwinding if it
    /// `must_unwind`, else by an error where there is one to give.
    pub(crate) fn cancel(self: &Arc<Self>, must_unwind: bool) {
        let fire = self.ambient.cancel_thread(&self.word, must_unwind);
        self.tell_of_cancellation();
        if fire == Fire::Parked {
            self.note_cancelled();
            self.run_again();
        }
    }

    /// Cancels what runs in the frame `id`, which is there. The thread runs again when what this gives is dropped.
    pub(crate) fn cancel_frame(self: &Arc<Self>, id: FrameId) -> Fired {
        let fire = self.ambient.cancel_frame(&self.word, id);
        self.tell_of_cancellation();
        if fire == Fire::Parked {
            self.note_cancelled();
        }
        Fired::new(self.clone(), fire)
    }

    /// Tells whoever wants to know, as far as there is anybody.
    fn tell_of_cancellation(&self) {
        #[cfg(feature = "adopt")]
        if let Some(is_cancelled) = AT_CANCELLATION.get()
            && self.word.cancel_requested()
        {
            is_cancelled(self.identity());
        }
    }

    /// By which it is known while it is there.
    #[cfg(feature = "adopt")]
    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Makes the thread look up from a wait that may be [nudged](crate::protocol::nudge).
    #[cfg(feature = "adopt")]
    pub(crate) fn nudge(self: &Arc<Self>) {
        if let Some(epoch) = self.nudge.ask()
            && self.fire(epoch, By::Timer) == Fire::Parked
        {
            self.run_again();
        }
    }

    /// The wait in which this was parked has been ended by a cancellation.
    fn note_cancelled(&self) {
        if let Kind::Green(green) = &self.kind
            && let Some(runtime) = green.runtime.recorded()
        {
            runtime.note(|| Event::Woken(self, self.word.current(), By::Cancel));
        }
    }

    /// Ends the wait that this has begun, on behalf of whoever has the right to run it.
    pub(crate) fn end_wait(&self) {
        // It is polled next, so nobody need wake it.
        let _: Fire = self.word.fire(self.word.current(), By::Ticket);
    }

    /// Whether the wait that this has begun has ended; else its task is woken when it does.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let task = self.task().expect("a task is polled");
        if task.poll(&self.word, context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Called by whoever has just moved the word from `Parked` to `Ended`, or has held the thread
    /// when its wait ended.
    pub(crate) fn run_again(self: &Arc<Self>) {
        match &self.kind {
            Kind::Os(parker) => {
                // An OS thread is never in the driver.
                let _: Rouse = parker.unpark();
            }
            Kind::Green(_) => schedule(Runnable(self.clone())),
            Kind::Guest(Guest { task, .. }) | Kind::Task(task) => {
                // A waker is not meant to panic, and nobody here could be told of it.
                panicking::contain(|| task.wake());
            }
        }
    }
}

impl Ticket {
    /// Ends the wait and lets its thread run again. `true` for the one who did; never blocks.
    pub fn fire(self) -> bool {
        self.end(By::Ticket).is_first()
    }

    /// Ends the wait. Its thread runs again when what this gives is dropped.
    pub(crate) fn end(self, by: By) -> Fired {
        let fire = self.waiter.fire(self.epoch, by);
        Fired::new(self.waiter, fire)
    }
}

/// A ticket that has been fired: see the [module](self).
#[must_use]
pub(crate) struct Fired {
    /// `None` once the thread has been given away.
    waiter: Option<Arc<Waiter>>,
    fire: Fire,
}

impl Fired {
    pub(crate) fn new(waiter: Arc<Waiter>, fire: Fire) -> Self {
        Self {
            waiter: Some(waiter),
            fire,
        }
    }

    /// Whether this ticket ended the wait.
    pub(crate) fn is_first(&self) -> bool {
        self.fire != Fire::Lost
    }

    /// The green thread, if the caller has to queue it.
    pub(crate) fn into_runnable(mut self) -> Option<Runnable> {
        let waiter = self
            .waiter
            .take_if(|waiter| self.fire == Fire::Parked && matches!(waiter.kind, Kind::Green(_)))?;
        Some(Runnable(waiter))
    }
}

impl Drop for Fired {
    fn drop(&mut self) {
        if self.fire == Fire::Parked
            && let Some(waiter) = self.waiter.take()
        {
            match waiter.kind {
                Kind::Green(_) => schedule(Runnable(waiter)),
                Kind::Os(_) | Kind::Guest(_) | Kind::Task(_) => waiter.run_again(),
            }
        }
    }
}

/// The tickets that were fired while a lock was held. Dropping this lets the threads run again, in
/// the order in which they were woken.
///
/// Mostly there are none. Whether there are any is seen in place, and only then is there a call; what the
/// compiler would generate for the enum is a call each time.
#[derive(Default)]
pub(crate) struct Woken(ManuallyDrop<Tickets>);

#[derive(Default)]
enum Tickets {
    #[default]
    None,
    One(Fired),
    Many(Vec<Fired>),
}

impl Woken {
    /// Ends a wait; `false` if it had ended.
    pub(crate) fn fire(&mut self, ticket: Ticket) -> bool {
        let fired = ticket.end(By::Ticket);
        let is_first = fired.is_first();
        match &mut *self.0 {
            Tickets::None => self.0 = ManuallyDrop::new(Tickets::One(fired)),
            Tickets::Many(all) => all.push(fired),
            Tickets::One(_) => {
                if let Tickets::One(earlier) = mem::take(&mut *self.0) {
                    self.0 = ManuallyDrop::new(Tickets::Many(vec![earlier, fired]));
                }
            }
        }
        is_first
    }

    /// Lets the threads run again, and leaves no tickets.
    #[inline(never)]
    fn let_run(&mut self) {
        match mem::take(&mut *self.0) {
            Tickets::None => {}
            Tickets::One(fired) => drop(fired),
            Tickets::Many(all) => drop(all),
        }
    }
}

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        // `let_run` leaves `None`, which has nothing to drop.
        if !matches!(*self.0, Tickets::None) {
            self.let_run();
        }
    }
}
