//! Connections of Unix sockets.
//!
//! Less can be told from a system call than with TCP. A read stops short at a message with which descriptors or credentials
//! came, though more may be there, so a short one does not tell that there is nothing left. And a poll tells nobody that a
//! write without room would fail from now on, because the peer has shut down its reading or somebody has shut down
//! the writing: who waits looks now and then.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::buffer::Buffer;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{self, RecvFlags, SocketAddrUnix, SocketType, recv, send};

use super::{open, open_pair};
use crate::io::{Raw, read_async, write_async};
use crate::mode;
use crate::net::making::{Mode, SEND_FLAGS};
use crate::net::socket;
use crate::net::stream::Stream;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::settings::Settings;
use crate::source::{Attempt, Patience, Source, waits_alone};
use crate::unannounced::{insist, insist_async};
use crate::unix_addr;

/// A connection of Unix sockets. Mirrors [`std::os::unix::net::UnixStream`].
///
/// The connection is closed when the value is dropped. Reading and writing need only a shared
/// reference, so that one green thread can read while another writes: `&UnixStream` is `Read` and
/// `Write` too.
///
/// A write ends when everything is written, as a blocking one of std does, unless it is interrupted
/// by an error or a timeout after a part.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// use roving::go;
/// use roving::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (mut near, mut far) = UnixStream::pair()?;
/// let echo = go!(move || -> std::io::Result<()> {
///     let mut word = [0; 5];
///     far.read_exact(&mut word)?;
///     far.write_all(&word)
/// });
/// near.write_all(b"hello")?;
/// assert_eq!(std::io::read_to_string(near)?, "hello");
/// echo.join().unwrap()
/// # }
/// ```
pub struct UnixStream {
    pub(super) source: Source,
    settings: Settings,
}

impl UnixStream {
    /// Connects to the socket at a path. While the listener's backlog is full, it waits.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `connect`; `InvalidInput` if the path is too long or has a zero in it.
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to an address, which may be an abstract name. While the listener's backlog is full, it waits.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `connect`.
    #[track_caller]
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<Self> {
        let address = unix_addr::to_system(socket_addr)?;
        let alone = waits_alone()?;
        let flags = if alone {
            Mode::Blocking
        } else {
            Mode::NonBlocking
        };
        let fd = open(SocketType::STREAM, flags)?;
        let patience = || Ok(Patience::Forever);
        insist(alone, "connect to a Unix socket", patience, || {
            try_connect(fd.as_fd(), &address)
        })?;
        if !alone {
            ioctl_fionbio(&fd, false)?;
        }
        Ok(Self::new(Source::fresh(fd), Settings::default()))
    }

    /// Connects to the socket at a path: [`connect`](Self::connect) as a future, in any executor.
    ///
    /// If it is dropped before it has connected, the attempt ends and the socket is closed.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::os::unix::net::{UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("connects-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// block_on(async {
    ///     let near = UnixStream::connect_async(&path).await?;
    ///     let (far, _) = listener.accept_async().await?;
    ///     near.write_async(b"hello").await?;
    ///     let mut buffer = [0; 16];
    ///     let read = far.read_async(&mut buffer).await?;
    ///     assert_eq!(&buffer[..read], b"hello");
    ///     std::fs::remove_file(&path)
    /// })
    /// # }
    /// ```
    pub async fn connect_async<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        let address = SocketAddr::from_pathname(path)?;
        Self::connect_addr_async(&address).await
    }

    /// Connects to an address: [`connect_addr`](Self::connect_addr) as a future, in any executor.
    ///
    /// If it is dropped before it has connected, the attempt ends and the socket is closed.
    ///
    /// # Errors
    ///
    /// As [`connect_addr`](Self::connect_addr).
    pub async fn connect_addr_async(socket_addr: &SocketAddr) -> io::Result<Self> {
        let address = unix_addr::to_system(socket_addr)?;
        let fd = open(SocketType::STREAM, Mode::NonBlocking)?;
        insist_async(|| try_connect(fd.as_fd(), &address)).await?;
        ioctl_fionbio(&fd, false)?;
        Ok(Self::new(Source::fresh(fd), Settings::default()))
    }

    /// Makes two sockets that are connected to each other and have no name.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = open_pair(SocketType::STREAM)?;
        let new = |fd| Self::new(Source::fresh(fd), Settings::default());
        Ok((new(one), new(other)))
    }

    pub(super) fn new(source: Source, settings: Settings) -> Self {
        Self { source, settings }
    }

    /// Makes another handle to the same connection.
    ///
    /// Both read and write the same stream of data, and share their timeouts and their mode.
    ///
    /// # Errors
    ///
    /// Those of `dup`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            source: self.source.try_clone()?,
            settings: self.settings.share(),
        })
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        unix_addr::local_addr(self.source.fd())
    }

    /// Returns the address of the other end.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        unix_addr::peer_addr(self.source.fd())
    }

    /// Sets how long a read waits before it fails with `WouldBlock`. `None` is for as long as it
    /// takes. Clones share it.
    ///
    /// A read that waits already is not affected.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`; `InvalidInput` if `timeout` is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.settings
            .set_timeout(self.source.fd(), Direction::Read, timeout)
    }

    /// Sets how long a write waits before it fails with `WouldBlock`, or ends with what is written
    /// so far. `None` is for as long as it takes. Clones share it.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`; `InvalidInput` if `timeout` is zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.settings
            .set_timeout(self.source.fd(), Direction::Write, timeout)
    }

    /// Returns how long a read waits, as the system has rounded it.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.settings.timeout(self.source.fd(), Direction::Read)
    }

    /// Returns how long a write waits, as the system has rounded it.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.settings.timeout(self.source.fd(), Direction::Write)
    }

    /// Reads once, as soon as there is something: a read as a future, in any executor. Gives 0 at the end of
    /// the stream.
    ///
    /// Any number of tasks may read and write one stream at once. If it is dropped before it is ready, it has
    /// read nothing. The stream's [timeout](Self::set_read_timeout) and its
    /// [mode](Self::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As for a read.
    pub async fn read_async(&self, buf: &mut [u8]) -> io::Result<usize> {
        read_async(self, buf).await
    }

    /// Writes what there is room for, as soon as there is some: a write as a future, in any executor. It may
    /// write a part, unlike a blocking write.
    ///
    /// Any number of tasks may read and write one stream at once. If it is dropped before it is ready, it has
    /// written nothing. The stream's [timeout](Self::set_write_timeout) and its
    /// [mode](Self::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As for a write.
    pub async fn write_async(&self, buf: &[u8]) -> io::Result<usize> {
        write_async(self, buf).await
    }

    /// Sets whether reads and writes fail with `WouldBlock` instead of waiting. Clones share it.
    ///
    /// # Errors
    ///
    /// Those of `ioctl`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.settings.set_nonblocking(self.source.fd(), nonblocking)
    }

    /// Takes the error that the socket has kept (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.source.fd())
    }

    /// Ends one direction of the connection, or both. Reads and writes of that direction that are
    /// waiting end.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.source.fd(), how)?;
        if how != Shutdown::Read {
            self.source.rouse();
        }
        Ok(())
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a read would not block: there
    /// is data, or the end.
    ///
    /// This is about the socket, and does not know what a [`BufReader`](io::BufReader) around it has
    /// read ahead: see [`TcpStream::readable`](crate::net::TcpStream::readable).
    pub fn readable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Read)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a write would not block: there
    /// is room, or an error.
    pub fn writable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Write)
    }

    /// The descriptor for somebody who may duplicate it, or change what it stands for.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        self.source.lend()
    }

    /// Takes a socket that comes from elsewhere.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self::new(Source::new(fd), Settings::unknown())
    }

    /// Gives the descriptor away.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.source.into_fd()
    }
}

/// Connects at once, or would block because the backlog of who listens is full.
fn try_connect(fd: BorrowedFd<'_>, address: &SocketAddrUnix) -> io::Result<Attempt<()>> {
    loop {
        match net::connect(fd, address) {
            // It has not begun to connect, but waited for room.
            Err(Errno::INTR) => {}
            result => return Attempt::of(result),
        }
    }
}

impl Raw for UnixStream {
    fn source(&self) -> &Source {
        &self.source
    }

    fn try_read<B: Buffer<u8>>(&self, buf: B) -> Result<B::Output, Errno> {
        recv(self.source.fd(), buf, RecvFlags::DONTWAIT).map(|(received, _)| received)
    }

    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        mode::receive_vectored(self.source.fd(), bufs)
    }

    fn try_write(&self, buf: &[u8]) -> Result<usize, Errno> {
        send(self.source.fd(), buf, SEND_FLAGS)
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        mode::send_vectored(self.source.fd(), bufs, SEND_FLAGS)
    }

    fn close(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

impl Stream for UnixStream {
    const MUST_LOOK: bool = true;

    fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixStream");
        debug.field("fd", &self.source.fd().as_raw_fd());
        if let Ok(address) = self.local_addr() {
            debug.field("local", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.finish()
    }
}
