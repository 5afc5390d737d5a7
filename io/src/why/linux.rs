//! What Linux tells of a descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;

use rustix::net::SocketAddrAny;

use crate::unix_addr;

/// That of a Unix socket, if it has a name, as `ss` does.
pub(super) fn shown(address: SocketAddrAny) -> Option<String> {
    let address = unix_addr::to_std(Some(address)).ok()?;
    match address.as_abstract_name() {
        Some(name) => Some(format!("@{}", name.escape_ascii())),
        None => Some(address.as_pathname()?.display().to_string()),
    }
}

pub(super) fn what(fd: BorrowedFd<'_>) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd())).ok()?;
    let link = link.display().to_string();
    Some(match link.strip_prefix("anon_inode:") {
        Some(kind) => kind.trim_matches(['[', ']']).to_owned(),
        None => link,
    })
}
