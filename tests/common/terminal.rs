//! Terminals, with a test in the place of who sits at one.

use std::fs::File;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// A new terminal: the side of who sits at it, and the side of the programs in it.
pub(crate) fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let null = ptr::null_mut();
    // SAFETY: the two descriptors are written, and nothing else is asked for.
    let made = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    assert_eq!(made, 0);
    // SAFETY: they are new, and nobody else has them.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// One that changes nothing of what goes through it.
pub(crate) fn raw_terminal() -> (File, OwnedFd) {
    let (master, slave) = terminal();
    // SAFETY: the settings are read before they are written.
    unsafe {
        let mut settings = mem::zeroed();
        assert_eq!(libc::tcgetattr(slave.as_raw_fd(), &mut settings), 0);
        libc::cfmakeraw(&mut settings);
        let set = libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &settings);
        assert_eq!(set, 0);
    }
    (master, slave)
}
