//! What `Async` can be made of, and the operations that it is polled for.
//!
//! A kind of socket becomes one by saying how to try to read and to write it: see [`Raw`]. What goes one way only, or tries in
//! another way, implements [`PollRead`] or [`PollWrite`] itself.

use std::future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::slice;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::buffer::Buffer;
use rustix::io::Errno;

use crate::buffers::{taken, taken_mut, total};
use crate::mode;
use crate::polled::Pending;
use crate::readiness::Direction;
use crate::source::{Attempt, Source};

/// A stream of bytes that can be read or written in futures, as an `Async`:
/// [`TcpStream`](crate::net::TcpStream), [`UnixStream`](crate::os::unix::net::UnixStream),
/// [`PipeReader`](crate::io::PipeReader), [`PipeWriter`](crate::io::PipeWriter), [`Watched`](crate::io::Watched), and an
/// [`Arc`] of one. Others cannot implement it.
pub trait ByteStream: Sealed {}

impl<S: Sealed> ByteStream for S {}

/// What can be read in futures: all [`ByteStream`]s but [`PipeWriter`](crate::io::PipeWriter) and what is
/// [`Watched`](crate::io::Watched) and cannot be read. Others cannot implement it.
pub trait ByteSource: PollRead {}

impl<S: PollRead> ByteSource for S {}

/// What can be written in futures: all [`ByteStream`]s but [`PipeReader`](crate::io::PipeReader) and what is
/// [`Watched`](crate::io::Watched) and cannot be written. Others cannot implement it.
pub trait ByteSink: PollWrite {}

impl<S: PollWrite> ByteSink for S {}

/// See [`ByteStream`].
pub trait Sealed {}

impl<S: Raw> Sealed for S {}

impl<S: Sealed + ?Sized> Sealed for Arc<S> {}

/// See [`ByteSource`]. Each operation leaves its wait in `pending`.
pub trait PollRead {
    fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>>;

    /// Reads into the beginning of `buf`, and returns how many bytes of it are initialised by that: never more than there are.
    fn poll_read_uninit(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        buf.fill(MaybeUninit::new(0));
        let room = buf.len();
        // SAFETY: all of it has just been written, and nobody else has it.
        let buf = unsafe { slice::from_raw_parts_mut(buf.as_mut_ptr().cast::<u8>(), room) };
        let read = ready!(self.poll_read(pending, context, buf))?;
        // It may be what somebody's `Read` says.
        assert!(
            read <= room,
            "a read into {room} bytes gave {read}, which is more"
        );
        Poll::Ready(Ok(read))
    }

    fn poll_read_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>>;
}

/// See [`ByteSink`]. Each operation leaves its wait in `pending`.
pub trait PollWrite {
    fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>>;

    fn poll_write_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Tells the other end that nothing more will be written, if there is a way to tell it.
    fn end(&self) -> io::Result<()>;
}

impl<S: PollRead + ?Sized> PollRead for Arc<S> {
    fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read(pending, context, buf)
    }

    fn poll_read_uninit(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read_uninit(pending, context, buf)
    }

    fn poll_read_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read_vectored(pending, context, bufs)
    }
}

impl<S: PollWrite + ?Sized> PollWrite for Arc<S> {
    fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write(pending, context, buf)
    }

    fn poll_write_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write_vectored(pending, context, bufs)
    }

    fn end(&self) -> io::Result<()> {
        (**self).end()
    }
}

/// How to try an operation. None of them blocks, whatever the mode of the descriptor.
pub trait Raw: Send + Sync {
    /// Whether a system call that has moved a part of what it was given has told that the next one would block
    /// until an edge. If not, each operation tries before it waits.
    fn a_part_drains(&self) -> bool {
        false
    }

    fn source(&self) -> &Source;

    /// Reads into the beginning of `buf`.
    fn try_read<B: Buffer<u8>>(&self, buf: B) -> Result<B::Output, Errno>;

    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;

    fn try_write(&self, buf: &[u8]) -> Result<usize, Errno>;

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// Tells the other end that nothing more will be written.
    fn close(&self) -> io::Result<()>;
}

impl<S: Raw> PollRead for S {
    fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buf.len();
        let source = self.source();
        source.poll_operate(pending, Direction::Read, context, |_| {
            received(self, self.try_read(&mut *buf), room)
        })
    }

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
            received(self, read, room)
        })
    }

    fn poll_read_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = taken_mut(bufs);
        let room = total(bufs);
        let source = self.source();
        source.poll_operate(pending, Direction::Read, context, |_| {
            received(self, self.try_read_vectored(bufs), room)
        })
    }
}

impl<S: Raw> PollWrite for S {
    fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let source = self.source();
        source.poll_operate(pending, Direction::Write, context, |_| {
            moved(self, self.try_write(buf), buf.len())
        })
    }

    fn poll_write_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = taken(bufs);
        let total = total(bufs);
        let source = self.source();
        source.poll_operate(pending, Direction::Write, context, |_| {
            moved(self, self.try_write_vectored(bufs), total)
        })
    }

    fn end(&self) -> io::Result<()> {
        self.close()
    }
}

/// What came of a try to read `room` bytes.
pub(crate) fn received(
    stream: &(impl Raw + ?Sized),
    result: Result<usize, Errno>,
    room: usize,
) -> io::Result<Attempt<usize>> {
    moved(stream, mode::or_end(result), room)
}

/// What came of a try to move `all` bytes.
fn moved(
    stream: &(impl Raw + ?Sized),
    result: Result<usize, Errno>,
    all: usize,
) -> io::Result<Attempt<usize>> {
    match result {
        Ok(part) if 0 < part && part < all && stream.a_part_drains() => Ok(Attempt::Drained(part)),
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
