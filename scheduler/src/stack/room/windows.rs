//! The limits of a process, of which the system tells none: whoever asks for more than there is, is refused it.

use std::io;

pub(in crate::stack) fn limits_leave(_bytes: usize) -> io::Result<()> {
    Ok(())
}

/// What limits the number of OS threads, for those who are told that there are no more.
pub(crate) fn limits_of_threads() -> String {
    "memory and the size of the page file".to_owned()
}

/// What limits the memory of this process, for those who are told that there is no more.
pub(crate) fn limits() -> String {
    limits_of_threads()
}
