//! What an operation on a descriptor waits for, told by the addresses that the system has for it.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use roving_scheduler::wait::Why;
use rustix::net::{SocketAddrAny, getpeername, getsockname, sockopt};

use crate::readiness::Direction;

/// Whoever waits borrows the descriptor, so it is the same when somebody asks. Debuggers read it.
#[repr(C)]
pub(crate) struct Operation<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) direction: Direction,
}

impl Why for Operation<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = getsockname(self.fd).ok().and_then(shown);
        let peer = getpeername(self.fd).ok().flatten().and_then(shown);
        let listens = || sockopt::socket_acceptconn(self.fd).unwrap_or(false);
        match (self.direction, own, peer) {
            (Direction::Read, Some(own), Some(peer)) => write!(f, "read on {own} -> {peer}"),
            (Direction::Write, Some(own), Some(peer)) => write!(f, "write on {own} -> {peer}"),
            (Direction::Read, Some(own), None) if listens() => write!(f, "accept on {own}"),
            (Direction::Read, Some(own), None) => write!(f, "read on {own}"),
            // There is no peer before there is a connection.
            (Direction::Write, Some(own), None) => write!(f, "connect from {own}"),
            (Direction::Read, None, _) => write!(f, "read on descriptor {}", self.fd.as_raw_fd()),
            (Direction::Write, None, _) => write!(f, "write on descriptor {}", self.fd.as_raw_fd()),
        }
    }

    fn in_short(&self) -> &'static str {
        match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        }
    }
}

/// An address as std writes it, if it is one of the internet.
fn shown(address: SocketAddrAny) -> Option<std::net::SocketAddr> {
    address.try_into().ok()
}
