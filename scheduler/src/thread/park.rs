//! Parking: one token a thread, as in `std::thread`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::wait::{self, Why};

/// Blocks the current thread until its token is made available by
/// [`Thread::unpark`](super::Thread::unpark), and takes it.
///
/// As with [`std::thread::park`], callers look at their condition in a loop, though this one does
/// not return for no reason.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use roving::thread;
///
/// static DONE: AtomicBool = AtomicBool::new(false);
/// let waiting = thread::spawn(|| {
///     while !DONE.load(Ordering::Acquire) {
///         thread::park();
///     }
/// });
/// DONE.store(true, Ordering::Release);
/// waiting.thread().unpark();
/// waiting.join().unwrap();
/// ```
#[track_caller]
pub fn park() {
    park_until(None);
}

/// Like [`park`], but for no longer than `timeout`.
#[track_caller]
pub fn park_timeout(timeout: Duration) {
    park_until(Instant::now().checked_add(timeout));
}

/// Why one waits who parks.
struct Parked;

impl Why for Parked {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_short())
    }

    fn in_short(&self) -> &'static str {
        "park"
    }

    fn own_references(&self) -> Option<usize> {
        // `current` in `park_until`.
        Some(1)
    }
}

#[track_caller]
fn park_until(deadline: Option<Instant>) {
    let wait = wait::begin();
    let (current, epoch) = (wait.waiter().clone(), wait.epoch());
    if current.token.wait_for(epoch) {
        match wait.why(&Parked).try_block(deadline) {
            Ok(_) => current.token.take(),
            Err(interrupt) => {
                current.token.give_up(epoch);
                drop(current);
                interrupt.unwind();
            }
        }
    }
}
