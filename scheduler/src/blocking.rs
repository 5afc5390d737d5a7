//! Calls that block in the system, off the workers.
//!
//! A worker that sits in `getaddrinfo` runs no green thread. Such a call is handed to one of the
//! runtime's helper OS threads, and the green thread parks meanwhile.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

pub use crate::run::helpers::Kind;

use crate::run::context;
use crate::run::helpers::Lane;
use crate::run::panicking;
use crate::runtime;
use crate::stack::fp::{Environment, Saved};
use crate::wait;

/// Calls `f` on a helper OS thread and waits for its result, so that the other green threads of
/// this worker go on. On a plain OS thread it just calls `f`.
///
/// As many calls of a runtime as [`Builder::max_blocking`](crate::Builder::max_blocking) says may be
/// under way at once, 512 if it says nothing. Further ones wait for their turn, and the first of them
/// prints a line on standard error. Name look-ups of `net` do not count.
///
/// If the green thread is cancelled meanwhile, it unwinds, and the call ends on its own. Its result is
/// dropped then; a panic of its destructor is printed, and harms nobody.
///
/// A helper that has started a process does not end before that, so one that is to die with its parent
/// (`PR_SET_PDEATHSIG`) lives as long as this process does. (The parent of what a green thread
/// starts itself is its worker, which ends with the runtime.)
///
/// # Errors
///
/// No helper is there, and the system refuses another OS thread.
///
/// # Panics
///
/// A panic of `f` goes on in the caller.
///
/// # Examples
///
/// ```
/// let sum = roving::blocking(|| (1..=10).sum::<u32>())?;
/// assert_eq!(sum, 55);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    run_as(Kind::Call, f)
}

/// Like [`run`], for a call of some kind: each has helpers of its own.
///
/// # Errors
///
/// As [`run`].
///
/// # Panics
///
/// As [`run`].
pub fn run_as<T: Send + 'static>(
    kind: Kind,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let Some(lane) = lane(kind)? else {
        return Ok(f());
    };
    let wait = wait::begin();
    let ticket = wait.ticket();
    let result = Arc::new(Slot(Mutex::new(None)));
    let slot = result.clone();
    let environment = Saved::new(Environment::current());
    lane.submit(Box::new(move || {
        let call = || panic::catch_unwind(AssertUnwindSafe(f));
        let outcome = environment.run_in(Environment::current(), call);
        *slot.0.lock() = Some(outcome);
        ticket.fire();
    }))?;
    wait.block(None);
    let outcome = result.0.lock().take();
    match outcome.expect("the helper wrote it before it fired") {
        Ok(value) => Ok(value),
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Has a helper call `f`, and does not wait for it. On a plain OS thread it just calls `f`.
///
/// # Errors
///
/// No helper is there, and the system refuses another OS thread; `f` has been dropped.
pub fn hand_over(kind: Kind, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    match lane(kind)? {
        None => f(),
        Some(lane) => lane.submit(Box::new(move || panicking::contain(f)))?,
    }
    Ok(())
}

/// The helpers for the current thread; `None` on a plain OS thread, which needs none.
fn lane(kind: Kind) -> io::Result<Option<Arc<Lane>>> {
    if !context::is_green() {
        return Ok(None);
    }
    Ok(Some(runtime::current()?.helpers.lane(kind).clone()))
}

/// The way of a result from the helper to the green thread. If that has been cancelled, the last of
/// the two to let go drops the result, be it unwinding or be it the helper, which others need: so
/// a panic of its destructor ends there.
struct Slot<T>(Mutex<Option<thread::Result<T>>>);

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if let Some(result) = self.0.get_mut().take() {
            panicking::contain(|| drop(result));
        }
    }
}
