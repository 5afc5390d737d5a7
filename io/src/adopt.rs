//! Numbers of descriptors that are others', and who waits for what they stand for: `roving-adopt` uses it, and nobody else.
//!
//! An adopted program opens and closes descriptors as it likes. So what is registered is not a descriptor but a
//! [number](Watch), for as long as the program runs; nothing is ever freed, and whoever has one may use it at any time. What is
//! late, an event of a descriptor that had the number before, say, is an edge too many, after which somebody looks in vain.
//!
//! The other way round nothing may be missing. Whoever waits [arms](Watch::arm) the number before: that registers whatever has it
//! now, and does nothing if that is registered already. The system knows a registration by the number *and* the open file
//! description, so a descriptor that was closed and replaced unseen is found out there.
//!
//! All numbers are registered with one runtime, whose driver wakes the threads of all. No function here unwinds.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use roving_scheduler::adopt::Chore;
use roving_scheduler::wait::{Interrupt, Ticket, Wait, Why};
use roving_scheduler::{Handle, adopt};

use crate::driver::Driver;
pub use crate::kept::{Kept, forget_kept, kept};
pub use crate::readiness::Direction;
use crate::readiness::{Registration, Tick, Woken};
use crate::why::Operation;
use crate::yielding::Operations;

/// A number of descriptors. See the [module](self).
#[derive(Debug)]
pub struct Watch {
    driver: Arc<Driver>,
    registration: Arc<Registration>,
    operations: Operations,
    /// Lets all who wait look again.
    rouse: Chore,
}

/// What was known of a direction at a time before a try.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    tick: Tick,
    /// To try is of no use until the next edge, unless the number stands for another descriptor.
    pub is_drained: bool,
    /// It may be ready though nothing has come: at its end, say.
    pub is_irregular: bool,
}

impl Watch {
    /// Of a number for which there is none yet.
    ///
    /// # Errors
    ///
    /// The driver of `runtime` cannot be made, nor an OS thread that [rouses](Self::rouse).
    pub fn new(runtime: &Handle) -> io::Result<Self> {
        let driver = runtime.driver(Driver::new)?;
        let registration = driver.reserve();
        Ok(Self {
            rouse: Chore::new({
                let (driver, registration) = (driver.clone(), registration.clone());
                move || {
                    // What a child finds noted was noted by its parent.
                    if driver.is_of_this_process() {
                        rouse(&registration);
                    }
                }
            })?,
            registration,
            driver,
            operations: Operations::new(),
        })
    }

    /// To be called before a try.
    pub fn glance(&self, direction: Direction) -> Seen {
        let glance = self.registration.glance(direction);
        Seen {
            tick: glance.tick,
            is_drained: glance.drained,
            is_irregular: glance.irregular,
        }
    }

    /// Notes that a try after `seen` left nothing.
    pub fn mark_drained(&self, direction: Direction, seen: Seen) {
        self.registration.mark_drained(direction, seen.tick);
    }

    /// Counts an operation, and lets others run if it is their turn.
    pub fn take_turn(&self) {
        if self.operations.is_others_turn() {
            adopt::yield_now();
        }
    }

    /// Sees to it that the edges of what has the number, `fd`, come here. Whether they have not before: then it may be another
    /// descriptor than it was, and there is an edge at once if it is ready.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl`: `EPERM` if it cannot be waited for, `EBADF` if it is closed.
    pub fn arm(&self, fd: RawFd) -> io::Result<bool> {
        with_borrowed(fd, |fd| self.driver.admit(&self.registration, fd))
    }

    /// Waits until there has been an edge since `seen`, or until the deadline or a [nudge](adopt::nudge): whether it was an edge.
    ///
    /// # Errors
    ///
    /// What interrupts the thread.
    #[track_caller]
    pub fn wait(
        &self,
        fd: RawFd,
        direction: Direction,
        seen: Seen,
        deadline: Option<Instant>,
    ) -> Result<bool, Interrupt> {
        with_borrowed(fd, |fd| {
            let why: &dyn Why = &Operation { fd, direction };
            let woken = self.registration.try_wait_as(
                direction,
                seen.tick,
                deadline,
                why,
                Wait::nudgeable,
            )?;
            Ok(woken != Woken::TimedOut)
        })
    }

    /// Leaves a ticket for an edge since `seen`. `false` if there has been one.
    pub fn watch(&self, direction: Direction, seen: Seen, ticket: Ticket) -> bool {
        self.registration.watch(direction, seen.tick, ticket)
    }

    /// Takes a ticket back, unless an edge has fired it.
    pub fn unwatch(&self, direction: Direction, ticket: &Ticket) {
        self.registration.unwatch(direction, ticket);
    }

    /// Lets all who wait look again; inside of the runtime, as in the handler of a signal, a little later.
    pub fn rouse(&'static self) {
        self.rouse.run();
    }

    /// Forgets what is known of `fd`, which is to lose the number, and [rouses](Self::rouse) all who wait.
    pub fn dismiss(&'static self, fd: RawFd) {
        self.registration.forget_marks();
        with_borrowed(fd, |fd| self.driver.dismiss(&self.registration, fd));
        self.rouse();
    }
}

/// Lets all who wait look again.
fn rouse(registration: &Registration) {
    let mut waiting = Vec::new();
    registration.on_end(&mut waiting);
    for ticket in waiting {
        ticket.fire();
    }
}

/// Lends a descriptor that may be closed at any time.
fn with_borrowed<T>(fd: RawFd, f: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    // None of them has a negative number, and none the largest: the system says so of both.
    let fd = if fd < 0 { RawFd::MAX } else { fd };
    // SAFETY: it is not -1. Nobody relies on it being open: it is given to the system, which knows.
    f(unsafe { BorrowedFd::borrow_raw(fd) })
}
