//! Reading and writing without blocking, on descriptors whose mode is not ours to change.
//!
//! Another process may have the open file description too: it has inherited the same terminal, or gets the end of a pipe.
//! To make that non-blocking would make it so for all of them. So each call is kept from blocking by itself, in one of four
//! ways:
//!
//! - By a flag, `RWF_NOWAIT`, which Linux knows for sockets and, since 6.4, for pipes without a name.
//! - On a description of our own, which is non-blocking. Linux opens a pipe once more by its place in `/proc`.
//! - By asking `poll` first. A read then takes what is there, and a write gives no more than a pipe that is ready has room for, or
//!   than a raw terminal, which has less. If another thread or process is faster, the call waits after all; therefore its worker's
//!   place is handed over. That is for what has no other way: terminals, and what stands in for a pipe.
//! - By handing over at once, where `poll` knows nothing: files.

use std::io::{IoSlice, IoSliceMut, IsTerminal};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use roving_scheduler::blocking;
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, readv, write, writev};
use rustix::pipe::PIPE_BUF;

use crate::buffers::total;
use crate::event::is_ready;

/// What a terminal that is ready takes without waiting, unless it makes more of it. Linux gives a pseudo-terminal that has any room
/// left 1792 bytes more.
const TERMINAL_BUF: usize = 1024;

/// How calls on one descriptor are kept from blocking, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct NoWait {
    way: AtomicU8,
    /// A description of our own.
    own: OnceLock<OwnedFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    Flag = 1,
    Own,
    Poll,
    HandOver,
}

impl NoWait {
    /// Reads, or fails with `AGAIN` where that would block.
    pub(crate) fn read(
        &self,
        fd: BorrowedFd<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<usize, Errno> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            // There is nothing to wait for.
            return readv(fd, bufs);
        }
        if self.way(fd)? == Way::Flag {
            match flagged::read(fd, bufs) {
                Err(error) if flagged::is_refused(error) => self.do_without_flag(fd),
                result => return result,
            }
        }
        if let Some(own) = self.own.get() {
            return readv(own, bufs);
        }
        if self.way(fd)? == Way::Poll && !is_ready(fd, PollFlags::IN)? {
            // A FIFO that nobody has ever written to may be at its end, and `poll` does not tell that.
            let is_nonblocking = fcntl_getfl(fd)?.contains(OFlags::NONBLOCK);
            return if is_nonblocking {
                readv(fd, bufs)
            } else {
                Err(Errno::AGAIN)
            };
        }
        blocking::run(|| readv(fd, bufs))
    }

    /// Writes what there is room for, or less, or fails with `AGAIN` where that would block.
    pub(crate) fn write(&self, fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let Some(first) = bufs.iter().find(|buf| !buf.is_empty()) else {
            return writev(fd, bufs);
        };
        if self.way(fd)? == Way::Flag {
            match flagged::write(fd, bufs) {
                Err(error) if flagged::is_refused(error) => self.do_without_flag(fd),
                result => return result,
            }
        }
        if let Some(own) = self.own.get() {
            return writev(own, bufs);
        }
        if self.way(fd)? == Way::HandOver {
            return blocking::run(|| writev(fd, bufs));
        }
        if !is_ready(fd, PollFlags::OUT)? {
            return Err(Errno::AGAIN);
        }
        let total = total(bufs);
        let most = if fd.is_terminal() {
            TERMINAL_BUF
        } else {
            PIPE_BUF
        };
        blocking::run(|| {
            if total <= most {
                // Not to be torn apart.
                writev(fd, bufs)
            } else {
                write(fd, &first[..first.len().min(most)])
            }
        })
    }

    fn way(&self, fd: BorrowedFd<'_>) -> Result<Way, Errno> {
        const FLAG: u8 = Way::Flag as u8;
        const OWN: u8 = Way::Own as u8;
        const POLL: u8 = Way::Poll as u8;
        const HAND_OVER: u8 = Way::HandOver as u8;
        // Relaxed: whoever does not see what another has found out finds it out again.
        match self.way.load(Ordering::Relaxed) {
            FLAG => Ok(Way::Flag),
            OWN => Ok(Way::Own),
            POLL => Ok(Way::Poll),
            HAND_OVER => Ok(Way::HandOver),
            _ => {
                let way = match kind(fd)? {
                    FileType::RegularFile
                    | FileType::Directory
                    | FileType::Symlink
                    | FileType::BlockDevice => Way::HandOver,
                    // What has no kind has no place in a folder either: events, timers, signals.
                    _ => flagged::WAY,
                };
                self.set(way);
                Ok(way)
            }
        }
    }

    /// Finds the next best way.
    fn do_without_flag(&self, fd: BorrowedFd<'_>) {
        match flagged::open_again(fd) {
            Ok(own) => {
                // Another thread may have done so too.
                let _ = self.own.set(own);
                self.set(Way::Own);
            }
            Err(_) => self.set(Way::Poll),
        }
    }

    fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::Relaxed);
    }
}

/// What kind of thing a descriptor is of.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

/// The calls that a flag keeps from blocking.
#[cfg(target_os = "linux")]
mod flagged {
    use std::io::{IoSlice, IoSliceMut};
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

    use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, open};
    use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};

    use super::{Way, kind};

    /// What to begin with.
    pub(super) const WAY: Way = Way::Flag;

    /// Where the descriptor is.
    const HERE: u64 = u64::MAX;

    pub(super) fn read(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        preadv2(fd, bufs, HERE, ReadWriteFlags::NOWAIT)
    }

    pub(super) fn write(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        pwritev2(fd, bufs, HERE, ReadWriteFlags::NOWAIT)
    }

    /// Opens a pipe once more, non-blocking. What else there is may be another thing when it is opened again.
    pub(super) fn open_again(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        if kind(fd)? != FileType::Fifo {
            return Err(Errno::INVAL);
        }
        let access = fcntl_getfl(fd)? & OFlags::RWMODE;
        let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
        let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
        open(path, flags, Mode::empty())
    }

    /// Whether the error may be due to the flag: the descriptor, the kernel or a sandbox does not know it.
    pub(super) fn is_refused(error: Errno) -> bool {
        [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::PERM].contains(&error)
    }
}

#[cfg(not(target_os = "linux"))]
mod flagged {
    use std::io::{IoSlice, IoSliceMut};
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::io::Errno;

    use super::Way;

    /// There are none.
    pub(super) const WAY: Way = Way::Poll;

    pub(super) fn read(_: BorrowedFd<'_>, _: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn write(_: BorrowedFd<'_>, _: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn open_again(_: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn is_refused(error: Errno) -> bool {
        error == Errno::NOSYS
    }
}
