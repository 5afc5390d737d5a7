//! UDP.
//!
//! As with TCP streams, the description of a socket is in the mode that its user has set, and each system
//! call carries a flag that makes it non-blocking. That a datagram was short does not tell that there are no
//! more, so every operation tries first.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvFlags, SocketAddrAny, SocketType, bind, connect, recv, recvfrom, send, sendto, sockopt,
};

use crate::conversions::{conversions, from_raw_fd};
use crate::mode;
use crate::net::addr::{ToSocketAddrs, first_of};
use crate::net::making::{Mode, SEND_FLAGS};
use crate::net::receive::{receive, receive_async, received};
use crate::net::socket;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::settings::Settings;
use crate::source::{Attempt, Source};

/// A UDP socket. Mirrors [`std::net::UdpSocket`].
///
/// Once [bound](Self::bind) to an address it sends datagrams to any address and receives those from any. One
/// that is [connected](Self::connect) has one peer, to whom it [sends](Self::send) and from whom it
/// [receives](Self::recv).
///
/// Each call moves one datagram; on Linux, the [batches](crate::os::linux::net::UdpSocketExt) move many.
///
/// All that it does needs only a shared reference: any number of threads, green and not, may send and receive
/// at once, and each datagram goes to one of them. The socket is closed when the value is dropped.
///
/// # Examples
///
/// A server that gives back what it gets, and a client that asks again if there is no answer in time:
///
/// ```
/// use std::io;
/// use std::time::Duration;
///
/// use roving::go;
/// use roving::net::UdpSocket;
///
/// # fn main() -> io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let address = server.local_addr()?;
/// go!(move || -> io::Result<()> {
///     let mut buffer = [0; 1500];
///     loop {
///         let (len, peer) = server.recv_from(&mut buffer)?;
///         server.send_to(&buffer[..len], peer)?;
///     }
/// });
///
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(address)?;
/// client.set_read_timeout(Some(Duration::from_millis(500)))?;
/// let mut answer = [0; 16];
/// let len = loop {
///     client.send(b"hello")?;
///     match client.recv(&mut answer) {
///         Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
///         result => break result?,
///     }
/// };
/// assert_eq!(&answer[..len], b"hello");
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    source: Source,
    settings: Settings,
}

impl UdpSocket {
    /// Creates a socket that is bound to an address.
    ///
    /// Port 0 lets the system choose a port; [`local_addr`](Self::local_addr) returns it. Of several
    /// addresses the first that can be bound is taken.
    ///
    /// # Errors
    ///
    /// Those of [`ToSocketAddrs`], of `socket` and `bind` for the last address tried; `InvalidInput` if there
    /// is no address.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::net::{SocketAddr, UdpSocket};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    ///
    /// let addresses = [SocketAddr::from(([192, 0, 2, 1], 0)), SocketAddr::from(([127, 0, 0, 1], 0))];
    /// let socket = UdpSocket::bind(&addresses[..])?;
    /// assert!(socket.local_addr()?.ip().is_loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        first_of(addr, |address| {
            let fd = socket::open(&address, SocketType::DGRAM, Mode::Blocking)?;
            bind(&fd, &address)?;
            Ok(Self::bound(fd))
        })
    }

    /// Takes a new socket.
    pub(in crate::net) fn bound(fd: OwnedFd) -> Self {
        Self {
            source: Source::fresh(fd),
            settings: Settings::default(),
        }
    }

    /// Waits for a datagram. Gives its length and where it comes from.
    ///
    /// What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of `recvfrom`; `WouldBlock` if the [timeout](Self::set_read_timeout) passes or in [non-blocking
    /// mode](Self::set_nonblocking).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let sender = UdpSocket::bind("127.0.0.1:0")?;
    /// sender.send_to(b"hello", socket.local_addr()?)?;
    /// let mut buffer = [0; 16];
    /// assert_eq!(socket.recv_from(&mut buffer)?, (5, sender.local_addr()?));
    /// assert_eq!(&buffer[..5], b"hello");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_with(buf, RecvFlags::empty())
    }

    /// Waits for a datagram, as [`recv_from`](Self::recv_from), but leaves it for the next call.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    #[track_caller]
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_with(buf, RecvFlags::PEEK)
    }

    #[track_caller]
    fn recv_from_with(&self, buf: &mut [u8], flags: RecvFlags) -> io::Result<(usize, SocketAddr)> {
        let fd = self.source.fd();
        let received = self.receive(|| try_recv_from(fd, buf, flags))?;
        let (received, address) = received.unwrap_or_default();
        Ok((received, socket::to_std(address)?))
    }

    /// Sends a datagram to an address. Waits until there is room for it.
    ///
    /// Of several addresses the first is taken. To look up a name each time takes long.
    ///
    /// # Errors
    ///
    /// Those of [`ToSocketAddrs`] and of `sendto`; `InvalidInput` if there is no address; `WouldBlock` if the
    /// [timeout](Self::set_write_timeout) passes or in [non-blocking mode](Self::set_nonblocking).
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(address) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            ));
        };
        let fd = self.source.fd();
        self.send_with(|| try_send_to(fd, buf, &address))
    }

    /// Returns the address that this is connected to.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_addr(self.source.fd())
    }

    /// Returns the address that this is bound to.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.source.fd())
    }

    /// Makes another handle to the same socket.
    ///
    /// Both receive from the same queue, and share their peer, their options, their timeouts and their mode.
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

    /// Sets how long receiving waits before it fails with `WouldBlock`. `None` is for as long as it takes.
    /// Clones share it.
    ///
    /// Who waits already is not affected.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the timeout is zero; those of `setsockopt`.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.settings
            .set_timeout(self.source.fd(), Direction::Read, dur)
    }

    /// Sets how long sending waits before it fails with `WouldBlock`. `None` is for as long as it takes.
    /// Clones share it.
    ///
    /// Who waits already is not affected.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the timeout is zero; those of `setsockopt`.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.settings
            .set_timeout(self.source.fd(), Direction::Write, dur)
    }

    /// Returns how long receiving waits. The system may have rounded it.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.settings.timeout(self.source.fd(), Direction::Read)
    }

    /// Returns how long sending waits. The system may have rounded it.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.settings.timeout(self.source.fd(), Direction::Write)
    }

    /// Sets whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_broadcast(self.source.fd(), broadcast)?)
    }

    /// Returns whether datagrams may be sent to broadcast addresses.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(sockopt::socket_broadcast(self.source.fd())?)
    }

    /// Sets whether what is sent to IPv4 groups comes back to this machine (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        Ok(sockopt::set_ip_multicast_loop(
            self.source.fd(),
            multicast_loop_v4,
        )?)
    }

    /// Returns whether what is sent to IPv4 groups comes back to this machine.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        Ok(sockopt::ip_multicast_loop(self.source.fd())?)
    }

    /// Sets the time to live of what is sent to IPv4 groups (`IP_MULTICAST_TTL`). It is 1 at first, which is
    /// as far as the local network.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_multicast_ttl(
            self.source.fd(),
            multicast_ttl_v4,
        )?)
    }

    /// Returns the time to live of what is sent to IPv4 groups.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        Ok(sockopt::ip_multicast_ttl(self.source.fd())?)
    }

    /// Sets whether what is sent to IPv6 groups comes back to this machine (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        Ok(sockopt::set_ipv6_multicast_loop(
            self.source.fd(),
            multicast_loop_v6,
        )?)
    }

    /// Returns whether what is sent to IPv6 groups comes back to this machine.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        Ok(sockopt::ipv6_multicast_loop(self.source.fd())?)
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

    /// Joins an IPv4 group, by the interface that has the address `interface`, or the one that the system
    /// chooses if that is unspecified.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        Ok(sockopt::set_ip_add_membership(
            self.source.fd(),
            multiaddr,
            interface,
        )?)
    }

    /// Joins an IPv6 group, by the interface of the index `interface`, or the one that the system chooses if
    /// that is 0.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        Ok(sockopt::set_ipv6_add_membership(
            self.source.fd(),
            multiaddr,
            interface,
        )?)
    }

    /// Leaves a group that was [joined](Self::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        Ok(sockopt::set_ip_drop_membership(
            self.source.fd(),
            multiaddr,
            interface,
        )?)
    }

    /// Leaves a group that was [joined](Self::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        Ok(sockopt::set_ipv6_drop_membership(
            self.source.fd(),
            multiaddr,
            interface,
        )?)
    }

    /// Takes the error that the socket has kept (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.source.fd())
    }

    /// Gives the socket one peer: [`send`](Self::send) sends to it, and what others send is not received.
    ///
    /// It can be done again, with another peer. Of several addresses the first that the system takes is it;
    /// nothing is sent to find out whether anybody is there.
    ///
    /// # Errors
    ///
    /// Those of [`ToSocketAddrs`], of `connect` for the last address tried; `InvalidInput` if there is no
    /// address.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        first_of(addr, |address| Ok(connect(self.source.fd(), &address)?))
    }

    /// Sends a datagram to the [peer](Self::connect). Waits until there is room for it.
    ///
    /// # Errors
    ///
    /// Those of `send`: on Linux, `ConnectionRefused` if an earlier datagram met nobody there; `WouldBlock`
    /// if the [timeout](Self::set_write_timeout) passes or in [non-blocking mode](Self::set_nonblocking).
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let fd = self.source.fd();
        self.send_with(|| try_send(fd, buf))
    }

    /// Waits for a datagram of the [peer](Self::connect), or of anybody if there is none. Gives its length.
    ///
    /// What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of `recv`: on Linux, `ConnectionRefused` if an earlier datagram met nobody at the peer's
    /// address; `WouldBlock` if the [timeout](Self::set_read_timeout) passes or in [non-blocking
    /// mode](Self::set_nonblocking).
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let fd = self.source.fd();
        let received = self.receive(|| try_recv(fd, buf, RecvFlags::empty()))?;
        Ok(received.unwrap_or_default())
    }

    /// Waits for a datagram, as [`recv`](Self::recv), but leaves it for the next call.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let fd = self.source.fd();
        let received = self.receive(|| try_recv(fd, buf, RecvFlags::PEEK))?;
        Ok(received.unwrap_or_default())
    }

    /// Waits for a datagram of the peer: [`recv`](Self::recv) as a future, in any executor.
    ///
    /// Any number of tasks may receive and send by one socket at once. If it is dropped before it is ready, it
    /// has taken no datagram. The socket's [timeout](Self::set_read_timeout) and its
    /// [mode](Self::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let one = UdpSocket::bind("127.0.0.1:0")?;
    /// let other = UdpSocket::bind("127.0.0.1:0")?;
    /// one.connect(other.local_addr()?)?;
    /// other.connect(one.local_addr()?)?;
    /// block_on(async {
    ///     one.send_async(b"hello").await?;
    ///     let mut buffer = [0; 16];
    ///     let len = other.recv_async(&mut buffer).await?;
    ///     assert_eq!(&buffer[..len], b"hello");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn recv_async(&self, buf: &mut [u8]) -> io::Result<usize> {
        let fd = self.source.fd();
        let attempt = || try_recv(fd, buf, RecvFlags::empty());
        let received = self.receive_async(attempt).await?;
        Ok(received.unwrap_or_default())
    }

    /// Waits for a datagram: [`recv_from`](Self::recv_from) as a future, in any executor. See
    /// [`recv_async`](Self::recv_async).
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    pub async fn recv_from_async(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let fd = self.source.fd();
        let attempt = || try_recv_from(fd, buf, RecvFlags::empty());
        let received = self.receive_async(attempt).await?;
        let (received, address) = received.unwrap_or_default();
        Ok((received, socket::to_std(address)?))
    }

    /// Sends a datagram to the peer: [`send`](Self::send) as a future, in any executor.
    ///
    /// If it is dropped before it is ready, it has sent nothing. The socket's
    /// [timeout](Self::set_write_timeout) and its [mode](Self::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_async(&self, buf: &[u8]) -> io::Result<usize> {
        let fd = self.source.fd();
        self.send_with_async(|| try_send(fd, buf)).await
    }

    /// Sends a datagram to an address: [`send_to`](Self::send_to) as a future, in any executor. See
    /// [`send_async`](Self::send_async).
    ///
    /// It takes an address and not a name, whose lookup blocks.
    ///
    /// # Errors
    ///
    /// Those of `sendto`.
    pub async fn send_to_async(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        let fd = self.source.fd();
        self.send_with_async(|| try_send_to(fd, buf, addr)).await
    }

    /// Sets whether what would wait fails with `WouldBlock` instead. Clones share it.
    ///
    /// # Errors
    ///
    /// Those of `ioctl`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.settings.set_nonblocking(self.source.fd(), nonblocking)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until receiving would not block: there is a
    /// datagram, or an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::channel::after;
    /// use roving::net::UdpSocket;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let one = UdpSocket::bind("127.0.0.1:0")?;
    /// let other = UdpSocket::bind("127.0.0.1:0")?;
    /// other.send_to(b"hello", one.local_addr()?)?;
    /// roving::select! {
    ///     readable(one) => assert_eq!(one.recv(&mut [0; 16])?, 5),
    ///     readable(other) => unreachable!("nobody has sent anything to it"),
    ///     recv(after(Duration::from_secs(60))) -> _ => unreachable!("it has come long ago"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn readable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Read)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until sending would not block: there is room,
    /// or an error.
    pub fn writable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Write)
    }

    /// Waits for what `attempt` receives. `None` if nothing can be received any more.
    #[track_caller]
    pub(crate) fn receive<T>(
        &self,
        attempt: impl FnMut() -> io::Result<Attempt<T>>,
    ) -> io::Result<Option<T>> {
        receive(&self.source, &self.settings, attempt)
    }

    /// Waits until there is room for what `attempt` sends.
    #[track_caller]
    pub(crate) fn send_with<T>(
        &self,
        mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        let patience = || self.settings.patience(self.source.fd(), Direction::Write);
        self.source
            .operate(Direction::Write, patience, |_| attempt())
    }

    /// [`receive`](Self::receive) as a future.
    pub(crate) async fn receive_async<T>(
        &self,
        attempt: impl FnMut() -> io::Result<Attempt<T>>,
    ) -> io::Result<Option<T>> {
        receive_async(&self.source, attempt).await
    }

    /// [`send_with`](Self::send_with) as a future.
    pub(crate) async fn send_with_async<T>(
        &self,
        mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        let attempt = |_| attempt();
        self.source.operate_async(Direction::Write, attempt).await
    }

    /// The descriptor for somebody who may duplicate it, or change what it stands for.
    fn lend(&self) -> BorrowedFd<'_> {
        self.source.lend()
    }

    /// Takes a socket that comes from elsewhere.
    fn from_fd(fd: OwnedFd) -> Self {
        Self {
            source: Source::new(fd),
            settings: Settings::unknown(),
        }
    }

    /// Gives the descriptor away.
    fn into_fd(self) -> OwnedFd {
        let fd = self.source.into_fd();
        self.settings.release(fd.as_fd());
        fd
    }
}

fn try_recv(fd: BorrowedFd<'_>, buf: &mut [u8], flags: RecvFlags) -> io::Result<Attempt<usize>> {
    let result = recv(fd, buf, flags | mode::RECEIVE);
    received(result.map(|(count, _)| count), flags)
}

fn try_recv_from(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    flags: RecvFlags,
) -> io::Result<Attempt<(usize, Option<SocketAddrAny>)>> {
    let result = recvfrom(fd, buf, flags | mode::RECEIVE);
    received(result.map(|(count, _, address)| (count, address)), flags)
}

fn try_send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<Attempt<usize>> {
    Attempt::of(send(fd, buf, SEND_FLAGS))
}

fn try_send_to(fd: BorrowedFd<'_>, buf: &[u8], address: &SocketAddr) -> io::Result<Attempt<usize>> {
    Attempt::of(sendto(fd, buf, SEND_FLAGS, address))
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.source.fd().as_raw_fd()).finish()
    }
}

conversions!(UdpSocket, std::net::UdpSocket);
from_raw_fd!(UdpSocket);
