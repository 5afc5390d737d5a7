//! What an operation on a descriptor waits for, told by what the system knows of it: the addresses of a socket, the path of
//! a terminal, which pipe it is.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

use roving_scheduler::wait::Why;
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, getpeername, getsockname, sockopt};

use crate::net::making;
use crate::readiness::Direction;
use crate::unix_addr;

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

/// An address of the internet as std writes it; that of a Unix socket, if it has a name, as `ss` does.
fn shown(address: SocketAddrAny) -> Option<String> {
    if address.address_family() != AddressFamily::UNIX {
        let address = SocketAddr::try_from(address).ok()?;
        return Some(address.to_string());
    }
    let address = unix_addr::to_std(Some(address)).ok()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_name() {
        return Some(format!("@{}", name.escape_ascii()));
    }
    Some(address.as_pathname()?.display().to_string())
}

/// Its path if it has one, else its number and what it is: that of a pipe is the same at both ends, and in all processes.
fn without_address(fd: BorrowedFd<'_>) -> String {
    let number = fd.as_raw_fd();
    match what(fd) {
        Some(path) if path.starts_with('/') => path,
        Some(what) => format!("descriptor {number} ({what})"),
        None => format!("descriptor {number}"),
    }
}

#[cfg(target_os = "linux")]
fn what(fd: BorrowedFd<'_>) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd())).ok()?;
    let link = link.display().to_string();
    Some(match link.strip_prefix("anon_inode:") {
        Some(kind) => kind.trim_matches(['[', ']']).to_owned(),
        None => link,
    })
}

#[cfg(not(target_os = "linux"))]
fn what(fd: BorrowedFd<'_>) -> Option<String> {
    use rustix::fs::FileType;

    let kind = match crate::nowait::kind(fd).ok()? {
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "device",
        _ => return None,
    };
    Some(kind.to_owned())
}
