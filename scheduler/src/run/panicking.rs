//! How deep a thread is in unwindings, and what is done with a panic that may not go on.
//!
//! Who is unwinding must not be unwound once more, but within the destructor that it is in: what
//! leaves a destructor aborts the process. So [`wait`](crate::wait) masks a wait of a thread that
//! unwinds against all that would unwind it further than that.
//!
//! The *depth* of a thread is how many unwindings it is in the middle of, each in a destructor that
//! the one before has called; its end, when destructors of its result and its thread-locals run,
//! counts as one. What was set up at some depth may be unwound to at the same depth only: if
//! the thread is deeper now, it would leave a destructor.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::thread;

use crate::protocol::passage::Passage;
use crate::protocol::say::say;
use crate::run::green::Waiter;
use crate::run::own_stack::OwnStack;
use crate::run::{panic_message, panic_state};

/// Prepares the process for green threads that panic. It waits for panic hooks that run, so nothing
/// may be locked that one may want.
pub(crate) fn prepare(passage: &Passage) {
    panic_state::find(passage);
    panic_message::install();
}

/// How deep the current thread, whose waiter this is, is in unwindings. `None` if it must not be
/// unwound at all: it is in the panic hook, or how deep it is is unknown.
#[inline]
pub(crate) fn depth(current: &Waiter) -> Option<usize> {
    let ends = usize::from(current.own_stack().is_some_and(OwnStack::is_ending));
    if thread::panicking() {
        unwindings().map(|unwindings| unwindings + ends)
    } else {
        Some(ends)
    }
}

#[cold]
fn unwindings() -> Option<usize> {
    let (unwindings, is_in_hook) = panic_state::get()?;
    (!is_in_hook).then_some(unwindings)
}

/// Whether the current thread is in the panic hook, as far as is known.
pub(crate) fn is_in_hook() -> bool {
    thread::panicking() && panic_state::get().is_some_and(|(_, is_in_hook)| is_in_hook)
}

/// Drops by `f` what nobody wants any more, where a panic of it may not go on: the panic hook has
/// told of it, and that is all.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f))
        && let Err(endless) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        mem::forget(endless);
    }
}

/// Aborts, and says why in the words in which std does.
#[cold]
pub(crate) fn abort(why: &str) -> ! {
    say(&format!("fatal runtime error: {why}, aborting\n"));
    process::abort();
}
