//! There is no signal that asks for a dump.

use std::io;
use std::path::PathBuf;

/// Where dumps would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum Target {
    StandardError,
    File(PathBuf),
}

pub(in crate::runtime) fn watch(_: Target) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "cannot dump on a signal: this system has no SIGQUIT",
    ))
}
