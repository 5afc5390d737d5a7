//! Accepting a connection, whatever the addresses are.
//!
//! No flag makes one `accept` non-blocking, so the description of a listener is, whatever mode its
//! user has set; [`Settings`] keeps the two apart.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};

use crate::readiness::Direction;
use crate::settings::Settings;
use crate::source::{Attempt, Source};

/// A connection, and the address of its other end.
pub(crate) type Accepted = (OwnedFd, Option<SocketAddrAny>);

/// Waits for a connection.
#[track_caller]
pub(crate) fn accept(source: &Source, settings: &Settings) -> io::Result<Accepted> {
    let fd = source.fd();
    settings.prepare_listener(fd)?;
    source.operate(
        Direction::Read,
        || settings.patience(fd, Direction::Read),
        |_| try_accept(fd),
    )
}

pub(crate) async fn accept_async(source: &Source, settings: &Settings) -> io::Result<Accepted> {
    let fd = source.fd();
    settings.prepare_listener(fd)?;
    source
        .operate_async(Direction::Read, |_| try_accept(fd))
        .await
}

fn try_accept(fd: BorrowedFd<'_>) -> io::Result<Attempt<Accepted>> {
    loop {
        match acceptfrom_with(fd, SocketFlags::CLOEXEC) {
            Err(Errno::INTR) => {}
            result => return Attempt::of(result),
        }
    }
}
