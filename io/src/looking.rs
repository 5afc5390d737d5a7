//! Writes that look now and then whether there is still somebody to write to.
//!
//! A poll tells nobody that a write to a stream of Unix would fail from now on, because the peer has shut down its reading or
//! somebody has shut down the writing, as long as it has no room. A thread that blocks in the call is told. So whoever waits for
//! room looks by itself, whatever the descriptor came as.

#[cfg(unix)]
mod streams;

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use roving_scheduler::wait::Why;

use crate::readiness::Direction;
use crate::source::{Attempt, Patience, Signs, Source};

#[cfg(unix)]
pub(crate) use self::streams::{is_unix, look};

/// How long who waits relies on the system to tell of all that ends its wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Does what `attempt` does, as [`Source::operate_for`] does it, but tries again now and then while it waits, if it `must_look`: that is
/// asked at most once, before the first wait, and so is `patience`.
///
/// # Errors
///
/// As [`Source::operate_for`].
#[inline]
#[track_caller]
pub(crate) fn operate_looking<T, W: Why>(
    source: &Source,
    why: impl Fn() -> W,
    direction: Direction,
    must_look: impl Fn() -> bool,
    patience: impl Fn() -> io::Result<Patience>,
    mut attempt: impl FnMut(Signs) -> io::Result<Attempt<T>>,
) -> io::Result<T> {
    let whole = Cell::new(None);
    // When the wait ends only for a look.
    let look = Cell::new(None);
    let patience = || {
        let (patience, must_look) = match whole.get() {
            Some(known) => known,
            None => (patience()?, must_look()),
        };
        whole.set(Some((patience, must_look)));
        look.set(None);
        if !must_look || patience == Patience::None {
            return Ok(patience);
        }
        let next = Instant::now() + PAUSE;
        if matches!(patience, Patience::Until(deadline) if deadline <= next) {
            return Ok(patience);
        }
        look.set(Some(next));
        Ok(Patience::Until(next))
    };
    loop {
        match source.operate_for(&why, direction, patience, &mut attempt) {
            // What the system says that has no room for a wait is of the same kind, and comes before.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && look.get().is_some_and(|look| look <= Instant::now()) => {}
            result => return result,
        }
    }
}
