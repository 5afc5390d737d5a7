//! What the runtime says on standard error.
//!
//! It is written past std's lock of it, as std writes the messages of panics: a green thread may hold
//! that while it is suspended, and who says something may be the one that it waits for.

use std::io;

/// Writes `text`, which has its line breaks, as far as that can be done.
pub(crate) fn say(text: &str) {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        // SAFETY: it writes what is there.
        let written = unsafe { libc::write(libc::STDERR_FILENO, left.as_ptr().cast(), left.len()) };
        match usize::try_from(written) {
            Ok(0) => return,
            Ok(written) => left = &left[written..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
