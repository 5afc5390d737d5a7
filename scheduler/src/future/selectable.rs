//! A future as something that a select can wait for.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::run::context;
use crate::run::green::Waiter;
use crate::wait::Ticket;
use crate::wait::selectable::{Registration, Selectable, Watchers};

/// A future in a select: it is ready when the future is, whose value can be [taken](Self::take) then. The
/// arm `future(..)` of a [`select!`](crate::select!) is one.
///
/// It is polled by the thread that selects, and only after it has been woken.
pub struct SelectFuture<F: Future> {
    future: RefCell<State<F>>,
    woken: Arc<Woken>,
    waker: Waker,
    /// The thread that has made it, which alone reaches the future.
    owner: Arc<Waiter>,
}

// SAFETY: whoever reaches the future through a shared reference is its owner: see `state`. The rest is
// `Sync` by itself.
unsafe impl<F: Future> Sync for SelectFuture<F> {}

enum State<F: Future> {
    Pending(Pin<Box<F>>),
    Ready(F::Output),
    Taken,
}

/// Tells the select that the future wants to be polled.
struct Woken {
    /// Whether it has been woken since it was polled last.
    is_woken: AtomicBool,
    watchers: Watchers,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // First this and then the tickets, as whoever leaves a ticket does it the other way round.
        self.is_woken.store(true, Ordering::Release);
        self.watchers.fire();
    }
}

impl<F: Future> SelectFuture<F> {
    /// Makes one of a future, which it keeps, or of a reference to one.
    pub fn new(future: impl IntoFuture<IntoFuture = F, Output = F::Output>) -> Self {
        let woken = Arc::new(Woken {
            is_woken: AtomicBool::new(true),
            watchers: Watchers::new(),
        });
        Self {
            future: RefCell::new(State::Pending(Box::pin(future.into_future()))),
            waker: Waker::from(woken.clone()),
            woken,
            owner: context::current(),
        }
    }

    /// # Panics
    ///
    /// Panics if another thread has made it.
    fn state(&self) -> RefMut<'_, State<F>> {
        let is_owner = context::with_current(|current| ptr::eq(current, &raw const *self.owner));
        assert!(
            is_owner,
            "cannot select over a future of another thread: only the one that has made it can"
        );
        self.future.borrow_mut()
    }

    /// Takes the value of a future that is ready.
    ///
    /// # Panics
    ///
    /// Panics on another thread than has made this.
    pub fn take(&self) -> Option<F::Output> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ready(value) => Some(value),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl<F: Future> Selectable for SelectFuture<F> {
    fn is_ready(&self) -> io::Result<bool> {
        let mut state = self.state();
        if let State::Pending(future) = &mut *state
            && self.woken.is_woken.swap(false, Ordering::Acquire)
            && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&self.waker))
        {
            *state = State::Ready(value);
        }
        Ok(matches!(*state, State::Ready(_)))
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        let registration = self.woken.watchers.watch(ticket);
        Ok((!self.is_ready()?).then_some(registration))
    }
}

impl<F: Future> fmt::Debug for SelectFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectFuture { .. }")
    }
}
