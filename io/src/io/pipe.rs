//! Pipes. Mirrors what `std::io` has of them.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use crate::by_reference::{read_by_reference, write_by_reference};
use crate::conversions::{conversions, from_raw_fd, into_stdio};
use crate::end::End;
use crate::io::{PollRead, PollWrite, Sealed};
use crate::polled::Pending;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::source::{Patience, Source};

/// Creates a pipe: what is written to one end comes out of the other. Mirrors [`std::io::pipe`].
///
/// Within one process channels are better and faster; a pipe is for what is written or read by another process, or by code
/// that wants a descriptor. Both ends are closed in other programs that this one starts, unless they are given to them.
///
/// The system keeps some bytes (64 KiB on Linux); a write to a full pipe waits until there is a read. Pieces of up to
/// `PIPE_BUF` bytes (4096 on Linux) are written as a whole.
///
/// # Errors
///
/// Those of `pipe`.
///
/// # Examples
///
/// ```
/// use roving::io::{self, Read, Write};
/// use roving::process::Command;
///
/// # fn main() -> io::Result<()> {
/// let (mut reader, writer) = io::pipe()?;
/// // The command has the writer, which is closed here with it.
/// let mut child = Command::new("echo").arg("hello").stdout(writer).spawn()?;
/// let mut said = String::new();
/// reader.read_to_string(&mut said)?;
/// assert_eq!(said, "hello\n");
/// child.wait()?;
/// # Ok(())
/// # }
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The end of a [`pipe`] that is read. Mirrors [`std::io::PipeReader`].
///
/// A read waits until there is something. When all writers are closed, here and in other processes, it gives what is left
/// and then 0.
///
/// Its open file description stays as it is, so that it can be shared with other processes; if another program makes it non-blocking,
/// reads that would wait fail with [`WouldBlock`](io::ErrorKind::WouldBlock).
pub struct PipeReader(End);

/// The end of a [`pipe`] that is written. Mirrors [`std::io::PipeWriter`].
///
/// A write waits until all is written. When all readers are closed, here and in other processes, it fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe), unless it has written a part.
///
/// Its open file description stays as it is, so that it can be shared with other processes; if another program makes it non-blocking,
/// writes that would wait fail with [`WouldBlock`](io::ErrorKind::WouldBlock).
pub struct PipeWriter(End);

impl PipeReader {
    /// Makes another handle to the same end. Each byte goes to one reader.
    ///
    /// # Errors
    ///
    /// Those of `dup`.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a read would not block: there is data, or the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use roving::channel::after;
    /// use roving::io;
    ///
    /// # fn main() -> io::Result<()> {
    /// let (reader, writer) = io::pipe()?;
    /// let ended = || roving::select! {
    ///     readable(reader) => true,
    ///     recv(after(Duration::from_millis(1))) -> _ => false,
    /// };
    /// assert!(!ended());
    /// drop(writer);
    /// assert!(ended());
    /// # Ok(())
    /// # }
    /// ```
    pub fn readable(&self) -> Ready<'_> {
        self.0.ready(Direction::Read)
    }

    /// Reads once, as soon as there is something: a read as a future, in any executor. Gives 0 at the end.
    ///
    /// If it is dropped before it is ready, it has read nothing. A non-blocking mode has no effect on it.
    ///
    /// # Errors
    ///
    /// As for a read.
    pub async fn read_async(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_async(buf).await
    }
}

impl PipeWriter {
    /// Makes another handle to the same end. The reader comes to the end when all are closed.
    ///
    /// # Errors
    ///
    /// Those of `dup`.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a write of up to `PIPE_BUF` bytes would not block: there is
    /// room, or nobody reads any more.
    pub fn writable(&self) -> Ready<'_> {
        self.0.ready(Direction::Write)
    }

    /// Writes what there is room for, as soon as there is some: a write as a future, in any executor. It may write a part,
    /// unlike a blocking write.
    ///
    /// If it is dropped before it is ready, it has written nothing. A non-blocking mode has no effect on it.
    ///
    /// # Errors
    ///
    /// As for a write.
    pub async fn write_async(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_async(buf).await
    }
}

impl Read for &PipeReader {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read(bufs)
    }
}

read_by_reference!(PipeReader);

impl Write for &PipeWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(&[IoSlice::new(buf)])
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

write_by_reference!(PipeWriter);

impl PollRead for PipeReader {
    fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll_read(pending, context, &mut [IoSliceMut::new(buf)])
    }

    fn poll_read_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(pending, context, bufs)
    }
}

impl PollWrite for PipeWriter {
    fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(pending, context, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(pending, context, bufs)
    }

    fn end(&self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! end {
    ($End:ident) => {
        impl Sealed for $End {}

        impl $End {
            pub(crate) fn source(&self) -> &Source {
                self.0.source()
            }

            pub(crate) fn patience(&self, _: Direction) -> io::Result<Patience> {
                self.0.patience()
            }

            fn lend(&self) -> BorrowedFd<'_> {
                self.0.fd()
            }

            fn from_fd(fd: OwnedFd) -> Self {
                Self(End::new(fd))
            }

            fn into_fd(self) -> OwnedFd {
                self.0.into_fd()
            }
        }

        impl fmt::Debug for $End {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($End))
                    .field("fd", &self.as_raw_fd())
                    .finish()
            }
        }

        conversions!($End, io::$End);
        from_raw_fd!($End);
        into_stdio!($End);
    };
}

end!(PipeReader);
end!(PipeWriter);
