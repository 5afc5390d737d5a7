//! Windows, where a socket that is not inherited is made in one call, but that which is accepted. No signal comes of sending.

use std::io;
use std::net::SocketAddr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrAny, SocketType, getpeername, sockopt};
use socket2::{Domain, SockRef, Socket, Type};

use super::Mode;
use crate::mode::number;

/// What a call that sends, and may wait, is made with.
pub(crate) const SEND_FLAGS_TO_WAIT: SendFlags = SendFlags::empty();

/// Whether listeners take an address that connections of an earlier one still have. Here it can be taken anyway, and the option would let
/// others take the address of a listener that lives.
pub(crate) const REUSES_ADDRESSES: bool = false;

/// Makes one; its mode is remembered elsewhere.
pub(crate) fn socket(family: AddressFamily, kind: SocketType, _: Mode) -> Result<OwnedFd, Errno> {
    let domain = match family {
        AddressFamily::INET => Domain::IPV4,
        _ => Domain::IPV6,
    };
    let kind = match kind {
        SocketType::STREAM => Type::STREAM,
        _ => Type::DGRAM,
    };
    let socket = Socket::new(domain, kind, None).map_err(|error| number(&error))?;
    Ok(socket.into())
}

/// Accepts a connection.
pub(crate) fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let listener = listener.as_fd();
    match SockRef::from(&listener).accept() {
        Ok((socket, address)) => {
            let address: Option<SocketAddr> = address.as_socket();
            Ok((socket.into(), address.map(SocketAddrAny::from)))
        }
        // It has been reset before it was accepted, which is told as the others do.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Errno::CONNABORTED),
        Err(error) => Err(number(&error)),
    }
}

/// Each system tells in a way of its own. What is read from without having a peer is taken for one.
pub(crate) fn is_listener(fd: impl AsFd) -> bool {
    let fd = fd.as_fd();
    sockopt::socket_type(fd) == Ok(SocketType::STREAM) && getpeername(fd).is_err()
}
