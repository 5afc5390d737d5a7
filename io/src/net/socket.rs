//! What the sockets of the internet have in common.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType};

/// What every call that sends is made with: it does not block, and no signal comes of it.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Opens a socket of the family of `address`. `mode` says whether it is non-blocking.
pub(crate) fn open(
    address: &SocketAddr,
    kind: SocketType,
    mode: SocketFlags,
) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | mode;
    Ok(rustix::net::socket_with(family, kind, flags, None)?)
}

/// Opens a stream socket of the family of `address`, in non-blocking mode.
pub(crate) fn open_stream(address: &SocketAddr) -> io::Result<OwnedFd> {
    open(address, SocketType::STREAM, SocketFlags::NONBLOCK)
}

pub(crate) fn local_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    to_std(Some(rustix::net::getsockname(fd)?))
}

pub(crate) fn peer_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    to_std(rustix::net::getpeername(fd)?)
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
