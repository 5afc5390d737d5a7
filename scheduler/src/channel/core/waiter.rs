//! One who waits at an end of a channel: a node in one of its lists.

use std::cell::{Cell, UnsafeCell};

use super::Chan;
use crate::protocol::list::Node;
use crate::wait::Ticket;

/// What is in a node.
pub(super) struct Waiter<T> {
    pub(super) ticket: Cell<Option<Ticket>>,
    pub(super) role: Role,
    /// Whether it has got a promise.
    pub(super) promised: Cell<bool>,
    /// The message that it brings or gets, if its role is `Plain`.
    pub(super) message: UnsafeCell<Option<T>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Role {
    /// An operation that the other side completes.
    Plain,
    /// An operation of a select, which gets a promise.
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
            promised: Cell::new(false),
            message: UnsafeCell::new(message),
        })
    }

    /// Whether this is of the wait that `me` is a ticket of. Called under the lock, for a node in a
    /// list.
    pub(super) fn is_of(&self, me: Option<&Ticket>) -> bool {
        let Some(me) = me else { return false };
        let ticket = self.ticket.take();
        let is_of = ticket.as_ref() == Some(me);
        self.ticket.set(ticket);
        is_of
    }
}

/// Which list a node is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Side {
    Send,
    Receive,
    Await,
}

/// Takes a node out of its list.
pub(super) struct Leave<'a, T> {
    pub(super) chan: &'a Chan<T>,
    pub(super) node: &'a Waiting<T>,
    pub(super) side: Side,
}

impl<T> Drop for Leave<'_, T> {
    fn drop(&mut self) {
        let mut locked = self.chan.lock();
        let state = &mut *locked.state;
        let list = match self.side {
            Side::Send => &mut state.senders,
            Side::Receive => &mut state.receivers,
            Side::Await => &mut state.awaiting,
        };
        // SAFETY: it is in this list or in none.
        unsafe { list.remove(self.node) };
    }
}
