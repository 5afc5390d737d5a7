//! What a select can wait for: an end of a channel, a clock, a [`Selectable`].

use std::sync::Arc;
use std::time::Instant;

use crate::channel::core::{Claim, Impossible, Registered, Role, Side};
use crate::channel::receiver::Source;
use crate::channel::{Receiver, Sender};
use crate::wait::Ticket;
use crate::wait::selectable::{self, Selectable};

/// One operation of a select.
pub(super) trait Operation {
    /// What it is done with.
    fn end(&self) -> End;

    /// Claims it, if it is possible.
    fn claim(&self) -> Result<Claimed, Unready>;

    /// Looks whether it is possible.
    fn look(&self) -> Result<(), Unready>;

    /// Whether it has not been possible since it was not for this reason.
    fn is_still(&self, why: Unready) -> bool;

    /// Waits until it is known whether what stands in its way stays. `false` if that takes too long.
    fn settle(&self) -> bool {
        true
    }

    /// Waits for what is still missing of a claim, or gives it up.
    fn complete(&self, claimed: Claimed) -> Option<Claimed> {
        Some(claimed)
    }

    /// Gives back what was claimed.
    fn give_back(&self, claimed: Claimed);

    /// When to look again, if nothing else happens.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// `None` if it may be possible now.
    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>>;
}

/// A ticket that an operation keeps, until this is dropped.
pub(super) trait Registration {
    /// Takes it back; gives what was claimed.
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

/// Why an operation is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unready {
    Channel(Impossible),
    /// Its time has not come. `None` if it never will.
    Before(Option<Instant>),
    /// It has said so. Only a ticket tells whether that has changed.
    Asked,
}

impl<T> Registration for Registered<'_, T> {
    fn end(self: Box<Self>) -> Option<Claimed> {
        (*self).end().map(Claimed::Channel)
    }
}

/// The registration of what will be looked at again.
impl Registration for selectable::Registration<'_> {
    fn end(self: Box<Self>) -> Option<Claimed> {
        None
    }
}

/// The registration of what tells by its time alone.
struct Timed;

impl Registration for Timed {
    fn end(self: Box<Self>) -> Option<Claimed> {
        None
    }
}

impl<T> Operation for Sender<T> {
    fn end(&self) -> End {
        End::SenderOf(Arc::as_ptr(&self.chan).cast())
    }

    fn claim(&self) -> Result<Claimed, Unready> {
        let claim = self.chan.claim(Side::Send);
        claim.map(Claimed::Channel).map_err(Unready::Channel)
    }

    fn look(&self) -> Result<(), Unready> {
        self.chan.look(Side::Send).map_err(Unready::Channel)
    }

    fn is_still(&self, why: Unready) -> bool {
        matches!(why, Unready::Channel(why) if self.chan.is_still(why))
    }

    fn settle(&self) -> bool {
        self.chan.settle()
    }

    fn give_back(&self, claimed: Claimed) {
        if let Claimed::Channel(claim) = claimed {
            self.chan.give_back(claim);
        }
    }

    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>> {
        let registered = self.chan.register(Side::Send, ticket, role)?;
        Some(Box::new(registered))
    }
}

impl<T> Operation for Receiver<T> {
    fn end(&self) -> End {
        match &self.source {
            Source::Chan(chan) => End::ReceiverOf(Arc::as_ptr(chan).cast()),
            Source::Clock(clock) => End::ReceiverOf(Arc::as_ptr(clock).cast()),
            Source::Never => End::Never,
        }
    }

    fn claim(&self) -> Result<Claimed, Unready> {
        match &self.source {
            Source::Chan(chan) => {
                let claim = chan.claim(Side::Receive);
                claim.map(Claimed::Channel).map_err(Unready::Channel)
            }
            Source::Clock(clock) => {
                let time = clock.take().map(Claimed::Time);
                time.ok_or_else(|| Unready::Before(clock.next()))
            }
            Source::Never => Err(Unready::Before(None)),
        }
    }

    fn look(&self) -> Result<(), Unready> {
        match &self.source {
            Source::Chan(chan) => chan.look(Side::Receive).map_err(Unready::Channel),
            Source::Clock(clock) => match clock.next() {
                Some(next) if next <= Instant::now() => Ok(()),
                next => Err(Unready::Before(next)),
            },
            Source::Never => Err(Unready::Before(None)),
        }
    }

    fn is_still(&self, why: Unready) -> bool {
        match (&self.source, why) {
            (Source::Chan(chan), Unready::Channel(why)) => chan.is_still(why),
            (Source::Never, _) => true,
            _ => self.look() == Err(why),
        }
    }

    fn complete(&self, claimed: Claimed) -> Option<Claimed> {
        match (&self.source, claimed) {
            (Source::Chan(chan), Claimed::Channel(Claim::Meeting(key))) => {
                let has_come = chan.meet(key);
                has_come.then_some(Claimed::Channel(Claim::Message(key)))
            }
            _ => Some(claimed),
        }
    }

    fn give_back(&self, claimed: Claimed) {
        if let (Source::Chan(chan), Claimed::Channel(claim)) = (&self.source, claimed) {
            chan.give_back(claim);
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

impl Operation for Readiness<'_> {
    fn end(&self) -> End {
        End::None
    }

    fn claim(&self) -> Result<Claimed, Unready> {
        self.look().map(|()| Claimed::Ready)
    }

    fn look(&self) -> Result<(), Unready> {
        if self.0.is_ready().unwrap_or(true) {
            Ok(())
        } else {
            Err(Unready::Asked)
        }
    }

    fn is_still(&self, _: Unready) -> bool {
        false
    }

    fn give_back(&self, _: Claimed) {}

    fn register(&self, ticket: Ticket, _: Role) -> Option<Box<dyn Registration + '_>> {
        let registration = self.0.watch(ticket).ok()??;
        Some(Box::new(registration))
    }
}

/// An end of a channel: all clones of a sender, or of a receiver, are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    SenderOf(*const ()),
    ReceiverOf(*const ()),
    /// Of a receiver that never gets a message.
    Never,
    /// It is no end of a channel.
    None,
}

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

#[derive(Clone, Copy)]
pub(super) struct Arm<'a> {
    pub(super) index: usize,
    pub(super) handle: Handle<'a>,
}
