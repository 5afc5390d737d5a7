//! What a channel is while it is locked, and the hand-over of messages and promises between those
//! who meet there.

use std::collections::VecDeque;

use super::waiter::{Role, Side, Waiter, Waiting};
use crate::protocol::list::List;
use crate::protocol::primitive::Guard;
use crate::run::wake::Woken;
use crate::wait::Ticket;

/// See the [module](super).
pub(super) struct State<T> {
    pub(super) capacity: Option<usize>,
    pub(super) queue: VecDeque<T>,
    pub(super) promised_messages: usize,
    pub(super) promised_room: usize,
    /// Counts messages, up to `MANY`.
    pub(super) sent: u32,
    pub(super) senders_gone: bool,
    pub(super) receivers_gone: bool,
    pub(super) senders: List<Waiter<T>>,
    pub(super) receivers: List<Waiter<T>>,
    /// Receivers that wait for a message that is promised and to come.
    pub(super) awaiting: List<Waiter<T>>,
}

/// The locked state, and whom to let run when the lock has been released.
pub(super) struct Locked<'a, T> {
    pub(super) state: Guard<'a, State<T>>,
    pub(super) woken: Woken,
}

impl<T> Locked<'_, T> {
    /// Tells the owner of a node that has been taken out of its list.
    fn fire(&mut self, ticket: Ticket) -> bool {
        self.woken.fire(ticket)
    }

    pub(super) fn available(&self) -> usize {
        self.state
            .queue
            .len()
            .saturating_sub(self.state.promised_messages)
    }

    pub(super) fn has_room(&self) -> bool {
        let taken = self.state.queue.len() + self.state.promised_room;
        self.state.capacity.is_none_or(|capacity| taken < capacity)
    }

    /// Whether messages go from thread to thread.
    pub(super) fn is_rendezvous(&self) -> bool {
        self.state.capacity == Some(0)
    }

    /// Hands a message to the first receiver who takes it, or promises it; gives it back if there
    /// is none.
    pub(super) fn hand_over(&mut self, mut message: T) -> Option<T> {
        loop {
            let Some(node) = self.state.receivers.take_first(|_| true) else {
                return Some(message);
            };
            let node: *const Waiting<T> = node;
            // SAFETY: its owner's wait has not been ended by this thread, and its owner takes the
            // lock before it leaves otherwise.
            let waiter = unsafe { &(*node).value };
            let ticket = waiter
                .ticket
                .take()
                .expect("a node in a list has its ticket");
            match waiter.role {
                Role::Observer => {
                    self.fire(ticket);
                }
                Role::Plain => {
                    // SAFETY: under the lock the message of a node in a list is the other side's.
                    unsafe { *waiter.message.get() = Some(message) };
                    if self.fire(ticket) {
                        return None;
                    }
                    // SAFETY: the fire was lost, so the node's owner cannot have left.
                    message = unsafe { (*waiter.message.get()).take() }.expect("put there above");
                }
                Role::Select => {
                    self.state.queue.push_back(message);
                    self.state.promised_messages += 1;
                    waiter.promised.set(true);
                    if self.fire(ticket) {
                        return None;
                    }
                    waiter.promised.set(false);
                    self.state.promised_messages -= 1;
                    message = self.state.queue.pop_back().expect("put there above");
                }
            }
        }
    }

    /// Puts a message where the next receiver finds it.
    pub(super) fn deliver(&mut self, message: T) {
        if let Some(message) = self.hand_over(message) {
            self.state.queue.push_back(message);
        }
    }

    /// Hands out messages that are promised to nobody.
    pub(super) fn offer_messages(&mut self) {
        while self.available() > 0 && !self.state.receivers.is_empty() {
            let message = self.state.queue.pop_front().expect("available");
            if let Some(message) = self.hand_over(message) {
                self.state.queue.push_front(message);
            }
        }
    }

    /// Takes the message of the first sender who waits, or promises it room and gives `None`; the
    /// outer `None` says that nobody waits.
    ///
    /// `me` is the ticket of a select that must not meet itself.
    fn take_from_sender(&mut self, me: Option<&Ticket>) -> Option<Option<T>> {
        loop {
            let found = self.state.senders.take_first(|waiter| !waiter.is_of(me));
            let node: *const Waiting<T> = found?;
            // SAFETY: as in `hand_over`.
            let waiter = unsafe { &(*node).value };
            let ticket = waiter
                .ticket
                .take()
                .expect("a node in a list has its ticket");
            match waiter.role {
                Role::Observer => {
                    self.fire(ticket);
                }
                Role::Plain => {
                    // SAFETY: under the lock the message of a node in a list is the other side's.
                    let message = unsafe { (*waiter.message.get()).take() };
                    if self.fire(ticket) {
                        return Some(message);
                    }
                    // SAFETY: the fire was lost, so the node's owner cannot have left.
                    unsafe { *waiter.message.get() = message };
                }
                Role::Select => {
                    self.state.promised_room += 1;
                    waiter.promised.set(true);
                    if self.fire(ticket) {
                        return Some(None);
                    }
                    waiter.promised.set(false);
                    self.state.promised_room -= 1;
                }
            }
        }
    }

    /// Fills room with what senders wait with.
    pub(super) fn refill(&mut self) {
        while self.has_room()
            && !self.state.senders.is_empty()
            && let Some(taken) = self.take_from_sender(None)
        {
            if let Some(message) = taken {
                self.deliver(message);
            }
        }
    }

    pub(super) fn receive(&mut self, me: Option<&Ticket>) -> Received<T> {
        if self.available() > 0 {
            let message = self.state.queue.pop_front().expect("available");
            self.refill();
            return Received::Message(message);
        }
        if self.is_rendezvous() {
            match self.take_from_sender(me) {
                Some(Some(message)) => return Received::Message(message),
                Some(None) => {
                    self.state.promised_messages += 1;
                    return Received::Promise;
                }
                None => {}
            }
        }
        if self.state.senders_gone {
            Received::Disconnected
        } else {
            Received::Nothing
        }
    }

    /// Binds the first receiver who waits to a select that will send, without room.
    pub(super) fn bind_receiver(&mut self, me: Option<&Ticket>) -> bool {
        loop {
            let found = self.state.receivers.take_first(|waiter| !waiter.is_of(me));
            let Some(node) = found else { return false };
            let node: *const Waiting<T> = node;
            // SAFETY: as in `hand_over`.
            let waiter = unsafe { &(*node).value };
            let ticket = waiter
                .ticket
                .take()
                .expect("a node in a list has its ticket");
            if waiter.role == Role::Observer {
                self.fire(ticket);
                continue;
            }
            self.state.promised_messages += 1;
            self.state.promised_room += 1;
            waiter.promised.set(true);
            if self.fire(ticket) {
                return true;
            }
            waiter.promised.set(false);
            self.state.promised_messages -= 1;
            self.state.promised_room -= 1;
        }
    }

    /// Wakes all of a list, to look again.
    pub(super) fn wake_all(&mut self, list: impl Fn(&mut State<T>) -> &mut List<Waiter<T>>) {
        while let Some(node) = list(&mut self.state).take_first(|_| true) {
            let ticket = node.value.ticket.take();
            self.fire(ticket.expect("a node in a list has its ticket"));
        }
    }

    /// Without room, one who waits makes the operation of the other side possible.
    pub(super) fn tell_observers(&mut self, side: Side) {
        if !self.is_rendezvous() {
            return;
        }
        loop {
            let others = match side {
                Side::Send => &mut self.state.receivers,
                _ => &mut self.state.senders,
            };
            let Some(node) = others.take_first(|waiter| waiter.role == Role::Observer) else {
                return;
            };
            let ticket = node.value.ticket.take();
            self.fire(ticket.expect("a node in a list has its ticket"));
        }
    }

    pub(super) fn wake_awaiting(&mut self) {
        if let Some(node) = self.state.awaiting.take_first(|_| true) {
            let ticket = node.value.ticket.take();
            self.fire(ticket.expect("a node in a list has its ticket"));
        }
    }

    fn others(list: &List<Waiter<T>>, me: Option<&Ticket>) -> bool {
        list.iter()
            .any(|node| node.value.role != Role::Observer && !node.value.is_of(me))
    }

    pub(super) fn can_receive(&self, me: Option<&Ticket>) -> bool {
        self.available() > 0
            || self.state.senders_gone
            || (self.is_rendezvous() && Self::others(&self.state.senders, me))
    }

    pub(super) fn can_send(&self, me: Option<&Ticket>) -> bool {
        self.has_room()
            || self.state.receivers_gone
            || (self.is_rendezvous() && Self::others(&self.state.receivers, me))
    }
}

/// What became of an attempt to receive.
pub(super) enum Received<T> {
    Message(T),
    /// A message will come.
    Promise,
    Nothing,
    Disconnected,
}
