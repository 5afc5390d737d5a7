//! The node of a select in a channel.

use super::Chan;
use super::promise::Claim;
use super::waiter::{Leave, Role, Side, Waiter, Waiting};
use crate::wait::Ticket;

/// A node that waits. Dropping this takes it out, and gives back what it has claimed.
pub(in crate::channel) struct Registered<'a, T> {
    chan: &'a Chan<T>,
    side: Side,
    node: Box<Waiting<T>>,
}

// SAFETY: the node is touched by others under the lock of the channel alone, and what it has of messages
// moves from thread to thread and is never shared.
unsafe impl<T: Send> Send for Registered<'_, T> {}
// SAFETY: there is nothing to be done with a shared one.
unsafe impl<T: Send> Sync for Registered<'_, T> {}

impl<T> Chan<T> {
    /// Leaves a node for a select. `None` if its operation would go on at once.
    pub(in crate::channel) fn register(
        &self,
        side: Side,
        ticket: Ticket,
        role: Role,
    ) -> Option<Registered<'_, T>> {
        let registered = Registered {
            chan: self,
            side,
            node: Box::new(Waiter::node(ticket.clone(), role, None)),
        };
        let mut locked = self.lock();
        if locked.state.is_possible(side, Some(&ticket)) {
            drop(locked);
            return None;
        }
        // SAFETY: `Registered` takes it out before it is dropped.
        unsafe { locked.push_waiting(side, &registered.node) };
        drop(locked);
        Some(registered)
    }

    pub(super) fn leave_with<'a>(&'a self, node: &'a Waiting<T>, side: Side) -> Leave<'a, T> {
        Leave {
            chan: self,
            node,
            side,
        }
    }
}

impl<T> Registered<'_, T> {
    /// Takes the node out; gives what it has claimed, which is the caller's.
    pub(in crate::channel) fn end(self) -> Option<Claim> {
        self.leave();
        self.node.value.claim.take()
    }

    fn leave(&self) {
        drop(self.chan.leave_with(&self.node, self.side));
    }
}

impl<T> Drop for Registered<'_, T> {
    fn drop(&mut self) {
        self.leave();
        if let Some(claim) = self.node.value.claim.take() {
            self.chan.give_back(claim);
        }
    }
}
