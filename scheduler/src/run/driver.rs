//! The seam between a runtime and its IO.
//!
//! A runtime has no driver until somebody [installs](crate::Handle::driver) one. From then on an
//! idle worker, the *leader*, waits in the driver, while the others sleep on their own; and busy
//! workers look into it now and then. There is one caller of [`Driver::wait`] at a time.
//!
//! A driver reports what became ready and does nothing about it: it never runs, queues or fires
//! anything.

use std::any::Any;
use std::io;
use std::time::Duration;

use crate::run::ticket::Ticket;

/// A source of events that end waits.
///
/// It runs on workers: a panic of it aborts the process, and nothing in it may block in Roving.
pub trait Driver: Any + Send + Sync {
    /// Waits for events until `timeout` has passed (`None`: for as long as it takes; zero: not at
    /// all) or [`wake`](Self::wake) is called, and pushes the tickets of the waits that became
    /// ready. May return early for no reason.
    ///
    /// # Errors
    ///
    /// An error here is not an event but a broken driver: the runtime aborts the process with it.
    fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ticket>) -> io::Result<()>;

    /// Makes the [`wait`](Self::wait) that is under way return, or else the next one.
    fn wake(&self);

    /// Whether it has no ticket that it may ever push.
    ///
    /// This and [`sleeps`](Self::sleeps) are asked, in this order, by those who want to know whether nothing can
    /// wake a runtime any more. What a driver does not know, it denies.
    fn has_no_tickets(&self) -> bool {
        false
    }

    /// Whether the one who has called [`wait`](Self::wait) sleeps, and takes no tickets before he is awake.
    ///
    /// If he had taken them before [`has_no_tickets`](Self::has_no_tickets) found none, this says so.
    fn sleeps(&self) -> bool {
        false
    }

    /// The runtime has ended, and nobody will call [`wait`](Self::wait) any more: pushes the tickets of
    /// all waits. Those are of futures, which go on elsewhere.
    fn end(&self, ready: &mut Vec<Ticket>);
}
