//! By `write`, which waits for room where standard error does not.

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
            Err(_) => match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => {}
                // Whoever shares it with this process may have it so.
                io::ErrorKind::WouldBlock => wait_for_room(),
                _ => return,
            },
        }
    }
}

/// Waits until standard error takes more, as one that blocks does.
fn wait_for_room() {
    let mut asked = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one descriptor is asked about.
    unsafe { libc::poll(&raw mut asked, 1, -1) };
}
