//! What selects are given: promises, which they claim or wait for, and keep or give back.

use super::state::Received;
use super::waiter::{Leave, Role, Side, Waiter, Waiting};
use super::{Chan, Patience};
use crate::wait::{self, Ticket};

/// What a select has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Claim {
    Promise,
    /// The operation will find that the other side is gone.
    Disconnected,
}

impl<T> Chan<T> {
    /// Takes a message that was promised, when it has come. `None` if it will not: who would have
    /// sent it has given its promise back.
    pub(in crate::channel) fn await_promised(&self) -> Option<T> {
        loop {
            let mut locked = self.lock();
            if let Some(message) = locked.state.queue.pop_front() {
                locked.state.promised_messages -= 1;
                locked.refill();
                return Some(message);
            }
            if locked.state.promised_messages > locked.state.promised_room {
                locked.state.promised_messages -= 1;
                return None;
            }
            let wait = wait::begin_masked();
            let node = Waiter::node(wait.ticket(), Role::Plain, None);
            // SAFETY: `block` takes it out, unless it is out when the wait has ended.
            unsafe { locked.state.awaiting.push_back(&node) };
            drop(locked);
            self.block(wait, &node, Side::Await, Patience::Forever);
        }
    }

    /// Sends a message for which room was promised.
    pub(in crate::channel) fn send_promised(&self, message: T) -> Result<(), T> {
        let mut locked = self.lock();
        locked.state.promised_room -= 1;
        if locked.state.receivers_gone {
            return Err(message);
        }
        if locked.is_rendezvous() {
            locked.state.queue.push_back(message);
            locked.wake_awaiting();
        } else {
            locked.deliver(message);
        }
        Ok(())
    }

    /// What a select gets that would send or receive now.
    pub(in crate::channel) fn claim(&self, side: Side) -> Option<Claim> {
        let mut locked = self.lock();
        if side == Side::Send {
            if locked.state.receivers_gone {
                return Some(Claim::Disconnected);
            }
            if locked.is_rendezvous() {
                return locked.bind_receiver(None).then_some(Claim::Promise);
            }
            if locked.has_room() {
                locked.state.promised_room += 1;
                return Some(Claim::Promise);
            }
            return None;
        }
        if locked.available() > 0 {
            locked.state.promised_messages += 1;
            return Some(Claim::Promise);
        }
        match locked.receive(None) {
            Received::Message(message) => {
                locked.state.queue.push_back(message);
                locked.state.promised_messages += 1;
                Some(Claim::Promise)
            }
            Received::Promise => Some(Claim::Promise),
            Received::Disconnected => Some(Claim::Disconnected),
            Received::Nothing => None,
        }
    }

    /// Takes back what a select has claimed and does not use.
    pub(in crate::channel) fn give_back(&self, side: Side) {
        let mut locked = self.lock();
        if side == Side::Send {
            locked.state.promised_room -= 1;
            if locked.is_rendezvous() {
                locked.wake_awaiting();
            } else {
                locked.refill();
            }
        } else {
            locked.state.promised_messages -= 1;
            locked.offer_messages();
        }
    }

    /// Whether an operation would go on at once.
    pub(in crate::channel) fn is_possible(&self, side: Side) -> bool {
        let locked = self.lock();
        if side == Side::Send {
            locked.can_send(None)
        } else {
            locked.can_receive(None)
        }
    }

    /// Leaves a node for a select. `None` if its operation would go on at once.
    pub(in crate::channel) fn register(
        &self,
        side: Side,
        ticket: Ticket,
        role: Role,
    ) -> Option<Registered<'_, T>> {
        let node = Box::new(Waiter::node(ticket.clone(), role, None));
        let mut locked = self.lock();
        let state = &mut locked.state;
        // SAFETY: `Registered` takes it out before it is dropped.
        unsafe {
            match side {
                Side::Send => state.senders.push_back(&node),
                _ => state.receivers.push_back(&node),
            }
        }
        if role != Role::Observer {
            locked.tell_observers(side);
        }
        let is_possible = if side == Side::Send {
            locked.can_send(Some(&ticket))
        } else {
            locked.can_receive(Some(&ticket))
        };
        drop(locked);
        let registered = Registered {
            chan: self,
            side,
            node,
        };
        (!is_possible).then_some(registered)
    }
}

/// The node of a select in a channel. Dropping it takes the node out, and gives a promise back.
pub(in crate::channel) struct Registered<'a, T> {
    chan: &'a Chan<T>,
    side: Side,
    node: Box<Waiting<T>>,
}

impl<T> Registered<'_, T> {
    /// Takes the node out; `true` if it has got a promise, which is the caller's.
    pub(in crate::channel) fn end(self) -> bool {
        self.leave();
        self.node.value.promised.replace(false)
    }

    fn leave(&self) {
        drop(Leave {
            chan: self.chan,
            node: &self.node,
            side: self.side,
        });
    }
}

impl<T> Drop for Registered<'_, T> {
    fn drop(&mut self) {
        self.leave();
        if self.node.value.promised.get() {
            self.chan.give_back(self.side);
        }
    }
}
