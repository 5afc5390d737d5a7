//! Reading and writing. Mirrors [`std::io`].
//!
//! Traits, buffers, errors and all else that never blocks by itself are std's own, so `use roving::io` takes the place of
//! `use std::io`. What blocks is here, and blocks the green thread alone:
//!
//! - [`pipe()`], whose ends other processes may share;
//! - [`stdin()`], [`stdout()`] and [`stderr()`], which other processes share;
//! - [`splice()`], which moves bytes from one descriptor to another by the system;
//! - [`Watched`], any other descriptor that tells when it is ready.
//!
//! On Windows, pipes and standard streams are waited for in the system, with the worker's place handed over.
//!
//! # Futures
//!
//! A blocking call parks a green thread, and needs no future. Libraries that are written with futures want
//! to read and write in their own way: for them, `Async` makes of a stream of this crate one that they
//! can poll. Some calls have a future beside them, by the same name with `_async` at its end:
//! [`TcpListener::accept_async`](crate::net::TcpListener::accept_async),
//! [`TcpStream::connect_async`](crate::net::TcpStream::connect_async),
//! [`read_async`](crate::net::TcpStream::read_async) and
//! [`write_async`](crate::net::TcpStream::write_async), and those of
//! [`UdpSocket`](crate::net::UdpSocket::recv_from_async), of [Unix sockets](crate::os::unix::net) and of
//! [pipes](PipeReader::read_async).
//!
//! - They work in any executor, on any thread, green or not, and may move from one to another. On a green
//!   thread they wait with its runtime's IO driver; elsewhere with that of the global runtime, which
//!   starts by itself. If that runtime ends meanwhile they go on with another.
//! - Dropping a future leaves nothing behind, and loses no byte and no connection: what has been taken from
//!   the system is given by the same poll.
//! - A socket's timeouts and its non-blocking mode are for blocking calls, and have no effect here. Nor has a
//!   [deadline](roving_scheduler::deadline()) of the thread that polls, unless it ends the call that polls.
//! - Operations that are ready each time let others run now and then: they wake their task and are
//!   pending for once.
//!
//! What `Async` implements is chosen by features, so that who needs none of it builds none of it:
//!
//! | feature      | traits                                           |
//! |--------------|--------------------------------------------------|
//! | `futures-io` | `futures_io::{AsyncRead, AsyncWrite}`            |
//! | `hyper`      | `hyper::rt::{Read, Write}`                       |
//! | `tokio-io`   | `tokio::io::{AsyncRead, AsyncWrite}`, without tokio's runtime |

#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod adapter;
mod byte_stream;
#[cfg_attr(windows, path = "pipe/windows.rs")]
mod pipe;
#[cfg(unix)]
mod splice;
mod stdio;
#[cfg(unix)]
mod watched;

#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
pub use self::adapter::Async;
pub use self::byte_stream::{ByteSink, ByteSource, ByteStream};
// All that is stable and neither blocks nor is replaced here. No glob, by which what blocks could come in unnoticed.
pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, LineWriter, Lines, Read, Repeat, Result, Seek, SeekFrom, Sink, Split,
    Take, Write, WriterPanicked, copy, empty, prelude, read_to_string, repeat, sink,
};

#[cfg(unix)]
pub(crate) use self::byte_stream::{PollRead, PollWrite, Sealed};
pub(crate) use self::byte_stream::{Raw, read_async, received, write_async};
pub use self::pipe::{PipeReader, PipeWriter, pipe};
#[cfg(unix)]
pub use self::splice::{SpliceFrom, SpliceTo, splice, splice_up_to};
pub use self::stdio::{
    IsTerminal, Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout,
};
#[doc(hidden)]
pub use self::stdio::{print_to_stderr, print_to_stdout};
#[cfg(unix)]
pub use self::watched::Watched;
pub use crate::ready::Ready;
