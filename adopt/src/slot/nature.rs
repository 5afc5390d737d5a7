//! What kind of thing a descriptor is of, and how a call on it is kept from blocking.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK};

use crate::errno;
use crate::waiting::is_only_read;

/// What kind of thing a descriptor is of, as far as it matters to who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Socket,
    /// A socket of TCP, of which a read or a write of a part tells that it would block.
    Tcp,
    /// A pipe, an event counter, a timer: a flag keeps calls from blocking.
    Flagged,
    /// A FIFO that is read from, by its name: another flag keeps reads from blocking. That nobody has opened it to write, they tell, and no poll.
    Fifo,
    /// What knows no such flag: `poll` tells whether a call would block.
    Polled,
    /// A terminal: the same, and a write of some bytes may block if there is room for fewer.
    Terminal,
    /// Another device: the same, and a write may be a message, which is not to be torn apart.
    Device,
    /// A file: nothing tells.
    File,
}

impl Nature {
    pub(crate) fn is_socket(self) -> bool {
        matches!(self, Self::Socket | Self::Tcp)
    }

    pub(super) fn from_code(code: u64) -> Option<Self> {
        [
            Self::Socket,
            Self::Tcp,
            Self::Flagged,
            Self::Fifo,
            Self::Polled,
            Self::Terminal,
            Self::Device,
            Self::File,
        ]
        .into_iter()
        .find(|nature| nature.code() == code)
    }

    pub(super) fn code(self) -> u64 {
        self as u64 + 1
    }

    /// What that is which has refused the flag.
    pub(crate) fn that_refuses(fd: c_int) -> Self {
        if is_fifo(fd) && is_only_read(fd) {
            Self::Fifo
        } else {
            Self::Polled
        }
    }

    /// Asks the system.
    pub(super) fn ask(fd: c_int) -> Option<Self> {
        Some(match file_type(fd)? {
            S_IFSOCK => {
                let protocol = option(fd, libc::SO_PROTOCOL);
                if protocol == Some(libc::IPPROTO_TCP) {
                    Self::Tcp
                } else {
                    Self::Socket
                }
            }
            S_IFREG | S_IFDIR | S_IFBLK => Self::File,
            // SAFETY: it has no preconditions.
            S_IFCHR if errno::kept(|| unsafe { libc::isatty(fd) }) == 1 => Self::Terminal,
            S_IFCHR => Self::Device,
            // Pipes, and what has no kind: event counters, timers.
            _ => Self::Flagged,
        })
    }
}

/// Whether a descriptor is of a pipe or a FIFO.
pub(crate) fn is_fifo(fd: c_int) -> bool {
    file_type(fd) == Some(S_IFIFO)
}

fn file_type(fd: c_int) -> Option<libc::mode_t> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds.
    unsafe {
        (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| stat.assume_init().st_mode & S_IFMT)
    }
}

/// An option of a socket that is a number.
pub(crate) fn option(fd: c_int, name: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: there is room for the answer.
    let failed = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    (failed == 0).then_some(value)
}
