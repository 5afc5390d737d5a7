//! Where what is asked of a socket is set when it has been made.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, ioctl_fioclex, ioctl_fionbio};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType, acceptfrom, getpeername,
    socketpair, sockopt,
};

use super::Mode;

/// What a call that sends, and may wait, is made with. That no signal comes of it is set for the socket.
pub(crate) const SEND_FLAGS_TO_WAIT: SendFlags = SendFlags::empty();

/// Whether listeners take an address that connections of an earlier one still have, as std's do.
pub(crate) const REUSES_ADDRESSES: bool = true;

fn set(fd: OwnedFd, mode: Mode) -> Result<OwnedFd, Errno> {
    ioctl_fioclex(&fd)?;
    sockopt::set_socket_nosigpipe(&fd, true)?;
    // One that was accepted has the listener's mode.
    ioctl_fionbio(&fd, mode == Mode::NonBlocking)?;
    Ok(fd)
}

pub(crate) fn socket(
    family: AddressFamily,
    kind: SocketType,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    set(rustix::net::socket(family, kind, None)?, mode)
}

/// Makes two that are connected, in blocking mode.
pub(crate) fn pair(family: AddressFamily, kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (one, other) = socketpair(family, kind, SocketFlags::empty(), None)?;
    Ok((set(one, Mode::Blocking)?, set(other, Mode::Blocking)?))
}

/// Accepts a connection, in blocking mode.
pub(crate) fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (fd, address) = acceptfrom(listener)?;
    match set(fd, Mode::Blocking) {
        Ok(fd) => Ok((fd, address)),
        // It has been reset before it could be set up, which is told as the others do.
        Err(Errno::INVAL) => Err(Errno::CONNABORTED),
        Err(error) => Err(error),
    }
}

/// The system does not tell. What is read from without having a peer is taken for one.
pub(crate) fn is_listener(fd: impl AsFd) -> bool {
    sockopt::socket_type(&fd) == Ok(SocketType::STREAM) && getpeername(&fd).is_err()
}
