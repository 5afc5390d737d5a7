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

mod promise;
mod state;
mod waiter;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use self::state::{Locked, Received, State};
use self::waiter::{Leave, Waiter, Waiting};
use crate::protocol::list::List;
use crate::protocol::primitive::Mutex;
use crate::run::panicking;
use crate::run::wake::Woken;
use crate::thread;
use crate::wait::{self, Outcome, Wait};

pub(super) use self::promise::{Claim, Registered};
pub(super) use self::waiter::{Role, Side};

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
            drop_each(unreceived);
        }
    }
}

/// Drops messages, all of them, also if the destructor of one panics, or blocks and is interrupted:
/// the first that does so goes on when the last has been dropped.
fn drop_each<T>(messages: VecDeque<T>) {
    if !mem::needs_drop::<T>() {
        return;
    }
    let mut first = None;
    for message in messages {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(message))) {
            match first {
                None => first = Some(payload),
                Some(_) => panicking::contain(|| drop(payload)),
            }
        }
    }
    if let Some(payload) = first {
        panic::resume_unwind(payload);
    }
}

fn count_up(count: &AtomicUsize) {
    // As with `Arc`: handles that are forgotten in a loop must not make the count wrap.
    if count.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
        std::process::abort();
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
