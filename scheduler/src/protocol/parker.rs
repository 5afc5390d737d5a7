//! How a worker sleeps: on its condition variable, or as the leader in the driver.
//!
//! ```text
//!     Empty --park--> Parked --unpark--> Notified --> Empty        (unpark notifies the condition variable)
//!     Empty --enter_driver--> InDriver --unpark--> Notified        (unpark must wake the driver)
//!     Empty --unpark--> Notified --park--> Empty                   (the unpark came first: park returns at once)
//! ```
//!
//! Invariants: only the worker itself parks; and [`idle`](crate::protocol::idle) gives at most one unpark to
//! one sleep.

use std::time::Instant;

use crate::protocol::primitive::{AtomicUsize, Condvar, Ordering, SleepLock};

const EMPTY: usize = 0;
const PARKED: usize = 1;
const IN_DRIVER: usize = 2;
const NOTIFIED: usize = 3;

/// What an unpark leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Rouse {
    Done,
    /// The worker sits in the driver, which must be woken.
    WakeDriver,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Parker {
    state: AtomicUsize,
    lock: SleepLock,
    unparked: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicUsize::new(EMPTY),
            lock: SleepLock::default(),
            unparked: Condvar::new(),
        }
    }

    /// Sleeps until an unpark or the deadline. `true` if it was unparked.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        let mut guard = self.lock.lock();
        if !self.enter(PARKED) {
            return true;
        }
        let mut timed_out = false;
        while !timed_out && self.state.load(Ordering::Acquire) != NOTIFIED {
            match deadline {
                None => guard = self.unparked.wait(guard),
                Some(deadline) => {
                    (guard, timed_out) = self.unparked.wait_until(guard, deadline);
                }
            }
        }
        self.leave()
    }

    /// The worker is about to wait in the driver. `false` if it has been unparked: then it must
    /// not.
    pub(crate) fn enter_driver(&self) -> bool {
        self.enter(IN_DRIVER)
    }

    /// The worker is back from the driver. `true` if it was unparked.
    pub(crate) fn leave_driver(&self) -> bool {
        self.leave()
    }

    /// Takes the unpark of a worker that was claimed but is awake. It is here or will be in a
    /// moment.
    pub(crate) fn absorb(&self) {
        let unparked = self.park(None);
        debug_assert!(unparked);
    }

    /// Unparks the worker.
    pub(crate) fn unpark(&self) -> Rouse {
        match self.state.swap(NOTIFIED, Ordering::AcqRel) {
            PARKED => {
                // The worker holds the lock from before it said `Parked` until it waits.
                drop(self.lock.lock());
                self.unparked.notify_one();
                Rouse::Done
            }
            IN_DRIVER => Rouse::WakeDriver,
            _ => Rouse::Done,
        }
    }

    /// Enters a sleep; `false`, with the notification taken, if an unpark came first.
    fn enter(&self, how: usize) -> bool {
        let entered = self
            .state
            .compare_exchange(EMPTY, how, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if !entered {
            self.state.store(EMPTY, Ordering::Release);
        }
        entered
    }

    fn leave(&self) -> bool {
        self.state.swap(EMPTY, Ordering::AcqRel) == NOTIFIED
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_unpark_that_comes_first_is_kept() {
        let parker = Parker::new();
        assert_eq!(parker.unpark(), Rouse::Done);
        assert!(parker.park(None));
        assert!(!parker.park(Some(Instant::now() + Duration::from_millis(1))));
    }

    #[test]
    fn the_leader_is_woken_through_the_driver() {
        let parker = Parker::new();
        assert!(parker.enter_driver());
        assert_eq!(parker.unpark(), Rouse::WakeDriver);
        assert!(parker.leave_driver());
        assert_eq!(parker.unpark(), Rouse::Done);
        assert!(!parker.enter_driver());
    }
}
