//! What `Async` can be made of, and the operations that it is polled for.
//!
//! A kind of descriptor becomes one by saying how to try to read and to write it: see [`Raw`].

use std::future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::buffer::Buffer;
use rustix::io::Errno;

use crate::polled::Pending;
use crate::readiness::Direction;
use crate::source::{Attempt, Source};

/// A stream of bytes that can be read and written in futures, as an `Async`:
/// [`TcpStream`](crate::net::TcpStream), [`UnixStream`](crate::os::unix::net::UnixStream), and an [`Arc`] of one. Others cannot implement it.
pub trait ByteStream: Raw {}

impl<S: Raw> ByteStream for S {}

/// How many buffers the system takes in one call.
pub(crate) const MOST_BUFFERS: usize = 1024;

/// How to try an operation. None of them blocks, whatever the mode of the descriptor.
pub trait Raw: Send + Sync {
    /// Whether a system call that has moved a part of what it was given has told that the next one would block
    /// until an edge. If not, each operation tries before it waits.
    const A_PART_DRAINS: bool = false;

    fn source(&self) -> &Source;

    /// Reads into the beginning of `buf`.
    fn try_read<B: Buffer<u8>>(&self, buf: B) -> Result<B::Output, Errno>;

    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;

    fn try_write(&self, buf: &[u8]) -> Result<usize, Errno>;

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// Tells the other end that nothing more will be written.
    fn close(&self) -> io::Result<()>;

    fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buf.len();
        let source = self.source();
        source.poll_operate(pending, Direction::Read, context, |_| {
            moved::<Self>(self.try_read(&mut *buf), room)
        })
    }

    /// Reads into the beginning of `buf`, and gives how many bytes of it are initialised by that.
    fn poll_read_uninit(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let room = buf.len();
        let source = self.source();
        source.poll_operate(pending, Direction::Read, context, |_| {
            let read = self.try_read(&mut *buf).map(|(read, _)| read.len());
            moved::<Self>(read, room)
        })
    }

    fn poll_read_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let most = bufs.len().min(MOST_BUFFERS);
        let bufs = &mut bufs[..most];
        let room = bufs.iter().map(|buf| buf.len()).sum();
        let source = self.source();
        source.poll_operate(pending, Direction::Read, context, |_| {
            moved::<Self>(self.try_read_vectored(bufs), room)
        })
    }

    fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let source = self.source();
        source.poll_operate(pending, Direction::Write, context, |_| {
            moved::<Self>(self.try_write(buf), buf.len())
        })
    }

    fn poll_write_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(MOST_BUFFERS)];
        let total = bufs.iter().map(|buf| buf.len()).sum();
        let source = self.source();
        source.poll_operate(pending, Direction::Write, context, |_| {
            moved::<Self>(self.try_write_vectored(bufs), total)
        })
    }
}

impl<S: Raw> Raw for Arc<S> {
    const A_PART_DRAINS: bool = S::A_PART_DRAINS;

    fn source(&self) -> &Source {
        (**self).source()
    }

    fn try_read<B: Buffer<u8>>(&self, buf: B) -> Result<B::Output, Errno> {
        (**self).try_read(buf)
    }

    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        (**self).try_read_vectored(bufs)
    }

    fn try_write(&self, buf: &[u8]) -> Result<usize, Errno> {
        (**self).try_write(buf)
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        (**self).try_write_vectored(bufs)
    }

    fn close(&self) -> io::Result<()> {
        (**self).close()
    }
}

/// What came of a try to move `all` bytes.
pub(crate) fn moved<S: Raw + ?Sized>(
    result: Result<usize, Errno>,
    all: usize,
) -> io::Result<Attempt<usize>> {
    match result {
        Ok(part) if S::A_PART_DRAINS && 0 < part && part < all => Ok(Attempt::Drained(part)),
        result => Attempt::of(result),
    }
}

/// Reads once.
pub(crate) async fn read_async(stream: &impl Raw, buf: &mut [u8]) -> io::Result<usize> {
    let mut pending = Pending::default();
    future::poll_fn(|context| stream.poll_read(&mut pending, context, buf)).await
}

/// Writes once.
pub(crate) async fn write_async(stream: &impl Raw, buf: &[u8]) -> io::Result<usize> {
    let mut pending = Pending::default();
    future::poll_fn(|context| stream.poll_write(&mut pending, context, buf)).await
}
