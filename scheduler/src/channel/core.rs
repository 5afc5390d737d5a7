//! The channel beneath all others: a queue under a lock, and who waits at its two ends.
//!
//! # Operations
//!
//! A thread that can go on does so under the lock. One that cannot leaves a node in the list of its
//! side and blocks, and **the other side completes its operation for it** (as in Go's channels): a
//! message is put into the node of a receiver, or taken out of that of a sender, and then its
//! ticket is fired. If that is lost, since the waiter timed out or was cancelled, the message is
//! taken back. So a message is handed to exactly one who takes it, and none is lost to one who has
//! gone.
//!
//! A channel of capacity 0 is the same with no room: every message goes from node to thread.
//!
//! # Promises
//!
//! A `select` cannot be completed for it: it brings its message, or has a place for one, only after
//! it has been told which of its operations was selected. It gets a *promise*: of a message, which
//! then is one of `promised_messages`, or of room, which is one of `promised_room`. Others see what
//! is left of both. The select completes the operation later, or gives the promise back.
//!
//! Without room a promise binds both sides at once: a receiver that meets a select which would send
//! gives it a promise of room and takes one of a message that is to come, and waits for it.
//!
//! # Invariants, while the lock is free
//!
//! - Messages in the queue and promises of room are no more than the capacity, but for messages
//!   that are promised themselves.
//! - `promised_messages` are no more than the messages in the queue and, without capacity, those
//!   that are to come (`promised_room`). Who waits for one of the latter is in `awaiting`.
//! - If a receiver waits, no message is there that is not promised; if a sender waits, no room.
//! - A node in a list has its ticket. Whoever takes it out fires the ticket under the lock and does
//!   not touch the node after that.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::protocol::list::{List, Node};
use crate::protocol::primitive::{Guard, Mutex};
use crate::run::ticket::Woken;
use crate::thread;
use crate::wait::{self, Outcome, Ticket, Wait};

/// After so many messages a sender that may never block lets other workers have the receiver that
/// it has woken.
const MANY: u32 = 1024;

/// How long an operation waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    None,
    /// `None` if the instant will never come.
    Until(Option<Instant>),
    Forever,
}

/// Why a message was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    Full,
    TimedOut,
    Disconnected,
}

/// Why no message was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotReceived {
    Empty,
    TimedOut,
    Disconnected,
}

/// What a select has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Promise,
    /// The operation will find that the other side is gone.
    Disconnected,
}

/// What is in a node.
pub(super) struct Waiter<T> {
    ticket: Cell<Option<Ticket>>,
    role: Role,
    /// Whether it has got a promise.
    promised: Cell<bool>,
    /// The message that it brings or gets, if its role is `Plain`.
    message: UnsafeCell<Option<T>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An operation that the other side completes.
    Plain,
    /// An operation of a select, which gets a promise.
    Select,
    /// One who wants to know when the operation is possible.
    Observer,
}

type Waiting<T> = Node<Waiter<T>>;

impl<T> Waiter<T> {
    fn node(ticket: Ticket, role: Role, message: Option<T>) -> Waiting<T> {
        Node::new(Self {
            ticket: Cell::new(Some(ticket)),
            role,
            promised: Cell::new(false),
            message: UnsafeCell::new(message),
        })
    }

    /// Whether this is of the wait that `me` is a ticket of. Called under the lock, for a node in a
    /// list.
    fn is_of(&self, me: Option<&Ticket>) -> bool {
        let Some(me) = me else { return false };
        let ticket = self.ticket.take();
        let is_of = ticket.as_ref().is_some_and(|ticket| ticket.is_of(me));
        self.ticket.set(ticket);
        is_of
    }
}

struct State<T> {
    capacity: Option<usize>,
    queue: VecDeque<T>,
    promised_messages: usize,
    promised_room: usize,
    /// Counts messages, up to `MANY`.
    sent: u32,
    senders_gone: bool,
    receivers_gone: bool,
    senders: List<Waiter<T>>,
    receivers: List<Waiter<T>>,
    /// Receivers that wait for a message that is promised and to come.
    awaiting: List<Waiter<T>>,
}

/// See the [module](self).
pub(super) struct Chan<T> {
    state: Mutex<State<T>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: messages move from thread to thread, and are never shared; what the lists lead to is only
// touched under the lock, or by its owner.
unsafe impl<T: Send> Send for Chan<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Chan<T> {}

/// The locked state, and whom to let run when the lock has been released.
struct Locked<'a, T> {
    state: Guard<'a, State<T>>,
    woken: Woken,
}

impl<T> Locked<'_, T> {
    /// Tells the owner of a node that has been taken out of its list.
    fn fire(&mut self, ticket: Ticket) -> bool {
        self.woken.fire(ticket)
    }

    fn available(&self) -> usize {
        self.state
            .queue
            .len()
            .saturating_sub(self.state.promised_messages)
    }

    fn has_room(&self) -> bool {
        let taken = self.state.queue.len() + self.state.promised_room;
        self.state.capacity.is_none_or(|capacity| taken < capacity)
    }

    /// Whether messages go from thread to thread.
    fn is_rendezvous(&self) -> bool {
        self.state.capacity == Some(0)
    }

    /// Hands a message to the first receiver who takes it, or promises it; gives it back if there
    /// is none.
    fn hand_over(&mut self, mut message: T) -> Option<T> {
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
    fn deliver(&mut self, message: T) {
        if let Some(message) = self.hand_over(message) {
            self.state.queue.push_back(message);
        }
    }

    /// Hands out messages that are promised to nobody.
    fn offer_messages(&mut self) {
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
    fn refill(&mut self) {
        while self.has_room()
            && !self.state.senders.is_empty()
            && let Some(taken) = self.take_from_sender(None)
        {
            if let Some(message) = taken {
                self.deliver(message);
            }
        }
    }

    fn receive(&mut self, me: Option<&Ticket>) -> Received<T> {
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
    fn bind_receiver(&mut self, me: Option<&Ticket>) -> bool {
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
    fn wake_all(&mut self, list: impl Fn(&mut State<T>) -> &mut List<Waiter<T>>) {
        while let Some(node) = list(&mut self.state).take_first(|_| true) {
            let ticket = node.value.ticket.take();
            self.fire(ticket.expect("a node in a list has its ticket"));
        }
    }

    /// Without room, one who waits makes the operation of the other side possible.
    fn tell_observers(&mut self, side: Side) {
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

    fn wake_awaiting(&mut self) {
        if let Some(node) = self.state.awaiting.take_first(|_| true) {
            let ticket = node.value.ticket.take();
            self.fire(ticket.expect("a node in a list has its ticket"));
        }
    }
}

enum Received<T> {
    Message(T),
    /// A message will come.
    Promise,
    Nothing,
    Disconnected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Send,
    Receive,
    Await,
}

impl<T> Chan<T> {
    /// Makes a channel with one sender and one receiver.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self {
            state: Mutex::new(State {
                capacity,
                queue: VecDeque::new(),
                promised_messages: 0,
                promised_room: 0,
                sent: 0,
                senders_gone: false,
                receivers_gone: false,
                senders: List::new(),
                receivers: List::new(),
                awaiting: List::new(),
            }),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    #[inline]
    fn lock(&self) -> Locked<'_, T> {
        Locked {
            state: self.state.lock(),
            woken: Woken::default(),
        }
    }

    pub(super) fn send(&self, mut message: T, patience: Patience) -> Result<(), (T, NotSent)> {
        loop {
            let mut locked = self.lock();
            if locked.state.receivers_gone {
                return Err((message, NotSent::Disconnected));
            }
            if !locked.state.receivers.is_empty() {
                match locked.hand_over(message) {
                    None => return Ok(()),
                    Some(back) => message = back,
                }
            }
            if locked.has_room() {
                locked.state.queue.push_back(message);
                locked.state.sent += 1;
                if locked.state.sent == MANY {
                    locked.state.sent = 0;
                    drop(locked);
                    thread::share_woken();
                }
                return Ok(());
            }
            if let Patience::None = patience {
                drop(locked);
                thread::polled_in_vain();
                return Err((message, NotSent::Full));
            }
            let wait = wait::begin();
            let node = Waiter::node(wait.ticket(), Role::Plain, Some(message));
            // SAFETY: `block` takes it out, unless it is out when the wait has ended.
            unsafe { locked.state.senders.push_back(&node) };
            locked.tell_observers(Side::Send);
            drop(locked);
            let outcome = self.block(wait, &node, Side::Send, patience);
            match (node.into_value().message.into_inner(), outcome) {
                (None, _) => return Ok(()),
                (Some(back), Outcome::Fired) => message = back,
                (Some(back), Outcome::TimedOut) => return Err((back, NotSent::TimedOut)),
            }
        }
    }

    #[inline]
    pub(super) fn receive(&self, patience: Patience) -> Result<T, NotReceived> {
        loop {
            let mut locked = self.lock();
            match locked.receive(None) {
                Received::Message(message) => return Ok(message),
                Received::Promise => {
                    drop(locked);
                    match self.await_promised() {
                        Some(message) => return Ok(message),
                        None => continue,
                    }
                }
                Received::Disconnected => return Err(NotReceived::Disconnected),
                Received::Nothing => {}
            }
            if let Patience::None = patience {
                drop(locked);
                thread::polled_in_vain();
                return Err(NotReceived::Empty);
            }
            let wait = wait::begin();
            let node = Waiter::node(wait.ticket(), Role::Plain, None);
            // SAFETY: `block` takes it out, unless it is out when the wait has ended.
            unsafe { locked.state.receivers.push_back(&node) };
            locked.tell_observers(Side::Receive);
            drop(locked);
            let outcome = self.block(wait, &node, Side::Receive, patience);
            let waiter = node.into_value();
            if let Some(message) = waiter.message.into_inner() {
                return Ok(message);
            }
            if waiter.promised.get() {
                if let Some(message) = self.await_promised() {
                    return Ok(message);
                }
            } else if outcome == Outcome::TimedOut {
                return Err(NotReceived::TimedOut);
            }
        }
    }

    /// Blocks with a node in a list. When this returns or unwinds, the node is in no list.
    fn block(&self, wait: Wait, node: &Waiting<T>, side: Side, patience: Patience) -> Outcome {
        let leave = Leave {
            chan: self,
            node,
            side,
        };
        let outcome = match patience {
            Patience::Until(deadline) => wait.block_timed(deadline),
            Patience::None | Patience::Forever => wait.block(None),
        };
        if outcome == Outcome::Fired {
            mem::forget(leave);
        }
        outcome
    }

    /// Takes a message that was promised, when it has come. `None` if it will not: who would have
    /// sent it has given its promise back.
    pub(super) fn await_promised(&self) -> Option<T> {
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
    pub(super) fn send_promised(&self, message: T) -> Result<(), T> {
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
    pub(super) fn claim(&self, side: Side) -> Option<Claim> {
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
    pub(super) fn give_back(&self, side: Side) {
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
    pub(super) fn is_possible(&self, side: Side) -> bool {
        let locked = self.lock();
        if side == Side::Send {
            locked.can_send(None)
        } else {
            locked.can_receive(None)
        }
    }

    /// Leaves a node for a select. `None` if its operation would go on at once.
    pub(super) fn register(
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

    pub(super) fn len(&self) -> usize {
        self.lock().available()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.lock().has_room()
    }

    pub(super) fn receivers_are_gone(&self) -> bool {
        self.lock().state.receivers_gone
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.lock().state.capacity
    }

    pub(super) fn add_sender(&self) {
        count_up(&self.senders);
    }

    pub(super) fn add_receiver(&self) {
        count_up(&self.receivers);
    }

    /// A sender is gone. After the last one, receivers get what is left, and then errors.
    pub(super) fn remove_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut locked = self.lock();
            locked.state.senders_gone = true;
            locked.wake_all(|state| &mut state.receivers);
        }
    }

    /// A receiver is gone. After the last one, senders get errors, and what was not received is
    /// dropped.
    pub(super) fn remove_receiver(&self) {
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut locked = self.lock();
            locked.state.receivers_gone = true;
            locked.wake_all(|state| &mut state.senders);
            let unreceived = mem::take(&mut locked.state.queue);
            drop(locked);
            // If dropping one panics, the others are leaked: a second panic would abort.
            let mut unreceived = ManuallyDrop::new(unreceived);
            while let Some(message) = unreceived.pop_front() {
                drop(message);
            }
            drop(ManuallyDrop::into_inner(unreceived));
        }
    }
}

impl<T> Locked<'_, T> {
    fn others(list: &List<Waiter<T>>, me: Option<&Ticket>) -> bool {
        list.iter()
            .any(|node| node.value.role != Role::Observer && !node.value.is_of(me))
    }

    fn can_receive(&self, me: Option<&Ticket>) -> bool {
        self.available() > 0
            || self.state.senders_gone
            || (self.is_rendezvous() && Self::others(&self.state.senders, me))
    }

    fn can_send(&self, me: Option<&Ticket>) -> bool {
        self.has_room()
            || self.state.receivers_gone
            || (self.is_rendezvous() && Self::others(&self.state.receivers, me))
    }
}

fn count_up(count: &AtomicUsize) {
    // As with `Arc`: handles that are forgotten in a loop must not make the count wrap.
    if count.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
        std::process::abort();
    }
}

/// Takes a node out of its list.
struct Leave<'a, T> {
    chan: &'a Chan<T>,
    node: &'a Waiting<T>,
    side: Side,
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

/// The node of a select in a channel. Dropping it takes the node out, and gives a promise back.
pub(super) struct Registered<'a, T> {
    chan: &'a Chan<T>,
    side: Side,
    node: Box<Waiting<T>>,
}

impl<T> Registered<'_, T> {
    /// Takes the node out; `true` if it has got a promise, which is the caller's.
    pub(super) fn end(self) -> bool {
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

impl<T> fmt::Debug for Chan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chan")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
