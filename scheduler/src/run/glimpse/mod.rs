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

pub(crate) use self::system::Glimpse;

/// What a thread does that keeps its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub(crate) enum Doing {
    Computes,
    /// In the system, or in foreign code that does.
    Waits,
}

/// Why there is no glimpse of a thread that has given its worker back.
pub(crate) const WENT_ON: &str = "it has gone on meanwhile";
