//! What workers count of themselves, for those who ask.
//!
//! A number has one writer, its worker, so to add to it takes a load and a store, which are one instruction, and
//! nobody waits for anybody. Whoever asks sums. What is done on other OS threads than the workers has a line of
//! its own, [`Outside`], which they share.
//!
//! Times are sampled: to take one costs some dozens of instructions, and each [`SAMPLE`]th is taken. A worker
//! counts down to the next, at the end of each run and at each thread that it queues behind others. Those that
//! it will run at once, from its LIFO slot, are not worth the countdown.
//!
//! # Invariants
//!
//! - A number only grows.
//! - **What follows from something is not seen before it.** A thread is counted as spawned before anybody can
//!   run it, and a wait before anybody can end it. Each number is stored with release and read with
//!   acquire. So if whoever sums reads first how many ended and then how many were spawned, the latter are
//!   not fewer; the same goes for wake-ups and waits.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::run::green::Runnable;
use crate::run::stopwatch::Shift;
use crate::run::ticks;

/// Of so many runs one is timed, and of so many threads that are queued one. A prime, so that it does not keep step
/// with the program's own periods, nor with those of the worker.
const SAMPLE: u8 = 101;

/// A number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// For its only writer.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(more), Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Runs that ended with a yield, with a wait, or with the thread.
    pub(crate) yields: Count,
    pub(crate) waits: Count,
    pub(crate) ends: Count,
    /// Threads that were spawned here, and that were queued here since their wait had ended.
    pub(crate) spawns: Count,
    pub(crate) wake_ups: Count,
    pub(crate) steals: Count,
    pub(crate) sleeps: Count,
    /// Calls of the driver, and the waits that it has ended.
    pub(crate) driver_waits: Count,
    pub(crate) events: Count,
    pub(crate) expired_timers: Count,
    pub(crate) shift: Shift,
    pub(crate) run_lengths: Times,
    pub(crate) delays: Times,
}

impl Counts {
    /// How many runs have ended.
    pub(crate) fn runs(&self) -> u64 {
        self.ends.get() + self.yields.get() + self.waits.get()
    }
}

/// What is done on OS threads that are no workers of the runtime.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    spawns: AtomicU64,
    wake_ups: AtomicU64,
}

impl Outside {
    /// A thread is about to be queued that has been spawned, or else woken.
    pub(crate) fn note(&self, runnable: &Runnable) {
        let number = if runnable.is_fresh() {
            &self.spawns
        } else {
            &self.wake_ups
        };
        let before = number.fetch_add(1, Ordering::Release);
        if before.is_multiple_of(SAMPLE.into()) {
            runnable.time_delay();
        }
    }

    pub(crate) fn spawns(&self) -> u64 {
        self.spawns.load(Ordering::Acquire)
    }

    pub(crate) fn wake_ups(&self) -> u64 {
        self.wake_ups.load(Ordering::Acquire)
    }
}

/// Counts down to the next that is timed.
#[derive(Debug)]
pub(crate) struct Countdown(Cell<u8>);

impl Countdown {
    pub(crate) fn new() -> Self {
        Self(Cell::new(SAMPLE))
    }

    /// Whether this one is timed. The caller, which does so, has another [`begin`](Self::begin).
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.0.set(self.0.get() - 1);
        self.0.get() == 0
    }

    pub(crate) fn begin(&self) {
        self.0.set(SAMPLE);
    }
}

/// Times, by their length: how many have been less than each power of two of [ticks].
#[derive(Debug, Default)]
pub(crate) struct Times {
    by_length: [Count; Self::LENGTHS],
    sum: Count,
}

impl Times {
    pub(crate) const LENGTHS: usize = 32;
    /// The first are all that are less than two to the power of this, which is some dozens of nanoseconds.
    const FIRST: u32 = 7;

    /// For its only writer.
    pub(crate) fn add(&self, ticks: u64) {
        let bits = u64::BITS - ticks.leading_zeros();
        let place = bits.saturating_sub(Self::FIRST) as usize;
        self.by_length[place.min(Self::LENGTHS - 1)].add(1);
        self.sum.add(ticks);
    }

    /// How many times there are of each length.
    pub(crate) fn counts(&self) -> [u64; Self::LENGTHS] {
        std::array::from_fn(|place| self.by_length[place].get())
    }

    /// All of them together, in ticks.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// In ticks: the times that are counted in a place are less; those in the last may be more.
    pub(crate) fn bound(place: usize) -> u64 {
        1 << (place as u32 + Self::FIRST)
    }
}

impl Runnable {
    /// Whether it has not run.
    pub(crate) fn is_fresh(&self) -> bool {
        self.green().home().is_none()
    }

    /// Has whoever runs it next note how long it has waited for that since now.
    pub(crate) fn time_delay(&self) {
        self.0.since.store(ticks::now(), Ordering::Relaxed);
        self.green().own_stack.set_timed();
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_less_than_its_bound_and_not_less_than_the_one_before() {
        for ticks in (0..63).flat_map(|power| [(1 << power) - 1, 1 << power]) {
            let times = Times::default();
            times.add(ticks);
            let place = times.counts().iter().position(|count| *count == 1).unwrap();
            let is_last = place == Times::LENGTHS - 1;
            assert!(ticks < Times::bound(place) || is_last, "{ticks}");
            assert!(place == 0 || ticks >= Times::bound(place - 1), "{ticks}");
            assert_eq!(
                (times.counts().iter().sum::<u64>(), times.sum()),
                (1, ticks)
            );
        }
    }

    #[test]
    fn one_of_so_many_is_timed() {
        let countdown = Countdown::new();
        let mut timed = 0;
        for _ in 0..10 * u32::from(SAMPLE) {
            if countdown.is_over() {
                countdown.begin();
                timed += 1;
            }
        }
        assert_eq!(timed, 10);
    }
}
