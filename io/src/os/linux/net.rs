//! Linux's own options of sockets. Mirrors `std::os::linux::net`.

mod options;
mod udp;

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
pub use std::os::linux::net::SocketAddrExt;

use rustix::net::sockopt;

pub(crate) use self::options::OnLinux;
pub use self::options::SocketOptionsExt;
pub use self::udp::{RecvDatagram, SendDatagram, UdpSocketExt};
use crate::net::TcpStream;

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::net::TcpStream {}
}

/// Options that a [`TcpStream`] has on Linux.
///
/// # Examples
///
/// ```
/// use roving::net::{TcpListener, TcpStream};
/// use roving::os::linux::net::TcpStreamExt;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// stream.set_quickack(true)?;
/// assert!(stream.quickack()?);
/// # Ok(())
/// # }
/// ```
pub trait TcpStreamExt: sealed::Sealed {
    /// Sends acknowledgements at once (`TCP_QUICKACK`), until the system decides otherwise.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    fn set_quickack(&self, quickack: bool) -> io::Result<()>;

    /// Tells whether acknowledgements are sent at once.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    fn quickack(&self) -> io::Result<bool>;
}

impl TcpStreamExt for TcpStream {
    fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_quickack(self.as_fd(), quickack)?)
    }

    fn quickack(&self) -> io::Result<bool> {
        Ok(sockopt::tcp_quickack(self.as_fd())?)
    }
}

/// Sets an option that rustix does not know.
fn set_option(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the system reads `len` bytes, which are there.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
