//! The lock of a [`Mutex`](super::Mutex): one word.
//!
//! ```text
//!     FREE --lock--> HELD --unlock--> FREE                          (one compare-and-swap each)
//!     HELD --lock--> HELD, CONTENDED: the thread parks at the word's address
//!     HELD, CONTENDED --unlock--> FREE, and the first who is parked is woken to try again
//!     HELD, CONTENDED --unlock--> HELD, CONTENDED, and the first who is parked has the lock: a hand-off
//! ```
//!
//! Beside these bits the word has the [address](super::holder) of whoever holds the lock.
//!
//! A running thread may take the lock before one that has just been woken for it (*barging*): it
//! would otherwise stay free for the length of a wake-up, at every contended unlock. Against
//! starvation, a thread that was woken and overtaken parks again in front of all others and is
//! *impatient*: the next unlock hands the lock to it. **So a thread that waits is woken twice at
//! most: the second time the lock is its own.**
//!
//! `CONTENDED` says that somebody may be parked. Whoever parks sets it before, and looks again
//! under the lock of the waiting list, under which `unlock` leaves the state.

use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::holder::{Holder, here};
use super::parking::{self, End, For, Grant, Kind, Left, ParkedTask, Patience, Place};
use crate::protocol::primitive::{AtomicUsize, Ordering};
use crate::wait::{Needs, Why};

const FREE: usize = 0;
const HELD: usize = 1;
const CONTENDED: usize = 2;

/// The address of no thread.
const TASK: usize = 0;

const PATIENT: Kind = 0;
const IMPATIENT: Kind = 1;

const TRY_AGAIN: Grant = 0;
const HANDED_OFF: Grant = 1;

/// How often one looks at a lock that is held before one parks: about as long as a short section
/// on another core takes.
const SPINS: u32 = if cfg!(roving_loom) { 0 } else { 60 };

/// See the [module](self). Debuggers read it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct RawMutex {
    state: AtomicUsize,
    holder: Holder,
}

impl RawMutex {
    #[cfg(not(roving_loom))]
    pub(super) const fn new() -> Self {
        Self {
            state: AtomicUsize::new(FREE),
            holder: Holder::new(),
        }
    }

    #[cfg(roving_loom)]
    pub(super) fn new() -> Self {
        Self {
            state: AtomicUsize::new(FREE),
            holder: Holder::new(),
        }
    }

    #[inline]
    fn take(&self, by: usize) -> bool {
        self.state
            .compare_exchange(FREE, by | HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_lock(&self) -> bool {
        let locked = self.take(here());
        if locked {
            self.holder.note();
        }
        locked
    }

    #[inline]
    #[track_caller]
    pub(super) fn lock(&self, of: &'static str) {
        if !self.try_lock() {
            self.lock_contended(of, Patience::Forever);
        }
    }

    /// `false` if the deadline came first.
    #[track_caller]
    pub(super) fn lock_until(&self, of: &'static str, deadline: Option<Instant>) -> bool {
        self.try_lock() || self.lock_contended(of, Patience::Until(deadline))
    }

    /// Locks, whatever would interrupt it.
    #[track_caller]
    pub(super) fn lock_uninterruptible(&self, of: &'static str) {
        if !self.try_lock() {
            self.lock_contended(of, Patience::Masked(None));
        }
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    #[cold]
    #[track_caller]
    fn lock_contended(&self, of: &'static str, patience: Patience) -> bool {
        if patience == Patience::Forever {
            self.holder.panic_if_me("holds the lock");
        }
        if self.spin() {
            self.holder.note();
            return true;
        }
        let why = LockOf { mutex: self, of };
        let mut wish = (PATIENT, Place::Back);
        // Whoever has waited leaves the mark, as it cannot know whether others do.
        while !self.take_contended(here()) {
            match parking::park(
                For::Holder(&why),
                self.key(),
                wish,
                patience,
                || self.is_contended(),
                || (),
            ) {
                End::Woken(HANDED_OFF) => {
                    self.state.fetch_or(here(), Ordering::Relaxed);
                    break;
                }
                End::Woken(_) => wish = (IMPATIENT, Place::Front),
                End::TimedOut => return false,
                End::Invalid => {}
            }
        }
        self.holder.note();
        true
    }

    /// Locks in a future, whose place `waits` is. No thread is noted as the holder: the task may go on
    /// on another.
    pub(super) fn poll_lock(&self, waits: &mut ParkedTask, context: &Context<'_>) -> Poll<()> {
        if !waits.is_parked() && self.take(TASK) {
            self.holder.forget();
            return Poll::Ready(());
        }
        let mut wish = (PATIENT, Place::Back);
        loop {
            if waits.is_parked() {
                if ready!(waits.poll(context)) == HANDED_OFF {
                    self.holder.forget();
                    return Poll::Ready(());
                }
                wish = (IMPATIENT, Place::Front);
            }
            if self.take_contended(TASK) {
                self.holder.forget();
                return Poll::Ready(());
            }
            waits.park(self.key(), wish, || self.is_contended());
        }
    }

    /// Gives up the place of a future that is dropped.
    pub(super) fn leave(&self, waits: &mut ParkedTask) {
        let has_lock = match waits.leave() {
            Left::Nothing | Left::Waiting => false,
            Left::Woken(HANDED_OFF) => true,
            // Nobody else was woken to try. If the lock is held, whoever holds it knows now that others
            // may wait.
            Left::Woken(_) => self.take_contended(TASK),
        };
        if has_lock {
            // SAFETY: the lock was handed to the future, or has just been taken.
            unsafe { self.unlock() };
        }
    }

    /// Takes the lock if it is free, and leaves the mark that others may wait for it.
    fn take_contended(&self, by: usize) -> bool {
        let mut seen = FREE;
        loop {
            let next = if seen == FREE { by | HELD } else { seen };
            match self.state.compare_exchange_weak(
                seen,
                next | CONTENDED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return seen == FREE,
                Err(now) => seen = now,
            }
        }
    }

    fn is_contended(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CONTENDED != 0
    }

    #[track_caller]
    fn spin(&self) -> bool {
        for _ in 0..SPINS {
            match self.state.load(Ordering::Relaxed) {
                FREE if self.try_lock() => return true,
                // Others are parked already.
                state if state & CONTENDED != 0 => return false,
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
        // Others only add that mark.
        let held = self.state.load(Ordering::Relaxed) & !CONTENDED;
        if self
            .state
            .compare_exchange(held, FREE, Ordering::Release, Ordering::Relaxed)
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
                self.state.swap(HELD | CONTENDED, Ordering::Relaxed);
                if parked.wake(|_| true, HANDED_OFF) == Some(true) {
                    return;
                }
            }
            self.state.swap(FREE, Ordering::Release);
            parked.wake_one(|_| true, TRY_AGAIN);
        });
    }
}

impl Drop for RawMutex {
    #[inline]
    fn drop(&mut self) {
        parking::abandon(self.key());
    }
}

/// Why one waits who is parked. Debuggers read it.
#[repr(C)]
struct LockOf<'a> {
    mutex: &'a RawMutex,
    /// What the mutex is called.
    of: &'static str,
}

impl Why for LockOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, of, key) = (self.in_short(), self.of, self.mutex.key());
        write!(f, "{what}<{of}> at {key:#x}")
    }

    fn in_short(&self) -> &'static str {
        "lock of Mutex"
    }

    fn needs(&self) -> Option<Needs<'_>> {
        let word = self.mutex.state.load(Ordering::Relaxed);
        self.mutex.holder.in_word(word)
    }
}
