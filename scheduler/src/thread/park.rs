//! Parking: one token a thread, as in `std::thread`.
//!
//! ```text
//!     Empty --park--> Waiting(epoch) --unpark--> Token, and the wait `epoch` is fired
//!     Empty --unpark--> Token --park--> Empty, at once
//! ```
//!
//! `unpark` is a swap, so exactly one of any number of unparks finds `Waiting` and fires. Swaps of
//! one word are totally ordered and acquire and release, so what happened before an unpark is seen
//! after the park that took its token. A park that is interrupted leaves a token that came
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::word::{By, Epoch};
use crate::run::green::Waiter;
use crate::wait;

const EMPTY: u64 = 0;
const TOKEN: u64 = 1;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Token(AtomicU64);

impl Token {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(EMPTY))
    }

    /// Makes the token of `thread`, whose token this is, available.
    pub(crate) fn unpark(&self, thread: &Arc<Waiter>) {
        let before = self.0.swap(TOKEN, Ordering::AcqRel);
        if let Some(epoch) = Epoch::from_token(before) {
            thread.fire(epoch, By::Ticket);
        }
    }

    /// Says that the current thread waits for the token; `false`, with the token taken, if it is
    /// there.
    fn wait_for(&self, epoch: Epoch) -> bool {
        let waiting = self
            .0
            .compare_exchange(EMPTY, epoch.to_token(), Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if !waiting {
            self.take();
        }
        waiting
    }

    /// Takes the token if it is there.
    fn take(&self) {
        self.0.swap(EMPTY, Ordering::AcqRel);
    }

    /// Says that the current thread does not wait for the token any more. If it has come, it stays.
    fn give_up(&self, epoch: Epoch) {
        let waiting = epoch.to_token();
        let _came = self
            .0
            .compare_exchange(waiting, EMPTY, Ordering::AcqRel, Ordering::Acquire);
    }
}

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
pub fn park() {
    park_until(None);
}

/// Like [`park`], but for no longer than `timeout`.
pub fn park_timeout(timeout: Duration) {
    park_until(Instant::now().checked_add(timeout));
}

fn park_until(deadline: Option<Instant>) {
    let wait = wait::begin();
    let (current, epoch) = (wait.waiter().clone(), wait.epoch());
    if current.token.wait_for(epoch) {
        match wait.try_block(deadline) {
            Ok(_) => current.token.take(),
            Err(interrupt) => {
                current.token.give_up(epoch);
                drop(current);
                interrupt.unwind();
            }
        }
    }
}
