//! The limits of a process, of which the system tells none: whoever asks for more than there is, is refused it.

use std::io;

pub(in crate::stack) fn limits_leave(_bytes: usize) -> io::Result<()> {
    Ok(())
}

/// What limits the number of OS threads.
pub(super) fn limits_of_threads() -> String {
    "those of the job that the process is in".to_owned()
}

/// What limits the memory of this process.
pub(super) fn limits() -> String {
    "memory and the size of the page file".to_owned()
}
