//! [`Notify`]: an event, and one permit for it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::protocol::list::{List, Node};
use crate::protocol::primitive::Mutex;
use crate::run::wake::Woken;
use crate::wait::polled::Polled;
use crate::wait::{self, Outcome, Ticket, Wait, Why};

/// Notifies another thread of an event, without data.
///
/// [`notify_one`](Self::notify_one) wakes one thread that waits; if none does, the next that
/// [waits](Self::wait) goes on at once. [`notify_all`](Self::notify_all) wakes those that wait now.
/// Unlike with a [`Condvar`](super::Condvar), no lock is needed.
///
/// # Examples
///
/// ```
/// use roving::sync::Notify;
/// use roving::thread;
///
/// static DONE: Notify = Notify::new();
/// thread::spawn(|| DONE.notify_one());
/// DONE.wait();
/// ```
pub struct Notify {
    state: Mutex<State>,
}

struct State {
    permit: bool,
    waiting: List<Waiting>,
}

struct Waiting {
    ticket: Cell<Option<Ticket>>,
    /// Whether it was woken with all others, so that nobody else need be.
    with_all: Cell<bool>,
}

// SAFETY: the cells are touched by their owner before the node is in the list and after it is out, and
// by others under the lock.
unsafe impl Send for Waiting {}

impl Waiting {
    fn node(ticket: Ticket) -> Node<Self> {
        Node::new(Self {
            ticket: Cell::new(Some(ticket)),
            with_all: Cell::new(false),
        })
    }
}

impl State {
    const fn new() -> Self {
        Self {
            permit: false,
            waiting: List::new(),
        }
    }

    /// Wakes the first one whose wait has not ended. `false` if there is none.
    fn wake(&mut self, with_all: bool, woken: &mut Woken) -> bool {
        while let Some(node) = self.waiting.take_first(|_| true) {
            node.value.with_all.set(with_all);
            let ticket = node.value.ticket.take();
            // With that the node's owner may be gone.
            if woken.fire(ticket.expect("one who waits is woken once")) {
                return true;
            }
        }
        false
    }

    fn notify_one(&mut self, woken: &mut Woken) {
        if !self.wake(false, woken) {
            self.permit = true;
        }
    }
}

impl Notify {
    /// Makes an event without a permit.
    #[cfg(not(roving_loom))]
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
        }
    }

    /// Makes an event without a permit.
    #[cfg(roving_loom)]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
        }
    }

    /// Wakes the thread that has waited longest, or leaves a permit for the next. There is at most
    /// one permit.
    pub fn notify_one(&self) {
        let mut woken = Woken::default();
        self.state.lock().notify_one(&mut woken);
        drop(woken);
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        let mut woken = Woken::default();
        let mut state = self.state.lock();
        while state.wake(true, &mut woken) {}
        drop(state);
        drop(woken);
    }

    /// Blocks the current thread until it is notified, or takes the permit.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_with(|wait| wait.block(None));
    }

    /// Like [`wait`](Self::wait), for no longer than `timeout`. `true` if it was notified.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.wait_with(|wait| wait.block_timed(deadline))
    }

    /// Waits until it is notified, or takes the permit: [`wait`](Self::wait) as a future, in any
    /// executor. It waits, and has its place among others, from when it is polled first.
    ///
    /// It is cancel-safe: dropped before it is ready, it has taken no permit, and a notification that was
    /// for it alone goes to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::Notify;
    /// use roving::{block_on, thread};
    ///
    /// static DONE: Notify = Notify::new();
    /// thread::spawn(|| DONE.notify_one());
    /// block_on(DONE.wait_async());
    /// ```
    pub fn wait_async(&self) -> NotifyFuture<'_> {
        NotifyFuture {
            notify: self,
            waits: None,
            polled: Polled::default(),
        }
    }

    /// Takes the permit, or lets the node wait; `true` if it has taken it.
    ///
    /// # Safety
    ///
    /// A node that waits stays where it is until it is out of the list.
    unsafe fn take_or_wait(&self, node: &Node<Waiting>) -> bool {
        let mut state = self.state.lock();
        let taken = mem::take(&mut state.permit);
        if !taken {
            // SAFETY: the caller's promise.
            unsafe { state.waiting.push_back(node) };
        }
        taken
    }

    #[track_caller]
    fn wait_with(&self, block: impl FnOnce(Wait<'_>) -> Outcome) -> bool {
        let wait = wait::begin();
        let node = Waiting::node(wait.ticket());
        // SAFETY: `Leaves` takes it out before this frame ends, unless it was notified.
        if unsafe { self.take_or_wait(&node) } {
            return true;
        }
        let leaves = Leaves {
            notify: self,
            node: &node,
        };
        let outcome = block(wait.why(self));
        if outcome == Outcome::Fired {
            mem::forget(leaves);
        }
        outcome == Outcome::Fired
    }
}

impl Why for Notify {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "notification of Notify at {self:p}")
    }

    fn in_short(&self) -> &'static str {
        "notification of Notify"
    }
}

/// One who gives up leaves the list.
struct Leaves<'a> {
    notify: &'a Notify,
    node: &'a Node<Waiting>,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut state = self.notify.state.lock();
        // SAFETY: it is in this list or in none.
        unsafe { state.waiting.remove(self.node) };
    }
}

/// Waits for a [`Notify`]: see [`Notify::wait_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct NotifyFuture<'a> {
    notify: &'a Notify,
    /// The node of the wait that has begun.
    waits: Option<Box<Node<Waiting>>>,
    polled: Polled,
}

// SAFETY: a node is touched by its future, which owns it, and by others under the lock.
unsafe impl Send for NotifyFuture<'_> {}
// SAFETY: nothing can be done with a shared one.
unsafe impl Sync for NotifyFuture<'_> {}

impl Future for NotifyFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.waits.is_none() {
            let node = Box::new(Waiting::node(this.polled.begin()));
            // SAFETY: it stays in its box, which this keeps until it has been woken, or gives up.
            if unsafe { this.notify.take_or_wait(&node) } {
                return Poll::Ready(());
            }
            this.waits = Some(node);
        }
        ready!(this.polled.poll(context));
        // It was taken out of the list before its wait ended.
        this.waits = None;
        Poll::Ready(())
    }
}

impl Drop for NotifyFuture<'_> {
    fn drop(&mut self) {
        let Some(node) = &self.waits else { return };
        let mut woken = Woken::default();
        let mut state = self.notify.state.lock();
        // SAFETY: it is in this list or in none.
        let gives_up = unsafe { state.waiting.remove(node) };
        if !gives_up && !node.value.with_all.get() {
            state.notify_one(&mut woken);
        }
        drop(state);
        drop(woken);
    }
}

impl fmt::Debug for NotifyFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("NotifyFuture { .. }")
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify")
            .field("permit", &self.state.lock().permit)
            .finish_non_exhaustive()
    }
}
