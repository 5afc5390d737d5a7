//! Many datagrams with one system call.
//!
//! The headers that the system reads and writes beside the data lie on the caller's stack, so there is nothing
//! to allocate; that bounds how many datagrams one call moves.

use std::ffi::{c_int, c_uint};
use std::fmt;
use std::io;
use std::iter;
use std::mem;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::set_option;
use crate::net::UdpSocket;
use crate::net::receive::received;
use crate::source::Attempt;

/// How many datagrams one system call moves, at most.
const MOST: usize = 32;

/// The descriptor of the process that sent a message, which sockets of Unix give on request.
const SCM_PIDFD: c_int = 4;

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::net::UdpSocket {}
}

/// Batches of datagrams, and what the system does to make few of many (GSO and GRO).
///
/// # Examples
///
/// ```
/// use roving::net::UdpSocket;
/// use roving::os::linux::net::{RecvDatagram, SendDatagram, UdpSocketExt};
///
/// # fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// let to = server.local_addr()?;
/// let questions = [&b"one"[..], b"two", b"three"].map(|data| SendDatagram::new(data).to(to));
/// assert_eq!(client.send_mmsg(&questions)?, 3);
///
/// let mut buffers = [[0; 1500]; 8];
/// let mut datagrams = buffers.each_mut().map(|buffer| RecvDatagram::new(buffer));
/// let mut received = Vec::new();
/// while received.len() < 3 {
///     let len = server.recv_mmsg(&mut datagrams)?;
///     for datagram in &datagrams[..len] {
///         assert_eq!(datagram.sender(), Some(client.local_addr()?));
///         received.push(datagram.data().to_vec());
///     }
/// }
/// assert_eq!(received, [&b"one"[..], b"two", b"three"]);
/// # Ok(())
/// # }
/// ```
pub trait UdpSocketExt: sealed::Sealed {
    /// Waits for a datagram, and takes as many as there are, and room for (`recvmmsg`). Gives their number:
    /// they are the first of `datagrams`.
    ///
    /// One call takes up to 32. It waits only if there is none, and not at all if `datagrams` is empty. It gives 0 if nothing
    /// can be received any more, since somebody has shut that down.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv). If one comes after some datagrams were taken, it is that of the next call.
    fn recv_mmsg(&self, datagrams: &mut [RecvDatagram<'_>]) -> io::Result<usize>;

    /// Sends datagrams in their order, many with one system call (`sendmmsg`). Waits for room until all are
    /// sent. Gives their number.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UdpSocket::send_to) for the first datagram. What comes between ends the call, which then
    /// gives how many were sent; to go on from there gives the error again, if it lasts.
    fn send_mmsg(&self, datagrams: &[SendDatagram<'_>]) -> io::Result<usize>;

    /// Waits for a datagram, and takes as many as there are, and room for: [`recv_mmsg`](Self::recv_mmsg) as a future, in any
    /// executor.
    ///
    /// If it is dropped before it is ready, it has taken no datagram. The socket's [timeout](UdpSocket::set_read_timeout) and its
    /// [mode](UdpSocket::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`recv_mmsg`](Self::recv_mmsg).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::net::UdpSocket;
    /// use roving::os::linux::net::{RecvDatagram, SendDatagram, UdpSocketExt};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// block_on(async {
    ///     let questions = [&b"one"[..], b"two", b"three"].map(SendDatagram::new);
    ///     let mut sent = 0;
    ///     while sent < questions.len() {
    ///         sent += client.send_mmsg_async(&questions[sent..]).await?;
    ///     }
    ///     let mut buffers = [[0; 1500]; 8];
    ///     let mut datagrams = buffers.each_mut().map(|buffer| RecvDatagram::new(buffer));
    ///     let mut received = 0;
    ///     while received < questions.len() {
    ///         received += server.recv_mmsg_async(&mut datagrams[received..]).await?;
    ///     }
    ///     assert_eq!(datagrams[2].data(), b"three");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    fn recv_mmsg_async(
        &self,
        datagrams: &mut [RecvDatagram<'_>],
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Sends datagrams in their order, as many as there is room for, as soon as there is some for the first: a
    /// [`send_mmsg`](Self::send_mmsg) as a future, in any executor. Gives their number, which is up to 32; unlike the blocking
    /// call it may leave some for the next.
    ///
    /// If it is dropped before it is ready, it has sent none. The socket's [timeout](UdpSocket::set_write_timeout) and its
    /// [mode](UdpSocket::set_nonblocking) have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`send_mmsg`](Self::send_mmsg).
    fn send_mmsg_async(
        &self,
        datagrams: &[SendDatagram<'_>],
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Sets whether the system may put datagrams of one sender and of one size together
    /// (`UDP_GRO`).
    ///
    /// Then a receive gives several at once, up to 64 KiB, of which only
    /// [`recv_mmsg`](Self::recv_mmsg) tells where each [ends](RecvDatagram::segments).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: Linux before 5.0 does not know it.
    fn set_gro(&self, gro: bool) -> io::Result<()>;

    /// Tells whether the system may put datagrams together.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    fn gro(&self) -> io::Result<bool>;
}

impl UdpSocketExt for UdpSocket {
    #[track_caller]
    fn recv_mmsg(&self, datagrams: &mut [RecvDatagram<'_>]) -> io::Result<usize> {
        if datagrams.is_empty() {
            return Ok(0);
        }
        let received = self.receive(|| attempt_recv(self.as_fd(), datagrams))?;
        Ok(received.unwrap_or_default())
    }

    #[track_caller]
    fn send_mmsg(&self, datagrams: &[SendDatagram<'_>]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < datagrams.len() {
            let rest = &datagrams[sent..];
            match self.send_with(|| attempt_send(self.as_fd(), rest)) {
                Ok(more) => sent += more,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    async fn recv_mmsg_async(&self, datagrams: &mut [RecvDatagram<'_>]) -> io::Result<usize> {
        if datagrams.is_empty() {
            return Ok(0);
        }
        let attempt = || attempt_recv(self.as_fd(), datagrams);
        let received = self.receive_async(attempt).await?;
        Ok(received.unwrap_or_default())
    }

    async fn send_mmsg_async(&self, datagrams: &[SendDatagram<'_>]) -> io::Result<usize> {
        if datagrams.is_empty() {
            return Ok(0);
        }
        let attempt = || attempt_send(self.as_fd(), datagrams);
        self.send_with_async(attempt).await
    }

    fn set_gro(&self, gro: bool) -> io::Result<()> {
        let gro = c_int::from(gro).to_ne_bytes();
        set_option(self.as_fd(), libc::SOL_UDP, libc::UDP_GRO, &gro)
    }

    fn gro(&self) -> io::Result<bool> {
        let mut gro: c_int = 0;
        let mut len = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: the system writes one `int` at most, and its length.
        let result = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_UDP,
                libc::UDP_GRO,
                (&raw mut gro).cast(),
                &raw mut len,
            )
        };
        succeeded(result)?;
        Ok(gro != 0)
    }
}

/// Room for a datagram that [`recv_mmsg`](UdpSocketExt::recv_mmsg) receives, and then that datagram.
pub struct RecvDatagram<'a> {
    buffer: &'a mut [u8],
    len: usize,
    sender: Option<SocketAddr>,
    is_truncated: bool,
    segment_size: Option<usize>,
}

impl<'a> RecvDatagram<'a> {
    /// Room for as much as there is in `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            sender: None,
            is_truncated: false,
            segment_size: None,
        }
    }

    /// Returns what has been received.
    pub fn data(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Returns what has been received, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// Returns where it comes from. `None` if nothing has been received, or if the socket is none of the internet's.
    pub fn sender(&self) -> Option<SocketAddr> {
        self.sender
    }

    /// Returns whether there was not enough room, and the rest is lost.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns the size of each of the datagrams that the system has [put together](UdpSocketExt::set_gro), but for the
    /// last one, which may be shorter. `None` if it has not.
    pub fn segment_size(&self) -> Option<usize> {
        self.segment_size
    }

    /// Returns the datagrams that the system has [put together](UdpSocketExt::set_gro); the only one if it has not.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let data = self.data();
        let size = self.segment_size.unwrap_or(data.len());
        let (first, rest) = data.split_at(size.min(data.len()));
        iter::once(first).chain(rest.chunks(size.max(1)))
    }
}

impl fmt::Debug for RecvDatagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvDatagram")
            .field("room", &self.buffer.len())
            .field("len", &self.len)
            .field("sender", &self.sender)
            .field("is_truncated", &self.is_truncated)
            .field("segment_size", &self.segment_size)
            .finish()
    }
}

/// A datagram that [`send_mmsg`](UdpSocketExt::send_mmsg) sends.
#[derive(Debug, Clone, Copy)]
pub struct SendDatagram<'a> {
    data: &'a [u8],
    to: Option<SocketAddr>,
    segment_size: Option<u16>,
}

impl<'a> SendDatagram<'a> {
    /// A datagram for the socket's [peer](UdpSocket::connect).
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            to: None,
            segment_size: None,
        }
    }

    /// The same for another address.
    pub fn to(self, addr: SocketAddr) -> Self {
        Self {
            to: Some(addr),
            ..self
        }
    }

    /// Several datagrams in one piece, each of `size` bytes but for the last one, which may be shorter: the system
    /// takes them apart as late as it can (`UDP_SEGMENT`).
    ///
    /// There may be 64 of them (128 since Linux 6.9), of 65,507 bytes together, and each must fit into a packet
    /// of the network; else to send them fails with `InvalidInput` or `EMSGSIZE`. Linux before 4.18 does not know
    /// this, and sends one datagram.
    pub fn segmented(self, size: u16) -> Self {
        Self {
            segment_size: Some(size),
            ..self
        }
    }
}

/// Receives what there is. There is room for one at least.
fn attempt_recv(
    fd: BorrowedFd<'_>,
    datagrams: &mut [RecvDatagram<'_>],
) -> io::Result<Attempt<usize>> {
    let most = datagrams.len().min(MOST);
    match try_recv(fd, &mut datagrams[..most]) {
        // It stops early where there is no other.
        Ok(count) if count < most => Ok(Attempt::Drained(count)),
        result => received(result, RecvFlags::empty()),
    }
}

/// Sends the first ones. There is one at least.
fn attempt_send(fd: BorrowedFd<'_>, datagrams: &[SendDatagram<'_>]) -> io::Result<Attempt<usize>> {
    let most = datagrams.len().min(MOST);
    Attempt::of(try_send(fd, &datagrams[..most]))
}

/// Receives as many as there are. There is at least one in `datagrams`, and at most [`MOST`].
fn try_recv(fd: BorrowedFd<'_>, datagrams: &mut [RecvDatagram<'_>]) -> Result<usize, Errno> {
    let mut names = [Name::EMPTY; MOST];
    let mut controls = [Control::EMPTY; MOST];
    let mut buffers = [NO_BUFFER; MOST];
    let mut headers = [NO_HEADER; MOST];
    let room = iter::zip(&mut names, &mut controls);
    let parts = iter::zip(iter::zip(&mut headers, &mut buffers), room);
    for (datagram, ((header, buffer), (name, control))) in iter::zip(&mut *datagrams, parts) {
        buffer.iov_base = datagram.buffer.as_mut_ptr().cast();
        buffer.iov_len = datagram.buffer.len();
        let header = &mut header.msg_hdr;
        header.msg_iov = buffer;
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = size_of::<Name>() as libc::socklen_t;
        header.msg_control = (&raw mut *control).cast();
        header.msg_controllen = size_of::<Control>() as _;
    }
    let most = datagrams.len().min(MOST);
    // SAFETY: of the first `most` headers, which is how many have been filled in, each leads to one buffer, a name
    // and a control, all of them writable as far as the header says, and borrowed by nobody else meanwhile.
    let received = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            most as c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) as _,
            ptr::null_mut(),
        )
    };
    let received = succeeded(received)?;
    let parts = iter::zip(&headers, iter::zip(&names, &controls));
    for (datagram, (header, (name, control))) in iter::zip(&mut datagrams[..received], parts) {
        let len = header.msg_len as usize;
        let header = &header.msg_hdr;
        datagram.len = len.min(datagram.buffer.len());
        datagram.sender = name.address(header.msg_namelen);
        datagram.is_truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        // SAFETY: the system has just written the header and the control, and they are looked at once.
        datagram.segment_size = unsafe { control.take_segment_size(header) };
    }
    Ok(received)
}

/// Sends as many as there is room for. There is at least one in `datagrams`, and at most [`MOST`].
fn try_send(fd: BorrowedFd<'_>, datagrams: &[SendDatagram<'_>]) -> Result<usize, Errno> {
    let mut names = [Name::EMPTY; MOST];
    let mut controls = [Control::EMPTY; MOST];
    let mut buffers = [NO_BUFFER; MOST];
    let mut headers = [NO_HEADER; MOST];
    let room = iter::zip(&mut names, &mut controls);
    let parts = iter::zip(iter::zip(&mut headers, &mut buffers), room);
    for (datagram, ((header, buffer), (name, control))) in iter::zip(datagrams, parts) {
        buffer.iov_base = datagram.data.as_ptr().cast_mut().cast();
        buffer.iov_len = datagram.data.len();
        let header = &mut header.msg_hdr;
        header.msg_iov = buffer;
        header.msg_iovlen = 1;
        if let Some(to) = datagram.to {
            header.msg_namelen = name.set(to);
            header.msg_name = (&raw mut *name).cast();
        }
        if let Some(size) = datagram.segment_size {
            header.msg_controllen = control.set_segment_size(size) as _;
            header.msg_control = (&raw mut *control).cast();
        }
    }
    let most = datagrams.len().min(MOST);
    // SAFETY: of the first `most` headers, which is how many have been filled in, each leads to one buffer, and maybe
    // a name and a control, that are there as far as the header says. The system writes to the headers alone.
    let sent = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            most as c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    succeeded(sent)
}

/// What a system call gives that gives a number, or -1.
fn succeeded(result: c_int) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| {
        let error = io::Error::last_os_error();
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })
}

const NO_BUFFER: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

// SAFETY: it is made of integers and pointers, which may be zero.
const NO_HEADER: libc::mmsghdr = unsafe { mem::zeroed() };

/// An address of the internet, as the system has it.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    // SAFETY: it is made of integers, which may be zero.
    const EMPTY: Self = unsafe { mem::zeroed() };

    /// Gives its length.
    fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        let len = match address {
            SocketAddr::V4(address) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*address.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo().to_be(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
                size_of::<libc::sockaddr_in6>()
            }
        };
        len as libc::socklen_t
    }

    /// The address, of which the system has written `len` bytes, or would have if there had been room.
    fn address(&self, len: libc::socklen_t) -> Option<SocketAddr> {
        let len = len as usize;
        if len < size_of::<libc::sa_family_t>() {
            return None;
        }
        // SAFETY: all bytes of a name are initialised, and each of its fields is made of integers. So below.
        match c_int::from(unsafe { self.family }) {
            libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: as above.
                let v4 = unsafe { self.v4 };
                let ip = u32::from_be(v4.sin_addr.s_addr).into();
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let address = SocketAddrV6::new(
                    Ipv6Addr::from(v6.sin6_addr.s6_addr),
                    u16::from_be(v6.sin6_port),
                    u32::from_be(v6.sin6_flowinfo),
                    v6.sin6_scope_id,
                );
                Some(address.into())
            }
            _ => None,
        }
    }
}

/// Room for control messages: for the one of this module, and for those that somebody may have asked for beside it and
/// that the system puts before it, which are time stamps and the number of datagrams lost.
#[derive(Clone, Copy)]
#[repr(C)]
union Control {
    bytes: [u8; 128],
    header: libc::cmsghdr,
}

impl Control {
    const EMPTY: Self = Self { bytes: [0; 128] };

    /// Asks for the data to be taken apart. Gives how many bytes say so.
    fn set_segment_size(&mut self, size: u16) -> usize {
        const SIZE: c_uint = size_of::<u16>() as c_uint;
        // SAFETY: they compute.
        let (len, space) = unsafe { (libc::CMSG_LEN(SIZE), libc::CMSG_SPACE(SIZE)) };
        // SAFETY: all bytes are initialised, and a header is made of integers.
        let header = unsafe { &mut self.header };
        header.cmsg_len = len as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        // SAFETY: what follows the header is within the room, which is several times as long.
        unsafe {
            let data = libc::CMSG_DATA((&raw mut *self).cast());
            data.cast::<u16>().write_unaligned(size);
        }
        space as usize
    }

    /// How large the datagrams are that were put together, by as many bytes as `header` says that the system has
    /// written. Descriptors that have come along, as they do if the socket is one of Unix, are closed.
    ///
    /// # Safety
    ///
    /// The system has written this and `header`, and this is the only call since: what descriptors there are, are nobody's yet.
    unsafe fn take_segment_size(&self, header: &libc::msghdr) -> Option<usize> {
        let mut segment_size = None;
        let mut header = *header;
        header.msg_control = (&raw const *self).cast_mut().cast();
        header.msg_controllen = header.msg_controllen.min(size_of::<Self>() as _);
        // SAFETY: the header leads to so many bytes, which are aligned as a control message must be. All of them are
        // initialised.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        while !message.is_null() {
            // SAFETY: it is one of those that the system has written, whole.
            let (level, kind, size) = unsafe {
                (
                    (*message).cmsg_level,
                    (*message).cmsg_type,
                    (*message).cmsg_len as usize,
                )
            };
            // SAFETY: it computes.
            let least = unsafe { libc::CMSG_LEN(size_of::<c_int>() as c_uint) } as usize;
            if (level, kind) == (libc::SOL_UDP, libc::UDP_GRO) && size >= least {
                // SAFETY: its length says that there is an `int` in it.
                let size = unsafe { libc::CMSG_DATA(message).cast::<c_int>().read_unaligned() };
                segment_size = usize::try_from(size).ok().filter(|size| *size > 0);
            }
            if level == libc::SOL_SOCKET && [libc::SCM_RIGHTS, SCM_PIDFD].contains(&kind) {
                // SAFETY: it computes.
                let head = unsafe { libc::CMSG_LEN(0) } as usize;
                for place in 0..size.saturating_sub(head) / size_of::<RawFd>() {
                    // SAFETY: its length says that there are so many numbers in it.
                    let fd = unsafe {
                        let fds = libc::CMSG_DATA(message).cast::<RawFd>();
                        fds.add(place).read_unaligned()
                    };
                    // Else it says why there is none of the process.
                    if fd >= 0 {
                        // SAFETY: the system has made it for whoever receives the message, which is the caller of this
                        // alone.
                        drop(unsafe { OwnedFd::from_raw_fd(fd) });
                    }
                }
            }
            // SAFETY: as for the first one.
            message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
        }
        segment_size
    }
}
