//! Options of sockets.

use std::io;
use std::os::fd::AsRawFd;

/// Sets an option that no API here has. The value is of the type that the option has in C.
pub(crate) fn set_option<T>(socket: &impl AsRawFd, level: i32, option: i32, value: &T) {
    // SAFETY: the descriptor is open, and so many bytes are read of the value.
    let refused = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(refused, 0, "{}", io::Error::last_os_error());
}
