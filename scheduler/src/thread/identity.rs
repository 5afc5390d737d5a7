//! Who a thread is: [`Thread`] and [`ThreadId`].

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::State;
use crate::run::context;
use crate::run::green::Waiter;

/// A handle to a thread, green or not, as [`std::thread::Thread`] is.
#[derive(Clone)]
pub struct Thread(Arc<Waiter>);

impl Thread {
    pub(crate) fn new(waiter: Arc<Waiter>) -> Self {
        Self(waiter)
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter> {
        &self.0
    }

    /// Makes the token of this thread available: its next or current [`park`](super::park()) returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::thread;
    ///
    /// let parked = thread::spawn(thread::park);
    /// parked.thread().unpark();
    /// parked.join().unwrap();
    /// ```
    pub fn unpark(&self) {
        self.0.unpark();
    }

    /// Returns the number of this thread, which no other thread of this process has or will have.
    pub fn id(&self) -> ThreadId {
        ThreadId(NonZeroU64::new(self.0.id()).expect("numbers start at 1"))
    }

    /// Returns what this thread does at this moment: whether it runs, waits to be run, or waits, and then for what.
    ///
    /// It is told of a green thread. Of a plain OS thread, and of what a [`greenly`](crate::greenly) runs, it
    /// is known only whether it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::thread::{self, State};
    /// use std::time::Duration;
    ///
    /// let sleeps = thread::spawn(|| thread::sleep(Duration::MAX));
    /// let parked = loop {
    ///     match sleeps.thread().state() {
    ///         State::Parked(parked) => break parked,
    ///         _ => thread::yield_now(),
    ///     }
    /// };
    /// assert_eq!(parked.why(), "sleep");
    /// sleeps.cancel();
    /// ```
    pub fn state(&self) -> State {
        State::of(&self.0)
    }

    /// Returns the name of this thread, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The number of a thread, green or not. It says nothing about [`std::thread::ThreadId`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadId(NonZeroU64);

impl fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadId({})", self.0)
    }
}

/// Returns a handle to the current thread, green or not.
///
/// # Examples
///
/// ```
/// use roving::thread;
///
/// let handle = thread::Builder::new()
///     .name("weaver".to_owned())
///     .spawn(|| thread::current().name().map(str::to_owned))?;
/// assert_eq!(handle.join().unwrap().as_deref(), Some("weaver"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn current() -> Thread {
    Thread::new(context::current())
}
