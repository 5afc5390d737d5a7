//! Unix sockets that wait for connections.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use rustix::net::{SocketType, bind, listen};

use super::{UnixStream, open};
use crate::net::accept::{self, Accepted};
use crate::net::making::Mode;
use crate::net::socket;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::settings::Settings;
use crate::source::Source;
use crate::unix_addr;

/// How many connections may wait to be accepted. What is negative is as many as the system allows.
const BACKLOG: i32 = if cfg!(target_os = "linux") { -1 } else { 128 };

/// A Unix socket that listens for connections. Mirrors [`std::os::unix::net::UnixListener`].
///
/// The socket is closed when the value is dropped; its path stays until it is removed.
///
/// A listener that is converted back to std's, or whose descriptor is taken out, is put back into the mode in
/// which it was, unless there are still [clones](Self::try_clone) of it here: they share its open
/// file description, and need it to be non-blocking.
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// use roving::go;
/// use roving::os::unix::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// go!(move || {
///     for stream in listener.incoming() {
///         go!(move || stream.and_then(|mut stream| stream.write_all(b"hello")));
///     }
/// });
/// for _ in 0..3 {
///     let stream = UnixStream::connect(&path)?;
///     assert_eq!(std::io::read_to_string(stream)?, "hello");
/// }
/// std::fs::remove_file(path)
/// # }
/// ```
pub struct UnixListener {
    pub(super) source: Source,
    settings: Settings,
}

impl UnixListener {
    /// Creates a listener that is bound to a path, which must not be there yet.
    ///
    /// # Errors
    ///
    /// Those of `socket`, `bind` and `listen`; `InvalidInput` if the path is too long or has a zero in it.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Makes a listener that is bound to an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// Those of `socket`, `bind` and `listen`.
    ///
    /// # Examples
    ///
    #[cfg_attr(target_os = "linux", doc = "```")]
    #[cfg_attr(not(target_os = "linux"), doc = "```ignore")]
    /// use roving::os::linux::net::SocketAddrExt;
    /// use roving::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let name = format!("no file {}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name.as_bytes())?;
    /// let _listener = UnixListener::bind_addr(&address)?;
    /// let stream = UnixStream::connect_addr(&address)?;
    /// assert_eq!(stream.peer_addr()?.as_abstract_name(), Some(name.as_bytes()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<Self> {
        let address = unix_addr::to_system(socket_addr)?;
        let fd = open(SocketType::STREAM, Mode::NonBlocking)?;
        bind(&fd, &address)?;
        listen(&fd, BACKLOG)?;
        Ok(Self {
            source: Source::fresh(fd),
            settings: Settings::default(),
        })
    }

    /// Waits for a connection and accepts it.
    ///
    /// Several threads may wait at once; each connection goes to one of them.
    ///
    /// # Errors
    ///
    /// Those of `accept`. [`TcpListener::accept`](crate::net::TcpListener::accept) tells after which of them a server goes on.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accepted(accept::accept(&self.source, &self.settings)?)
    }

    /// Waits for a connection and accepts it: [`accept`](Self::accept) as a future, in any executor.
    ///
    /// Any number of tasks may wait at once; each connection goes to one of them. If it is dropped before it is
    /// ready, it has accepted none. The listener's [mode](Self::set_nonblocking) has no effect on it.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn accept_async(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accepted(accept::accept_async(&self.source, &self.settings).await?)
    }

    fn accepted(&self, (accepted, address): Accepted) -> io::Result<(UnixStream, SocketAddr)> {
        let address = unix_addr::to_std(address)?;
        let stream = UnixStream::new(self.source.accepted(accepted), self.settings.of_accepted());
        Ok((stream, address))
    }

    /// Makes another handle to the same socket.
    ///
    /// Both accept from the same queue, and share their mode.
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

    /// Returns the address that this listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        unix_addr::local_addr(self.source.fd())
    }

    /// Sets whether [`accept`](Self::accept) fails with `WouldBlock` instead of waiting. Clones
    /// share it.
    ///
    /// # Errors
    ///
    /// Those of `ioctl`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.settings
            .set_listener_nonblocking(self.source.fd(), nonblocking)
    }

    /// Takes the error that the socket has kept (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.source.fd())
    }

    /// Iterates over the connections, as [`accept`](Self::accept) returns them. It never ends.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until [`accept`](Self::accept) would
    /// not block.
    pub fn readable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Read)
    }

    /// The descriptor for somebody who may duplicate it, or change what it stands for.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        self.source.lend()
    }

    /// Takes a socket that comes from elsewhere.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self {
            source: Source::new(fd),
            settings: Settings::unknown(),
        }
    }

    /// Gives the descriptor away.
    pub(super) fn into_fd(self) -> OwnedFd {
        let fd = self.source.into_fd();
        self.settings.release_listener(fd.as_fd());
        fd
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixListener");
        debug.field("fd", &self.source.fd().as_raw_fd());
        if let Ok(address) = self.local_addr() {
            debug.field("local", &address);
        }
        debug.finish()
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

/// An iterator over the connections that a [`UnixListener`] accepts. Mirrors [`std::os::unix::net::Incoming`].
///
/// It never ends: after an error the next connection may follow.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}
