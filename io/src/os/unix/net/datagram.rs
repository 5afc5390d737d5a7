//! Unix sockets for datagrams.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    self, RecvFlags, SendFlags, SocketAddrUnix, SocketType, recv, recvfrom, send, sendto,
};

use super::{open, open_pair};
use crate::net::making::{Mode, SEND_FLAGS, SEND_FLAGS_TO_WAIT};
use crate::net::receive::{receive, receive_async, received};
use crate::net::socket;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::settings::Settings;
use crate::source::{Attempt, Patience, Source, waits_alone};
use crate::unannounced::{insist, insist_async};
use crate::unix_addr;

/// A Unix socket for datagrams. Mirrors [`std::os::unix::net::UnixDatagram`].
///
/// The socket is closed when the value is dropped; its path, if it has one, stays until it is removed.
///
/// Datagrams come whole, in order, and none is lost: a send to a socket whose queue is full waits.
///
/// # Examples
///
/// ```
/// use roving::go;
/// use roving::os::unix::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("log-{}", std::process::id()));
/// let log = UnixDatagram::bind(&path)?;
/// let reads = go!(move || -> std::io::Result<usize> {
///     let mut buffer = [0; 100];
///     let first = log.recv(&mut buffer)?;
///     Ok(first + log.recv(&mut buffer)?)
/// });
///
/// let writer = UnixDatagram::unbound()?;
/// writer.send_to(b"one", &path)?;
/// writer.connect(&path)?;
/// writer.send(b"three")?;
/// assert_eq!(reads.join().unwrap()?, 8);
/// std::fs::remove_file(path)
/// # }
/// ```
pub struct UnixDatagram {
    pub(super) source: Source,
    settings: Settings,
}

impl UnixDatagram {
    /// Creates a socket that is bound to a path, which must not be there yet.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `bind`; `InvalidInput` if the path is too long or has a zero in it.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Creates a socket that is bound to an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `bind`.
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<Self> {
        let address = unix_addr::to_system(socket_addr)?;
        let socket = Self::unbound()?;
        net::bind(socket.source.fd(), &address)?;
        Ok(socket)
    }

    /// Creates a socket that has no name.
    ///
    /// # Errors
    ///
    /// Those of `socket`.
    pub fn unbound() -> io::Result<Self> {
        let fd = open(SocketType::DGRAM, Mode::Blocking)?;
        Ok(Self::new(Source::fresh(fd), Settings::default()))
    }

    /// Makes two sockets that are connected to each other and have no name.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = open_pair(SocketType::DGRAM)?;
        let new = |fd| Self::new(Source::fresh(fd), Settings::default());
        Ok((new(one), new(other)))
    }

    fn new(source: Source, settings: Settings) -> Self {
        Self { source, settings }
    }

    /// Connects the socket to the one at a path: [`send`](Self::send) sends there, and datagrams from there alone are
    /// received. It may be connected again to another one.
    ///
    /// # Errors
    ///
    /// Those of `connect`; `InvalidInput` if the path is too long or has a zero in it.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects the socket to an address, as [`connect`](Self::connect) does.
    ///
    /// # Errors
    ///
    /// Those of `connect`.
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        Ok(net::connect(
            self.source.fd(),
            &unix_addr::to_system(socket_addr)?,
        )?)
    }

    /// Makes another handle to the same socket.
    ///
    /// Both send and receive by the same queue, and share their timeouts and their mode.
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

    /// Returns the address of this socket.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        unix_addr::local_addr(self.source.fd())
    }

    /// Returns the address of the socket that this one is connected to.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        unix_addr::peer_addr(self.source.fd())
    }

    /// Waits for a datagram, and returns its length and the address of its sender. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of `recvfrom`; `WouldBlock` after the [timeout](Self::set_read_timeout).
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, address) = self
            .receive(|| self.try_recv_from(buf))?
            .unwrap_or_default();
        Ok((count, unix_addr::to_std(address)?))
    }

    /// Waits for a datagram, and returns its length. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of `recv`; `WouldBlock` after the [timeout](Self::set_read_timeout).
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.receive(|| self.try_recv(buf))?.unwrap_or_default())
    }

    /// Sends a datagram to the socket at a path. While that one's queue is full, it waits.
    ///
    /// # Errors
    ///
    /// Those of `sendto`; `WouldBlock` after the [timeout](Self::set_write_timeout); `InvalidInput` if the path is too
    /// long or has a zero in it.
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// Sends a datagram to an address. While the queue there is full, it waits.
    ///
    /// # Errors
    ///
    /// Those of `sendto`; `WouldBlock` after the [timeout](Self::set_write_timeout).
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        let address = unix_addr::to_system(socket_addr)?;
        let alone = waits_alone()?;
        let flags = if alone {
            SEND_FLAGS_TO_WAIT
        } else {
            SEND_FLAGS
        };
        let patience = || self.patience(Direction::Write);
        insist(alone, "send to a Unix socket", patience, || {
            self.try_send_to(buf, &address, flags)
        })
    }

    /// Sends a datagram to the socket that this one is [connected](Self::connect) to. While that one's queue is full,
    /// it waits.
    ///
    /// # Errors
    ///
    /// Those of `send`; `WouldBlock` after the [timeout](Self::set_write_timeout).
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.source.operate(
            Direction::Write,
            || self.patience(Direction::Write),
            |_| Attempt::of(send(self.source.fd(), buf, SEND_FLAGS)),
        )
    }

    /// Waits for a datagram: [`recv_from`](Self::recv_from) as a future, in any executor.
    ///
    /// Any number of tasks may use one socket at once. If it is dropped before it is ready, it has received nothing.
    /// The socket's [timeout](Self::set_read_timeout) and its [mode](Self::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    pub async fn recv_from_async(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.receive_async(|| self.try_recv_from(buf)).await?;
        let (count, address) = received.unwrap_or_default();
        Ok((count, unix_addr::to_std(address)?))
    }

    /// Waits for a datagram: [`recv`](Self::recv) as a future, as [`recv_from_async`](Self::recv_from_async) otherwise.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::os::unix::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (near, far) = UnixDatagram::pair()?;
    /// block_on(async {
    ///     near.send_async(b"hello").await?;
    ///     let mut buffer = [0; 16];
    ///     let count = far.recv_async(&mut buffer).await?;
    ///     assert_eq!(&buffer[..count], b"hello");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn recv_async(&self, buf: &mut [u8]) -> io::Result<usize> {
        let received = self.receive_async(|| self.try_recv(buf)).await?;
        Ok(received.unwrap_or_default())
    }

    /// Sends a datagram to the socket at a path: [`send_to`](Self::send_to) as a future, in any executor.
    ///
    /// Any number of tasks may use one socket at once. If it is dropped before it is ready, it has sent nothing. The
    /// socket's [timeout](Self::set_write_timeout) and its [mode](Self::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub async fn send_to_async<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        let address = SocketAddr::from_pathname(path)?;
        self.send_to_addr_async(buf, &address).await
    }

    /// Sends a datagram to an address: [`send_to_addr`](Self::send_to_addr) as a future, as
    /// [`send_to_async`](Self::send_to_async) otherwise.
    ///
    /// # Errors
    ///
    /// As [`send_to_addr`](Self::send_to_addr).
    pub async fn send_to_addr_async(
        &self,
        buf: &[u8],
        socket_addr: &SocketAddr,
    ) -> io::Result<usize> {
        let address = unix_addr::to_system(socket_addr)?;
        insist_async(|| self.try_send_to(buf, &address, SEND_FLAGS)).await
    }

    /// Sends a datagram to the socket that this one is connected to: [`send`](Self::send) as a future, as
    /// [`send_to_async`](Self::send_to_async) otherwise.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_async(&self, buf: &[u8]) -> io::Result<usize> {
        let attempt = |_| Attempt::of(send(self.source.fd(), buf, SEND_FLAGS));
        self.source.operate_async(Direction::Write, attempt).await
    }

    /// Sets how long a receive waits before it fails with `WouldBlock`. `None` is for as long as it
    /// takes. Clones share it.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`; `InvalidInput` if `timeout` is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.settings
            .set_timeout(self.source.fd(), Direction::Read, timeout)
    }

    /// Sets how long a send waits before it fails with `WouldBlock`. `None` is for as long as it
    /// takes. Clones share it.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`; `InvalidInput` if `timeout` is zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.settings
            .set_timeout(self.source.fd(), Direction::Write, timeout)
    }

    /// Returns how long a receive waits, as the system has rounded it.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.settings.timeout(self.source.fd(), Direction::Read)
    }

    /// Returns how long a send waits, as the system has rounded it.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.settings.timeout(self.source.fd(), Direction::Write)
    }

    /// Sets whether sends and receives fail with `WouldBlock` instead of waiting. Clones share it.
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

    /// Ends one direction, or both. Sends and receives of that direction that are waiting end: receives give 0, sends
    /// fail.
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

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a receive would not block.
    pub fn readable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Read)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a [`send`](Self::send) would not block.
    pub fn writable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Write)
    }

    pub(super) fn patience(&self, direction: Direction) -> io::Result<Patience> {
        self.settings.patience(self.source.fd(), direction)
    }

    /// Receives. `None` if nothing can be received any more.
    #[track_caller]
    pub(super) fn receive<T>(
        &self,
        mut try_receive: impl FnMut() -> Result<T, Errno>,
    ) -> io::Result<Option<T>> {
        let attempt = || received(try_receive(), RecvFlags::empty());
        receive(&self.source, &self.settings, attempt)
    }

    async fn receive_async<T>(
        &self,
        mut try_receive: impl FnMut() -> Result<T, Errno>,
    ) -> io::Result<Option<T>> {
        let attempt = || received(try_receive(), RecvFlags::empty());
        receive_async(&self.source, attempt).await
    }

    fn try_recv(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        recv(self.source.fd(), buf, RecvFlags::DONTWAIT).map(|(received, _)| received)
    }

    fn try_recv_from(&self, buf: &mut [u8]) -> Result<(usize, Option<net::SocketAddrAny>), Errno> {
        recvfrom(self.source.fd(), buf, RecvFlags::DONTWAIT)
            .map(|(received, _, address)| (received, address))
    }

    fn try_send_to(
        &self,
        buf: &[u8],
        address: &SocketAddrUnix,
        flags: SendFlags,
    ) -> io::Result<Attempt<usize>> {
        Attempt::of(sendto(self.source.fd(), buf, flags, address))
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

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixDatagram");
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
