//! The streams of which a poll does not tell all.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, getsockname, send, sockopt};

use crate::net::making::SEND_FLAGS;

/// Whether a descriptor is a socket of Unix, which does not tell all.
pub(crate) fn is_unix(fd: BorrowedFd<'_>) -> bool {
    getsockname(fd).is_ok_and(|address| address.address_family() == AddressFamily::UNIX)
}

/// Looks whether a write would fail from now on, where it would wait for room otherwise: to write nothing to a stream does nothing.
/// Elsewhere it would be a message, and whoever waits relies on the system.
///
/// # Errors
///
/// That of such a write.
pub(crate) fn look(fd: BorrowedFd<'_>) -> io::Result<()> {
    if !is_unix(fd) || sockopt::socket_type(fd) != Ok(SocketType::STREAM) {
        return Ok(());
    }
    match send(fd, &[], SEND_FLAGS) {
        Err(Errno::PIPE) => Err(Errno::PIPE.into()),
        _ => Ok(()),
    }
}
