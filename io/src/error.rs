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

/// Says what was tried when `source` came up, and how to raise the limit if it is one. Keeps its kind.
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
        write!(f, "cannot {}: {}", self.what, self.source)?;
        f.write_str(how_to_raise(&self.source).unwrap_or_default())
    }
}

/// How to raise the limit that an error of the IO driver tells of.
fn how_to_raise(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE if cfg!(unix) => {
            Some("; ulimit -n raises the number of descriptors that a process may have")
        }
        #[cfg(target_os = "linux")]
        Errno::NFILE => Some(
            "; sysctl fs.file-max raises the number of files that may be open in all processes",
        ),
        #[cfg(target_os = "linux")]
        Errno::NOSPC => Some(
            "; sysctl fs.epoll.max_user_watches raises the number of descriptors that a user may have watched",
        ),
        _ => None,
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
    fn an_error_that_is_a_limit_says_how_to_raise_it() {
        let message = |errno: Errno| while_trying("do it", errno.into()).to_string();
        #[cfg(unix)]
        assert!(
            message(Errno::MFILE)
                .ends_with("; ulimit -n raises the number of descriptors that a process may have")
        );
        assert!(!message(Errno::ACCESS).contains("raises"));
        #[cfg(target_os = "linux")]
        for (errno, setting) in [
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOSPC, "fs.epoll.max_user_watches"),
        ] {
            assert!(message(errno).contains(&format!("sysctl {setting} raises")));
        }
    }

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
