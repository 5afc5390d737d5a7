//! What a channel is while it is locked, and the hand-over between those who meet there.

use std::collections::VecDeque;

use super::claim::Impossible;
use super::promise::{Claim, Key, Promises};
use super::waiter::{Role, Side, Waiter, Waiting};
use crate::protocol::list::List;
use crate::protocol::primitive::Guard;
use crate::protocol::spare;
use crate::run::wake::Woken;
use crate::wait::Ticket;

/// See the [module](super).
pub(super) struct State<T> {
    pub(super) capacity: Option<usize>,
    queue: VecDeque<T>,
    promises: Promises<Promise<T>>,
    /// Places in the queue that are promised to selects.
    promised_room: usize,
    /// Those of them whose selects have been waited for in vain.
    overdue_room: usize,
    /// Counts what has made an operation possible that was not.
    pub(super) changes: u64,
    /// Counts messages, up to `MANY`.
    pub(super) sent: u32,
    pub(super) senders_gone: bool,
    pub(super) receivers_gone: bool,
    pub(super) senders: List<Waiter<T>>,
    pub(super) receivers: List<Waiter<T>>,
    /// Those who wait for promised room to be used or given back.
    settling: List<Waiter<T>>,
}

/// What a key stands for.
enum Promise<T> {
    /// The message is there, for the one who receives.
    Message(T),
    /// The two sides have met, and the message is to come. The ticket is that of the one who waits
    /// for it.
    Coming(Option<Ticket>),
    /// One side has left the meeting.
    Left,
}

impl<T> State<T> {
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self {
            capacity,
            queue: VecDeque::new(),
            promises: Promises::new(),
            promised_room: 0,
            overdue_room: 0,
            changes: 0,
            sent: 0,
            senders_gone: false,
            receivers_gone: false,
            senders: List::new(),
            receivers: List::new(),
            settling: List::new(),
        }
    }

    pub(super) fn list(&mut self, side: Side) -> &mut List<Waiter<T>> {
        match side {
            Side::Send => &mut self.senders,
            Side::Receive => &mut self.receivers,
            Side::Settle => &mut self.settling,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let taken = self.queue.len() + self.promised_room;
        self.capacity.is_none_or(|capacity| taken < capacity)
    }

    /// Whether messages go from thread to thread.
    pub(super) fn is_rendezvous(&self) -> bool {
        self.capacity == Some(0)
    }

    /// Whether there is no room only because of promises that will be kept or given back at any
    /// moment.
    pub(super) fn is_unsettled(&self) -> bool {
        self.promised_room > self.overdue_room
            && self
                .capacity
                .is_some_and(|capacity| self.queue.len() < capacity)
    }

    /// Nobody waits any more for the promises of room that there are.
    pub(super) fn give_up_settling(&mut self) {
        self.overdue_room = self.promised_room;
    }

    #[inline]
    pub(super) fn push(&mut self, message: T) {
        self.changes += 1;
        self.queue.push_back(message);
    }

    /// Takes the first message out of the queue, whose place can then be had.
    #[inline]
    fn pop(&mut self) -> Option<T> {
        let message = self.queue.pop_front()?;
        self.changes += 1;
        spare::shrink_queue(&mut self.queue);
        Some(message)
    }

    /// Takes all messages, which nobody will receive.
    pub(super) fn take_all(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.queue)
    }

    /// Whether somebody who is not `me` waits to send or receive, and does not only look.
    fn others(list: &List<Waiter<T>>, me: Option<&Ticket>) -> bool {
        list.iter().any(|node| {
            let waiter = &node.value;
            waiter.role != Role::Observer && me.is_none_or(|me| !waiter.is_of(me))
        })
    }

    /// Whether somebody waits with a message. If there are none in the queue, all room is promised.
    fn has_plain_sender(&self) -> bool {
        let mut senders = self.senders.iter();
        senders.any(|node| node.value.role == Role::Plain)
    }

    /// Whether an operation would go on at once. A select, whose ticket is `me`, does not meet itself.
    pub(super) fn is_possible(&self, side: Side, me: Option<&Ticket>) -> bool {
        if side == Side::Send {
            self.has_room()
                || self.receivers_gone
                || (self.is_rendezvous() && Self::others(&self.receivers, me))
        } else {
            !self.queue.is_empty()
                || self.senders_gone
                || self.has_plain_sender()
                || (self.is_rendezvous() && Self::others(&self.senders, me))
        }
    }

    /// Why an operation is not possible.
    pub(super) fn why_impossible(&self, side: Side) -> Impossible {
        if side == Side::Send && self.is_unsettled() {
            Impossible::Unsettled
        } else {
            Impossible::Since(self.changes)
        }
    }
}

/// The locked state, and whom to let run when the lock has been released.
pub(super) struct Locked<'a, T> {
    pub(super) state: Guard<'a, State<T>>,
    pub(super) woken: Woken,
}

/// What became of an attempt to receive.
pub(super) enum Received<T> {
    Message(T),
    /// A select has been met, which will bring a message.
    Meeting(Key),
    Nothing,
    Disconnected,
}

impl<T> Locked<'_, T> {
    /// Hands a message to the first receiver who takes it; gives it back if there is none.
    pub(super) fn hand_over(&mut self, mut message: T) -> Option<T> {
        loop {
            let Some(node) = self.state.receivers.take_first(|_| true) else {
                return Some(message);
            };
            let node: *const Waiting<T> = node;
            // SAFETY: its owner's wait has not been ended by this thread, and its owner takes the
            // lock before it leaves otherwise.
            let waiter = unsafe { &(*node).value };
            let ticket = waiter.take_ticket();
            match waiter.role {
                Role::Observer => {
                    self.woken.fire(ticket);
                }
                Role::Plain => {
                    // SAFETY: under the lock the message of a node in a list is the other side's.
                    unsafe { *waiter.message.get() = Some(message) };
                    if self.woken.fire(ticket) {
                        return None;
                    }
                    // SAFETY: the fire was lost, so the node's owner cannot have left.
                    message = unsafe { (*waiter.message.get()).take() }.expect("put there above");
                }
                Role::Select => {
                    let key = self.state.promises.insert(Promise::Message(message));
                    waiter.claim.set(Some(Claim::Message(key)));
                    if self.woken.fire(ticket) {
                        return None;
                    }
                    waiter.claim.set(None);
                    message = self.take_promised(key);
                }
            }
        }
    }

    /// Puts a message where the next receiver finds it.
    pub(super) fn deliver(&mut self, message: T) {
        if let Some(message) = self.hand_over(message) {
            self.state.push(message);
        }
    }

    /// Takes the message of the first sender who waits, or gives room or a meeting to it if it is a
    /// select. `None` says that nobody waits.
    fn take_from_sender(&mut self) -> Option<Taken<T>> {
        self.take_from_sender_who(|_| true)
    }

    fn take_from_sender_who(&mut self, is_wanted: impl Fn(&Waiter<T>) -> bool) -> Option<Taken<T>> {
        loop {
            let node: *const Waiting<T> = self.state.senders.take_first(&is_wanted)?;
            // SAFETY: as in `hand_over`.
            let waiter = unsafe { &(*node).value };
            let ticket = waiter.take_ticket();
            match waiter.role {
                Role::Observer => {
                    self.woken.fire(ticket);
                }
                Role::Plain => {
                    // SAFETY: under the lock the message of a node in a list is the other side's.
                    let message = unsafe { (*waiter.message.get()).take() };
                    if self.woken.fire(ticket) {
                        return Some(Taken::Message(message.expect("a sender brings one")));
                    }
                    // SAFETY: the fire was lost, so the node's owner cannot have left.
                    unsafe { *waiter.message.get() = message };
                }
                Role::Select if self.state.is_rendezvous() => {
                    let key = self.meet();
                    waiter.claim.set(Some(Claim::Meeting(key)));
                    if self.woken.fire(ticket) {
                        return Some(Taken::Meeting(key));
                    }
                    waiter.claim.set(None);
                    self.state.promises.take(key);
                }
                Role::Select => {
                    waiter.claim.set(Some(Claim::Room));
                    if self.woken.fire(ticket) {
                        self.state.promised_room += 1;
                        return Some(Taken::Room);
                    }
                    waiter.claim.set(None);
                }
            }
        }
    }

    /// Fills room with what senders wait with.
    #[inline]
    pub(super) fn refill(&mut self) {
        if !self.state.senders.is_empty() {
            self.refill_from_senders();
        }
    }

    fn refill_from_senders(&mut self) {
        while self.state.has_room() {
            match self.take_from_sender() {
                Some(Taken::Message(message)) => self.deliver(message),
                Some(_) => {}
                None => return,
            }
        }
    }

    // A hint is taken or not by what else the program does with its channels.
    #[inline(always)]
    pub(super) fn receive(&mut self) -> Received<T> {
        if let Some(message) = self.state.pop() {
            self.refill();
            return Received::Message(message);
        }
        self.receive_from_sender()
    }

    fn receive_from_sender(&mut self) -> Received<T> {
        let taken = if self.state.senders.is_empty() {
            None
        } else if self.state.is_rendezvous() {
            self.take_from_sender()
        } else {
            // Those who wait, though nothing is queued, wait for selects to use the room that they have been promised.
            self.take_from_sender_who(|waiter| waiter.role == Role::Plain)
        };
        match taken {
            Some(Taken::Message(message)) => return Received::Message(message),
            Some(Taken::Meeting(key)) => return Received::Meeting(key),
            Some(Taken::Room) => unreachable!("only a select is given room"),
            None => {}
        }
        if self.state.senders_gone {
            Received::Disconnected
        } else {
            Received::Nothing
        }
    }

    /// Lets a select that will send meet the first receiver who waits, without room.
    pub(super) fn meet_receiver(&mut self) -> Option<Key> {
        loop {
            let node: *const Waiting<T> = self.state.receivers.take_first(|_| true)?;
            // SAFETY: as in `hand_over`.
            let waiter = unsafe { &(*node).value };
            let ticket = waiter.take_ticket();
            if waiter.role == Role::Observer {
                self.woken.fire(ticket);
                continue;
            }
            let key = self.meet();
            waiter.claim.set(Some(Claim::Meeting(key)));
            if self.woken.fire(ticket) {
                return Some(key);
            }
            waiter.claim.set(None);
            self.state.promises.take(key);
        }
    }

    fn meet(&mut self) -> Key {
        self.state.promises.insert(Promise::Coming(None))
    }

    /// Keeps a message for a select.
    pub(super) fn promise(&mut self, message: T) -> Key {
        self.state.promises.insert(Promise::Message(message))
    }

    pub(super) fn take_promised(&mut self, key: Key) -> T {
        match self.state.promises.take(key) {
            Promise::Message(message) => message,
            Promise::Coming(_) | Promise::Left => unreachable!("the message has come"),
        }
    }

    /// Gives the message of a meeting to the one who receives. It comes back if that one has left.
    pub(super) fn bring(&mut self, key: Key, message: T) -> Option<T> {
        let promise = self.state.promises.get_mut(key);
        match promise {
            Promise::Coming(ticket) => {
                let ticket = ticket.take();
                *promise = Promise::Message(message);
                if ticket.is_none_or(|ticket| self.woken.fire(ticket)) {
                    return None;
                }
                // Its wait has ended, and it will find out that nothing comes.
                let promise = self.state.promises.get_mut(key);
                match std::mem::replace(promise, Promise::Left) {
                    Promise::Message(message) => Some(message),
                    _ => unreachable!("put there above"),
                }
            }
            Promise::Left => {
                self.state.promises.take(key);
                Some(message)
            }
            Promise::Message(_) => unreachable!("one side of a meeting brings the message"),
        }
    }

    /// Whether the message of a meeting has come; `None` if the other side has left, and then the
    /// meeting is over. Otherwise `ticket` is kept until it comes.
    pub(super) fn has_come(&mut self, key: Key, ticket: impl FnOnce() -> Ticket) -> Option<bool> {
        let promise = self.state.promises.get_mut(key);
        match promise {
            Promise::Message(_) => Some(true),
            Promise::Coming(kept) => {
                *kept = Some(ticket());
                Some(false)
            }
            Promise::Left => {
                self.state.promises.take(key);
                None
            }
        }
    }

    /// Leaves a meeting. The message, if it has come.
    pub(super) fn leave_meeting(&mut self, key: Key) -> Option<T> {
        let promise = self.state.promises.get_mut(key);
        match promise {
            Promise::Coming(ticket) => {
                let ticket = ticket.take();
                *promise = Promise::Left;
                if let Some(ticket) = ticket {
                    self.woken.fire(ticket);
                }
                None
            }
            Promise::Left => {
                self.state.promises.take(key);
                None
            }
            Promise::Message(_) => Some(self.take_promised(key)),
        }
    }

    /// Puts a message back that was the next one.
    pub(super) fn put_back(&mut self, message: T) {
        if let Some(message) = self.hand_over(message) {
            self.state.changes += 1;
            self.state.queue.push_front(message);
        }
    }

    /// Promises a place in the queue.
    pub(super) fn promise_room(&mut self) {
        self.state.promised_room += 1;
    }

    /// A promise of room is over: it will be used now, or it is free.
    pub(super) fn end_promise_of_room(&mut self) {
        let state = &mut *self.state;
        state.promised_room -= 1;
        state.overdue_room = state.overdue_room.min(state.promised_room);
        state.changes += 1;
        self.wake_all(Side::Settle);
    }

    /// Wakes all of a list, to look again.
    pub(super) fn wake_all(&mut self, side: Side) {
        while let Some(node) = self.state.list(side).take_first(|_| true) {
            let ticket = node.value.take_ticket();
            self.woken.fire(ticket);
        }
    }

    /// Lets a node wait.
    ///
    /// # Safety
    ///
    /// It stays where it is until it is out of its list, which is for whoever waits with it to see to,
    /// with a [`Leave`](super::waiter::Leave).
    #[inline]
    pub(super) unsafe fn push_waiting(&mut self, side: Side, node: &Waiting<T>) {
        // SAFETY: it is new, and stays.
        unsafe { self.state.list(side).push_back(node) };
        // Without room, one who waits makes the operation of the other side possible.
        if node.value.role != Role::Observer && self.state.is_rendezvous() {
            self.tell_observers(side);
        }
    }

    /// Wakes who looks from the other side, to look again.
    fn tell_observers(&mut self, side: Side) {
        self.state.changes += 1;
        let others = match side {
            Side::Send => Side::Receive,
            Side::Receive => Side::Send,
            Side::Settle => return,
        };
        loop {
            let others = self.state.list(others);
            let Some(node) = others.take_first(|waiter| waiter.role == Role::Observer) else {
                return;
            };
            let ticket = node.value.take_ticket();
            self.woken.fire(ticket);
        }
    }
}

/// What was had of a sender who waits.
enum Taken<T> {
    Message(T),
    /// It is a select, which has been promised room.
    Room,
    /// It is a select, which will bring its message.
    Meeting(Key),
}
