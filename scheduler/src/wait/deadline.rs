//! Deadlines over whatever blocks: [`deadline()`].

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::run::ambient::Kind;
use crate::wait::ambient;
use crate::wait::interrupt::DeadlineElapsed;

/// Calls `f`, whose waits in this crate end when `limit` is over: reads, locks, joins, sleeps, channel
/// operations, also in the children that it spawns in a
/// [`scope`](crate::thread::scope()) or a [`Group`](crate::Group).
///
/// An operation with an error for a timeout returns it: a read fails with
/// [`TimedOut`](std::io::ErrorKind::TimedOut), a `recv_timeout` times out early. All others unwind
/// up to here, without calling the panic hook; and so does the first that would block after such an
/// error was returned, so that a loop which ignores errors ends too. Destructors run and may block; a destructor
/// that must not block for long should set a deadline of its own, which applies although the thread
/// unwinds or ends. Code that does not wait in this crate, such as a computation or a call in
/// [`blocking`](crate::blocking::run), is not interrupted.
///
/// Deadlines nest: the nearest counts. [`deadline_at`] takes an instant.
///
/// # Errors
///
/// [`DeadlineElapsed`] if `f` was unwound because of this deadline. If `f` returned, its result
/// is returned, however late.
///
/// # Panics
///
/// A panic of `f` propagates to the caller. With `panic = "abort"` nothing can unwind: calls that
/// cannot return an error are not interrupted.
///
/// # Examples
///
/// ```
/// use roving::{deadline, thread};
/// use std::time::Duration;
///
/// let done = deadline(Duration::from_secs(10), || 1 + 1);
/// assert_eq!(done, Ok(2));
/// let late = deadline(Duration::from_millis(1), || thread::sleep(Duration::MAX));
/// assert!(late.is_err());
/// ```
pub fn deadline<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<T, DeadlineElapsed> {
    match Instant::now().checked_add(limit) {
        Some(at) => deadline_at(at, f),
        None => Ok(f()),
    }
}

/// Like [`deadline()`], with the instant at which blocking calls end.
///
/// # Errors
///
/// Those of [`deadline()`].
pub fn deadline_at<T>(at: Instant, f: impl FnOnce() -> T) -> Result<T, DeadlineElapsed> {
    let frame = ambient::enter(Kind::Deadline(at));
    let id = frame.id;
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    drop(frame);
    match result {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast::<DeadlineElapsed>() {
            Ok(elapsed) if elapsed.frame == id => Err(*elapsed),
            Ok(of_another) => panic::resume_unwind(of_another),
            Err(payload) => panic::resume_unwind(payload),
        },
    }
}
