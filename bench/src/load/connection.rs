//! One connection of the load client: its socket, and the request that is under way on it.

use super::exchange::Exchange;
use super::pattern;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, sockopt};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The system is establishing it.
    Connecting,
    /// A request was sent, at least in part, and not all of its answer has come.
    Waiting,
    /// Nothing is under way.
    Idle,
    /// It is closed or was never open.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Option<OwnedFd>,
    pub(super) state: State,
    /// The request under way, or the last one.
    sequence: u32,
    sent: u32,
    received: u32,
    /// When the request under way was begun.
    pub(super) begun_ns: u64,
    /// Whether it is active and has had no answer yet.
    pub(super) cold: bool,
    /// Requests answered within the measured window.
    pub(super) answered: u32,
}

/// What came of reading from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not yet the whole answer.
    Partial,
    /// The answer is complete.
    Answered,
}

impl Connection {
    /// Begins to connect from `source` to `server`; `epoll` will report on it with `key`.
    pub(super) fn open(
        epoll: &OwnedFd,
        key: u64,
        source: Ipv4Addr,
        server: SocketAddr,
    ) -> Result<Connection, (Connection, Errno)> {
        let begin = || {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket =
                rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            sockopt::set_tcp_nodelay(&socket, true)?;
            // Closing resets: no port stays in TIME_WAIT, so that the next run finds all of them.
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
            // The port is then chosen by `connect`, which knows that ports can be shared between
            // destinations.
            nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::IpBindAddressNoPort,
                &true,
            )
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
            rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
            match rustix::net::connect(&socket, &server) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => return Err(error),
            }
            epoll::add(epoll, &socket, EventData::new_u64(key), EventFlags::OUT)?;
            Ok(socket)
        };
        let connection = |socket: Option<OwnedFd>, state| Connection {
            socket,
            state,
            sequence: 0,
            sent: 0,
            received: 0,
            begun_ns: 0,
            cold: false,
            answered: 0,
        };
        match begin() {
            Ok(socket) => Ok(connection(Some(socket), State::Connecting)),
            Err(error) => Err((connection(None, State::Closed), error)),
        }
    }

    /// Learns how connecting ended; from then on answers are awaited.
    pub(super) fn connected(&mut self, epoll: &OwnedFd, key: u64) -> Result<(), Errno> {
        let socket = self.socket()?;
        sockopt::socket_error(socket)??;
        epoll::modify(epoll, socket, EventData::new_u64(key), EventFlags::IN)?;
        self.state = State::Idle;
        Ok(())
    }

    /// Begins the next request; `epoll` reports when the socket takes what it did not take at once.
    pub(super) fn begin(
        &mut self,
        epoll: &OwnedFd,
        key: u64,
        id: u32,
        now_ns: u64,
        exchange: &Exchange,
        out: &mut [u8],
    ) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        self.sent = 0;
        self.received = 0;
        self.begun_ns = now_ns;
        self.state = State::Waiting;
        exchange.request(id, self.sequence, out);
        if self.send(out)? < out.len() {
            let both = EventFlags::IN | EventFlags::OUT;
            epoll::modify(epoll, self.socket()?, EventData::new_u64(key), both)?;
        }
        Ok(())
    }

    /// Sends more of a request that the socket did not take whole when it was begun.
    pub(super) fn send_rest(
        &mut self,
        epoll: &OwnedFd,
        key: u64,
        id: u32,
        exchange: &Exchange,
        out: &mut [u8],
    ) -> Result<(), Errno> {
        exchange.request(id, self.sequence, out);
        if self.send(out)? == out.len() {
            epoll::modify(
                epoll,
                self.socket()?,
                EventData::new_u64(key),
                EventFlags::IN,
            )?;
        }
        Ok(())
    }

    /// Sends what the socket takes of the rest of `request`, and returns how much of it has been
    /// sent in all.
    fn send(&mut self, request: &[u8]) -> Result<usize, Errno> {
        match rustix::io::write(self.socket()?, &request[self.sent as usize..]) {
            Ok(sent) => self.sent += sent as u32,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(self.sent as usize)
    }

    /// Whether a part of the request is still to be sent.
    pub(super) fn has_unsent(&self, request: usize) -> bool {
        self.state == State::Waiting && (self.sent as usize) < request
    }

    /// Reads once and adds to `wrong_bytes` what differs from the request. `buffer` is longer than
    /// an answer, so that bytes too many are seen; `expected` is as long as an answer.
    pub(super) fn receive(
        &mut self,
        id: u32,
        exchange: &Exchange,
        buffer: &mut [u8],
        expected: &mut [u8],
        wrong_bytes: &mut u64,
    ) -> Result<Progress, Errno> {
        let awaited = if self.state == State::Waiting {
            expected.len() - self.received as usize
        } else {
            0
        };
        let got = match rustix::io::read(self.socket()?, &mut buffer[..awaited + 1]) {
            // The server ended a connection that it had no reason to end.
            Ok(0) => return Err(Errno::PIPE),
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Progress::Partial),
            Err(error) => return Err(error),
        };
        exchange.answer(id, self.sequence, expected);
        let from = self.received as usize;
        let taken = got.min(awaited);
        *wrong_bytes += pattern::differing(&buffer[..taken], &expected[from..from + taken])
            + (got - taken) as u64;
        self.received += taken as u32;
        Ok(if awaited > 0 && taken == awaited {
            Progress::Answered
        } else {
            Progress::Partial
        })
    }

    /// Closes it.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.state = State::Closed;
    }

    fn socket(&self) -> Result<BorrowedFd<'_>, Errno> {
        use rustix::fd::AsFd;
        self.socket
            .as_ref()
            .map(OwnedFd::as_fd)
            .ok_or(Errno::NOTCONN)
    }
}
