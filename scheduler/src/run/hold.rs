//! A parked thread, held for a moment.
//!
//! Whoever holds a green thread has its stack, as the worker has that it switched out to: nobody runs it
//! meanwhile, and whoever ends its wait leaves it to the holder, who lets go soon.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::word::{Commit, Epoch};
use crate::run::green::{Green, Waiter};
use crate::run::reason::Reason;
use crate::run::shared::Shared;
use crate::stack::coroutine::Coroutine;

/// A green thread that is parked and cannot go on. Dropping this lets go of it, and queues it if its
/// wait has ended.
pub(crate) struct Held<'a> {
    waiter: &'a Arc<Waiter>,
    green: &'a Green,
}

impl<'a> Held<'a> {
    /// Holds a green thread that is in a wait; `None` if it is not parked in that one.
    pub(crate) fn take(waiter: &'a Arc<Waiter>, epoch: Epoch) -> Option<Self> {
        let green = waiter.green()?;
        // Only what is held is let go of.
        let is_held = waiter.word.hold(epoch);
        is_held.then(|| Self { waiter, green })
    }

    /// What it runs as. It has suspended, and the right to run it is the caller's.
    pub(crate) fn coroutine(&self) -> &Coroutine {
        // SAFETY: what is parked has started, and is held.
        unsafe { &self.green.own_stack.started().coroutine }
    }

    /// That of the thread.
    pub(crate) fn runtime(&self) -> &Shared {
        // SAFETY: it does not go on, and so does not end.
        unsafe { self.green.runtime.of_living() }
    }

    /// Since when, in [ticks](crate::run::ticks).
    pub(crate) fn since(&self) -> u64 {
        self.waiter.since.load(Ordering::Relaxed)
    }

    /// Why it waits.
    pub(crate) fn reason(&self) -> Reason<'_> {
        // SAFETY: it is held for as long as this is borrowed.
        unsafe { self.waiter.reason.get() }
    }
}

impl Held<'_> {
    /// Lets go of it. `false` if its wait has ended.
    pub(crate) fn release(self) -> bool {
        ManuallyDrop::new(self).let_go()
    }

    fn let_go(&self) -> bool {
        let is_parked = self.waiter.word.commit() == Commit::Parked;
        if !is_parked {
            self.waiter.run_again();
        }
        is_parked
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}
