//! Time: [`sleep`], [`interval`], [`timeout`]. [`Instant`] and [`Duration`] are std's.

use std::fmt;
use std::future::pending;

use crate::wait::DeadlineElapsed;
use crate::wait::deadline::deadline;

pub use crate::future::{Sleep, sleep_async, sleep_until_async};
pub use crate::thread::{sleep, sleep_until};
pub use std::time::{Duration, Instant, SystemTime, SystemTimeError, UNIX_EPOCH};

/// Calls `f`, whose blocking calls end when `duration` is over: [`deadline()`] by the name that it
/// has elsewhere.
///
/// # Errors
///
/// Those of [`deadline()`].
///
/// # Examples
///
/// ```
/// use roving::time::{Duration, sleep, timeout};
///
/// assert!(timeout(Duration::from_millis(1), || sleep(Duration::MAX)).is_err());
/// ```
pub fn timeout<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, DeadlineElapsed> {
    deadline(duration, f)
}

/// What an [`Interval`] does when ticks were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MissedTickBehavior {
    /// Catches up: ticks that were missed come at once.
    #[default]
    Burst,
    /// Goes on from now: the next tick comes a period later.
    Delay,
    /// Leaves out what was missed: the next tick comes when it would have come.
    Skip,
}

/// Ticks that come once a period: see [`interval`].
pub struct Interval {
    next: Option<Instant>,
    period: Duration,
    missed: MissedTickBehavior,
}

/// Creates ticks that come once a `period`, the first of them at once.
///
/// # Panics
///
/// Panics if `period` is zero.
///
/// # Examples
///
/// ```
/// use roving::time::{Duration, Instant, interval};
///
/// let start = Instant::now();
/// let mut ticks = interval(Duration::from_millis(1));
/// for _ in 0..4 {
///     ticks.tick();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(3));
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Creates ticks that come once a `period`, the first of them at `start`.
///
/// # Panics
///
/// Panics if `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be 0");
    Interval {
        next: Some(start),
        period,
        missed: MissedTickBehavior::default(),
    }
}

impl Interval {
    /// Blocks until the next tick, and returns the instant for which it was due.
    pub fn tick(&mut self) -> Instant {
        let Some(due) = self.next else {
            // The clock cannot tell the time of the next tick.
            sleep(Duration::MAX);
            unreachable!("that never ends");
        };
        sleep_until(due);
        self.ticked(due)
    }

    /// Waits for the next tick: [`tick`](Self::tick) in a future, in any executor.
    ///
    /// It is cancel-safe: dropped before it is ready, it leaves the tick to the next.
    ///
    /// # Panics
    ///
    /// The future panics where that of [`sleep_async`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::time::{Duration, Instant, interval};
    ///
    /// let start = Instant::now();
    /// let mut ticks = interval(Duration::from_millis(1));
    /// block_on(async {
    ///     ticks.tick_async().await;
    ///     ticks.tick_async().await;
    /// });
    /// assert!(start.elapsed() >= Duration::from_millis(1));
    /// ```
    pub async fn tick_async(&mut self) -> Instant {
        let Some(due) = self.next else {
            // The clock cannot tell the time of the next tick.
            return pending().await;
        };
        sleep_until_async(due).await;
        self.ticked(due)
    }

    /// Sets the next tick, after that which was due.
    fn ticked(&mut self, due: Instant) -> Instant {
        let now = Instant::now();
        let regular = due.checked_add(self.period);
        self.next = match self.missed {
            MissedTickBehavior::Burst => regular,
            _ if regular.is_none_or(|next| now < next) => regular,
            MissedTickBehavior::Delay => now.checked_add(self.period),
            MissedTickBehavior::Skip => {
                let late = now.duration_since(due).as_nanos() % self.period.as_nanos();
                let late = less_than_a_duration(late);
                now.checked_add(self.period - late)
            }
        };
        due
    }

    /// Makes the next tick come a period from now.
    pub fn reset(&mut self) {
        self.next = Instant::now().checked_add(self.period);
    }

    /// Returns the period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Returns what is done when a tick was missed.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what is done when a tick was missed.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

/// So many nanoseconds, which are fewer than some duration has.
fn less_than_a_duration(nanoseconds: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanoseconds / SECOND).expect("durations have no more seconds");
    let rest = u32::try_from(nanoseconds % SECOND).expect("it is less than a second");
    Duration::new(seconds, rest)
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("period", &self.period)
            .field("next", &self.next)
            .field("missed", &self.missed)
            .finish()
    }
}
