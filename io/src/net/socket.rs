//! What sockets have in common, and what those of the internet have.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SocketAddrAny, SocketType,
    recvmsg, sendmsg, sockopt,
};

use crate::net::making::{self, Mode, SEND_FLAGS};

/// Opens a socket of the family of `address`.
pub(crate) fn open(address: &SocketAddr, kind: SocketType, mode: Mode) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    Ok(making::socket(family, kind, mode)?)
}

/// Opens a stream socket of the family of `address`, in non-blocking mode.
pub(crate) fn open_stream(address: &SocketAddr) -> io::Result<OwnedFd> {
    open(address, SocketType::STREAM, Mode::NonBlocking)
}

pub(crate) fn local_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    to_std(Some(rustix::net::getsockname(fd)?))
}

pub(crate) fn peer_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    to_std(rustix::net::getpeername(fd)?)
}

/// Receives once, without blocking.
pub(crate) fn receive_vectored(fd: impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    let mut control = RecvAncillaryBuffer::default();
    recvmsg(fd, bufs, &mut control, RecvFlags::DONTWAIT).map(|message| message.bytes)
}

/// Sends once, without blocking.
pub(crate) fn send_vectored(fd: impl AsFd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let mut control = SendAncillaryBuffer::default();
    sendmsg(fd, bufs, &mut control, SEND_FLAGS)
}

pub(crate) fn shutdown(fd: impl AsFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => rustix::net::Shutdown::Read,
        Shutdown::Write => rustix::net::Shutdown::Write,
        Shutdown::Both => rustix::net::Shutdown::Both,
    };
    Ok(rustix::net::shutdown(fd, how)?)
}

/// The error that the socket has kept since it was last asked.
pub(crate) fn take_error(fd: impl AsFd) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(fd)?.err().map(Into::into))
}

/// Fails, as std does, for a socket that is none of the internet's.
pub(crate) fn to_std(address: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    address
        .and_then(|address| SocketAddr::try_from(address).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "invalid argument"))
}
