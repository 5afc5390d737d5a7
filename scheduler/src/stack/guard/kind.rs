//! The kinds of guards, and their names.

use std::fmt;

use super::why::Why;
use super::{Slots, protect};
#[cfg(target_os = "linux")]
use super::{advice, memfd, poison, write_protect};

/// How the range below a stack is made to fault, so that an overflow is reported and does no harm. The first of
/// these methods that the system supports is used.
///
/// `ROVING_STACK_GUARDS` in the environment names the first one to try, by the name that
/// [`Display`](fmt::Display) writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Guards {
    /// `madvise`: `MADV_GUARD_INSTALL` (Linux 6.13). Only memory limits the number of stacks. Refused
    /// for memory that is locked (`mlockall`).
    Madvise,
    /// `poison`: pages that userfaultfd has poisoned (Linux 6.6). Only memory limits the number of
    /// stacks. Some kernels (6.12 is one) write a line about "hardware memory corruption" to their
    /// log when a green thread overflows: it means this guard, not a fault of the machine.
    Poison,
    /// `write-protect`: pages that userfaultfd write-protects (Linux 5.11). Only memory limits the number of
    /// stacks. Reading the guard returns zeroes, so an overflow is detected at its first write. One
    /// file descriptor stays open. A program that closes descriptors which are not its own, as some do to become
    /// a daemon, disables the guards until the runtime notices: at the next new stacks, or when idle
    /// memory is given back. It restores them then, and says so on standard error.
    WriteProtect,
    /// `memfd`: the pages beyond the end of a file in memory. A stack takes a memory mapping, and
    /// `vm.max_map_count` of these are allowed: by default, some 62,000 stacks.
    Memfd,
    /// `mprotect`: pages without access. A stack takes two memory mappings: by default, some 31,700
    /// stacks.
    Mprotect,
}

impl Guards {
    /// In the order in which they are tried.
    pub(crate) const LADDER: &[Self] = if cfg!(target_os = "linux") {
        &[
            Self::Madvise,
            Self::Poison,
            Self::WriteProtect,
            Self::Memfd,
            Self::Mprotect,
        ]
    } else {
        &[Self::Mprotect]
    };

    /// Which of the [ladder](Self::LADDER) it is.
    pub(super) fn rung(self) -> usize {
        let rung = Self::LADDER.iter().position(|&guards| guards == self);
        rung.unwrap_or(0)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Madvise => "madvise",
            Self::Poison => "poison",
            Self::WriteProtect => "write-protect",
            Self::Memfd => "memfd",
            Self::Mprotect => "mprotect",
        }
    }

    /// How many memory mappings a stack takes.
    pub(super) fn mappings(self) -> usize {
        match self {
            Self::Madvise | Self::Poison | Self::WriteProtect => 0,
            Self::Memfd => 1,
            Self::Mprotect => 2,
        }
    }

    /// Guards some of `slots`, the first ones, and returns how many.
    pub(super) fn install(self, slots: Slots) -> Result<usize, Why> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Madvise => advice::install(slots),
            #[cfg(target_os = "linux")]
            Self::Poison => poison::install(slots),
            #[cfg(target_os = "linux")]
            Self::WriteProtect => write_protect::install(slots),
            #[cfg(target_os = "linux")]
            Self::Memfd => memfd::install(slots),
            _ => protect::install(slots),
        }
    }
}

impl fmt::Display for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
