//! Windows, where no call carries a flag, and the mode of a description cannot be asked for. One that comes from elsewhere is taken to be in
//! blocking mode.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

/// What a call that receives is made with.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::empty();

/// What a call that sends is made with.
pub(crate) const SEND: SendFlags = SendFlags::empty();

/// Whether the modes of all sockets are only remembered.
pub(crate) const IS_REMEMBERED: bool = true;

/// Prepares one that comes from elsewhere, or has just been made.
pub(crate) fn take_in(fd: OwnedFd) -> OwnedFd {
    // Fails only for what is no socket.
    let _ = ioctl_fionbio(&fd, true);
    fd
}

/// Prepares one whose close waits: one that is non-blocking is not closed.
pub(crate) fn before_lingering(fd: &OwnedFd) {
    let _ = ioctl_fionbio(fd, false);
}

/// Has a new stream be in blocking mode once it has connected.
pub(crate) fn connected(_: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Whether this is what an attempt to connect says that goes on.
pub(crate) fn is_under_way(error: Errno) -> bool {
    error == Errno::AGAIN
}

/// The mode of one that comes from elsewhere.
pub(crate) fn is_nonblocking(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

/// What has been received, if an error tells of the end.
pub(crate) fn or_end(received: Result<usize, Errno>) -> Result<usize, Errno> {
    match received {
        Err(Errno::SHUTDOWN) => Ok(0),
        received => received,
    }
}

/// Whether this is what a call says that receives when nothing more can be received.
pub(crate) fn is_end(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::SHUTDOWN)
}

/// Whether nothing more can be received, because somebody has shut that down. Each call says so by itself.
pub(crate) fn is_shut_down(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

/// Receives once, without blocking.
pub(crate) fn receive_vectored(fd: impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    let fd = fd.as_fd();
    (&*SockRef::from(&fd))
        .read_vectored(bufs)
        .map_err(|error| number(&error))
}

/// Sends once, without blocking.
pub(crate) fn send_vectored(
    fd: impl AsFd,
    bufs: &[IoSlice<'_>],
    _: SendFlags,
) -> Result<usize, Errno> {
    let fd = fd.as_fd();
    (&*SockRef::from(&fd))
        .write_vectored(bufs)
        .map_err(|error| number(&error))
}

/// The system's error.
pub(crate) fn number(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}
