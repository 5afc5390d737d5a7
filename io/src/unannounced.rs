//! Operations that wait for what the system announces to nobody who polls.
//!
//! Room in the queue of a Unix socket is such a thing for whoever is not connected to it: for who connects to a
//! listener whose backlog is full, and for who sends a datagram to an address. The system lets them block in the
//! call, and wakes them there; a descriptor of theirs that is polled says that it is ready, or nothing.
//!
//! A plain OS thread that nothing may interrupt blocks in the call. Elsewhere the operation is tried again after
//! pauses that grow. It is not handed over: no cancellation and no deadline would end it, each that waits would
//! take an OS thread, and who makes room may be a green thread that needs one.

use std::io;
use std::time::{Duration, Instant};

use roving_scheduler::thread;
use roving_scheduler::time::sleep_async;
use roving_scheduler::wait::{self, Interrupt};

use crate::error::would_block;
use crate::source::{Attempt, Patience};

/// How often others run before the first pause: whoever makes room may be one of them.
const TURNS: u32 = 4;
const SHORTEST: Duration = Duration::from_micros(50);
/// How much later than possible an operation ends, at most. A hundred tries a second are a thousandth of a core.
const LONGEST: Duration = Duration::from_millis(10);

/// Does what `attempt` does, as often as it takes. `what` it is tells those who ask what the thread waits for.
///
/// If the thread is `alone`, as [`waits_alone`](crate::source::waits_alone) tells, `attempt` may block, for as long as the socket's
/// timeout and mode say. Otherwise it must not, and `patience` is asked, at most once.
///
/// # Errors
///
/// Those of both closures; `WouldBlock` if there is no patience, or no more; `TimedOut` or `Other` if the thread is
/// interrupted.
#[track_caller]
pub(crate) fn insist<T>(
    alone: bool,
    what: &'static str,
    patience: impl FnOnce() -> io::Result<Patience>,
    mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
) -> io::Result<T> {
    if let Attempt::Done(value) = attempt()? {
        return Ok(value);
    }
    let limit = match patience()? {
        _ if alone => return Err(would_block()),
        Patience::None => return Err(would_block()),
        Patience::Until(deadline) => Some(deadline),
        Patience::Forever => None,
    };
    for _ in 0..TURNS {
        thread::yield_now();
        if let Attempt::Done(value) = attempt()? {
            return Ok(value);
        }
    }
    for pause in pauses() {
        let end = Instant::now() + pause;
        wait::begin_interruptible()
            .why(&what)
            .try_block(Some(limit.map_or(end, |limit| limit.min(end))))
            .map_err(Interrupt::into_error)?;
        if let Attempt::Done(value) = attempt()? {
            return Ok(value);
        }
        if limit.is_some_and(|limit| limit <= Instant::now()) {
            break;
        }
    }
    Err(would_block())
}

/// Does what `attempt` does, which must not block, as a future.
pub(crate) async fn insist_async<T>(
    mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
) -> io::Result<T> {
    if let Attempt::Done(value) = attempt()? {
        return Ok(value);
    }
    let mut pauses = pauses();
    loop {
        sleep_async(pauses.next().unwrap_or(LONGEST)).await;
        if let Attempt::Done(value) = attempt()? {
            return Ok(value);
        }
    }
}

/// It never ends.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(SHORTEST), |pause| Some((*pause * 2).min(LONGEST)))
}
