//! What there is to tell of a descriptor on every Unix.

use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::net::SocketAddrAny;

use crate::nowait::kind;
use crate::unix_addr;

/// That of a Unix socket, if it has a name.
pub(super) fn shown(address: SocketAddrAny) -> Option<String> {
    let address = unix_addr::to_std(Some(address)).ok()?;
    Some(address.as_pathname()?.display().to_string())
}

pub(super) fn what(fd: BorrowedFd<'_>) -> Option<String> {
    let kind = match kind(fd).ok()? {
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "device",
        _ => return None,
    };
    Some(kind.to_owned())
}
