//! TCP connections.
//!
//! Only while a stream connects, when nobody else has it, is its description non-blocking.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use rustix::buffer::Buffer;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, recv, send, sockopt};

use crate::error::zero_timeout;
use crate::io::{Raw, read_async, write_async};
use crate::mode;
use crate::net::addr::{ToSocketAddrs, first_of};
use crate::net::making::SEND_FLAGS;
use crate::net::socket;
use crate::net::stream::Stream;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::settings::Settings;
use crate::source::{Attempt, Patience, Signs, Source};

/// A TCP connection. Mirrors [`std::net::TcpStream`].
///
/// The connection is closed when the value is dropped. Reading and writing need only a shared
/// reference, so that one green thread can read while another writes: `&TcpStream` is `Read` and
/// `Write` too.
///
/// A write ends when everything is written, as a blocking one of std does, unless it is interrupted
/// by an error or a timeout after a part.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::sync::Arc;
///
/// use roving::go;
/// use roving::net::{Shutdown, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let echo = go!(move || -> std::io::Result<u64> {
///     let (stream, _) = listener.accept()?;
///     std::io::copy(&mut &stream, &mut &stream)
/// });
///
/// let stream = Arc::new(TcpStream::connect(address)?);
/// let writer = stream.clone();
/// go!(move || -> std::io::Result<()> {
///     (&*writer).write_all(&[7; 100_000])?;
///     writer.shutdown(Shutdown::Write)
/// });
/// let mut echoed = Vec::new();
/// (&*stream).read_to_end(&mut echoed)?;
/// assert_eq!(echoed, [7; 100_000]);
/// assert_eq!(echo.join().unwrap()?, 100_000);
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    pub(super) source: Source,
    settings: Settings,
    is_tcp: bool,
}

impl TcpStream {
    /// Connects to a peer.
    ///
    /// Of several addresses the first that answers is taken.
    ///
    /// # Errors
    ///
    /// Those of [`ToSocketAddrs`], of `socket` and `connect` for the last address tried;
    /// `InvalidInput` if there is no address.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        first_of(addr, |address| {
            Self::connect_with(socket::open_stream(&address)?, &address)
        })
    }

    /// Connects a new socket whose description is non-blocking.
    #[track_caller]
    pub(in crate::net) fn connect_with(fd: OwnedFd, address: &SocketAddr) -> io::Result<Self> {
        Self::connect_within(fd, address, || Ok(Patience::Forever))
    }

    /// Connects to a peer that must answer within `timeout`.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `connect`; `TimedOut` after `timeout`; `InvalidInput` if `timeout` is
    /// zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use roving::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(10))?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        Self::connect_with_timeout(socket::open_stream(addr)?, addr, timeout)
    }

    /// The same with a socket as [`connect_with`](Self::connect_with) takes it.
    #[track_caller]
    pub(in crate::net) fn connect_with_timeout(
        fd: OwnedFd,
        address: &SocketAddr,
        timeout: Duration,
    ) -> io::Result<Self> {
        let patience = || match Instant::now().checked_add(timeout) {
            _ if timeout.is_zero() => Err(zero_timeout()),
            Some(deadline) => Ok(Patience::Until(deadline)),
            None => Ok(Patience::Forever),
        };
        Self::connect_within(fd, address, patience).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
            }
            _ => error,
        })
    }

    #[track_caller]
    fn connect_within(
        fd: OwnedFd,
        address: &SocketAddr,
        patience: impl Fn() -> io::Result<Patience>,
    ) -> io::Result<Self> {
        let source = Source::fresh(fd);
        let attempt = connecting(source.fd(), address);
        source.operate(Direction::Write, patience, attempt)?;
        Self::connected(source)
    }

    /// Connects to a peer: [`connect`](Self::connect) as a future, in any executor.
    ///
    /// If it is dropped before it has connected, the attempt ends and the socket is closed.
    ///
    /// It takes an address and not a name, whose lookup blocks. In a [`greenly`](roving_scheduler::greenly)
    /// that blocks the task alone, and none of its executor's threads.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `connect`.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::net::{TcpListener, TcpStream, ToSocketAddrs};
    /// use roving::{block_on, greenly};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let port = listener.local_addr()?.port();
    /// let stream = block_on(async {
    ///     let lookup = greenly(move || ("localhost", port).to_socket_addrs());
    ///     let addresses = lookup.await?;
    ///     let v4 = addresses.into_iter().find(|address| address.is_ipv4());
    ///     TcpStream::connect_async(&v4.unwrap()).await
    /// })?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_async(addr: &SocketAddr) -> io::Result<Self> {
        Self::connect_with_async(socket::open_stream(addr)?, addr).await
    }

    /// The same with a socket as [`connect_with`](Self::connect_with) takes it.
    pub(in crate::net) async fn connect_with_async(
        fd: OwnedFd,
        address: &SocketAddr,
    ) -> io::Result<Self> {
        let source = Source::fresh(fd);
        let attempt = connecting(source.fd(), address);
        source.operate_async(Direction::Write, attempt).await?;
        Self::connected(source)
    }

    fn connected(source: Source) -> io::Result<Self> {
        mode::connected(source.fd())?;
        Ok(Self {
            source,
            settings: Settings::default(),
            is_tcp: true,
        })
    }

    pub(super) fn accepted(source: Source, settings: Settings, is_tcp: bool) -> Self {
        Self {
            source,
            settings,
            is_tcp,
        }
    }

    /// Returns the address of the other end.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_addr(self.source.fd())
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.source.fd())
    }

    /// Ends one direction of the connection, or both. Reads and writes of that direction that are
    /// waiting end.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.source.fd(), how)
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
            is_tcp: self.is_tcp,
        })
    }

    /// Sets how long a read waits before it fails with `WouldBlock`. `None` is for as long as it
    /// takes. Clones share it.
    ///
    /// A read that waits already is not affected.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`; `InvalidInput` if `timeout` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, Read};
    /// use std::time::Duration;
    ///
    /// use roving::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    /// let error = stream.read(&mut [0; 16]).unwrap_err();
    /// assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let near = TcpStream::connect(listener.local_addr()?)?;
    /// let (far, _) = listener.accept()?;
    /// block_on(async {
    ///     near.write_async(b"hello").await?;
    ///     let mut buffer = [0; 16];
    ///     let read = far.read_async(&mut buffer).await?;
    ///     assert_eq!(&buffer[..read], b"hello");
    ///     Ok(())
    /// })
    /// # }
    /// ```
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

    /// Waits for data and copies it, but leaves it for the next read.
    ///
    /// # Errors
    ///
    /// As for a read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use roving::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// listener.accept()?.0.write_all(b"once")?;
    ///
    /// let mut buffer = [0; 4];
    /// assert_eq!(stream.peek(&mut buffer)?, 4);
    /// assert_eq!(stream.read(&mut buffer)?, 4);
    /// assert_eq!(&buffer, b"once");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags::PEEK | mode::RECEIVE;
        self.source.operate(
            Direction::Read,
            || self.patience(Direction::Read),
            |_| {
                let peeked = recv(self.source.fd(), &mut *buf, flags);
                Attempt::of(mode::or_end(peeked.map(|(_, received)| received)))
            },
        )
    }

    /// Sets whether small pieces of data are sent at once (`TCP_NODELAY`) rather than gathered.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(self.source.fd(), nodelay)?)
    }

    /// Returns whether small pieces of data are sent at once.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(sockopt::tcp_nodelay(self.source.fd())?)
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

    /// Takes the error that the socket has kept (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.source.fd())
    }

    /// Sets whether reads and writes fail with `WouldBlock` instead of waiting. Clones share it.
    ///
    /// # Errors
    ///
    /// Those of `ioctl`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.settings.set_nonblocking(self.source.fd(), nonblocking)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until a read would not block: there
    /// is data, or the end.
    ///
    /// This is about the socket, and does not know what a [`BufReader`](io::BufReader) around it has
    /// read ahead: that must be asked for its buffer first, or its last lines wait for the next
    /// ones.
    ///
    /// ```
    /// use roving::net::{TcpListener, TcpStream};
    /// use roving::{channel, select};
    /// use std::io::{self, BufRead, BufReader, Write};
    ///
    /// /// The next line, unless `ends` has a message first.
    /// fn line(
    ///     reader: &mut BufReader<TcpStream>,
    ///     ends: &channel::Receiver<()>,
    /// ) -> io::Result<Option<String>> {
    ///     let mut line = Vec::new();
    ///     while line.last() != Some(&b'\n') {
    ///         if reader.buffer().is_empty() {
    ///             select! {
    ///                 readable(reader.get_ref()) => {}
    ///                 recv(ends) -> _ => return Ok(None),
    ///             }
    ///         }
    ///         let read = reader.fill_buf()?;
    ///         let end = read.iter().position(|byte| *byte == b'\n');
    ///         let taken = end.map_or(read.len(), |end| end + 1);
    ///         if taken == 0 {
    ///             break;
    ///         }
    ///         line.extend(&read[..taken]);
    ///         reader.consume(taken);
    ///     }
    ///     Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    /// }
    ///
    /// # fn main() -> io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut one = TcpStream::connect(listener.local_addr()?)?;
    /// one.write_all(b"first\nsecond\n")?;
    /// let mut reader = BufReader::new(listener.accept()?.0);
    /// let (_end, ends) = channel::bounded(1);
    /// assert_eq!(line(&mut reader, &ends)?.unwrap(), "first\n");
    /// assert_eq!(line(&mut reader, &ends)?.unwrap(), "second\n");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::channel::after;
    /// use roving::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let heard = roving::select! {
    ///     readable(stream) => true,
    ///     recv(after(Duration::from_millis(1))) -> _ => false,
    /// };
    /// assert!(!heard);
    /// # Ok(())
    /// # }
    /// ```
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
        Self {
            is_tcp: super::is_tcp(&fd),
            source: Source::new(fd),
            settings: Settings::unknown(),
        }
    }

    /// Gives the descriptor away.
    pub(super) fn into_fd(self) -> OwnedFd {
        let fd = self.source.into_fd();
        self.settings.release(fd.as_fd());
        fd
    }
}

/// Tries to connect `fd` to `address`, and then looks how that goes, with each call.
fn connecting(
    fd: BorrowedFd<'_>,
    address: &SocketAddr,
) -> impl FnMut(Signs) -> io::Result<Attempt<()>> {
    let mut under_way = false;
    move |signs| {
        if !under_way {
            under_way = true;
            return match net::connect(fd, address) {
                Err(error) if mode::is_under_way(error) => Ok(Attempt::WouldBlock),
                result => Ok(Attempt::Done(result?)),
            };
        }
        sockopt::socket_error(fd)??;
        match net::getpeername(fd) {
            Err(Errno::NOTCONN) if signs.hung_up => {
                Err(io::Error::other("the connection ended without an error"))
            }
            Err(Errno::NOTCONN) => Ok(Attempt::WouldBlock),
            result => Ok(Attempt::Done(result.map(|_| ())?)),
        }
    }
}

impl Raw for TcpStream {
    fn source(&self) -> &Source {
        &self.source
    }

    fn a_part_drains(&self) -> bool {
        self.is_tcp
    }

    fn try_read<B: Buffer<u8>>(&self, buf: B) -> Result<B::Output, Errno> {
        recv(self.source.fd(), buf, mode::RECEIVE).map(|(received, _)| received)
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
        match net::shutdown(self.source.fd(), net::Shutdown::Write) {
            Err(Errno::NOTCONN) => Ok(()),
            result => Ok(result?),
        }
    }
}

impl Stream for TcpStream {
    fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.source.fd().as_raw_fd()).finish()
    }
}
