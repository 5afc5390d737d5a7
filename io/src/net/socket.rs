//! What sockets have in common, and what those of the internet have.

use std::io;
use std::net::{Shutdown, SocketAddr};

use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, sockopt};

use crate::net::making::{self, Mode};

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
