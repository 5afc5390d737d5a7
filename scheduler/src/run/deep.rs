//! Calls that go deeper than the stack of a small green thread may.
//!
//! Where little of the caller's is left, or it is a coroutine's, they are made on a stack that is borrowed for them: what asks the
//! C library for much, as a name or an OS thread, must not overflow the stack of one who could not know.

use std::io;

use crate::run::context;
use crate::stack::{borrowed, plate};

/// More than what is called like this goes down.
const ENOUGH: usize = 128 << 10;

/// Calls `f` where there is enough of a stack. It must not suspend.
///
/// # Errors
///
/// The system has no stack.
pub fn call<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    call_with(ENOUGH, f)
}

/// The same, where there are `room` bytes.
///
/// # Errors
///
/// The system has no stack.
pub(crate) fn call_with<T>(room: usize, f: impl FnOnce() -> T) -> io::Result<T> {
    let here = 0_u8;
    let here = (&raw const here).addr();
    let lowest = here.saturating_sub(room);
    let is_there = context::with_running(|waiter| {
        let own_stack = waiter.own_stack()?;
        // SAFETY: it is the current thread.
        let stack = unsafe { own_stack.started() }.coroutine.stack();
        Some(stack.range().contains(&here) && stack.range().contains(&lowest))
    });
    // Nobody knows how much is left of another stack that it runs on.
    let is_elsewhere = || plate::is_on_a_coroutines(here);
    match is_there.flatten() {
        Some(false) => borrowed::call(room, f),
        None if is_elsewhere() => borrowed::call(room, f),
        Some(true) | None => Ok(f()),
    }
}
