//! Room that is left to the rest of the process.
//!
//! Where address space or memory to be promised (`ulimit -v`, `ulimit -d`, `vm.overcommit_memory=2`) comes to its end, whoever asks
//! for a stack is told by an error. An allocation that fails ends the process, and so does an OS thread that lacks
//! memory as it starts. So neither stacks nor OS threads of ours take the last: what they are made of is had only if
//! [`LEFT`] bytes are there besides.
//!
//! To find that out the room is taken for a moment, in which nobody else has it. So where a limit can be asked for, there must be
//! as much again.

use std::io;

use super::slab;

#[cfg_attr(unix, path = "room/unix.rs")]
#[cfg_attr(windows, path = "room/windows.rs")]
mod system;

pub(super) use self::system::limits_leave;
use self::system::{limits, limits_of_threads};

/// Enough for some OS threads that start, with 2 MiB each.
const LEFT: usize = 8 << 20;

/// What is said of the limits of memory to whom the system has refused some.
pub(crate) fn advice() -> String {
    format!("(limits: {}); raise the one that is met", limits())
}

/// The same, to whom it has refused an OS thread.
pub(crate) fn advice_on_threads() -> String {
    let (threads, memory) = (limits_of_threads(), limits());
    format!("(limits: {threads}, {memory}); raise the one that is met")
}

/// Whether the system would give [`LEFT`] bytes more.
///
/// # Errors
///
/// It would not, for the reason that it has given.
pub(crate) fn is_left() -> io::Result<()> {
    limits_leave(LEFT)?;
    let start = slab::map_bytes(LEFT)?;
    // SAFETY: it has just been mapped, and nobody knows of it.
    unsafe { slab::unmap(start, LEFT) };
    Ok(())
}
