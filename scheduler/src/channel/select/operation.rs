//! What a select can wait for: an end of a channel, a clock, a [`Selectable`].

use std::time::Instant;

use crate::channel::core::{Claim, Registered, Role, Side};
use crate::channel::receiver::Source;
use crate::channel::{Receiver, Sender};
use crate::wait::Ticket;
use crate::wait::selectable::{self, Selectable};

/// One operation of a select.
pub(super) trait Operation {
    fn claim(&self) -> Option<Claimed>;
    fn is_possible(&self) -> bool;
    /// Gives back what `claim` or a registration has given.
    fn give_back(&self, claimed: Claimed);
    /// When to look again, if nothing else happens.
    fn due(&self) -> Option<Instant>;
    /// `None` if it may be possible now.
    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>>;
}

/// A ticket that an operation keeps, until this is dropped.
pub(super) trait Registration {
    /// Takes it back; gives what was promised.
    fn end(self: Box<Self>) -> Option<Claimed>;
}

/// What a selected operation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    Channel(Claim),
    /// The message of a clock.
    Time(Instant),
    /// It is ready.
    Ready,
}

impl<T> Registration for Registered<'_, T> {
    fn end(self: Box<Self>) -> Option<Claimed> {
        let promised = (*self).end();
        promised.then_some(Claimed::Channel(Claim::Promise))
    }
}

/// The registration of what will be looked at again.
impl Registration for selectable::Registration<'_> {
    fn end(self: Box<Self>) -> Option<Claimed> {
        None
    }
}

/// The registration of what tells by its time alone.
pub(super) struct Timed;

impl Registration for Timed {
    fn end(self: Box<Self>) -> Option<Claimed> {
        None
    }
}

impl<T> Operation for Sender<T> {
    fn claim(&self) -> Option<Claimed> {
        self.chan.claim(Side::Send).map(Claimed::Channel)
    }

    fn is_possible(&self) -> bool {
        self.chan.is_possible(Side::Send)
    }

    fn give_back(&self, claimed: Claimed) {
        if claimed == Claimed::Channel(Claim::Promise) {
            self.chan.give_back(Side::Send);
        }
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>> {
        let registered = self.chan.register(Side::Send, ticket, role)?;
        Some(Box::new(registered))
    }
}

impl<T> Operation for Receiver<T> {
    fn claim(&self) -> Option<Claimed> {
        match &self.source {
            Source::Chan(chan) => chan.claim(Side::Receive).map(Claimed::Channel),
            Source::Clock(clock) => clock.take().map(Claimed::Time),
            Source::Never => None,
        }
    }

    fn is_possible(&self) -> bool {
        match &self.source {
            Source::Chan(chan) => chan.is_possible(Side::Receive),
            Source::Clock(_) | Source::Never => !self.is_empty(),
        }
    }

    fn give_back(&self, claimed: Claimed) {
        if let (Source::Chan(chan), Claimed::Channel(Claim::Promise)) = (&self.source, claimed) {
            chan.give_back(Side::Receive);
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.source {
            Source::Clock(clock) => clock.next(),
            Source::Chan(_) | Source::Never => None,
        }
    }

    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>> {
        match &self.source {
            Source::Chan(chan) => {
                let registered = chan.register(Side::Receive, ticket, role)?;
                Some(Box::new(registered))
            }
            Source::Clock(_) | Source::Never => Some(Box::new(Timed)),
        }
    }
}

/// A [`Selectable`] as an operation.
#[derive(Clone, Copy)]
pub(super) struct Readiness<'a>(pub(super) &'a dyn Selectable);

/// What a select refers to.
#[derive(Clone, Copy)]
pub(super) enum Handle<'a> {
    Channel(&'a (dyn Operation + 'a)),
    Readiness(Readiness<'a>),
}

impl<'a> Handle<'a> {
    pub(super) fn operation(&self) -> &(dyn Operation + 'a) {
        match self {
            Self::Channel(operation) => *operation,
            Self::Readiness(readiness) => readiness,
        }
    }
}

impl Operation for Readiness<'_> {
    fn claim(&self) -> Option<Claimed> {
        self.is_possible().then_some(Claimed::Ready)
    }

    fn is_possible(&self) -> bool {
        self.0.is_ready().unwrap_or(true)
    }

    fn give_back(&self, _: Claimed) {}

    fn due(&self) -> Option<Instant> {
        None
    }

    fn register(&self, ticket: Ticket, _: Role) -> Option<Box<dyn Registration + '_>> {
        let registration = self.0.watch(ticket).ok()??;
        Some(Box::new(registration))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Arm<'a> {
    pub(super) index: usize,
    pub(super) handle: Handle<'a>,
    /// Which channel end it is of.
    pub(super) address: *const (),
}
