//! What happens in the scheduler, told where it happens.
//!
//! Each [`Event`] is [noted](Shared::note) by the [recorder](crate::run::recorder), if the runtime has one. While it
//! has none, that is one look at a field of the runtime, and nothing is made of the event. It may be noted anywhere, also
//! on a worker's own stack and under locks: the recorder only writes.
//!
//! Those of `tracing` who listen are code of the program's, which may do anything. So they are [told](tell) what
//! a green thread has to tell of itself, on its own stack, where nothing is locked. That is nothing at all
//! without the feature `tracing`, and one load of a static where nobody listens.

use std::panic::Location;

#[cfg(feature = "tracing")]
use crate::run::listeners;
use crate::run::reason::Reason;

use crate::protocol::word::{By, Epoch};
use crate::run::green::Waiter;
use crate::run::shared::Shared;
use crate::run::ticks;

/// What happens, to which green thread or worker.
#[derive(Clone, Copy)]
pub(crate) enum Event<'a> {
    /// It is about to be queued for the first time, by the current thread.
    Spawned(&'a Waiter),
    /// The current worker is about to switch to it.
    Runs(&'a Waiter),
    /// The current worker has switched back from it.
    Ran(&'a Waiter, Ran),
    /// The current thread, which is this one, is about to suspend, for that reason and there.
    Waits(&'a Waiter, &'static str, &'static Location<'static>),
    /// This wait of it has been ended, by the current thread or what runs there. It is noted when it has been ended, with
    /// the time before, so no run that follows is earlier.
    Woken(&'a Waiter, Epoch, By),
    /// The current worker has taken it from the worker of that number, and perhaps others with it.
    Stolen(&'a Waiter, usize),
    /// The place of the worker of that number is handed over.
    HandedOver(usize),
    /// That worker is stuck no more.
    IsBack(usize),
}

/// Why a green thread has given its worker back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub(crate) enum Ran {
    /// It lets others run.
    Yields,
    /// It waits.
    Waits,
    /// It has ended.
    Ends,
}

impl Shared {
    /// Whether somebody notes what happens. Where each instruction counts, who asks first and notes in a function
    /// of its own, which is cold, needs no room for the event otherwise.
    #[inline]
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Tells the recorder, if there is one.
    #[inline]
    pub(crate) fn note<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if self.is_recorded() {
            // It is made here, and not by who is called: else the caller would store what it is made of, come what may.
            self.note_now(event());
        }
    }

    #[cold]
    #[inline(never)]
    fn note_now(&self, event: Event<'_>) {
        self.note_at(ticks::now(), event);
    }

    /// Tells the recorder, if there is one, of what has happened at that time or since.
    pub(crate) fn note_at(&self, at: u64, event: Event<'_>) {
        if let Some(recorder) = &self.recorder {
            recorder.write(self.id, at, event);
        }
    }
}

/// What a green thread tells of itself.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody listens"))]
pub(crate) enum Told<'a> {
    /// The current thread spawns it.
    Spawned(&'a Waiter),
    /// The current thread is about to suspend.
    Waits(&'a Reason<'a>),
    /// The current thread goes on after a wait in which it has suspended.
    GoesOn(By),
    /// The current thread has done all that it was spawned for.
    Ends(End),
}

/// How a green thread ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Returns,
    Panics,
    /// It has been cancelled, or a deadline of its has come.
    IsInterrupted,
}

/// Tells those who listen. The caller runs on a stack of its own, and has nothing locked or borrowed.
#[inline]
#[cfg_attr(
    not(feature = "tracing"),
    allow(unused_variables, reason = "nobody listens")
)]
pub(crate) fn tell<'a>(told: impl FnOnce() -> Told<'a>) {
    #[cfg(feature = "tracing")]
    if listeners::are_there() {
        listeners::tell(told());
    }
}
