//! Receiving datagrams, whatever the addresses are.
//!
//! When receiving has been shut down, Linux tells the end only to who blocks in the call. So who has found nothing, and may
//! have missed that, asks.

use std::io;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::mode;
use crate::readiness::Direction;
use crate::settings::Settings;
use crate::source::{Attempt, Signs, Source};

/// Waits for what `attempt` receives. `None` if nothing can be received any more.
#[track_caller]
pub(crate) fn receive<T>(
    source: &Source,
    settings: &Settings,
    mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
) -> io::Result<Option<T>> {
    source.operate(
        Direction::Read,
        || settings.patience(source.fd(), Direction::Read),
        |signs| receive_or_end(source, signs, &mut attempt),
    )
}

pub(crate) async fn receive_async<T>(
    source: &Source,
    mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
) -> io::Result<Option<T>> {
    let attempt = |signs| receive_or_end(source, signs, &mut attempt);
    source.operate_async(Direction::Read, attempt).await
}

fn receive_or_end<T>(
    source: &Source,
    signs: Signs,
    mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
) -> io::Result<Attempt<Option<T>>> {
    let first = match attempt() {
        Err(error) if mode::is_end(&error) => return Ok(Attempt::Done(None)),
        first => first?,
    };
    match first {
        Attempt::WouldBlock | Attempt::Empty
            if signs.irregular && mode::is_shut_down(source.fd())? =>
        {
            // Nothing comes from now on, but something may have come just before.
            match attempt()? {
                Attempt::WouldBlock | Attempt::Empty => Ok(Attempt::Done(None)),
                last => Ok(last.map(Some)),
            }
        }
        first => Ok(first.map(Some)),
    }
}

/// Sorts out what was received with these flags. Where there was nothing to take there is nothing; where there was nothing to
/// peek at there may be what has been peeked at before (`SO_PEEK_OFF`).
pub(crate) fn received<T>(result: Result<T, Errno>, flags: RecvFlags) -> io::Result<Attempt<T>> {
    match result {
        Err(Errno::AGAIN) if !flags.contains(RecvFlags::PEEK) => Ok(Attempt::Empty),
        result => Attempt::of(result),
    }
}
