//! Linux's own options of sockets that are to be made.

use std::ffi::{OsStr, OsString, c_int};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::set_option;
use crate::net::SocketOptions;

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::net::SocketOptions {}
}

/// Options that [`SocketOptions`] have on Linux.
///
/// # Examples
///
/// A server whose clients speak first is not woken before they do:
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// use roving::net::{SocketOptions, TcpStream};
/// use roving::os::linux::net::SocketOptionsExt;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = SocketOptions::new()
///     .device("lo")
///     .defer_accept(Duration::from_secs(5))
///     .listen("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// client.write_all(b"hello")?;
/// let (mut stream, _) = listener.accept()?;
/// assert_eq!(stream.read(&mut [0; 16])?, 5);
/// # Ok(())
/// # }
/// ```
pub trait SocketOptionsExt: sealed::Sealed {
    /// The network interface, by its name, by which alone to send and to receive (`SO_BINDTODEVICE`). Before Linux 5.7
    /// it takes a privilege. To make the socket fails with `InvalidInput` for what can be the name of none: it is empty, longer than
    /// 15 bytes, or has a zero in it.
    fn device(&mut self, name: impl AsRef<OsStr>) -> &mut Self;

    /// That a connection is to be accepted once data have come, or after about as long as this (`TCP_DEFER_ACCEPT`): so
    /// the first read of it need not wait. The system counts whole seconds, one at least.
    fn defer_accept(&mut self, patience: Duration) -> &mut Self;
}

impl SocketOptionsExt for SocketOptions {
    fn device(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.on_linux.device = Some(name.as_ref().to_owned());
        self
    }

    fn defer_accept(&mut self, patience: Duration) -> &mut Self {
        self.on_linux.defer_accept = Some(patience);
        self
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct OnLinux {
    device: Option<OsString>,
    defer_accept: Option<Duration>,
}

impl OnLinux {
    pub(crate) fn set_common(&self, fd: &OwnedFd) -> io::Result<()> {
        let Some(name) = &self.device else {
            return Ok(());
        };
        let name = name.as_bytes();
        // Of these the system takes the beginning, and if that is empty, every interface.
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "cannot bind to the network interface {:?}: its name must have 1 to {} bytes, none of them zero",
                    String::from_utf8_lossy(name),
                    libc::IFNAMSIZ - 1
                ),
            ));
        }
        set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name)
    }

    pub(crate) fn set_for_listener(&self, fd: &OwnedFd) -> io::Result<()> {
        let Some(patience) = self.defer_accept else {
            return Ok(());
        };
        let seconds = c_int::try_from(patience.as_secs()).unwrap_or(c_int::MAX);
        let seconds = seconds.max(1).to_ne_bytes();
        set_option(
            fd.as_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            &seconds,
        )
    }
}
