//! Those who listen to what green threads [tell](crate::run::event::tell): subscribers of `tracing`.
//!
//! A subscriber is code of the program's. It runs on the stack of the thread that tells, which may be about to
//! suspend in a wait that is open. So meanwhile that thread [counts as a plain OS thread](context::as_os_thread):
//!
//! - What blocks in the subscriber blocks the OS thread, in a wait of that one, and does not take the place of the wait that is
//!   open. The worker's place is handed over if that lasts.
//! - Nothing is told while something is told: a subscriber that parks or spawns does not hear of it.
//! - Nothing interrupts it, and a panic of it does not go on.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;

use tracing::level_filters::LevelFilter;
use tracing::{Level, debug, trace};

use crate::protocol::word::By;
use crate::protocol::written::written;
use crate::run::context;
use crate::run::event::{End, Told};
use crate::run::green::Waiter;
use crate::run::panicking;
use crate::run::reason::Why;
use crate::run::ticks;

/// Whether anybody may listen.
#[inline]
pub(super) fn are_there() -> bool {
    LevelFilter::current() >= Level::DEBUG
}

/// A function of its own, so that no address of a thread-local is kept in one that suspends.
#[cold]
#[inline(never)]
pub(super) fn tell(told: Told<'_>) {
    context::as_os_thread(|| panicking::contain(|| say(told)));
}

fn say(told: Told<'_>) {
    if let Told::Spawned(thread) = told {
        debug!(
            target: "roving",
            thread = thread.id(),
            name = thread.name(),
            spawned_at = %site(thread),
            "spawn"
        );
    }
    context::with_running(|thread| say_of(thread, told));
}

/// What is told by the thread that it is about.
fn say_of(thread: &Waiter, told: Told<'_>) {
    let (number, name) = (thread.id(), thread.name());
    match told {
        Told::Spawned(_) => {}
        Told::Waits(reason) => trace!(
            target: "roving",
            thread = number,
            name,
            why = %description(reason.why),
            waits_at = %reason.place,
            "park"
        ),
        Told::GoesOn(by) => trace!(
            target: "roving",
            thread = number,
            name,
            by = match by {
                By::Ticket => "a ticket",
                By::Timer => "the time",
                By::Cancel => "a cancellation",
                By::Deadlock => "a deadlock",
            },
            seconds = ticks::elapsed_since(thread.since.load(Ordering::Relaxed))
                .map(|time| time.as_secs_f64()),
            "wake"
        ),
        Told::Ends(end) => debug!(
            target: "roving",
            thread = number,
            name,
            how = match end {
                End::Returns => "returns",
                End::Panics => "panics",
                End::IsInterrupted => "is interrupted",
            },
            "end"
        ),
    }
}

fn site(thread: &Waiter) -> &'static Location<'static> {
    thread.own_stack().expect("green threads have stacks").site
}

fn description(why: &dyn Why) -> impl fmt::Display {
    written(|f| why.describe(f))
}
