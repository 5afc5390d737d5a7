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
//! # Selects
//!
//! A `select` cannot be completed for it: it brings its message, or has a place for one, only after
//! it has been told which of its operations was selected. So it gets a [`Claim`], which is its own
//! until the operation is done, or the claim given back:
//!
//! - of a *message*. It leaves the queue, or its sender, and is kept under a key of its own: that is
//!   when it is received.
//! - of *room* in the queue. The message is sent when it comes; until then the place is nobody's.
//!   Who does not wait and finds the channel full for that reason only cannot be told so yet, since
//!   the place may be given back: it waits until the promise is settled.
//! - without capacity, of a *meeting* with one who receives, to whom the message is brought under
//!   the key of the meeting. The one who receives waits for it.
//!
//! **What others wait for is not theirs to end**, since a claim is in the hands of a user, who may
//! take his time, or forget it. So both waits end after [`GRACE`]. Whoever leaves a meeting tells the
//! other side, which then sends or receives as if they had not met. A cancellation is no reason to
//! leave one: the other side may have been told already.
//!
//! # At one moment
//!
//! An operation on one channel happens at one moment, under its lock. A select that finds nothing on
//! several must have found it on all of them at one moment. So a channel counts its *changes*,
//! whatever makes an operation possible; if none of the counts has changed when the last channel has
//! been looked at, there was nothing at that time.
//!
//! # Invariants, while the lock is free
//!
//! - Messages in the queue and promises of room are no more than the capacity, but for messages that
//!   selects have put back.
//! - If a receiver waits, no message is there; if a sender waits, no room.
//! - A key is used again only when its promise has been taken: of a message by the one who receives, of
//!   a meeting that one side has left by the other.
//! - A node in a list has its ticket. Whoever takes it out fires the ticket under the lock and does
//!   not touch the node after that.

mod claim;
mod promise;
mod register;
mod state;
mod waiter;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::state::{Locked, Received, State};
use self::waiter::{Waiter, Waiting};
use crate::protocol::primitive::Mutex;
use crate::run::panicking;
use crate::run::wake::Woken;
use crate::thread;
use crate::wait::{self, Outcome, Wait, Why};

pub(super) use self::claim::Impossible;
pub(super) use self::promise::{Claim, Key};
pub(super) use self::register::Registered;
pub(super) use self::waiter::{Role, Side};

/// After so many messages a sender that may never block lets other workers have the receiver that
/// it has woken.
const MANY: u32 = 1024;

/// So long somebody waits for a select to do what was selected. A model has no clock, and must not see that of the
/// machine.
pub(super) const GRACE: Duration = if cfg!(roving_loom) {
    Duration::from_secs(3600)
} else {
    Duration::from_millis(100)
};

/// How long an operation waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    None,
    /// `None` if the instant will never come.
    Until(Option<Instant>),
    Forever,
}

impl Patience {
    /// Whether there is none, or none is left.
    fn is_over(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(deadline) => deadline.is_some_and(|deadline| deadline <= Instant::now()),
            Self::Forever => false,
        }
    }
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
            state: Mutex::new(State::new(capacity)),
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

    #[track_caller]
    pub(super) fn send(&self, mut message: T, patience: Patience) -> Result<(), (T, NotSent)> {
        let mut timed_out = false;
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
            if locked.state.has_room() {
                locked.state.push(message);
                locked.state.sent += 1;
                if locked.state.sent == MANY {
                    locked.state.sent = 0;
                    drop(locked);
                    thread::share_woken();
                }
                return Ok(());
            }
            if timed_out || patience.is_over() {
                let unsettled = locked.state.is_unsettled();
                drop(locked);
                if unsettled && self.settle() {
                    continue;
                }
                thread::polled_in_vain();
                let why = if timed_out {
                    NotSent::TimedOut
                } else {
                    NotSent::Full
                };
                return Err((message, why));
            }
            let wait = wait::begin();
            let node = Waiter::node(wait.ticket(), Role::Plain, Some(message));
            // SAFETY: `block` takes it out, unless it is out when the wait has ended.
            unsafe { locked.push_waiting(Side::Send, &node) };
            drop(locked);
            let outcome = self.block(wait, &node, Side::Send, patience);
            match node.into_value().message.into_inner() {
                None => return Ok(()),
                Some(back) => message = back,
            }
            timed_out = outcome == Outcome::TimedOut;
        }
    }

    #[inline]
    #[track_caller]
    pub(super) fn receive(&self, patience: Patience) -> Result<T, NotReceived> {
        loop {
            let mut locked = self.lock();
            match locked.receive() {
                Received::Message(message) => return Ok(message),
                Received::Meeting(key) => {
                    drop(locked);
                    if self.meet(key) {
                        return Ok(self.take_promised(key));
                    }
                    continue;
                }
                Received::Disconnected => return Err(NotReceived::Disconnected),
                Received::Nothing => {}
            }
            if patience.is_over() {
                drop(locked);
                thread::polled_in_vain();
                return Err(NotReceived::Empty);
            }
            let wait = wait::begin();
            let node = Waiter::node(wait.ticket(), Role::Plain, None);
            // SAFETY: `block` takes it out, unless it is out when the wait has ended.
            unsafe { locked.push_waiting(Side::Receive, &node) };
            drop(locked);
            let outcome = self.block(wait, &node, Side::Receive, patience);
            let waiter = node.into_value();
            if let Some(message) = waiter.message.into_inner() {
                return Ok(message);
            }
            match waiter.claim.get() {
                Some(Claim::Meeting(key)) if self.meet(key) => {
                    return Ok(self.take_promised(key));
                }
                None if outcome == Outcome::TimedOut => return Err(NotReceived::TimedOut),
                _ => {}
            }
        }
    }

    /// Blocks with a node in a list. When this returns or unwinds, the node is in no list.
    fn block(&self, wait: Wait<'_>, node: &Waiting<T>, side: Side, patience: Patience) -> Outcome {
        let leave = self.leave_with(node, side);
        let why = OtherSide {
            waits: side,
            senders: &self.senders,
            receivers: &self.receivers,
        };
        let wait = wait.why(&why);
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
        self.lock().state.len()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.lock().state.has_room()
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
            locked.state.changes += 1;
            locked.wake_all(Side::Receive);
        }
    }

    /// A receiver is gone. After the last one, senders get errors, and what was not received is
    /// dropped.
    pub(super) fn remove_receiver(&self) {
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut locked = self.lock();
            locked.state.receivers_gone = true;
            locked.state.changes += 1;
            locked.wake_all(Side::Send);
            let unreceived = locked.state.take_all();
            drop(locked);
            drop_each(unreceived);
        }
    }
}

/// Why one waits, and for whom. Debuggers read it.
#[repr(C)]
struct OtherSide<'a> {
    waits: Side,
    senders: &'a AtomicUsize,
    receivers: &'a AtomicUsize,
}

impl Why for OtherSide<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.in_short();
        let (count, others) = match self.waits {
            Side::Send => (self.receivers, "receiver"),
            Side::Receive | Side::Settle => (self.senders, "sender"),
        };
        let count = count.load(Ordering::Relaxed);
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{operation} on a channel with {count} {others}{plural}")
    }

    fn in_short(&self) -> &'static str {
        match self.waits {
            Side::Send => "send",
            Side::Receive | Side::Settle => "recv",
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
