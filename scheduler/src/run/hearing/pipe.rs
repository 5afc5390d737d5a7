//! A bell that is a pipe, which is emptied before each byte.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) struct Bell {
    pub(super) rung: OwnedFd,
    rope: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (rung, rope) = io::pipe()?;
        for fd in [rung.as_raw_fd(), rope.as_raw_fd()] {
            // SAFETY: it sets a flag of a descriptor that is there.
            unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
        }
        Ok(Self {
            rung: rung.into(),
            rope: rope.into(),
        })
    }

    /// May be called in a handler.
    pub(super) fn ring(&self) {
        let mut old = [0_u8; 64];
        // SAFETY: it reads what there is room for, and writes a byte, with descriptors that stay; neither blocks.
        unsafe {
            libc::read(self.rung.as_raw_fd(), old.as_mut_ptr().cast(), old.len());
            libc::write(self.rope.as_raw_fd(), [1_u8].as_ptr().cast(), 1);
        }
    }
}
