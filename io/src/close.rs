//! Closing a descriptor.
//!
//! The last close of a socket with `SO_LINGER` waits in the system, blocking mode or not, until the
//! peer has what was sent or the time is over. A green thread hands its worker's place over for that, so that
//! only itself waits. The option may have been set by anybody who has the descriptor, or inherited from a
//! listener, so the system is asked, unless nobody else [can have](crate::source::Source::may_be_shared) had either.

use roving_scheduler::{blocking, is_green};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;

use crate::mode;

/// Closes `fd`.
pub(crate) fn close(fd: OwnedFd) {
    if (is_green() || mode::IS_REMEMBERED) && lingers(&fd) {
        mode::before_lingering(&fd);
        blocking::run(|| drop(fd));
    }
}

fn lingers(fd: &OwnedFd) -> bool {
    sockopt::socket_linger(fd).is_ok_and(|time| time.is_some_and(|time| !time.is_zero()))
}
