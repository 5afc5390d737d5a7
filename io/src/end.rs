//! One end of a pipe, or of anything else that bytes go into or come out of, whose open file description another process
//! may have too.
//!
//! It is as blocking or non-blocking as whoever made it has left it, and stays so: see [`nowait`](crate::nowait). If it is
//! non-blocking, operations that would block fail, as they do in std; that is asked for each time, since another process
//! may change it.

use std::future;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::fs::{OFlags, fcntl_getfl};

use crate::buffers::{skip, taken, taken_mut, total};
use crate::looking::{is_unix, operate_looking};
use crate::nowait::NoWait;
use crate::polled::Pending;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::source::{Attempt, Patience, Signs, Source};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct End {
    source: Source,
    nowait: NoWait,
}

impl End {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            source: Source::new(fd),
            nowait: NoWait::default(),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }

    /// Gives the descriptor away.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.source.into_fd()
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.fd().try_clone_to_owned()?))
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn ready(&self, direction: Direction) -> Ready<'_> {
        Ready::new(&self.source, direction)
    }

    /// Reads what is there, as soon as there is something. Gives 0 at the end.
    #[track_caller]
    pub(crate) fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bufs = taken_mut(bufs);
        let patience = || self.patience();
        self.source.operate(Direction::Read, patience, |_| {
            Attempt::of(self.nowait.read(self.fd(), bufs))
        })
    }

    /// Writes all. Gives the number of bytes written if there are any, since an error comes again with the next write.
    #[track_caller]
    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = taken(bufs);
        let total = total(bufs);
        let must_look = || is_unix(self.fd());
        let patience = || self.patience();
        let mut written = 0;
        let attempt = |signs: Signs| {
            loop {
                // To try would take the error from the next write.
                if signs.hung_up && written > 0 {
                    return Ok(Attempt::Done(()));
                }
                let result = match written {
                    0 => self.nowait.write(self.fd(), bufs),
                    _ => self.nowait.write(self.fd(), &skip(bufs, written)),
                };
                let more = match result {
                    Ok(more) => more,
                    Err(error) => return Attempt::of(Err(error)),
                };
                written += more;
                // Only an error says that there is no more room; and a device may take nothing without one.
                if written == total || more == 0 {
                    return Ok(Attempt::Done(()));
                }
            }
        };
        let (source, direction) = (&self.source, Direction::Write);
        let why = source.why(direction);
        let result = operate_looking(source, why, direction, must_look, patience, attempt);
        match result {
            Err(error) if written == 0 => Err(error),
            _ => Ok(written),
        }
    }

    /// Reads what is there, as [`read`](Self::read) does, or leaves its wait in `pending`.
    pub(crate) fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = taken_mut(bufs);
        let source = &self.source;
        source.poll_operate(pending, Direction::Read, context, |_| {
            Attempt::of(self.nowait.read(self.fd(), bufs))
        })
    }

    /// Writes what there is room for, or less, or leaves its wait in `pending`.
    pub(crate) fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = taken(bufs);
        let source = &self.source;
        source.poll_operate(pending, Direction::Write, context, |_| {
            Attempt::of(self.nowait.write(self.fd(), bufs))
        })
    }

    /// Reads once, as a future.
    pub(crate) async fn read_async(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut pending = Pending::default();
        let mut bufs = [IoSliceMut::new(buf)];
        future::poll_fn(|context| self.poll_read(&mut pending, context, &mut bufs)).await
    }

    /// Writes once, as a future: what there is room for, or less.
    pub(crate) async fn write_async(&self, buf: &[u8]) -> io::Result<usize> {
        let mut pending = Pending::default();
        let bufs = [IoSlice::new(buf)];
        future::poll_fn(|context| self.poll_write(&mut pending, context, &bufs)).await
    }

    /// How long an operation that begins to wait now may wait.
    pub(crate) fn patience(&self) -> io::Result<Patience> {
        let is_nonblocking = fcntl_getfl(self.fd())?.contains(OFlags::NONBLOCK);
        Ok(if is_nonblocking {
            Patience::None
        } else {
            Patience::Forever
        })
    }
}
