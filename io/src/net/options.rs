//! Sockets with options that must be set before they are bound or connected.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{SocketType, bind, listen, sockopt};

use super::addr::{ToSocketAddrs, first_of};
use super::making::{Mode, REUSES_ADDRESSES};
use super::socket;
use super::tcp::{BACKLOG, TcpListener, TcpStream};
use super::udp::UdpSocket;

/// Options of a socket that is to be made, in the manner of [`std::fs::OpenOptions`].
///
/// std has none of this: it sets no options but `SO_REUSEADDR`, for listeners. What is not said here is as the
/// functions that are called `bind` and `connect` have it. On Linux the streams that a listener accepts have its
/// options, so they cost nothing for each connection.
///
/// # Examples
///
/// Listeners that share a port, so that each has its own queue of connections:
///
/// ```
/// use roving::net::{SocketOptions, TcpListener};
///
/// # fn main() -> std::io::Result<()> {
/// let mut options = SocketOptions::new();
/// options.reuse_port(true).backlog(1024).nodelay(true);
/// let first = options.listen("127.0.0.1:0")?;
/// let second = options.listen(first.local_addr()?)?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// # Ok(())
/// # }
/// ```
///
/// A connection from an address of one's choice, that finds out when its peer is gone:
///
/// ```
/// use std::time::Duration;
///
/// use roving::net::{SocketOptions, TcpListener};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = SocketOptions::new()
///     .local_addr(([127, 0, 0, 2], 0).into())
///     .keepalive(Duration::from_secs(60))
///     .keepalive_interval(Duration::from_secs(10))
///     .keepalive_retries(3)
///     .connect(listener.local_addr()?)?;
/// # let _ = stream;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SocketOptions {
    local_addr: Option<SocketAddr>,
    reuse_address: Option<bool>,
    #[cfg(not(any(
        target_os = "solaris",
        target_os = "illumos",
        target_os = "cygwin",
        windows
    )))]
    reuse_port: Option<bool>,
    only_v6: Option<bool>,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
    backlog: Option<i32>,
    nodelay: Option<bool>,
    keepalive: Option<Duration>,
    keepalive_interval: Option<Duration>,
    keepalive_retries: Option<u32>,
    #[cfg(target_os = "linux")]
    pub(crate) on_linux: crate::os::linux::net::OnLinux,
}

impl SocketOptions {
    /// No options yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address from which to [connect](Self::connect). Of the peer's addresses, those of the other family fail.
    pub fn local_addr(&mut self, addr: SocketAddr) -> &mut Self {
        self.local_addr = Some(addr);
        self
    }

    /// Sets whether the address may be one that was in use until lately (`SO_REUSEADDR`). For listeners it may, unless this
    /// says otherwise. For UDP sockets, on Linux, it may even be in use by others who say so too.
    pub fn reuse_address(&mut self, reuse_address: bool) -> &mut Self {
        self.reuse_address = Some(reuse_address);
        self
    }

    /// Sets whether several sockets, of this user, may be bound to one address (`SO_REUSEPORT`). Linux then gives each
    /// connection, and the datagrams of each sender, to one of them.
    #[cfg(not(any(
        target_os = "solaris",
        target_os = "illumos",
        target_os = "cygwin",
        windows
    )))]
    pub fn reuse_port(&mut self, reuse_port: bool) -> &mut Self {
        self.reuse_port = Some(reuse_port);
        self
    }

    /// Sets whether a socket that is bound to an IPv6 address takes no IPv4 (`IPV6_V6ONLY`). Those of IPv4 are not affected.
    pub fn only_v6(&mut self, only_v6: bool) -> &mut Self {
        self.only_v6 = Some(only_v6);
        self
    }

    /// Sets how many bytes that came may wait to be received (`SO_RCVBUF`). Linux takes twice as many, for what it spends
    /// beside them, and no more than `net.core.rmem_max` allows.
    pub fn recv_buffer_size(&mut self, bytes: usize) -> &mut Self {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Sets how many bytes may wait to be sent (`SO_SNDBUF`). Linux takes twice as many, for what it spends beside them, and
    /// no more than `net.core.wmem_max` allows.
    pub fn send_buffer_size(&mut self, bytes: usize) -> &mut Self {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// Sets how many connections may wait to be accepted: 4096 unless this says otherwise. The system lowers it to its own
    /// limit (on Linux `net.core.somaxconn`).
    pub fn backlog(&mut self, connections: u32) -> &mut Self {
        self.backlog = Some(i32::try_from(connections).unwrap_or(i32::MAX));
        self
    }

    /// Sets whether small pieces of data are sent at once, rather than gathered (`TCP_NODELAY`).
    pub fn nodelay(&mut self, nodelay: bool) -> &mut Self {
        self.nodelay = Some(nodelay);
        self
    }

    /// Asks the peer, when nothing came from it for so long, whether it is still there (`SO_KEEPALIVE`,
    /// `TCP_KEEPIDLE`). If it does not answer, the connection fails.
    ///
    /// The system counts whole seconds, and knows no length of zero.
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "nto")))]
    pub fn keepalive(&mut self, idle: Duration) -> &mut Self {
        self.keepalive = Some(idle);
        self
    }

    /// Sets how long to wait before a peer that does not answer is asked again (`TCP_KEEPINTVL`).
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    pub fn keepalive_interval(&mut self, interval: Duration) -> &mut Self {
        self.keepalive_interval = Some(interval);
        self
    }

    /// Sets how often a peer is asked that does not answer (`TCP_KEEPCNT`).
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    pub fn keepalive_retries(&mut self, retries: u32) -> &mut Self {
        self.keepalive_retries = Some(retries);
        self
    }

    /// Creates a listener, as [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// As [`TcpListener::bind`]; and those of `setsockopt`.
    pub fn listen<A: ToSocketAddrs>(&self, addr: A) -> io::Result<TcpListener> {
        first_of(addr, |address| {
            let fd = socket::open(&address, SocketType::STREAM, Mode::NonBlocking)?;
            sockopt::set_socket_reuseaddr(&fd, self.reuse_address.unwrap_or(REUSES_ADDRESSES))?;
            self.set_common(&fd, &address)?;
            self.set_for_tcp(&fd)?;
            #[cfg(target_os = "linux")]
            self.on_linux.set_for_listener(&fd)?;
            bind(&fd, &address)?;
            listen(&fd, self.backlog.unwrap_or(BACKLOG))?;
            Ok(TcpListener::listening(fd))
        })
    }

    /// Connects to a peer, as [`TcpStream::connect`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`]; and those of `setsockopt` and `bind`.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<TcpStream> {
        first_of(addr, |address| {
            TcpStream::connect_with(self.to_connect(&address)?, &address)
        })
    }

    /// Connects to a peer that must answer within `timeout`, as [`TcpStream::connect_timeout`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect_timeout`]; and those of `setsockopt` and `bind`.
    #[track_caller]
    pub fn connect_timeout(&self, addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_with_timeout(self.to_connect(addr)?, addr, timeout)
    }

    /// Connects to a peer: [`connect`](Self::connect) as a future, in any executor. See
    /// [`TcpStream::connect_async`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect_async`]; and those of `setsockopt` and `bind`.
    pub async fn connect_async(&self, addr: &SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_with_async(self.to_connect(addr)?, addr).await
    }

    /// Creates a UDP socket, as [`UdpSocket::bind`]. What is said of TCP does not affect it.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::bind`]; and those of `setsockopt`.
    pub fn bind_udp<A: ToSocketAddrs>(&self, addr: A) -> io::Result<UdpSocket> {
        first_of(addr, |address| {
            let fd = socket::open(&address, SocketType::DGRAM, Mode::Blocking)?;
            if let Some(reuse_address) = self.reuse_address {
                sockopt::set_socket_reuseaddr(&fd, reuse_address)?;
            }
            self.set_common(&fd, &address)?;
            bind(&fd, &address)?;
            Ok(UdpSocket::bound(fd))
        })
    }

    /// A socket that is ready to connect to `address`.
    fn to_connect(&self, address: &SocketAddr) -> io::Result<OwnedFd> {
        let fd = socket::open(address, SocketType::STREAM, Mode::NonBlocking)?;
        if let Some(reuse_address) = self.reuse_address {
            sockopt::set_socket_reuseaddr(&fd, reuse_address)?;
        }
        self.set_common(&fd, address)?;
        self.set_for_tcp(&fd)?;
        if let Some(local) = &self.local_addr {
            bind(&fd, local)?;
        }
        Ok(fd)
    }

    fn set_common(&self, fd: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
        #[cfg(not(any(
            target_os = "solaris",
            target_os = "illumos",
            target_os = "cygwin",
            windows
        )))]
        if let Some(reuse_port) = self.reuse_port {
            sockopt::set_socket_reuseport(fd, reuse_port)?;
        }
        if let Some(only_v6) = self.only_v6.filter(|_| address.is_ipv6()) {
            sockopt::set_ipv6_v6only(fd, only_v6)?;
        }
        if let Some(bytes) = self.recv_buffer_size {
            sockopt::set_socket_recv_buffer_size(fd, bytes)?;
        }
        if let Some(bytes) = self.send_buffer_size {
            sockopt::set_socket_send_buffer_size(fd, bytes)?;
        }
        #[cfg(target_os = "linux")]
        self.on_linux.set_common(fd)?;
        Ok(())
    }

    fn set_for_tcp(&self, fd: &OwnedFd) -> io::Result<()> {
        if let Some(nodelay) = self.nodelay {
            sockopt::set_tcp_nodelay(fd, nodelay)?;
        }
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "nto")))]
        if let Some(idle) = self.keepalive {
            sockopt::set_socket_keepalive(fd, true)?;
            sockopt::set_tcp_keepidle(fd, idle)?;
        }
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
        if let Some(interval) = self.keepalive_interval {
            sockopt::set_tcp_keepintvl(fd, interval)?;
        }
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
        if let Some(retries) = self.keepalive_retries {
            sockopt::set_tcp_keepcnt(fd, retries)?;
        }
        Ok(())
    }
}
