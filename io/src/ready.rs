//! [`Ready`]: the readiness of a socket as something that a select can wait for.
//!
//! A select looks at the edge counter, asks the system whether the socket is ready, and leaves its
//! ticket unless the counter has moved: the steps of every operation (see
//! [`readiness`](crate::readiness)), with `poll` in place of the operation.

use std::fmt;
use std::io;

use roving_scheduler::channel::{Registration, Selectable, Ticket};
use rustix::fd::BorrowedFd;

use crate::event::is_ready;
use crate::readiness::Direction;
use crate::source::Source;

/// A direction of a descriptor that a [`select!`](roving_scheduler::select!) can wait for: see
/// [`TcpStream::readable`](crate::net::TcpStream::readable).
pub struct Ready<'a> {
    of: Of<'a>,
    direction: Direction,
}

enum Of<'a> {
    Source(&'a Source),
    /// Nobody's: another descriptor may be put in its place, so it is waited for with a duplicate.
    Descriptor(BorrowedFd<'a>),
}

impl<'a> Ready<'a> {
    pub(crate) fn new(source: &'a Source, direction: Direction) -> Self {
        Self {
            of: Of::Source(source),
            direction,
        }
    }

    /// That of a descriptor which may become another one.
    pub(crate) fn unregistered(fd: BorrowedFd<'a>, direction: Direction) -> Self {
        Self {
            of: Of::Descriptor(fd),
            direction,
        }
    }
}

impl Selectable for Ready<'_> {
    fn is_ready(&self) -> io::Result<bool> {
        match self.of {
            Of::Source(source) => source.is_ready(self.direction),
            Of::Descriptor(fd) => Ok(is_ready(fd, self.direction.events())?),
        }
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        let fd = match self.of {
            Of::Source(source) => {
                return source.watch(self.direction, ticket, || source.is_ready(self.direction));
            }
            Of::Descriptor(fd) => fd,
        };
        let source = Source::new(fd.try_clone_to_owned()?);
        let is_ready = || source.is_ready(self.direction);
        let registered = source.watch(self.direction, ticket, is_ready)?;
        Ok(registered.map(|registered| {
            Registration::new(move || {
                drop(registered);
                drop(source);
            })
        }))
    }
}

impl Source {
    /// Asks the system whether a direction is ready.
    pub(crate) fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        Ok(is_ready(self.fd(), direction.events())?)
    }

    /// Leaves a ticket for the next edge, unless `is_ready` says so or there has been one since it was asked.
    pub(crate) fn watch(
        &self,
        direction: Direction,
        ticket: Ticket,
        is_ready: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<Option<Registration<'static>>> {
        let readiness = self.current_registration()?;
        let glance = readiness.glance(direction);
        if is_ready()? {
            return Ok(None);
        }
        self.ask(&readiness, direction)?;
        if !readiness.watch(direction, glance.tick, ticket.clone()) {
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
