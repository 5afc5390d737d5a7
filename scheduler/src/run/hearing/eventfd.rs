//! A bell that is an eventfd, whose counter would take 2^64 signals to fill.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(super) struct Bell {
    pub(super) rung: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: it makes a descriptor, or fails.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it has just been made, and nobody else has it.
        let rung = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { rung })
    }

    /// May be called in a handler.
    pub(super) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: it writes so many bytes to a descriptor that stays.
        unsafe { libc::write(self.rung.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}
