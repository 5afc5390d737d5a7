//! Where threads park that wait for a word in memory: a table of waiting lists by address.
//!
//! It lets a lock be one word. A lock that is contended parks its waiters in the list of its
//! address, as WebKit's and parking_lot's `ParkingLot` do, and whoever releases it looks there.
//!
//! - Parking looks at the word once more under the lock of the list ("validates"), and waking
//!   changes the word under the same lock. So either the one who parks sees the change, or the one
//!   who wakes sees him: no wake-up is lost.
//! - To wake is to end a wait, which only one can do. One whose wait has ended otherwise, by a
//!   timeout or a cancellation, is passed over and the next is woken: no wake-up goes to the dead.
//! - A thread that is woken is told how, by a [`Grant`] that is written before the wake-up.
//!
//! A future parks as a thread does, but keeps its place between its polls and may be dropped at any
//! time. If it has been woken then and does not know it yet, what it was [granted](Left::Woken) goes on
//! to another. One that is forgotten stays in its list until the primitive at its address is
//! [gone](abandon).
//!
//! Lists of different addresses may share a bucket. There are many buckets, so with a hundred
//! thousand threads parked at addresses of their own each has a handful.

use std::cell::Cell;
use std::mem;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::protocol::list::{List, Node};
use crate::protocol::primitive::{AtomicU32, Mutex, Ordering, fence};
use crate::protocol::process::Process;
use crate::run::wake::Woken;
use crate::wait::polled::Polled;
use crate::wait::{self, Interrupt, Outcome, Ticket, Why};

/// Of the number of lists.
#[cfg(not(roving_loom))]
pub(super) const BUCKETS_LOG: u32 = 14;

/// For what one waits: the meaning is the primitive's.
pub(super) type Kind = u32;
/// How one was woken: the meaning is the primitive's.
pub(super) type Grant = u8;

struct Parked {
    key: usize,
    kind: Kind,
    /// Taken by whoever wakes.
    ticket: Cell<Option<Ticket>>,
    grant: Cell<Grant>,
    count: Count,
}

impl Parked {
    fn node(key: usize, kind: Kind, ticket: Ticket, count: Count) -> Node<Self> {
        Node::new(Self {
            key,
            kind,
            ticket: Cell::new(Some(ticket)),
            grant: Cell::new(0),
            count,
        })
    }
}

/// Where one is counted while it is in a list, or about to be, for who looks without the lock of the list; if anywhere. All changes are
/// made under that lock.
#[derive(Clone, Copy)]
pub(super) struct Count(pub(super) Option<&'static AtomicU32>);

impl Count {
    /// What its owner looks at afterwards, it sees after it is seen here.
    fn one_more(self) {
        if let Some(count) = self.0 {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    fn one_less(self) {
        if let Some(count) = self.0 {
            count.store(count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }
}

/// At which end of the list one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Front,
    Back,
}

/// What one waits for, as others are told.
#[derive(Clone, Copy)]
pub(super) enum For<'a> {
    /// What a thread has, or does.
    Holder(&'a dyn Why),
    /// What anybody may do.
    Event(&'a dyn Why),
}

/// How long one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Forever,
    /// One that can tell of a timeout, if there is an instant for it.
    Until(Option<Instant>),
    /// Nothing interrupts it.
    Masked(Option<Instant>),
    /// The same, but a nudge ends it as if its time had come.
    #[cfg(feature = "adopt")]
    Nudgeable(Option<Instant>),
}

/// How parking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The word was not as expected.
    Invalid,
    Woken(Grant),
    TimedOut,
}

/// Parks the current thread at `key` if `validate` agrees. When it is in the list, and before it
/// blocks, it does `then`.
///
/// # Panics
///
/// Unwinds if the thread is interrupted.
#[track_caller]
pub(super) fn park(
    why: For<'_>,
    key: usize,
    (kind, place): (Kind, Place),
    patience: Patience,
    validate: impl FnOnce() -> bool,
    then: impl FnOnce(),
) -> End {
    park_counted(
        Count(None),
        why,
        key,
        (kind, place),
        patience,
        validate,
        then,
    )
}

/// The same for one who is counted.
#[track_caller]
pub(super) fn park_counted(
    count: Count,
    why: For<'_>,
    key: usize,
    (kind, place): (Kind, Place),
    patience: Patience,
    validate: impl FnOnce() -> bool,
    then: impl FnOnce(),
) -> End {
    match try_park(count, why, key, (kind, place), patience, validate, then) {
        Ok(end) => end,
        // Somebody who can tell of a timeout does so.
        Err(interrupt) if matches!(patience, Patience::Until(_)) && interrupt.is_told_timeout() => {
            End::TimedOut
        }
        Err(interrupt) => interrupt.unwind(),
    }
}

#[track_caller]
fn try_park(
    count: Count,
    why: For<'_>,
    key: usize,
    (kind, place): (Kind, Place),
    patience: Patience,
    validate: impl FnOnce() -> bool,
    then: impl FnOnce(),
) -> Result<End, Interrupt> {
    let wait = match patience {
        #[cfg(feature = "adopt")]
        Patience::Nudgeable(_) => wait::begin_masked().nudgeable(),
        Patience::Masked(_) => wait::begin_masked(),
        _ => wait::begin(),
    };
    let node = Parked::node(key, kind, wait.ticket(), count);
    {
        let mut list = table::bucket(key).lock();
        count.one_more();
        if !validate() {
            count.one_less();
            return Ok(End::Invalid);
        }
        // SAFETY: the node is new, and `_leave` takes it out before this frame ends, unless whoever
        // woke this thread has done so.
        unsafe {
            match place {
                Place::Front => list.push_front(&node),
                Place::Back => list.push_back(&node),
            }
        }
    }
    let leave = Leave(&node);
    then();
    let deadline = match patience {
        Patience::Until(deadline) | Patience::Masked(deadline) => deadline,
        #[cfg(feature = "adopt")]
        Patience::Nudgeable(deadline) => deadline,
        Patience::Forever => None,
    };
    let wait = match why {
        For::Holder(why) => wait.needs_threads(why),
        For::Event(why) => wait.why(why),
    };
    match wait.try_block(deadline)? {
        Outcome::Fired => {
            mem::forget(leave);
            Ok(End::Woken(node.value.grant.get()))
        }
        Outcome::TimedOut => Ok(End::TimedOut),
    }
}

/// Takes a node out of its list.
struct Leave<'a>(&'a Node<Parked>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut list = table::bucket(self.0.value.key).lock();
        // SAFETY: it is in this list or has been taken out by one who tried to wake its owner.
        if unsafe { list.remove(self.0) } {
            self.0.value.count.one_less();
        }
    }
}

/// The place of a future where threads park, for one wait after the other.
#[derive(Default)]
pub(super) struct ParkedTask {
    /// The node of the wait that has begun, and the process in whose table it is.
    node: Option<(Box<Node<Parked>>, Process)>,
    polled: Polled,
}

// SAFETY: a node is touched by its future, which owns it, and by others under the lock of the list.
unsafe impl Send for ParkedTask {}
// SAFETY: with a shared one nobody reaches the node.
unsafe impl Sync for ParkedTask {}

/// How a future left its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It had none, or knew already how it was woken.
    Nothing,
    /// It still waited.
    Waiting,
    /// It had been woken, and did not know. What it was granted is for its owner to pass on.
    Woken(Grant),
}

impl ParkedTask {
    /// Parks the future at `key` if `validate` agrees, and is as [`park`] otherwise. It is then to be
    /// polled. `false` if it is not parked.
    pub(super) fn park(
        &mut self,
        key: usize,
        (kind, place): (Kind, Place),
        validate: impl FnOnce() -> bool,
    ) -> bool {
        debug_assert!(self.node.is_none(), "it is parked once at a time");
        let node = Box::new(Parked::node(key, kind, self.polled.begin(), Count(None)));
        let mut list = table::bucket(key).lock();
        if !validate() {
            return false;
        }
        table::has_task();
        // SAFETY: the node is new, and stays in its box, which this keeps until whoever woke the future
        // has taken it out, or `leave` has.
        unsafe {
            match place {
                Place::Front => list.push_front(&node),
                Place::Back => list.push_back(&node),
            }
        }
        drop(list);
        self.node = Some((node, Process::current()));
        true
    }

    /// Whether it waits to be polled, or woken. A forked child does not: nobody wakes it there.
    pub(super) fn is_parked(&mut self) -> bool {
        if let Some((node, _)) = self.node.take_if(|(_, home)| !home.is_current()) {
            // Its neighbours are in the table of the parent.
            mem::forget(node);
        }
        self.node.is_some()
    }

    /// How the future was woken, which is parked.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Grant> {
        ready!(self.polled.poll(context));
        // Nothing but a ticket ends its wait, and whoever fired that had taken the node out before.
        let (node, _) = self.node.take().expect("it is parked");
        Poll::Ready(node.value.grant.get())
    }

    /// Gives the place up.
    pub(super) fn leave(&mut self) -> Left {
        if !self.is_parked() {
            return Left::Nothing;
        }
        let (node, _) = self.node.take().expect("it is parked");
        let mut list = table::bucket(node.value.key).lock();
        // SAFETY: it is in this list, of this process, or has been taken out by whoever woke its owner.
        let waits = unsafe { list.remove(&node) };
        drop(list);
        if waits {
            Left::Waiting
        } else {
            Left::Woken(node.value.grant.get())
        }
    }
}

impl Drop for ParkedTask {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Lends those who are parked at `key`. What `f` does to the word is atomic with respect to parking
/// there.
pub(super) fn with_parked<R>(key: usize, f: impl FnOnce(&mut Queue<'_>) -> R) -> R {
    let mut woken = Woken::default();
    let mut list = table::bucket(key).lock();
    let result = f(&mut Queue {
        key,
        list: &mut list,
        woken: &mut woken,
    });
    drop(list);
    drop(woken);
    result
}

/// The primitive at `key` is about to be gone. Whoever is parked there is a future that was forgotten, and would be woken in place of one
/// who waits for what lies there next.
#[inline]
pub(super) fn abandon(key: usize) {
    if table::may_have_tasks() {
        abandon_tasks(key);
    }
}

#[cold]
#[inline(never)]
fn abandon_tasks(key: usize) {
    let mut list = table::bucket(key).lock();
    while list.take_first(|parked| parked.key == key).is_some() {}
}

/// Those who are parked at one address.
pub(super) struct Queue<'a> {
    key: usize,
    list: &'a mut List<Parked>,
    woken: &'a mut Woken,
}

impl Queue<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// What the first one waits for.
    pub(super) fn first(&self) -> Option<Kind> {
        let mut parked = self.list.iter().filter(|node| node.value.key == self.key);
        parked.next().map(|node| node.value.kind)
    }

    /// Takes the first one out who `is_wanted`, and wakes it. `None` if there is none; `false` if
    /// its wait had ended.
    pub(super) fn wake(&mut self, is_wanted: impl Fn(Kind) -> bool, grant: Grant) -> Option<bool> {
        let key = self.key;
        let node = self
            .list
            .take_first(|parked| parked.key == key && is_wanted(parked.kind))?;
        node.value.grant.set(grant);
        node.value.count.one_less();
        let ticket = node
            .value
            .ticket
            .take()
            .expect("a parked thread is woken once");
        // With that the node's owner may be gone.
        Some(self.woken.fire(ticket))
    }

    /// Wakes the first one who `is_wanted` and whose wait has not ended. `false` if there is none.
    pub(super) fn wake_one(&mut self, is_wanted: impl Fn(Kind) -> bool, grant: Grant) -> bool {
        loop {
            match self.wake(&is_wanted, grant) {
                None => return false,
                Some(true) => return true,
                Some(false) => {}
            }
        }
    }
}

#[cfg(not(roving_loom))]
mod table {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{BUCKETS_LOG, List, Mutex, Parked, Process};
    use crate::protocol::process::PerProcess;

    type Bucket = Mutex<List<Parked>>;

    static BUCKETS: [Bucket; 1 << BUCKETS_LOG] =
        [const { Mutex::new(List::new()) }; 1 << BUCKETS_LOG];
    static IN_CHILD: PerProcess<Box<[Bucket]>> = PerProcess::new();
    /// Whether a future has ever been parked.
    static MAY_HAVE_TASKS: AtomicBool = AtomicBool::new(false);

    /// A future is about to be parked.
    pub(super) fn has_task() {
        if !may_have_tasks() {
            MAY_HAVE_TASKS.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a future may be parked: one that was, before the caller came to own what it was parked at, is seen.
    #[inline]
    pub(super) fn may_have_tasks() -> bool {
        MAY_HAVE_TASKS.load(Ordering::Relaxed)
    }

    /// Where those are who are parked at `key`. A forked child has a table of its own: who is parked in
    /// that of its parent does not exist there.
    pub(super) fn bucket(key: usize) -> &'static Bucket {
        let buckets = if Process::current().is_first() {
            &BUCKETS[..]
        } else {
            IN_CHILD.get_or_make(|| BUCKETS.iter().map(|_| Mutex::new(List::new())).collect())
        };
        // Fibonacci hashing.
        let hash = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &buckets[(hash >> (u64::BITS - BUCKETS_LOG)) as usize]
    }
}

#[cfg(roving_loom)]
mod table {
    use super::{List, Mutex, Parked};
    use loom::sync::Arc;

    loom::lazy_static! {
        static ref BUCKET: Arc<Mutex<List<Parked>>> = Arc::new(Mutex::new(List::new()));
    }

    pub(super) fn bucket(_: usize) -> &'static Mutex<List<Parked>> {
        &BUCKET
    }

    pub(super) fn has_task() {}

    pub(super) fn may_have_tasks() -> bool {
        true
    }
}

// SAFETY: the cells of a node are touched by its owner before it is linked and after it is out, and
// by others under the lock of the list.
unsafe impl Send for Parked {}
