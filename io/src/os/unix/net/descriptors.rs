//! Descriptors that go along with data (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, recvmsg, sendmsg,
};

use super::{UnixDatagram, UnixStream};
use crate::io::Raw;
use crate::net::making::SEND_FLAGS;
use crate::net::stream::{Stream, transmit_with};
use crate::readiness::Direction;
use crate::source::Attempt;

/// As many as Linux takes with one message.
const MOST: usize = 253;

impl UnixStream {
    /// Writes `buf`, as a write does, and sends descriptors along with its first byte. The receiver gets duplicates of
    /// them. Linux only.
    ///
    /// A read that does not [receive](Self::recv_with_fds) descriptors closes those that come with what it reads.
    ///
    /// # Errors
    ///
    /// As for a write; `InvalidInput` if there are more than 253 descriptors, or some but no byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, Read, Write};
    /// use std::os::fd::AsFd;
    ///
    /// use roving::os::unix::net::UnixStream;
    ///
    /// # fn main() -> io::Result<()> {
    /// let (near, far) = UnixStream::pair()?;
    /// let (mut reader, writer) = io::pipe()?;
    /// near.send_with_fds(b"a pipe", &[writer.as_fd()])?;
    /// drop(writer);
    ///
    /// let mut fds = Vec::new();
    /// let read = far.recv_with_fds(&mut [0; 100], &mut fds)?;
    /// assert_eq!((read, fds.len()), (6, 1));
    /// let mut writer = io::PipeWriter::from(fds.pop().unwrap());
    /// writer.write_all(b"hello")?;
    /// drop(writer);
    /// assert_eq!(io::read_to_string(reader)?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        check(fds)?;
        if buf.is_empty() && !fds.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot send descriptors with no bytes: in a stream, they go along with a byte",
            ));
        }
        transmit_with(self, buf.len(), |sent| match sent {
            0 => try_send(self.source.fd(), buf, fds),
            _ => self.try_write(&buf[sent..]),
        })
    }

    /// Reads once, and adds the descriptors that came along to `fds`. They are closed when a program is executed.
    /// Linux only.
    ///
    /// When the process has as many descriptors as it may have (`RLIMIT_NOFILE`), the system closes the rest of those that came along,
    /// and does not tell how many there were.
    ///
    /// # Errors
    ///
    /// As for a read.
    #[track_caller]
    pub fn recv_with_fds(&self, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
        self.source.operate(
            Direction::Read,
            || self.patience(Direction::Read),
            |_| Attempt::of(try_receive(self.source.fd(), buf, fds)),
        )
    }
}

impl UnixDatagram {
    /// Sends a datagram, as [`send`](Self::send) does, and descriptors along with it. The receiver gets duplicates of
    /// them. Linux only.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); `InvalidInput` if there are more than 253 descriptors.
    #[track_caller]
    pub fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        check(fds)?;
        self.source.operate(
            Direction::Write,
            || self.patience(Direction::Write),
            |_| Attempt::of(try_send(self.source.fd(), buf, fds)),
        )
    }

    /// Receives a datagram, as [`recv`](Self::recv) does, and adds the descriptors that came along to `fds`. They are
    /// closed when a program is executed. Linux only.
    ///
    /// As with [streams](UnixStream::recv_with_fds), those are lost for which the process has no room.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_with_fds(&self, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let received = self.receive(|| try_receive(self.source.fd(), buf, fds))?;
        Ok(received.unwrap_or_default())
    }
}

fn check(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() <= MOST {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "cannot send {} descriptors with one message: it takes at most {MOST}, so send more messages",
            fds.len()
        ),
    ))
}

fn try_send(fd: BorrowedFd<'_>, buf: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
    debug_assert!(fits, "there is space for as many");
    sendmsg(fd, &[IoSlice::new(buf)], &mut control, SEND_FLAGS)
}

fn try_receive(fd: BorrowedFd<'_>, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    // Credentials come first, where somebody has asked the socket for them.
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(fd, &mut [IoSliceMut::new(buf)], &mut control, flags)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    Ok(message.bytes)
}
