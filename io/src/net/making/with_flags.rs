//! Where a socket is made as it is to be.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType, acceptfrom_with, socket_with,
    socketpair, sockopt,
};

use super::Mode;

/// What a call that sends, and may wait, is made with.
pub(crate) const SEND_FLAGS_TO_WAIT: SendFlags = SendFlags::NOSIGNAL;

/// Whether listeners take an address that connections of an earlier one still have, as std's do.
pub(crate) const REUSES_ADDRESSES: bool = true;

fn flags(mode: Mode) -> SocketFlags {
    match mode {
        Mode::Blocking => SocketFlags::CLOEXEC,
        Mode::NonBlocking => SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK),
    }
}

pub(crate) fn socket(
    family: AddressFamily,
    kind: SocketType,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, flags(mode), None)
}

/// Makes two that are connected, in blocking mode.
pub(crate) fn pair(family: AddressFamily, kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(family, kind, flags(Mode::Blocking), None)
}

/// Accepts a connection, in blocking mode.
pub(crate) fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    acceptfrom_with(listener, flags(Mode::Blocking))
}

pub(crate) fn is_listener(fd: impl AsFd) -> bool {
    sockopt::socket_acceptconn(fd).unwrap_or(false)
}
