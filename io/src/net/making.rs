//! Making sockets, and what is asked of each: it is closed in programs that are executed, is in a mode, and no signal comes of
//! sending to nobody.
//!
//! Where the system takes all of that with the call which makes the socket, it is given there (`with_flags`). Apple's takes none of it
//! (`apple`), so a program that another thread executes in between inherits the socket, as it does std's. Windows has sockets of its own
//! (`winsock`).

#[cfg_attr(target_vendor = "apple", path = "making/apple.rs")]
#[cfg_attr(windows, path = "making/winsock.rs")]
#[cfg_attr(
    not(any(target_vendor = "apple", windows)),
    path = "making/with_flags.rs"
)]
mod system;

pub(crate) use self::system::*;

use rustix::net::SendFlags;

use crate::mode;

/// What every call that sends without a wait is made with.
pub(crate) const SEND_FLAGS: SendFlags = mode::SEND.union(SEND_FLAGS_TO_WAIT);

/// The mode of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Blocking,
    NonBlocking,
}
