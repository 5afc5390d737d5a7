//! The errors that this crate makes itself.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// What std gives on Unix when a non-blocking operation would block, and when a timeout has passed.
pub(crate) fn would_block() -> io::Error {
    Errno::AGAIN.into()
}

/// What std gives for a timeout of zero.
pub(crate) fn zero_timeout() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "cannot set a 0 duration timeout",
    )
}

/// Says what was tried when `source` came up. Keeps its kind.
pub(crate) fn while_trying(what: &'static str, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Failed { what, source })
}

#[derive(Debug)]
struct Failed {
    what: &'static str,
    source: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.source)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_kept() {
        let error = while_trying("open the gate", Errno::ACCESS.into());
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().starts_with("cannot open the gate: "));
        let cause = error.get_ref().and_then(|failed| failed.source());
        let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(
            cause.and_then(io::Error::raw_os_error),
            Some(Errno::ACCESS.raw_os_error())
        );
    }
}
