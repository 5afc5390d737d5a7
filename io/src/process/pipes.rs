//! The pipes to a child: ends of pipes whose other end the child has.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use crate::by_reference::write_by_reference;
use crate::conversions::{conversions, into_stdio};
use crate::io::{PipeReader, PipeWriter};
use crate::ready::Ready;

/// Where to write what a child reads from its standard input: see [`Child::stdin`](super::Child::stdin). Mirrors
/// [`std::process::ChildStdin`].
///
/// The child reads the end when this is dropped. A write waits until all is written, and fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe) if the child has closed its end, unless it has written a part.
pub struct ChildStdin(PipeWriter);

/// Where to read what a child writes to its standard output: see [`Child::stdout`](super::Child::stdout). Mirrors
/// [`std::process::ChildStdout`].
///
/// It comes to its end when the child, and whoever has inherited the other end from it, has closed that.
pub struct ChildStdout(PipeReader);

/// Where to read what a child writes to its standard error: see [`Child::stderr`](super::Child::stderr). Mirrors
/// [`std::process::ChildStderr`].
///
/// It comes to its end when the child, and whoever has inherited the other end from it, has closed that.
pub struct ChildStderr(PipeReader);

impl ChildStdin {
    /// Returns what a [`select!`](roving_scheduler::select!) waits for until there is room, or the child has closed its end.
    pub fn writable(&self) -> Ready<'_> {
        self.0.writable()
    }

    /// Writes what there is room for, as soon as there is some: a write as a future, in any executor. It may write a part,
    /// unlike a blocking write. If it is dropped before it is ready, it has written nothing.
    ///
    /// # Errors
    ///
    /// As for a write.
    pub async fn write_async(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_async(buf).await
    }
}

impl Write for &ChildStdin {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.0).write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.0).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

write_by_reference!(ChildStdin);

macro_rules! output {
    ($Output:ident) => {
        impl $Output {
            /// Returns what a [`select!`](roving_scheduler::select!) waits for until there is something to read, or the end.
            pub fn readable(&self) -> Ready<'_> {
                self.0.readable()
            }

            /// Reads once, as soon as there is something: a read as a future, in any executor. Gives 0 at the end. If it is
            /// dropped before it is ready, it has read nothing.
            ///
            /// # Errors
            ///
            /// As for a read.
            pub async fn read_async(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.0.read_async(buf).await
            }

            /// Reads until the end.
            pub(super) async fn read_to_end_async(&self) -> io::Result<Vec<u8>> {
                let mut all = Vec::new();
                loop {
                    let len = all.len();
                    all.resize(len + ROOM.max(len), 0);
                    let read = self.read_async(&mut all[len..]).await?;
                    all.truncate(len + read);
                    if read == 0 {
                        return Ok(all);
                    }
                }
            }
        }

        impl Read for $Output {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&self.0).read(buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&self.0).read_vectored(bufs)
            }
        }
    };
}

/// How much is read at once, at least.
const ROOM: usize = 8 << 10;

output!(ChildStdout);
output!(ChildStderr);

macro_rules! pipe {
    ($Pipe:ident) => {
        impl $Pipe {
            fn lend(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }

            fn from_fd(fd: OwnedFd) -> Self {
                Self(fd.into())
            }

            fn into_fd(self) -> OwnedFd {
                self.0.into()
            }
        }

        impl fmt::Debug for $Pipe {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Pipe)).finish_non_exhaustive()
            }
        }

        conversions!($Pipe, process::$Pipe);
        into_stdio!($Pipe);
    };
}

pipe!(ChildStdin);
pipe!(ChildStdout);
pipe!(ChildStderr);
