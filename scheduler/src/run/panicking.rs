//! Whether *this* green thread is unwinding.
//!
//! Who is unwinding must not be unwound once more: that aborts the process. So
//! [`wait`](crate::wait) masks the waits of a green thread that is unwinding against cancellation,
//! and must know.
//!
//! std counts the panics of an OS thread. Green threads of one worker share that count: while one
//! of them is suspended in the middle of an unwinding (a destructor that blocks),
//! `std::thread::panicking()` is true for its neighbours too. What can be known:
//!
//! - If std says that nobody is panicking, it is exact: nobody on this worker is unwinding.
//! - If std says that somebody is, and nobody on this worker is suspended in an unwinding, it is
//!   the one that runs.
//! - Otherwise there is *doubt*. Then what counts is whether the green thread has begun to panic
//!   since things were last clear: the panic hook, which is wrapped for that, and [`resume`] note
//!   it. A panic that was caught meanwhile is not noticed, so the answer may be a yes that is
//!   outdated. A wait that was masked in doubt is unmasked when things are clear. An unwinding that
//!   the program begins with `resume_unwind` in doubt, or after it has replaced the hook, is not
//!   noticed either.
//!
//! A green thread that is suspended while it unwinds goes on where it was suspended, whatever its
//! runtime's mode: the panic count that it has raised must be lowered on the same OS thread.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::sync::{Arc, Once};
use std::thread;

use crate::protocol::word::Epoch;
use crate::run::context;
use crate::run::green::{Green, Waiter};

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwinding {
    No,
    Yes,
    /// It has begun to panic, and may have caught that.
    Perhaps,
}

impl Unwinding {
    /// For one whose count of panics is its own.
    pub(crate) fn by_count() -> Self {
        if thread::panicking() {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// Whether the current thread, whose waiter this is, is unwinding.
pub(crate) fn unwinding(current: &Waiter) -> Unwinding {
    match current.green() {
        Some(green) => context::with_worker(|worker| {
            let worker = worker.expect("green threads run on workers");
            note(green, &worker.doubts)
        }),
        None => Unwinding::by_count(),
    }
}

/// Finds out and notes whether the current green thread, on the worker that has these doubts, is
/// unwinding.
#[inline]
pub(crate) fn note(current: &Green, doubts: &Doubts) -> Unwinding {
    if current.owns_thread_locals() {
        return Unwinding::by_count();
    }
    let somebody = thread::panicking();
    if !somebody {
        doubts.settle();
    }
    let clear = doubts.are_none();
    if clear {
        current.set_unwinding(somebody);
    }
    match (current.unwinding(), clear) {
        (false, _) => Unwinding::No,
        (true, true) => Unwinding::Yes,
        (true, false) => Unwinding::Perhaps,
    }
}

/// Unwinds the current thread with `payload`, without the panic hook.
pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
    begin();
    panic::resume_unwind(payload)
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

/// Aborts, where std does, in its words.
#[cold]
pub(crate) fn abort(why: &str) -> ! {
    let _ = writeln!(io::stderr(), "fatal runtime error: {why}, aborting");
    process::abort();
}

/// Notes that the current green thread, if this is one, begins to unwind.
fn begin() {
    context::with_running_green(|waiter| {
        if let Some(green) = waiter.green() {
            green.set_unwinding(true);
        }
    });
}

/// What a worker knows of unwindings that are suspended on it.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// Green threads that are suspended while they are, or perhaps are, unwinding.
    suspended: Cell<usize>,
    /// How often it has turned out that nobody is.
    cleared: Cell<u64>,
    /// Waits that were masked in doubt.
    masked: RefCell<Vec<(Arc<Waiter>, Epoch)>>,
}

/// That a green thread was counted as suspended in an unwinding, until things were cleared.
#[derive(Debug)]
pub(crate) struct Counted {
    cleared: u64,
}

impl Doubts {
    pub(crate) fn are_none(&self) -> bool {
        self.suspended.get() == 0
    }

    /// A green thread suspends while it is, or perhaps is, unwinding.
    pub(crate) fn enter(&self) -> Counted {
        self.suspended.set(self.suspended.get() + 1);
        Counted {
            cleared: self.cleared.get(),
        }
    }

    /// That green thread goes on.
    pub(crate) fn leave(&self, counted: Counted) {
        if counted.cleared == self.cleared.get() {
            self.suspended.set(self.suspended.get() - 1);
        }
    }

    /// A wait was masked in doubt.
    pub(crate) fn masked(&self, waiter: Arc<Waiter>, epoch: Epoch) {
        self.masked.borrow_mut().push((waiter, epoch));
    }

    /// Nobody on this worker is unwinding, since std's count is zero: what was masked in doubt need
    /// not be.
    #[inline]
    fn settle(&self) {
        if !self.are_none() || !self.masked.borrow().is_empty() {
            self.clear();
        }
    }

    #[cold]
    fn clear(&self) {
        self.suspended.set(0);
        self.cleared.set(self.cleared.get() + 1);
        for (waiter, epoch) in self.masked.take() {
            waiter.unmask(epoch);
        }
    }

    /// Looks whether things have become clear, after a green thread has run.
    #[inline]
    pub(crate) fn look(&self) {
        if !self.are_none() && !thread::panicking() {
            self.clear();
        }
    }
}

/// Wraps the panic hook, once for the process, so that a panic is noted before it unwinds.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    // While it panics, a thread may not change the hook; another runtime will.
    if !thread::panicking() {
        INSTALLED.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                begin();
                previous(info);
            }));
        });
    }
}
