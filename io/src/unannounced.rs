//! Operations that wait for what the system announces to nobody who polls.
//!
//! Room in the queue of a Unix socket is such a thing for whoever is not connected to it: for who connects to a
//! listener whose backlog is full, and for who sends a datagram to an address. The system lets them block in the
//! call, and wakes them there; a descriptor of theirs that is polled says that it is ready, and each send in vain makes
//! an edge, so that who waits for edges spins.
//!
//! A plain OS thread that nothing may interrupt blocks in the call. Elsewhere the operation is tried again after
//! pauses that grow, and that are the longer the more wait, so that all together do not try more often than
//! 20,000 times a second. It is not handed over: no cancellation and no deadline would end it, each that waits would
//! take an OS thread, and who makes room may be a green thread that needs one.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use roving_scheduler::time::sleep_async;
use roving_scheduler::wait::{self, Interrupt};

use crate::error::would_block;
use crate::source::{Attempt, Patience};
use crate::yielding::let_others_run;

/// How often others run before the first pause: whoever makes room may be one of them.
const TURNS: u32 = 4;
const SHORTEST: Duration = Duration::from_micros(50);
/// How much later than possible an operation ends, at most, if few wait. A hundred tries a second are a thousandth of
/// a core.
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
        let_others_run();
        if let Attempt::Done(value) = attempt()? {
            return Ok(value);
        }
    }
    let mut pauses = Pauses::begin();
    loop {
        let end = Instant::now() + pauses.next();
        wait::begin_interruptible()
            .why(&what)
            .try_block(Some(limit.map_or(end, |limit| limit.min(end))))
            .map_err(Interrupt::into_error)?;
        if let Attempt::Done(value) = attempt()? {
            return Ok(value);
        }
        if limit.is_some_and(|limit| limit <= Instant::now()) {
            return Err(would_block());
        }
    }
}

/// Does what `attempt` does, which must not block, as a future.
pub(crate) async fn insist_async<T>(
    mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
) -> io::Result<T> {
    if let Attempt::Done(value) = attempt()? {
        return Ok(value);
    }
    let mut pauses = Pauses::begin();
    loop {
        sleep_async(pauses.next()).await;
        if let Attempt::Done(value) = attempt()? {
            return Ok(value);
        }
    }
}

/// How many there are of [`Pauses`].
static WAITING: AtomicU32 = AtomicU32::new(0);

/// The pauses of one operation.
struct Pauses {
    next: Duration,
}

impl Pauses {
    fn begin() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self { next: SHORTEST }
    }

    fn next(&mut self) -> Duration {
        let next = self.next;
        self.next = (next * 2).min(LONGEST);
        next.max(SHORTEST * WAITING.load(Ordering::Relaxed))
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_time_and_with_those_who_wait() {
        let mut one = Pauses::begin();
        let grown: Vec<_> = (0..20).map(|_| one.next()).collect();
        assert!(grown.is_sorted());
        assert_eq!((grown[0], grown[19]), (SHORTEST, LONGEST));
        let others: Vec<_> = (1..1000).map(|_| Pauses::begin()).collect();
        assert_eq!(one.next(), Duration::from_millis(50));
        drop(others);
        assert_eq!(one.next(), LONGEST);
    }
}
