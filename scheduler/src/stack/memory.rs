//! The system's calls for memory that stacks are made of.
//!
//! | file      | what it is                                    |
//! |-----------|-----------------------------------------------|
//! | `unix`    | by `mmap`, `mprotect`, `madvise`, `mincore`   |
//! | `windows` | by `VirtualAlloc` and its relatives           |

#[cfg_attr(unix, path = "memory/unix.rs")]
#[cfg_attr(windows, path = "memory/windows.rs")]
mod system;

pub(super) use self::system::*;
