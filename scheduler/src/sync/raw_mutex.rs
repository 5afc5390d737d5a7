//! The lock of a [`Mutex`](super::Mutex): one word.
//!
//! ```text
//!     FREE --lock--> HELD --unlock--> FREE                          (one compare-and-swap each)
//!     HELD --lock--> CONTENDED: the thread parks at the word's address
//!     CONTENDED --unlock--> FREE, and the first who is parked is woken to try again
//!     CONTENDED --unlock--> CONTENDED, and the first who is parked has the lock: a hand-off
//! ```
//!
//! A running thread may take the lock before one that has just been woken for it (*barging*): it
//! would otherwise stay free for the length of a wake-up, at every contended unlock. Against
//! starvation, a thread that was woken and overtaken parks again in front of all others and is
//! *impatient*: the next unlock hands the lock to it. **So a thread that waits is woken twice at
//! most: the second time the lock is its own.**
//!
//! `CONTENDED` says that somebody may be parked. Whoever parks sets it before, and looks again
//! under the lock of the waiting list, under which `unlock` leaves the state.

use std::time::Instant;

use super::holder::Holder;
use super::parking::{self, End, Grant, Kind, Patience, Place};
use crate::protocol::primitive::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

const PATIENT: Kind = 0;
const IMPATIENT: Kind = 1;

const TRY_AGAIN: Grant = 0;
const HANDED_OFF: Grant = 1;

/// How often one looks at a lock that is held before one parks: about as long as a short section
/// on another core takes.
const SPINS: u32 = if cfg!(roving_loom) { 0 } else { 60 };

/// See the [module](self).
#[derive(Debug)]
pub(super) struct RawMutex {
    state: AtomicU32,
    holder: Holder,
}

impl RawMutex {
    #[cfg(not(roving_loom))]
    pub(super) const fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            holder: Holder::new(),
        }
    }

    #[cfg(roving_loom)]
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            holder: Holder::new(),
        }
    }

    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        let locked = self
            .state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
        if locked {
            self.holder.note();
        }
        locked
    }

    #[inline]
    #[track_caller]
    pub(super) fn lock(&self) {
        if !self.try_lock() {
            self.lock_contended(Patience::Forever);
        }
    }

    /// `false` if the deadline came first.
    pub(super) fn lock_until(&self, deadline: Option<Instant>) -> bool {
        self.try_lock() || self.lock_contended(Patience::Until(deadline))
    }

    /// Locks, whatever would interrupt it.
    pub(super) fn lock_uninterruptible(&self) {
        if !self.try_lock() {
            self.lock_contended(Patience::Uninterruptible);
        }
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    #[cold]
    #[track_caller]
    fn lock_contended(&self, patience: Patience) -> bool {
        if patience == Patience::Forever {
            self.holder.panic_if_me("holds the lock");
        }
        if self.spin() {
            self.holder.note();
            return true;
        }
        let mut wish = (PATIENT, Place::Back);
        // Whoever has waited leaves the mark, as it cannot know whether others do.
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            let is_contended = || self.state.load(Ordering::Relaxed) == CONTENDED;
            match parking::park(self.key(), wish, patience, is_contended, || ()) {
                End::Woken(HANDED_OFF) => break,
                End::Woken(_) => wish = (IMPATIENT, Place::Front),
                End::TimedOut => return false,
                End::Invalid => {}
            }
        }
        self.holder.note();
        true
    }

    fn spin(&self) -> bool {
        for _ in 0..SPINS {
            match self.state.load(Ordering::Relaxed) {
                FREE if self.try_lock() => return true,
                // Others are parked already.
                CONTENDED => return false,
                _ => std::hint::spin_loop(),
            }
        }
        false
    }

    /// Unlocks.
    ///
    /// # Safety
    ///
    /// The caller holds the lock.
    #[inline]
    pub(super) unsafe fn unlock(&self) {
        self.holder.forget();
        if self
            .state
            .compare_exchange(HELD, FREE, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.unlock_contended();
        }
    }

    #[cold]
    fn unlock_contended(&self) {
        parking::with_parked(self.key(), |parked| {
            // The impatient are in front. The lock stays held for the first of them that still
            // waits.
            while parked.first() == Some(IMPATIENT) {
                if parked.wake(|_| true, HANDED_OFF) == Some(true) {
                    return;
                }
            }
            self.state.swap(FREE, Ordering::Release);
            parked.wake_one(|_| true, TRY_AGAIN);
        });
    }
}
