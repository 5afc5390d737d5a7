//! What an operation on a descriptor waits for, told by what the system knows of it: the addresses of a socket, the path of
//! a terminal, which pipe it is.

#[cfg_attr(target_os = "linux", path = "why/linux.rs")]
#[cfg_attr(all(unix, not(target_os = "linux")), path = "why/unix.rs")]
#[cfg_attr(windows, path = "why/windows.rs")]
mod system;

use std::fmt;
use std::net::SocketAddr;

use roving_scheduler::wait::Why;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, getpeername, getsockname, sockopt};

use crate::net::making;
use crate::readiness::Direction;

/// Whoever waits borrows the descriptor, so it is the same when somebody asks. Debuggers read it.
#[repr(C)]
pub(crate) struct Operation<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) direction: Direction,
}

impl Why for Operation<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.fd;
        let own = getsockname(fd).ok().and_then(shown);
        let own = own.unwrap_or_else(|| without_address(fd));
        let peer = getpeername(fd);
        let is_stream = || sockopt::socket_type(fd) == Ok(SocketType::STREAM);
        match self.direction {
            Direction::Read if making::is_listener(fd) => return write!(f, "accept on {own}"),
            Direction::Read => write!(f, "read on {own}")?,
            // There is no peer before there is a connection.
            Direction::Write if peer.is_err() && is_stream() => {
                return write!(f, "connect from {own}");
            }
            Direction::Write => write!(f, "write on {own}")?,
            Direction::Priority => write!(f, "priority on {own}")?,
        }
        match peer.ok().flatten().and_then(shown) {
            Some(peer) => write!(f, " -> {peer}"),
            None => Ok(()),
        }
    }

    fn in_short(&self) -> &'static str {
        match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
            Direction::Priority => "priority",
        }
    }
}

/// An address of the internet as std writes it; another one as the system's tools do.
fn shown(address: SocketAddrAny) -> Option<String> {
    if [AddressFamily::INET, AddressFamily::INET6].contains(&address.address_family()) {
        let address = SocketAddr::try_from(address).ok()?;
        return Some(address.to_string());
    }
    system::shown(address)
}

/// Its path if it has one, else its number and what it is: that of a pipe is the same at both ends, and in all processes.
fn without_address(fd: BorrowedFd<'_>) -> String {
    let number = fd.as_raw_fd();
    match system::what(fd) {
        Some(path) if path.starts_with('/') => path,
        Some(what) => format!("descriptor {number} ({what})"),
        None => format!("descriptor {number}"),
    }
}
