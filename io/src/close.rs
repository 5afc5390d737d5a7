//! Closing a descriptor.
//!
//! The last close of a socket with `SO_LINGER` waits in the system, blocking mode or not, until the
//! peer has what was sent or the time is over. A green thread has that done on a helper, and only itself
//! waits. The option may have been set by anybody who has the descriptor, or inherited from a listener, so
//! the system is asked each time, which takes a fiftieth of what the close of a connection does.

use std::os::fd::OwnedFd;

use roving_scheduler::blocking::{self, Kind};
use roving_scheduler::{is_green, wait};
use rustix::net::sockopt;

/// Closes `fd`. If the thread is cancelled or its deadline comes meanwhile, the close ends on its own.
pub(crate) fn close(fd: OwnedFd) {
    if !is_green() || !lingers(&fd) {
        return;
    }
    let wait = wait::begin_interruptible();
    let ticket = wait.ticket();
    // Where no helper can be had, this closes it here.
    let handed_over = blocking::hand_over(Kind::Close, move || {
        drop(fd);
        ticket.fire();
    });
    if handed_over.is_ok() {
        // The next operation tells of what interrupts this.
        let _ = wait.try_block(None);
    }
}

fn lingers(fd: &OwnedFd) -> bool {
    sockopt::socket_linger(fd).is_ok_and(|time| time.is_some_and(|time| !time.is_zero()))
}
