//! The door for futures: waits of what is polled.
//!
//! A future waits as a thread does: it [begins](Polled::begin) a wait, leaves the ticket with whoever
//! may end it, looks once more at what it waits for, and then [polls](Polled::poll) where a thread
//! blocks. So whatever keeps tickets serves futures as it does threads. The wait is the future's own,
//! whichever thread polls it, and that thread's cancellation and deadlines are not the future's.
//!
//! Dropping a [`Polled`] ends its wait: a ticket that is fired later is lost, and whoever fires it
//! knows.

use std::future::{self, Future};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Ticket;
use crate::protocol::task::Task;
use crate::run::given_name::GivenName;
use crate::run::green::{Kind, Waiter};

/// The waits of a future, one after the other: what [`begin`](super::begin) is for a thread.
///
/// The wait belongs to the future, whichever thread polls it: neither cancellation nor a deadline of that
/// thread ends it. It takes one allocation, with its first wait. Dropping it ends the wait that is open, and
/// the ticket is worthless then.
///
/// # Examples
///
/// ```
/// use roving_scheduler::block_on;
/// use roving_scheduler::wait::Polled;
///
/// let mut polled = Polled::new();
/// let ticket = polled.begin();
/// std::thread::spawn(move || ticket.fire());
/// block_on(polled.ended());
/// ```
#[derive(Debug, Default)]
pub struct Polled {
    /// Made with the first wait, since many futures never wait.
    waiter: Option<Arc<Waiter>>,
}

impl Polled {
    /// Nothing is waited for yet.
    pub const fn new() -> Self {
        Self { waiter: None }
    }

    /// Begins the next wait, and returns its ticket. One that was open ends.
    pub fn begin(&mut self) -> Ticket {
        let new = || Arc::new(Waiter::new(GivenName::new(None), Kind::Task(Task::new())));
        let waiter = self.waiter.get_or_insert_with(new);
        let epoch = waiter.word.begin(true);
        Ticket::new(waiter.clone(), epoch)
    }

    /// Returns whether the wait has ended; else the task of `context`, and no other that has polled before,
    /// is woken when it does.
    ///
    /// # Panics
    ///
    /// Panics if no wait has begun.
    #[track_caller]
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let waiter = self.waiter.as_ref().expect("a wait has begun");
        waiter.poll(context)
    }

    /// The end of the wait.
    pub fn ended(&mut self) -> impl Future<Output = ()> {
        future::poll_fn(|context| self.poll(context))
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            waiter.word.finish();
            waiter.task().expect("it is a task's").forget();
        }
    }
}
