//! Unix, where they have descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::io::stdio::raw::Stream;
use crate::io::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock};
use crate::readiness::Direction;
use crate::ready::Ready;

/// Whether a descriptor is that of a terminal. Mirrors [`std::io::IsTerminal`], which others than std's own types cannot
/// implement; this one is there for all that have a descriptor.
///
/// # Examples
///
/// ```
/// use roving::io::{self, IsTerminal};
///
/// # fn main() -> io::Result<()> {
/// assert!(!io::pipe()?.0.is_terminal());
/// if io::stdin().is_terminal() {
///     eprintln!("type away");
/// }
/// # Ok(())
/// # }
/// ```
pub trait IsTerminal: AsFd {
    /// Whether it is that of a terminal. If the system gives an error, it is not.
    fn is_terminal(&self) -> bool;
}

impl<T: AsFd + ?Sized> IsTerminal for T {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.as_fd())
    }
}

impl Stdin {
    /// Returns what a [`select!`](roving_scheduler::select!) waits for until there is input, or its end.
    ///
    /// It tells of the descriptor and not of the buffer, in which lines may be left: a [lock](Self::lock) is asked for its
    /// [`fill_buf`](std::io::BufRead::fill_buf) once the descriptor is ready, and gives lines until there is none.
    #[must_use]
    pub fn readable(&self) -> Ready<'static> {
        Ready::unregistered(Stream::Stdin.fd(), Direction::Read)
    }
}

macro_rules! descriptors {
    ($stream:ident: $($Type:ident $(<$a:lifetime>)?),*) => {
        $(
            impl AsFd for $Type $(<$a>)? {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    Stream::$stream.fd()
                }
            }

            impl AsRawFd for $Type $(<$a>)? {
                fn as_raw_fd(&self) -> RawFd {
                    Stream::$stream.fd().as_raw_fd()
                }
            }
        )*
    };
}

descriptors!(Stdin: Stdin, StdinLock<'_>);
descriptors!(Stdout: Stdout, StdoutLock<'_>);
descriptors!(Stderr: Stderr, StderrLock<'_>);
