//! One who waits at an end of a channel: a node in one of its lists.

use std::cell::{Cell, UnsafeCell};

use super::Chan;
use super::promise::Claim;
use crate::protocol::list::Node;
use crate::wait::Ticket;

/// What is in a node.
pub(super) struct Waiter<T> {
    ticket: Cell<Option<Ticket>>,
    pub(super) role: Role,
    /// What it has been given instead of a message.
    pub(super) claim: Cell<Option<Claim>>,
    /// The message that it brings or gets, if its role is `Plain`.
    pub(super) message: UnsafeCell<Option<T>>,
}

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Role {
    /// An operation that the other side completes.
    Plain,
    /// An operation of a select, which gets a claim.
    Select,
    /// One who wants to know when the operation is possible.
    Observer,
}

pub(super) type Waiting<T> = Node<Waiter<T>>;

impl<T> Waiter<T> {
    pub(super) fn node(ticket: Ticket, role: Role, message: Option<T>) -> Waiting<T> {
        Node::new(Self {
            ticket: Cell::new(Some(ticket)),
            role,
            claim: Cell::new(None),
            message: UnsafeCell::new(message),
        })
    }

    /// Takes the ticket of a node that has just been taken out of its list.
    pub(super) fn take_ticket(&self) -> Ticket {
        self.ticket.take().expect("a node in a list has its ticket")
    }

    /// Whether this is of the wait that `me` is a ticket of. Called under the lock, for a node in a
    /// list.
    pub(super) fn is_of(&self, me: &Ticket) -> bool {
        let ticket = self.ticket.take();
        let is_of = ticket.as_ref() == Some(me);
        self.ticket.set(ticket);
        is_of
    }
}

/// Which list a node is in. Debuggers read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::channel) enum Side {
    Send,
    Receive,
    /// Of those who wait until it is known whether promised room is used.
    Settle,
}

/// Takes a node out of its list, if it is still there.
pub(super) struct Leave<'a, T> {
    pub(super) chan: &'a Chan<T>,
    pub(super) node: &'a Waiting<T>,
    pub(super) side: Side,
}

impl<T> Drop for Leave<'_, T> {
    fn drop(&mut self) {
        let mut locked = self.chan.lock();
        let list = locked.state.list(self.side);
        // SAFETY: it is in this list or in none.
        unsafe { list.remove(self.node) };
    }
}
