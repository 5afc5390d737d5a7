//! The wait word: who may end a wait, and who then has the right to run the waiter.
//!
//! Every thread, green or OS, owns one word. A wait has an *epoch*, a number that never comes back,
//! and passes through these states:
//!
//! ```text
//!                          begin                 commit (after the switch out)
//!     Idle, or an earlier ----------> Armed(e) -------------------------------> Parked(e)
//!     wait that has ended              |                                           |
//!                                      | fire: the waiter is still on a stack,     | fire: the winner queues the waiter,
//!                                      | commit finds out and runs it on           | nobody else may
//!                                      v                                           |
//!                                   Ended(e, by whom) <----------------------------+
//! ```
//!
//! - Only the waiter itself begins, and finishes: that makes a wait `Idle` which has not ended, and
//!   of one that has, it tells by whom. Only the worker that it switched out to commits, and
//!   whoever [holds](WaitWord::hold) a parked thread for a moment, which makes it `Armed` again.
//! - `fire` is one compare-and-swap on (state, epoch). Of all who may end a wait exactly one wins,
//!   and a ticket of an earlier epoch never ends a later wait: its epoch is gone from the word for
//!   ever.
//! - **The right to run.** A thread in `Parked` is in no queue; whoever moves it from `Parked` to
//!   `Ended` holds the only right to queue it. A thread in `Armed` is still held by its worker, so
//!   a firer must not queue it; the worker's commit fails and it keeps the thread. So a wake-up in
//!   the middle of a switch is neither lost nor run twice.
//! - **Publication.** Commit is a release and fire an acquire of the same word, so all that the
//!   switch saved on the stack happens before the next run, on whichever worker. Fire is a release
//!   and finish an acquire, so what the firer wrote before it fired is seen by the waiter.
//! - **Cancellation** is a sticky bit in the same word, so that a request and the beginning of a
//!   wait are totally ordered: either the request finds the wait and ends it, or the wait begins
//!   ended. A *masked* wait (of a thread that is unwinding and may not unwind again) is left alone.
//!   What the bit stands for is kept in [`ambient`](crate::run::ambient).

use crate::protocol::outline::Field;
use crate::protocol::primitive::{AtomicU64, Ordering};

const STATE: u64 = 0b11;
const IDLE: u64 = 0;
const ARMED: u64 = 1;
const PARKED: u64 = 2;
const ENDED: u64 = 3;

const BY: u64 = 0b11 << 2;
const CANCEL: u64 = 1 << 4;
const MASKED: u64 = 1 << 5;

const EPOCH_UNIT: u64 = 1 << 6;
const EPOCH: u64 = !(EPOCH_UNIT - 1);

/// Which kind of ticket ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Ticket,
    Timer,
    Cancel,
    Deadlock,
}

impl By {
    fn to_bits(self) -> u64 {
        (self as u64) << 2
    }

    fn from_bits(word: u64) -> Self {
        match (word & BY) >> 2 {
            0 => By::Ticket,
            1 => By::Timer,
            2 => By::Cancel,
            _ => By::Deadlock,
        }
    }
}

/// The number of one wait of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl Epoch {
    /// The epoch as a number that is neither 0 nor 1, which a park token uses for itself.
    pub(crate) fn to_token(self) -> u64 {
        self.0 | 0b10
    }

    /// How many waits have begun before this one, and this one.
    pub(crate) fn number(self) -> u64 {
        self.0 / EPOCH_UNIT
    }

    /// Tells the wait from those before and after it, and is a number of which the lowest bit is 0. The 2³¹st after it has the
    /// same one.
    pub(crate) fn short(self) -> u32 {
        (self.number() as u32) << 1
    }

    pub(crate) fn from_token(token: u64) -> Option<Self> {
        (token & 0b10 != 0).then_some(Self(token & EPOCH))
    }
}

/// What became of an attempt to end a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fire {
    /// The wait had ended before.
    Lost,
    /// The wait ends; its thread has not parked and will notice.
    Armed,
    /// The wait ends, and the caller now holds the right to run its thread.
    Parked,
}

/// What became of an attempt to park.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Commit {
    /// The thread is parked: whoever fires its wait will run it. The caller must not touch it any
    /// more.
    Parked,
    /// The wait ended during the switch: the caller keeps the thread and runs it.
    Ended,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct WaitWord(AtomicU64);

impl WaitWord {
    pub(crate) const FIELDS: [Field; 2] = [
        Field::new("WaitWord.state", STATE as usize),
        Field::new("WaitWord.parked", PARKED as usize),
    ];

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(IDLE))
    }

    /// Begins the next wait. Called by the waiter. An unmasked wait of a cancelled thread has ended
    /// already when this returns. One that was open is over, and its tickets are worthless: whoever
    /// began it finds out by [`is_at`](Self::is_at).
    pub(crate) fn begin(&self, masked: bool) -> Epoch {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let epoch = (seen & EPOCH).wrapping_add(EPOCH_UNIT);
            let cancel = seen & CANCEL;
            let next = match (masked, cancel != 0) {
                (true, _) => epoch | cancel | MASKED | ARMED,
                (false, false) => epoch | ARMED,
                (false, true) => epoch | cancel | By::Cancel.to_bits() | ENDED,
            };
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Epoch(epoch),
                Err(now) => seen = now,
            }
        }
    }

    /// Ends the wait `epoch`, if it has not ended.
    pub(crate) fn fire(&self, epoch: Epoch, by: By) -> Fire {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let was = seen & STATE;
            if seen & EPOCH != epoch.0 || (was != ARMED && was != PARKED) {
                return Fire::Lost;
            }
            let next = (seen & !STATE) | by.to_bits() | ENDED;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if was == PARKED => return Fire::Parked,
                Ok(_) => return Fire::Armed,
                Err(now) => seen = now,
            }
        }
    }

    /// Parks the thread in its open wait. Called after the switch out, by whoever holds the thread.
    pub(crate) fn commit(&self) -> Commit {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & STATE == ENDED {
                return Commit::Ended;
            }
            debug_assert_eq!(seen & STATE, ARMED, "commit without a wait");
            let next = (seen & !STATE) | PARKED;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Commit::Parked,
                Err(now) => seen = now,
            }
        }
    }

    /// The wait that the thread is parked in.
    pub(crate) fn parked(&self) -> Option<Epoch> {
        let seen = self.0.load(Ordering::Relaxed);
        (seen & STATE == PARKED).then_some(Epoch(seen & EPOCH))
    }

    /// Whether nothing interrupts the wait that has begun last.
    pub(crate) fn is_masked(&self) -> bool {
        self.0.load(Ordering::Relaxed) & MASKED != 0
    }

    /// The wait that is open: the thread is parked in it, or held by somebody, or about to park.
    pub(crate) fn open(&self) -> Option<Epoch> {
        let seen = self.0.load(Ordering::Relaxed);
        matches!(seen & STATE, ARMED | PARKED).then_some(Epoch(seen & EPOCH))
    }

    /// Takes hold of a thread that is parked in the wait `epoch`. `true` if the caller now has its
    /// stack, as a worker has before it commits; it must commit then, and queue the thread if the
    /// wait has ended.
    pub(crate) fn hold(&self, epoch: Epoch) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & EPOCH != epoch.0 || seen & STATE != PARKED {
                return false;
            }
            let next = (seen & !STATE) | ARMED;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Closes the wait if it has not ended, else tells who ended it. Called by the waiter.
    pub(crate) fn finish(&self) -> Option<By> {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            match seen & STATE {
                IDLE => return None,
                ENDED => return Some(By::from_bits(seen)),
                _ => {}
            }
            let next = (seen & (EPOCH | CANCEL)) | IDLE;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return None,
                Err(now) => seen = now,
            }
        }
    }

    /// The wait that has begun last. Asked by the waiter.
    pub(crate) fn current(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed) & EPOCH)
    }

    /// Whether no later wait has begun than `epoch`. Asked by the waiter.
    pub(crate) fn is_at(&self, epoch: Epoch) -> bool {
        self.0.load(Ordering::Relaxed) & EPOCH == epoch.0
    }

    /// Whether the thread's open wait has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) & STATE == ENDED
    }

    /// Whether the wait `epoch` is over, so that its tickets are worthless.
    pub(crate) fn is_stale(&self, epoch: Epoch) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        let state = seen & STATE;
        seen & EPOCH != epoch.0 || (state != ARMED && state != PARKED)
    }

    /// Asks the thread to unwind at its next unmasked wait, and ends the one that it is in.
    pub(crate) fn request_cancel(&self) -> Fire {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let was = seen & STATE;
            let open = (was == ARMED || was == PARKED) && seen & MASKED == 0;
            let next = if open {
                (seen & !STATE) | By::Cancel.to_bits() | CANCEL | ENDED
            } else {
                seen | CANCEL
            };
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if !open => return Fire::Lost,
                Ok(_) if was == PARKED => return Fire::Parked,
                Ok(_) => return Fire::Armed,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a request back that is not for the thread any more. Called by the thread itself, while
    /// it is in no wait.
    pub(crate) fn withdraw_cancel(&self) {
        self.0.fetch_and(!CANCEL, Ordering::AcqRel);
    }

    /// Whether cancellation was asked for.
    pub(crate) fn cancel_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CANCEL != 0
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stale_ticket_never_ends_a_later_wait() {
        let word = WaitWord::new();
        let first = word.begin(false);
        assert_eq!(word.finish(), None);
        let second = word.begin(false);
        assert!(word.is_stale(first));
        assert_eq!(word.fire(first, By::Ticket), Fire::Lost);
        assert_eq!(word.fire(second, By::Timer), Fire::Armed);
        assert_eq!(word.finish(), Some(By::Timer));
    }

    #[test]
    fn a_wait_inside_a_wait_takes_its_place() {
        let word = WaitWord::new();
        let outer = word.begin(false);
        assert!(word.is_at(outer));
        let inner = word.begin(false);
        assert!(!word.is_at(outer) && word.is_stale(outer));
        assert_eq!(word.fire(outer, By::Ticket), Fire::Lost);
        assert_eq!(word.fire(inner, By::Ticket), Fire::Armed);
        assert_eq!(word.finish(), Some(By::Ticket));
    }

    #[test]
    fn the_first_firer_wins() {
        let word = WaitWord::new();
        let epoch = word.begin(false);
        assert_eq!(word.commit(), Commit::Parked);
        assert_eq!(word.fire(epoch, By::Ticket), Fire::Parked);
        assert_eq!(word.fire(epoch, By::Timer), Fire::Lost);
        assert_eq!(word.request_cancel(), Fire::Lost);
        assert_eq!(word.finish(), Some(By::Ticket));
    }

    #[test]
    fn a_wake_up_before_the_commit_keeps_the_thread_with_its_worker() {
        let word = WaitWord::new();
        let epoch = word.begin(false);
        assert_eq!(word.fire(epoch, By::Ticket), Fire::Armed);
        assert_eq!(word.commit(), Commit::Ended);
        assert_eq!(word.finish(), Some(By::Ticket));
    }

    #[test]
    fn a_request_that_was_taken_back_ends_no_wait() {
        let word = WaitWord::new();
        assert_eq!(word.request_cancel(), Fire::Lost);
        word.withdraw_cancel();
        assert!(!word.cancel_requested());
        let epoch = word.begin(false);
        assert!(!word.has_ended());
        assert_eq!(word.fire(epoch, By::Ticket), Fire::Armed);
        assert_eq!(word.finish(), Some(By::Ticket));
    }

    #[test]
    fn cancellation_is_sticky_and_respects_the_mask() {
        let word = WaitWord::new();
        assert_eq!(word.request_cancel(), Fire::Lost);
        let _ = word.begin(false);
        assert!(word.has_ended());
        assert_eq!(word.finish(), Some(By::Cancel));

        let masked = word.begin(true);
        assert!(!word.has_ended());
        assert_eq!(word.request_cancel(), Fire::Lost);
        assert_eq!(word.fire(masked, By::Ticket), Fire::Armed);
        assert_eq!(word.finish(), Some(By::Ticket));
        assert!(word.cancel_requested());
    }

    #[test]
    fn a_parked_thread_is_held_and_committed_again() {
        let word = WaitWord::new();
        let epoch = word.begin(false);
        assert!(!word.hold(epoch));
        assert_eq!(word.commit(), Commit::Parked);
        assert_eq!(word.parked(), Some(epoch));
        assert!(word.hold(epoch));
        assert!(!word.hold(epoch));
        assert_eq!(word.commit(), Commit::Parked);
        assert!(word.hold(epoch));
        assert_eq!(word.fire(epoch, By::Ticket), Fire::Armed);
        assert_eq!(word.commit(), Commit::Ended);
        assert_eq!(word.finish(), Some(By::Ticket));
        assert!(!word.hold(epoch));
    }
}

#[cfg(all(test, roving_loom))]
mod models;
