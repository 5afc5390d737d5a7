//! Whether *this* green thread is unwinding.
//!
//! std counts the panics of an OS thread. Green threads of one worker share that count: while one of them is suspended in
//! the middle of an unwinding (a destructor that blocks), `std::thread::panicking()` is true for its neighbours too. So a worker
//! counts the green threads that are suspended like that. While there are none, std's answer is exact, and it is noted; while
//! there are some, what was noted last counts.
//!
//! A green thread that is suspended while it unwinds goes on where it was suspended, whatever its runtime's mode: the panic
//! count that it has raised must be lowered on the same OS thread.

use std::thread;

use crate::context;
use crate::green::{Green, Waiter};

/// Whether the current thread, whose waiter this is, is unwinding.
pub(crate) fn is_unwinding(current: &Waiter) -> bool {
    match current.green() {
        Some(green) => note(green),
        None => thread::panicking(),
    }
}

/// Finds out and notes whether the current green thread is unwinding.
pub(crate) fn note(current: &Green) -> bool {
    let others =
        context::with_worker(|worker| worker.map_or(0, |worker| worker.suspended_unwinding()));
    if others == 0 {
        current.set_unwinding(thread::panicking());
    }
    current.unwinding()
}
