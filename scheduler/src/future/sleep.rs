//! Sleeping in a future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::run::alarm::Alarm;
use crate::runtime;
use crate::wait::polled::Polled;

/// Waits until a time: see [`sleep_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Sleep {
    /// `None` if it will never come.
    until: Option<Instant>,
    alarm: Option<Alarm>,
    polled: Polled,
}

/// Waits for at least `duration`, from now on: [`sleep`](crate::thread::sleep) as a future, in any
/// executor. A duration beyond the range of the clock waits for ever.
///
/// On a thread that is not green it uses the timers of the global runtime, which starts by itself.
///
/// Dropping it leaves nothing behind.
///
/// # Panics
///
/// The future panics if the global runtime is needed and cannot be started.
///
/// # Examples
///
/// ```
/// use roving::block_on;
/// use roving::time::{Duration, Instant, sleep_async};
///
/// let start = Instant::now();
/// block_on(sleep_async(Duration::from_millis(2)));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep_async(duration: Duration) -> Sleep {
    Sleep::until(Instant::now().checked_add(duration))
}

/// Waits until `deadline`: [`sleep_until`](crate::thread::sleep_until) as a future. As [`sleep_async`]
/// otherwise.
pub fn sleep_until_async(deadline: Instant) -> Sleep {
    Sleep::until(Some(deadline))
}

impl Sleep {
    fn until(until: Option<Instant>) -> Self {
        Self {
            until,
            alarm: None,
            polled: Polled::default(),
        }
    }

    /// Returns the time; `None` if it will never come.
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(until) = this.until else {
            return Poll::Pending;
        };
        loop {
            if until <= Instant::now() {
                this.alarm = None;
                return Poll::Ready(());
            }
            if this.alarm.is_none() {
                this.alarm = Alarm::set(runtime::current(), until, this.polled.begin());
                if this.alarm.is_none() {
                    return Poll::Pending;
                }
            }
            if this.polled.poll(context).is_pending() {
                return Poll::Pending;
            }
            // Its runtime may have ended.
            this.alarm = None;
        }
    }
}
