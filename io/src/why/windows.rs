//! On Windows all that is waited for are sockets of the internet.

use rustix::fd::BorrowedFd;
use rustix::net::SocketAddrAny;

pub(super) fn shown(_: SocketAddrAny) -> Option<String> {
    None
}

pub(super) fn what(_: BorrowedFd<'_>) -> Option<String> {
    Some("socket".to_owned())
}
