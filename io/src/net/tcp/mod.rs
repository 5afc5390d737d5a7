//! TCP.

mod listener;
mod stream;

pub(super) use listener::BACKLOG;
pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;

use rustix::fd::OwnedFd;

use crate::conversions::{conversions, from_raw_fd};
use crate::net::stream::read_and_write;

conversions!(TcpListener, std::net::TcpListener);
conversions!(TcpStream, std::net::TcpStream);
from_raw_fd!(TcpListener);
from_raw_fd!(TcpStream);
read_and_write!(TcpStream);

/// Whether a socket that comes from elsewhere is what it is taken for. Those of other protocols, as of SCTP or of Unix, may keep
/// messages apart, so that a part that came does not tell that there is no more.
#[cfg(target_os = "linux")]
fn is_tcp(fd: &OwnedFd) -> bool {
    use rustix::net::{ipproto, sockopt};

    sockopt::socket_protocol(fd) == Ok(Some(ipproto::TCP))
}

/// Here nothing is told from a part.
#[cfg(not(target_os = "linux"))]
fn is_tcp(_: &OwnedFd) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests;
