//! Tickets: the right to end a wait.
//!
//! A [`Ticket`] names a thread and one wait of it, so that it is worth nothing once that wait has ended,
//! wherever it was left.

use std::fmt;
use std::sync::Arc;

use super::green::Waiter;
use crate::protocol::word::Epoch;

/// The right to end a wait. Firing one of a wait that has ended does nothing.
#[derive(Clone)]
pub struct Ticket {
    pub(super) waiter: Arc<Waiter>,
    pub(super) epoch: Epoch,
}

impl Ticket {
    pub(crate) fn new(waiter: Arc<Waiter>, epoch: Epoch) -> Self {
        Self { waiter, epoch }
    }

    /// Returns whether the wait has ended, so that firing would do nothing.
    pub fn is_stale(&self) -> bool {
        self.waiter.word.is_stale(self.epoch)
    }
}

/// Tickets are equal that end one wait.
impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.waiter, &other.waiter) && self.epoch == other.epoch
    }
}

impl Eq for Ticket {}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("thread", &self.waiter)
            .field("stale", &self.is_stale())
            .finish()
    }
}
