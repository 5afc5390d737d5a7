//! Making sockets, and what is asked of each: it is closed in programs that are executed, is in a mode, and no signal comes of
//! sending to nobody.
//!
//! Where the system takes all of that with the call which makes the socket, it is given there (`with_flags`). Apple's takes none of it
//! (`apple`), so a program that another thread executes in between inherits the socket, as it does std's.

#[cfg_attr(target_vendor = "apple", path = "making/apple.rs")]
#[cfg_attr(not(target_vendor = "apple"), path = "making/with_flags.rs")]
mod system;

pub(crate) use self::system::{SEND_FLAGS_TO_WAIT, accept, is_listener, pair, socket};

use rustix::net::SendFlags;

/// What every call that sends without a wait is made with.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SEND_FLAGS_TO_WAIT);

/// The mode of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Blocking,
    NonBlocking,
}
