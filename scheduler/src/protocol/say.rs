//! What the runtime says on standard error.
//!
//! It is written past std's lock of it, as std writes the messages of panics: a green thread may hold
//! that while it is suspended, and who says something may be the one that it waits for.

#[cfg_attr(unix, path = "say/unix.rs")]
#[cfg_attr(windows, path = "say/windows.rs")]
mod system;

pub(crate) use self::system::say;
