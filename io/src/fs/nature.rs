//! What is known of a file that decides how it is read and written.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::nowait::kind;

/// What there is to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A disk at the most. To poll it is no use: it is always ready.
    Stored,
    /// Somebody at the other end: that of a FIFO, a socket, a terminal or another device, of events.
    Stream,
}

/// What is done where no call says whether it would wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The call that may wait, but does not: the file is in memory.
    InPlace,
    HandOver,
}

/// See the [module](self). It is found out when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Nature {
    kind: OnceLock<Kind>,
    /// Not set as long as calls say whether they would wait.
    instead: OnceLock<Instead>,
}

impl Nature {
    pub(crate) fn kind(&self, fd: BorrowedFd<'_>) -> io::Result<Kind> {
        if let Some(kind) = self.kind.get() {
            return Ok(*kind);
        }
        let kind = match kind(fd)? {
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::BlockDevice => Kind::Stored,
            // What has no kind has no place in a folder either: events, timers, signals.
            _ => Kind::Stream,
        };
        // Such a read would not wait for memory, but for the disk.
        if kind == Kind::Stored && is_direct(fd)? {
            self.instead.get_or_init(|| Instead::HandOver);
        }
        Ok(*self.kind.get_or_init(|| kind))
    }

    /// What to do in place of a call that says whether it would wait, if there is none.
    pub(crate) fn instead(&self) -> Option<Instead> {
        self.instead.get().copied()
    }

    /// The system does not say of this file whether a call would wait.
    pub(crate) fn does_not_say(&self, fd: BorrowedFd<'_>) {
        let in_memory = || is_in_memory(fd);
        self.instead.get_or_init(|| match in_memory() {
            true => Instead::InPlace,
            false => Instead::HandOver,
        });
    }
}

/// Whether a call that was to say whether it would wait has failed because there is no such call.
pub(crate) fn is_refusal(error: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::NOSYS, Errno::PERM].contains(&error)
}

/// Whether reads go past the page cache.
#[cfg(target_os = "linux")]
fn is_direct(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::fs::{OFlags, fcntl_getfl};
    Ok(fcntl_getfl(fd)?.contains(OFlags::DIRECT))
}

#[cfg(target_os = "linux")]
fn is_in_memory(fd: BorrowedFd<'_>) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    // The number has other types on other processors.
    rustix::fs::fstatfs(fd).is_ok_and(|system| [TMPFS, RAMFS].contains(&(system.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_direct(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: BorrowedFd<'_>) -> bool {
    false
}
