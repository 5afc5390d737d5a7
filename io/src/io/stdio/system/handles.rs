//! Windows, where they have handles.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};

use crate::io::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock};

/// Whether a handle is that of a terminal. Mirrors [`std::io::IsTerminal`], which others than std's own types cannot
/// implement; this one is there for all that have a handle.
pub trait IsTerminal: AsHandle {
    /// Whether it is that of a terminal. If the system gives an error, it is not.
    fn is_terminal(&self) -> bool;
}

impl<T: AsHandle + ?Sized> IsTerminal for T {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.as_handle())
    }
}

macro_rules! handles {
    ($stream:ident: $($Type:ident $(<$a:lifetime>)?),*) => {
        $(
            impl AsHandle for $Type $(<$a>)? {
                fn as_handle(&self) -> BorrowedHandle<'_> {
                    // SAFETY: as std takes it for granted of its own, the standard streams are there as long as the process.
                    unsafe { BorrowedHandle::borrow_raw(self.as_raw_handle()) }
                }
            }

            impl AsRawHandle for $Type $(<$a>)? {
                fn as_raw_handle(&self) -> RawHandle {
                    io::$stream().as_raw_handle()
                }
            }
        )*
    };
}

handles!(stdin: Stdin, StdinLock<'_>);
handles!(stdout: Stdout, StdoutLock<'_>);
handles!(stderr: Stderr, StderrLock<'_>);
