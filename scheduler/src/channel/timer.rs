//! Receivers of the clock: [`after`], [`at`], [`tick`] and [`never()`]. There is no thread behind
//! them: whoever receives waits until the time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;

use super::Receiver;

/// What gives messages at certain times.
pub(super) trait Clock<T>: Send + Sync {
    /// When the next message comes; `None` if none will.
    fn next(&self) -> Option<Instant>;

    /// Takes the message that has come.
    fn take(&self) -> Option<Instant>;

    /// The message of a time.
    fn message(&self, time: Instant) -> T;
}

struct At {
    time: Instant,
    taken: AtomicBool,
}

impl Clock<Instant> for At {
    fn next(&self) -> Option<Instant> {
        (!self.taken.load(Ordering::Relaxed)).then_some(self.time)
    }

    fn take(&self) -> Option<Instant> {
        let is_mine = Instant::now() >= self.time && !self.taken.swap(true, Ordering::Relaxed);
        is_mine.then_some(self.time)
    }

    fn message(&self, time: Instant) -> Instant {
        time
    }
}

struct Tick {
    /// `None` if the clock cannot tell it.
    next: Mutex<Option<Instant>>,
    period: Duration,
}

impl Clock<Instant> for Tick {
    fn next(&self) -> Option<Instant> {
        *self.next.lock()
    }

    fn take(&self) -> Option<Instant> {
        let mut next = self.next.lock();
        let now = Instant::now();
        let time = next.filter(|time| *time <= now)?;
        *next = now.checked_add(self.period);
        Some(time)
    }

    fn message(&self, time: Instant) -> Instant {
        time
    }
}

/// Creates a receiver that gets one message after `duration`: the instant for which it was due.
///
/// # Examples
///
/// ```
/// use roving::channel;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let due = channel::after(Duration::from_millis(2)).recv().unwrap();
/// assert!(due >= start + Duration::from_millis(2) && Instant::now() >= due);
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(time) => at(time),
        None => never(),
    }
}

/// Creates a receiver that gets one message at `when`.
///
/// # Examples
///
/// ```
/// use roving::channel;
/// use std::time::{Duration, Instant};
///
/// let when = Instant::now() + Duration::from_millis(2);
/// assert_eq!(channel::at(when).recv(), Ok(when));
/// ```
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver::of_clock(Arc::new(At {
        time: when,
        taken: AtomicBool::new(false),
    }))
}

/// Creates a receiver that gets a message each `duration`. One that is not received in time delays
/// the next: they do not pile up.
///
/// # Examples
///
/// ```
/// use roving::channel;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let ticker = channel::tick(Duration::from_millis(1));
/// for _ in 0..3 {
///     ticker.recv().unwrap();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(3));
/// ```
pub fn tick(duration: Duration) -> Receiver<Instant> {
    Receiver::of_clock(Arc::new(Tick {
        next: Mutex::new(Instant::now().checked_add(duration)),
        period: duration,
    }))
}

/// Creates a receiver that never gets a message: for an arm of a select that is switched off.
///
/// # Examples
///
/// ```
/// use roving::channel;
///
/// assert!(channel::never::<u32>().try_recv().is_err());
/// ```
pub fn never<T>() -> Receiver<T> {
    Receiver::of_nothing()
}

impl<T> fmt::Debug for dyn Clock<T> + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}
