//! The standard streams without buffers.
//!
//! Their descriptors are nobody's: another one may be put in the place of each at any time, by `dup2`. So nothing is known of
//! them from one call to the next. A call that has to wait does so with a duplicate, which it finishes with; if there can be none, since
//! the process or the system has no descriptors left, it [tries again](crate::unannounced) now and then.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, writev};

use crate::buffers::{taken, taken_mut, total};
use crate::looking::{is_unix, operate_looking};
use crate::nowait::NoWait;
use crate::readiness::Direction;
use crate::source::{Attempt, Patience, Source};
use crate::unannounced::insist;
use crate::yielding::Operations;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl Stream {
    pub(super) fn fd(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdin => rustix::stdio::stdin(),
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
        }
    }

    /// What a thread does that waits.
    fn what(self) -> &'static str {
        match self {
            Self::Stdin => "read standard input",
            Self::Stdout => "write to standard output",
            Self::Stderr => "write to standard error",
        }
    }

    /// Does what `attempt` does with the descriptor, as soon as that does not block. Gives `closed` if there is no descriptor,
    /// as std does.
    #[track_caller]
    fn operate<T>(
        self,
        direction: Direction,
        closed: T,
        mut attempt: impl FnMut(&NoWait, BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> io::Result<T> {
        static OPERATIONS: Operations = Operations::new();
        OPERATIONS.take_turn();
        let nowait = NoWait::default();
        let fd = self.fd();
        match attempt(&nowait, fd) {
            Err(Errno::AGAIN) => {}
            Err(Errno::BADF) => return Ok(closed),
            result => return Ok(result?),
        }
        let patience = || Ok(Patience::Forever);
        let Ok(source) = duplicate(fd) else {
            // The process may have as many descriptors as it can have, and prints all the same.
            return insist(false, self.what(), patience, || {
                Attempt::of(attempt(&nowait, fd))
            });
        };
        let why = || self.what();
        let must_look = || direction == Direction::Write && is_unix(source.fd());
        // The number may be another's by now, of whom the duplicate was made.
        let nowait = NoWait::default();
        let attempt = |_| Attempt::of(attempt(&nowait, source.fd()));
        operate_looking(&source, why, direction, must_look, patience, attempt)
    }

    /// Writes once.
    #[track_caller]
    pub(super) fn write(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let all = total(bufs);
        let bufs = taken(bufs);
        self.operate(Direction::Write, all, |nowait, fd| nowait.write(fd, bufs))
    }

    /// The same, and keeps the OS thread for it.
    pub(super) fn write_at_last(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let (fd, bufs) = (self.fd(), taken(bufs));
        loop {
            match writev(fd, bufs) {
                // Somebody has made the description non-blocking.
                Err(Errno::AGAIN) => {
                    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None)?;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// What can be waited with for the descriptor, even if another one is put in its place.
fn duplicate(fd: BorrowedFd<'_>) -> io::Result<Source> {
    let source = Source::new(fd.try_clone_to_owned()?);
    source.prepare()?;
    Ok(source)
}

/// Standard input.
#[derive(Debug)]
pub(super) struct RawStdin;

impl Read for RawStdin {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bufs = taken_mut(bufs);
        Stream::Stdin.operate(Direction::Read, 0, |nowait, fd| nowait.read(fd, bufs))
    }
}
