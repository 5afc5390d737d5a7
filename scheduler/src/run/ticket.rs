//! Tickets: the right to end a wait.
//!
//! A [`Ticket`] names a thread and one wait of it, so that it is worth nothing once that wait has ended,
//! wherever it was left. Those that are fired under a lock are collected in a [`Woken`], which lets
//! their threads run when the lock is free.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::fired::Fired;
use super::green::Waiter;
use crate::protocol::word::{By, Epoch};

/// The right to end a wait. Firing one of a wait that has ended does nothing.
#[derive(Clone)]
pub struct Ticket {
    waiter: Arc<Waiter>,
    epoch: Epoch,
}

impl Ticket {
    pub(crate) fn new(waiter: Arc<Waiter>, epoch: Epoch) -> Self {
        Self { waiter, epoch }
    }

    /// Ends the wait and lets its thread run again. `true` for the one who did; never blocks.
    pub fn fire(self) -> bool {
        self.end(By::Ticket).is_first()
    }

    /// Ends the wait. Its thread runs again when what this gives is dropped.
    pub(crate) fn end(self, by: By) -> Fired {
        let fire = self.waiter.word.fire(self.epoch, by);
        Fired::new(self.waiter, fire)
    }

    /// Whether both are of one wait.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.waiter, &other.waiter) && self.epoch == other.epoch
    }

    /// Whether the wait has ended, so that firing would do nothing.
    pub fn is_stale(&self) -> bool {
        self.waiter.word.is_stale(self.epoch)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("thread", &self.waiter)
            .field("stale", &self.is_stale())
            .finish()
    }
}

/// The tickets that were fired while a lock was held. Dropping this lets the threads run again, in
/// the order in which they were woken.
#[derive(Default)]
pub(crate) enum Woken {
    #[default]
    Nobody,
    One(Fired),
    Many(Vec<Fired>),
}

impl Woken {
    /// Ends a wait; `false` if it had ended.
    pub(crate) fn fire(&mut self, ticket: Ticket) -> bool {
        let fired = ticket.end(By::Ticket);
        let is_first = fired.is_first();
        match self {
            Self::Nobody => *self = Self::One(fired),
            Self::Many(all) => all.push(fired),
            Self::One(_) => {
                if let Self::One(earlier) = mem::replace(self, Self::Many(Vec::new())) {
                    *self = Self::Many(vec![earlier, fired]);
                }
            }
        }
        is_first
    }
}
