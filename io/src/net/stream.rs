//! What the streams of sockets have in common, whatever their addresses are: blocking reads and writes.
//!
//! The description of a stream is in the mode that its user has set, as std's is: each system call
//! carries a flag that makes it non-blocking.

use std::io::{self, IoSlice, IoSliceMut};

use rustix::io::Errno;

use crate::buffers::{skip, taken, taken_mut, total};
use crate::io::{Raw, received};
use crate::looking::operate_looking;
use crate::readiness::Direction;
use crate::settings::Settings;
use crate::source::{Attempt, Patience, Signs};

/// A stream whose blocking operations have a mode and timeouts.
pub(crate) trait Stream: Raw {
    /// Whether a write that waits for room [looks](crate::looking) by itself, since the system does not tell of all that ends its wait.
    const MUST_LOOK: bool = false;

    fn settings(&self) -> &Settings;

    fn patience(&self, direction: Direction) -> io::Result<Patience> {
        self.settings().patience(self.source().fd(), direction)
    }

    /// Reads once.
    #[track_caller]
    fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        receive_with(self, buf.len(), || self.try_read(&mut *buf))
    }

    #[track_caller]
    fn receive_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bufs = taken_mut(bufs);
        receive_with(self, total(bufs), || self.try_read_vectored(bufs))
    }

    /// Writes all of it, unless an error or a timeout comes after a part.
    #[track_caller]
    fn transmit(&self, buf: &[u8]) -> io::Result<usize> {
        transmit_with(self, buf.len(), |sent| self.try_write(&buf[sent..]))
    }

    #[track_caller]
    fn transmit_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = taken(bufs);
        transmit_with(self, total(bufs), |sent| match sent {
            0 => self.try_write_vectored(bufs),
            _ => self.try_write_vectored(&skip(bufs, sent)),
        })
    }
}

/// Reads once, with a call of `try_read` that has room for `room` bytes.
#[track_caller]
fn receive_with<S: Stream + ?Sized>(
    stream: &S,
    room: usize,
    mut try_read: impl FnMut() -> Result<usize, Errno>,
) -> io::Result<usize> {
    stream.source().operate(
        Direction::Read,
        || stream.patience(Direction::Read),
        |_| received(stream, try_read(), room),
    )
}

/// Writes `total` bytes with calls of `try_write`, which is told how many have been written so
/// far. Gives the number of bytes written if there are any, since an error comes again with
/// the next write.
#[track_caller]
pub(crate) fn transmit_with<S: Stream + ?Sized>(
    stream: &S,
    total: usize,
    mut try_write: impl FnMut(usize) -> Result<usize, Errno>,
) -> io::Result<usize> {
    let mut sent = 0;
    let must_look = || S::MUST_LOOK;
    let patience = || stream.patience(Direction::Write);
    let attempt = |signs: Signs| {
        // To try would take the error that ended the connection from the next write.
        if signs.hung_up && sent > 0 {
            return Ok(Attempt::Done(()));
        }
        match try_write(sent) {
            Ok(more) => {
                sent += more;
                // The system takes all that it has room for, so there is none left.
                let all = sent == total;
                Ok(if all {
                    Attempt::Done(())
                } else {
                    Attempt::WouldBlock
                })
            }
            Err(error) => Attempt::of(Err(error)),
        }
    };
    let source = stream.source();
    let direction = Direction::Write;
    let why = source.why(direction);
    let result = operate_looking(source, why, direction, must_look, patience, attempt);
    match result {
        Err(error) if sent == 0 => Err(error),
        _ => Ok(sent),
    }
}

/// Implements `Read` and `Write` for a [`Stream`] and for references to one.
macro_rules! read_and_write {
    ($Stream:ident) => {
        const _: () = {
            use std::io::{self, IoSlice, IoSliceMut, Read, Write};

            use crate::net::stream::Stream as _;

            impl Read for &$Stream {
                #[track_caller]
                fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                    self.receive(buf)
                }

                #[track_caller]
                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                    self.receive_vectored(bufs)
                }
            }

            impl Write for &$Stream {
                #[track_caller]
                fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                    self.transmit(buf)
                }

                #[track_caller]
                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                    self.transmit_vectored(bufs)
                }

                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }

            crate::by_reference::read_by_reference!($Stream);
            crate::by_reference::write_by_reference!($Stream);
        };
    };
}

pub(crate) use read_and_write;
