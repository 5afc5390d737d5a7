//! [`Ready`]: the readiness of a socket as something that a select can wait for.
//!
//! A select looks at the edge counter, asks the system whether the socket is ready, and leaves its
//! ticket unless the counter has moved: the steps of every operation (see
//! [`readiness`](crate::readiness)), with `poll` in place of the operation.

use std::fmt;
use std::io;

use roving_scheduler::channel::{Registration, Selectable, Ticket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::readiness::Direction;
use crate::source::Source;

/// A direction of a socket that a [`select!`](roving_scheduler::select!) can wait for: see
/// [`TcpStream::readable`](crate::net::TcpStream::readable).
pub struct Ready<'a> {
    source: &'a Source,
    direction: Direction,
}

impl<'a> Ready<'a> {
    pub(crate) fn new(source: &'a Source, direction: Direction) -> Self {
        Self { source, direction }
    }
}

impl Selectable for Ready<'_> {
    fn is_ready(&self) -> io::Result<bool> {
        let interest = match self.direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        let fd = self.source.fd();
        let ready = poll(
            &mut [PollFd::from_borrowed_fd(fd, interest)],
            Some(&Timespec::default()),
        )?;
        Ok(ready > 0)
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        let direction = self.direction;
        let readiness = self.source.current_registration()?;
        let glance = readiness.glance(direction);
        if self.is_ready()? || !readiness.watch(direction, glance.tick, ticket.clone()) {
            return Ok(None);
        }
        Ok(Some(Registration::new(move || {
            readiness.unwatch(direction, &ticket);
        })))
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}
