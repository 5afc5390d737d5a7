//! What a fired ticket leaves to do: its thread must run again, and the ticket must be dropped.
//!
//! Both are for after the lock under which the ticket was fired. A thread that runs at once wants
//! that lock; waking a worker takes a system call; and a ticket may be the last that is left of
//! a thread, with which anything is dropped. So a [`Fired`] does both when it is dropped, and must
//! not be dropped under a lock. Locks and channels collect theirs in a [`Woken`](super::ticket::Woken).

use std::sync::Arc;

use crate::protocol::word::Fire;
use crate::run::green::{Kind, Runnable, Waiter};
use crate::run::shared;

/// A ticket that has been fired: see the [module](self).
#[must_use]
pub(crate) struct Fired {
    /// `None` once the thread has been given away.
    waiter: Option<Arc<Waiter>>,
    fire: Fire,
}

impl Fired {
    pub(crate) fn new(waiter: Arc<Waiter>, fire: Fire) -> Self {
        Self {
            waiter: Some(waiter),
            fire,
        }
    }

    /// Whether this ticket ended the wait.
    pub(crate) fn is_first(&self) -> bool {
        self.fire != Fire::Lost
    }

    /// The green thread, if the caller has to queue it.
    pub(crate) fn into_runnable(mut self) -> Option<Runnable> {
        let waiter = self
            .waiter
            .take_if(|waiter| self.fire == Fire::Parked && matches!(waiter.kind, Kind::Green(_)))?;
        Some(Runnable(waiter))
    }
}

impl Drop for Fired {
    fn drop(&mut self) {
        if self.fire == Fire::Parked
            && let Some(waiter) = self.waiter.take()
        {
            match waiter.kind {
                Kind::Os(_) => waiter.run_again(),
                Kind::Green(_) => shared::schedule(Runnable(waiter)),
            }
        }
    }
}
