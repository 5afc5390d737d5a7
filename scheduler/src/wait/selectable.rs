//! [`Selectable`]: whatever a select can wait for.

use std::fmt;
use std::io;

use crate::protocol::watchers;
use crate::run::ticket::Ticket;

/// Something that gets ready, and that a [`Select`](crate::channel::Select) can wait for: a join
/// handle, a cancel token, a direction of a socket; or a type of your own.
///
/// A select asks whether it is ready. If nothing is, it leaves a ticket with all that it waits for
/// and blocks, until one of them fires it; then it asks again. So a ticket may be fired for nothing,
/// but it must be fired whenever the thing gets ready: [`watch`](Self::watch) keeps the ticket
/// *first*, and looks *then*, and whoever makes the thing ready does that first, and fires the
/// tickets then. [`Watchers`] keeps tickets so.
///
/// Any number of selects may wait for one thing at the same time: all are told.
///
/// # Examples
///
/// ```
/// use roving::channel::{Registration, Selectable, Ticket, Watchers};
/// use roving::{select, thread};
/// use std::io;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// /// Is ready once it has been opened.
/// #[derive(Default)]
/// struct Gate {
///     is_open: AtomicBool,
///     watchers: Watchers,
/// }
///
/// impl Gate {
///     fn open(&self) {
///         self.is_open.store(true, Ordering::Release);
///         self.watchers.fire();
///     }
/// }
///
/// impl Selectable for Gate {
///     fn is_ready(&self) -> io::Result<bool> {
///         Ok(self.is_open.load(Ordering::Acquire))
///     }
///
///     fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
///         let registration = self.watchers.watch(ticket);
///         Ok((!self.is_ready()?).then_some(registration))
///     }
/// }
///
/// let gate = Arc::new(Gate::default());
/// let opens = gate.clone();
/// thread::spawn(move || opens.open());
/// select! { ready(*gate) => {} }
/// assert!(gate.is_ready().unwrap());
/// ```
pub trait Selectable {
    /// Whether it is ready.
    ///
    /// # Errors
    ///
    /// It cannot be found out; a select takes that for ready, so that the operation tells.
    fn is_ready(&self) -> io::Result<bool>;

    /// Keeps a ticket until the registration is dropped, to be fired when the thing gets ready.
    /// `None` if it may be ready already; then the ticket need not be kept.
    ///
    /// # Errors
    ///
    /// It cannot be waited for; a select takes that for ready.
    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>>;
}

/// A ticket that something keeps for a select, until this is dropped.
#[must_use = "dropping it takes the ticket back"]
pub struct Registration<'a>(Option<Box<dyn FnOnce() + Send + 'a>>);

impl<'a> Registration<'a> {
    /// Makes a registration that calls `take_back` when it is dropped.
    ///
    /// Nothing depends on that for soundness: a ticket that is kept for longer is worth nothing.
    pub fn new(take_back: impl FnOnce() + Send + 'a) -> Self {
        Self(Some(Box::new(take_back)))
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if let Some(take_back) = self.0.take() {
            take_back();
        }
    }
}

impl fmt::Debug for Registration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Registration { .. }")
    }
}

/// The tickets of all who wait for one thing, for a [`Selectable`] of your own.
///
/// If the one who makes the thing ready does so first and calls [`fire`](Self::fire) then, and the
/// one who waits calls [`watch`](Self::watch) first and looks then whether the thing is ready, none
/// is missed: what the one did before is seen by the other who comes later.
pub struct Watchers(watchers::Watchers<Ticket>);

impl Watchers {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self(watchers::Watchers::new())
    }

    /// Keeps a ticket until it is fired, or the registration is dropped.
    pub fn watch(&self, ticket: Ticket) -> Registration<'_> {
        let key = self.0.add(ticket);
        Registration::new(move || drop(self.0.remove(&key)))
    }

    /// Fires all tickets, and forgets them.
    pub fn fire(&self) {
        for ticket in self.0.take_all() {
            ticket.fire();
        }
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
