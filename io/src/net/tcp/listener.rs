//! Sockets that wait for TCP connections.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{bind, listen, sockopt};

use super::TcpStream;
use crate::net::accept::{self, Accepted};
use crate::net::addr::{ToSocketAddrs, first_of};
use crate::net::making::REUSES_ADDRESSES;
use crate::net::socket;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::settings::Settings;
use crate::source::Source;

/// How many connections may wait to be accepted. The system lowers it to its own limit
/// (`net.core.somaxconn`). It is more than std asks for, since whoever serves with green threads
/// expects more connections at once than whoever spends an OS thread on each.
pub(in crate::net) const BACKLOG: i32 = 4096;

/// A TCP socket that listens for connections. Mirrors [`std::net::TcpListener`].
///
/// The socket is closed when the value is dropped.
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
/// use roving::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
///
/// let server = go!(move || -> std::io::Result<()> {
///     let (mut stream, peer) = listener.accept()?;
///     writeln!(stream, "hello, {peer}")
/// });
/// let stream = TcpStream::connect(address)?;
/// let expected = format!("hello, {}\n", stream.local_addr()?);
/// assert_eq!(std::io::read_to_string(stream)?, expected);
/// server.join().unwrap()?;
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    pub(super) source: Source,
    settings: Settings,
    is_tcp: bool,
}

impl TcpListener {
    /// Creates a listener that is bound to an address.
    ///
    /// Port 0 lets the system choose a port; [`local_addr`](Self::local_addr) returns it. Of
    /// several addresses the first that can be bound is taken.
    ///
    /// # Errors
    ///
    /// Those of [`ToSocketAddrs`], of `socket`, `bind` and `listen` for the last address tried;
    /// `InvalidInput` if there is no address.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        first_of(addr, |address| {
            let fd = socket::open_stream(&address)?;
            sockopt::set_socket_reuseaddr(&fd, REUSES_ADDRESSES)?;
            bind(&fd, &address)?;
            listen(&fd, BACKLOG)?;
            Ok(Self::listening(fd))
        })
    }

    /// Takes a new socket that listens, and whose description is non-blocking.
    pub(in crate::net) fn listening(fd: OwnedFd) -> Self {
        Self {
            source: Source::fresh(fd),
            settings: Settings::default(),
            is_tcp: true,
        }
    }

    /// Returns the address that this listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.source.fd())
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
            is_tcp: self.is_tcp,
        })
    }

    /// Waits for a connection and accepts it.
    ///
    /// Several threads may wait at once; each connection goes to one of them. But each arrival wakes all that wait, so one
    /// that spawns a green thread for each connection does better, or listeners that [share a
    /// port](crate::net::SocketOptions::reuse_port).
    ///
    /// # Errors
    ///
    /// Those of `accept`. Some say nothing about the listener, and a server goes on after them:
    ///
    /// - `ECONNABORTED`: the peer gave up before it was accepted. Accept the next one.
    /// - `EMFILE` and `ENFILE`: no descriptors are left, `ENOBUFS` and `ENOMEM`: no memory. The
    ///   connection stays in the queue, and the next call tries at once; so wait a little, that
    ///   others may end, and accept again.
    ///
    /// # Examples
    ///
    /// A server that outlives such errors:
    ///
    /// ```
    /// use std::io;
    /// use std::time::Duration;
    ///
    /// use roving::net::{TcpListener, TcpStream};
    /// use roving::{go, thread};
    ///
    /// fn serve(listener: TcpListener, handle: fn(TcpStream)) -> io::Result<()> {
    ///     loop {
    ///         match listener.accept() {
    ///             Ok((stream, _)) => {
    ///                 go!(move || handle(stream));
    ///             }
    ///             Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
    ///             Err(error) => {
    ///                 eprintln!("cannot accept: {error}");
    ///                 thread::sleep(Duration::from_millis(50));
    ///             }
    ///         }
    ///     }
    /// }
    /// # fn main() -> io::Result<()> {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # go!(move || serve(listener, drop));
    /// # assert_eq!(io::read_to_string(TcpStream::connect(address)?)?, "");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
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
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let (_, peer) = block_on(listener.accept_async())?;
    /// assert_eq!(peer, stream.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept_async(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accepted(accept::accept_async(&self.source, &self.settings).await?)
    }

    fn accepted(&self, (accepted, address): Accepted) -> io::Result<(TcpStream, SocketAddr)> {
        let address = socket::to_std(address)?;
        let (source, settings) = (self.source.accepted(accepted), self.settings.of_accepted());
        Ok((TcpStream::accepted(source, settings, self.is_tcp), address))
    }

    /// Iterates over the connections, as [`accept`](Self::accept) returns them. It never ends.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Sets the time to live of the packets sent (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_ttl(self.source.fd(), ttl)?)
    }

    /// Returns the time to live of the packets sent.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(sockopt::ip_ttl(self.source.fd())?)
    }

    /// Limits the socket to IPv6.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`; there always is one, since the socket is bound.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        Ok(sockopt::set_ipv6_v6only(self.source.fd(), only_v6)?)
    }

    /// Returns whether the socket is limited to IPv6.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn only_v6(&self) -> io::Result<bool> {
        Ok(sockopt::ipv6_v6only(self.source.fd())?)
    }

    /// Takes the error that the socket has kept (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.source.fd())
    }

    /// Sets whether [`accept`](Self::accept) fails with `WouldBlock` instead of waiting. Clones
    /// share it.
    ///
    /// # Errors
    ///
    /// Those of `ioctl`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    ///
    /// use roving::net::TcpListener;
    ///
    /// # fn main() -> io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.settings
            .set_listener_nonblocking(self.source.fd(), nonblocking)
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
            is_tcp: super::is_tcp(&fd),
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

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.source.fd().as_raw_fd()).finish()
    }
}

/// An iterator over the connections that a [`TcpListener`] accepts. Mirrors [`std::net::Incoming`].
///
/// It never ends: after an error the next connection may follow. See [`TcpListener::accept`] for
/// how to go on.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
