//! [`Semaphore`]: permits, handed out in the order in which they were asked for.
//!
//! Permits that are there go to whoever asks, if nobody waits; else they are kept for the first who
//! waits, until there are as many as it asked for, and given to it when it is woken. So one who
//! asks for many is not starved by those who ask for few.

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
use crate::thread;
use crate::wait::polled::Polled;
use crate::wait::{self, Outcome, Ticket, Wait, Why};

/// A number of permits: a limit on how many threads do something at once.
///
/// # Examples
///
/// ```
/// use roving::sync::Semaphore;
///
/// static CONNECTIONS: Semaphore = Semaphore::new(2);
/// let (one, two) = (CONNECTIONS.acquire(), CONNECTIONS.acquire());
/// assert!(CONNECTIONS.try_acquire().is_none());
/// drop(one);
/// assert!(CONNECTIONS.try_acquire().is_some());
/// # drop(two);
/// ```
pub struct Semaphore {
    state: Mutex<State>,
}

struct State {
    permits: usize,
    waiting: List<Waiting>,
}

struct Waiting {
    permits: usize,
    ticket: Cell<Option<Ticket>>,
}

// SAFETY: the cell is touched by its owner before the node is in the list and after it is out, and
// by others under the lock.
unsafe impl Send for Waiting {}

impl Waiting {
    fn node(permits: usize, ticket: Ticket) -> Node<Self> {
        Node::new(Self {
            permits,
            ticket: Cell::new(Some(ticket)),
        })
    }
}

impl Semaphore {
    /// Makes a semaphore with a number of permits.
    #[cfg(not(roving_loom))]
    pub const fn new(permits: usize) -> Self {
        Self {
            state: Mutex::new(State {
                permits,
                waiting: List::new(),
            }),
        }
    }

    /// Makes a semaphore with a number of permits.
    #[cfg(roving_loom)]
    pub fn new(permits: usize) -> Self {
        Self {
            state: Mutex::new(State {
                permits,
                waiting: List::new(),
            }),
        }
    }

    /// Takes a permit, blocking the current thread until there is one for it.
    #[track_caller]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Takes a number of permits at once, blocking the current thread until there are so many.
    #[track_caller]
    pub fn acquire_many(&self, permits: usize) -> SemaphorePermit<'_> {
        let taken = self.take(permits, |wait| wait.block(None));
        assert!(taken, "it waits for as long as it takes");
        self.permit(permits)
    }

    /// Takes a permit: [`acquire`](Self::acquire) as a future, in any executor.
    ///
    /// It is cancel-safe: if it is dropped, it has taken none, and loses its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// block_on(async {
    ///     let _permit = semaphore.acquire_async().await;
    ///     assert_eq!(semaphore.available_permits(), 0);
    /// });
    /// ```
    pub fn acquire_async(&self) -> AcquireFuture<'_> {
        self.acquire_many_async(1)
    }

    /// Takes a number of permits at once: [`acquire_many`](Self::acquire_many) as a future. As
    /// [`acquire_async`](Self::acquire_async) otherwise.
    pub fn acquire_many_async(&self, permits: usize) -> AcquireFuture<'_> {
        AcquireFuture {
            semaphore: self,
            permits,
            waits: None,
            polled: Polled::default(),
        }
    }

    /// Takes a permit, if there is one and no thread waits.
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes a number of permits, if there are that many and no thread waits.
    pub fn try_acquire_many(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        let taken = self.try_take(permits);
        if !taken {
            thread::polled_in_vain();
        }
        taken.then(|| self.permit(permits))
    }

    /// Takes a permit, waiting for no longer than `timeout`.
    #[track_caller]
    pub fn try_acquire_for(&self, timeout: Duration) -> Option<SemaphorePermit<'_>> {
        let deadline = Instant::now().checked_add(timeout);
        let taken = self.take(1, |wait| wait.block_timed(deadline));
        taken.then(|| self.permit(1))
    }

    /// Returns how many permits are there to be taken.
    pub fn available_permits(&self) -> usize {
        self.state.lock().permits
    }

    /// Adds permits.
    ///
    /// # Panics
    ///
    /// Panics if there are more than `usize::MAX` then.
    #[track_caller]
    pub fn add_permits(&self, permits: usize) {
        assert!(
            self.put_back(permits),
            "cannot add permits: a semaphore has at most usize::MAX permits"
        );
    }

    /// Adds permits; `false`, and none is added, if they cannot be counted.
    fn put_back(&self, permits: usize) -> bool {
        let mut woken = Woken::default();
        let mut state = self.state.lock();
        let Some(sum) = state.permits.checked_add(permits) else {
            return false;
        };
        state.permits = sum;
        state.hand_out(&mut woken);
        drop(state);
        drop(woken);
        true
    }

    fn permit(&self, permits: usize) -> SemaphorePermit<'_> {
        SemaphorePermit {
            semaphore: self,
            permits,
        }
    }

    fn try_take(&self, permits: usize) -> bool {
        let mut state = self.state.lock();
        let can = state.waiting.is_empty() && permits <= state.permits;
        if can {
            state.permits -= permits;
        }
        can
    }

    /// Takes the permits that the node is for, or lets it wait for them; `true` if it has taken them.
    ///
    /// # Safety
    ///
    /// A node that waits stays where it is until it is out of the list.
    unsafe fn take_or_wait(&self, node: &Node<Waiting>) -> bool {
        let mut state = self.state.lock();
        let can = state.waiting.is_empty() && node.value.permits <= state.permits;
        if can {
            state.permits -= node.value.permits;
        } else {
            // SAFETY: the caller's promise.
            unsafe { state.waiting.push_back(node) };
        }
        can
    }

    #[track_caller]
    fn take(&self, permits: usize, block: impl FnOnce(Wait<'_>) -> Outcome) -> bool {
        if self.try_take(permits) {
            return true;
        }
        let wait = wait::begin();
        let node = Waiting::node(permits, wait.ticket());
        // SAFETY: `Leaves` takes it out before this frame ends, unless it has got its permits.
        if unsafe { self.take_or_wait(&node) } {
            return true;
        }
        let leaves = Leaves {
            semaphore: self,
            node: &node,
        };
        let why = PermitsOf(self, permits);
        let outcome = block(wait.why(&why));
        if outcome == Outcome::Fired {
            mem::forget(leaves);
        }
        outcome == Outcome::Fired
    }
}

impl State {
    /// Gives permits to those who wait, first come, first served.
    fn hand_out(&mut self, woken: &mut Woken) {
        loop {
            let first = self.waiting.iter().next().map(|node| node.value.permits);
            let Some(permits) = first.filter(|permits| *permits <= self.permits) else {
                return;
            };
            let node = self.waiting.take_first(|_| true).expect("just seen");
            let ticket = node
                .value
                .ticket
                .take()
                .expect("one who waits is woken once");
            if woken.fire(ticket) {
                self.permits -= permits;
            }
        }
    }
}

/// Why one waits.
struct PermitsOf<'a>(&'a Semaphore, usize);

impl Why for PermitsOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(semaphore, permits) = self;
        write!(
            f,
            "permits of Semaphore at {:p}: {permits} wanted",
            *semaphore
        )
    }

    fn in_short(&self) -> &'static str {
        "permits of Semaphore"
    }
}

/// One who gives up leaves the list, in which others may have waited behind it.
struct Leaves<'a> {
    semaphore: &'a Semaphore,
    node: &'a Node<Waiting>,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.semaphore.state.lock();
        // SAFETY: it is in this list or in none.
        unsafe { state.waiting.remove(self.node) };
        state.hand_out(&mut woken);
        drop(state);
        drop(woken);
    }
}

/// Takes permits of a [`Semaphore`]: see [`Semaphore::acquire_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct AcquireFuture<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
    /// The node of the wait that has begun.
    waits: Option<Box<Node<Waiting>>>,
    polled: Polled,
}

// SAFETY: a node is touched by its future, which owns it, and by others under the lock.
unsafe impl Send for AcquireFuture<'_> {}
// SAFETY: nothing can be done with a shared one.
unsafe impl Sync for AcquireFuture<'_> {}

impl<'a> Future for AcquireFuture<'a> {
    type Output = SemaphorePermit<'a>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<SemaphorePermit<'a>> {
        let this = self.get_mut();
        if this.waits.is_none() && !this.semaphore.try_take(this.permits) {
            let node = Box::new(Waiting::node(this.permits, this.polled.begin()));
            // SAFETY: it stays in its box, which this keeps until it has its permits, or gives up.
            if unsafe { !this.semaphore.take_or_wait(&node) } {
                this.waits = Some(node);
            }
        }
        if this.waits.is_some() {
            ready!(this.polled.poll(context));
            // It was taken out of the list before its wait ended.
            this.waits = None;
        }
        Poll::Ready(this.semaphore.permit(this.permits))
    }
}

impl Drop for AcquireFuture<'_> {
    fn drop(&mut self) {
        let Some(node) = &self.waits else { return };
        let mut woken = Woken::default();
        let mut state = self.semaphore.state.lock();
        // SAFETY: it is in this list or in none.
        let gives_up = unsafe { state.waiting.remove(node) };
        state.hand_out(&mut woken);
        drop(state);
        drop(woken);
        if !gives_up {
            // It had been given its permits.
            drop(self.semaphore.permit(self.permits));
        }
    }
}

impl fmt::Debug for AcquireFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.available_permits())
            .finish()
    }
}

/// Permits of a [`Semaphore`], returned when this is dropped.
#[must_use = "permits are given back when they are dropped"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl SemaphorePermit<'_> {
    /// Returns how many permits this is.
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Does not return the permits: the semaphore has fewer from now on.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        // Who has added so many meanwhile that these cannot be counted has enough without them.
        self.semaphore.put_back(self.permits);
    }
}
