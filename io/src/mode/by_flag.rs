//! Where each call carries a flag.

use std::io::{self, IoSlice, IoSliceMut};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg,
};

/// What a call that receives is made with.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// What a call that sends is made with.
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;

/// Whether the modes of all sockets are only remembered.
pub(crate) const IS_REMEMBERED: bool = false;

/// Prepares one that comes from elsewhere, or has just been made.
pub(crate) fn take_in(fd: OwnedFd) -> OwnedFd {
    fd
}

/// Prepares one whose close waits.
pub(crate) fn before_lingering(_: &OwnedFd) {}

/// Has a new stream be in blocking mode once it has connected.
pub(crate) fn connected(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(ioctl_fionbio(fd, false)?)
}

/// Whether this is what an attempt to connect says that goes on.
pub(crate) fn is_under_way(error: Errno) -> bool {
    [Errno::INPROGRESS, Errno::INTR].contains(&error)
}

/// The mode of one that comes from elsewhere.
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(fcntl_getfl(fd)?.contains(OFlags::NONBLOCK))
}

/// What has been received, if an error tells of the end.
pub(crate) fn or_end(received: Result<usize, Errno>) -> Result<usize, Errno> {
    received
}

/// Whether this is what a call says that receives when nothing more can be received. There is no such error.
pub(crate) fn is_end(_: &io::Error) -> bool {
    false
}

/// Whether nothing more can be received, because somebody has shut that down.
pub(crate) fn is_shut_down(fd: BorrowedFd<'_>) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    let end = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    let end = PollFlags::HUP;
    let mut fds = [PollFd::from_borrowed_fd(fd, end)];
    poll(&mut fds, Some(&Timespec::default()))?;
    Ok(fds[0].revents().contains(end))
}

/// Receives once, without blocking.
pub(crate) fn receive_vectored(fd: impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
    let mut control = RecvAncillaryBuffer::default();
    recvmsg(fd, bufs, &mut control, RECEIVE).map(|message| message.bytes)
}

/// Sends once, without blocking.
pub(crate) fn send_vectored(
    fd: impl AsFd,
    bufs: &[IoSlice<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let mut control = SendAncillaryBuffer::default();
    sendmsg(fd, bufs, &mut control, flags)
}
