//! Calls that block in the system, with their worker handed over.
//!
//! A worker that is in `getaddrinfo` runs no green thread. If that takes long, it is noticed, and a
//! spare OS thread takes over; code that knows beforehand says so.

use std::io;

use crate::run::context;
use crate::run::deep;
use crate::run::own_stack::OwnStack;
use crate::run::worker::Worker;

/// Calls `f`, which may block in the system, and lets another OS thread run the other green threads
/// meanwhile. On a plain OS thread it just calls `f`.
///
/// `f` runs in place, on the caller's stack and with its thread-locals, and may borrow. It may do everything that
/// a green thread may, and block in Roving too: then its OS thread is free for others as usual, and the one on which it
/// resumes is handed over in turn.
///
/// Calling this is optional: a call that blocks for longer than [some
/// milliseconds](crate::Builder::stuck_after) is noticed. Use it for calls that are known to block: the
/// other green threads then run at once. It takes a fraction of a microsecond if nothing waits for the worker, otherwise as
/// long as waking an OS thread.
///
/// With [pinned](crate::ThreadLocals::Pinned) thread-locals, green threads that have started on the same worker wait until `f`
/// returns, so it must not wait for any of them.
///
/// `f` cannot be interrupted, neither by a cancellation nor by a deadline nor by the shutdown of the runtime, which
/// waits for it. They take effect at the next wait in Roving.
///
/// [`Builder::max_spares`](crate::Builder::max_spares) (512 by default) limits how many such calls may run at a time, in addition
/// to as many as there are workers. Beyond that `f` is called nevertheless, but runnable green threads may
/// have to wait for it; the first time, a line on standard error says so. The same happens if the system refuses
/// another OS thread.
///
/// # Panics
///
/// A panic of `f` propagates to the caller.
///
/// # Examples
///
/// ```
/// let folder = std::env::temp_dir();
/// let files = roving::blocking(|| std::fs::read_dir(&folder))?.count();
/// println!("{files} in {}", folder.display());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn run<T>(f: impl FnOnce() -> T) -> T {
    let _call = Call::begin();
    f()
}

/// The same for what may go deeper than the stack of a small green thread: where little of the caller's is left,
/// it is called on one that is borrowed for it. It must not wait in Roving.
///
/// # Errors
///
/// There is no stack to borrow.
#[doc(hidden)]
pub fn run_deep<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    run(|| deep::call(f))
}

/// The same for what goes as deep as what it is given, on a stack of as many bytes as std gives its threads.
///
/// # Errors
///
/// There is no stack to borrow.
#[doc(hidden)]
pub fn run_as_deep_as_std<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    run(|| deep::call_with(2 << 20, f))
}

/// While there is one, the place of whatever worker runs the current thread is handed over.
///
/// It is the thread that has begun and not the worker: if it suspends meanwhile, it may go on with another
/// worker, whose place is then handed over when it does.
pub(crate) struct Call;

impl Call {
    pub(crate) fn begin() -> Self {
        with_own_stack(OwnStack::begin_call);
        context::with_busy_worker(Worker::gets_stuck);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let is_last = with_own_stack(|own_stack| {
            own_stack.end_call();
            !own_stack.is_calling()
        });
        if is_last == Some(true) {
            context::with_busy_worker(Worker::call_has_ended);
        }
    }
}

/// Lends the stack of the current green thread or guest, if this is one.
fn with_own_stack<R>(f: impl FnOnce(&OwnStack) -> R) -> Option<R> {
    context::with_running(|waiter| waiter.own_stack().map(f)).flatten()
}
