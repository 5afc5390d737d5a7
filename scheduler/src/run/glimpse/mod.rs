//! Looks at threads that run, from outside.

#[cfg(all(
    target_os = "linux",
    target_arch = "x86_64",
    not(feature = "thread-sanitizer")
))]
#[path = "linux.rs"]
mod system;
#[cfg(not(all(
    target_os = "linux",
    target_arch = "x86_64",
    not(feature = "thread-sanitizer")
)))]
#[path = "unsupported.rs"]
mod system;

pub(crate) use self::system::{Doing, Glimpse};
