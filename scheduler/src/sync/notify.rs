//! [`Notify`]: an event, and one permit for it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::protocol::spare;
use crate::run::wake::Woken;
use crate::wait::{self, Outcome, Ticket, Wait};

/// Lets a thread tell another that something has happened, without data.
///
/// [`notify_one`](Self::notify_one) wakes one thread that waits; if none does, the next that
/// [waits](Self::wait) goes on at once. [`notify_all`](Self::notify_all) wakes those that wait now.
/// Unlike with a [`Condvar`](super::Condvar), no lock is needed.
///
/// # Examples
///
/// ```
/// use roving::sync::Notify;
/// use roving::thread;
///
/// static DONE: Notify = Notify::new();
/// thread::spawn(|| DONE.notify_one());
/// DONE.wait();
/// ```
#[derive(Default)]
pub struct Notify {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    permit: bool,
    waiting: VecDeque<Ticket>,
}

impl Notify {
    /// Makes an event without a permit.
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                permit: false,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// Wakes the thread that has waited longest, or leaves a permit for the next. There is at most
    /// one permit.
    pub fn notify_one(&self) {
        let mut woken = Woken::default();
        let mut state = self.state.lock();
        let mut is_taken = false;
        while !is_taken && let Some(ticket) = state.waiting.pop_front() {
            spare::shrink_queue(&mut state.waiting);
            is_taken = woken.fire(ticket);
        }
        state.permit |= !is_taken;
        drop(state);
        drop(woken);
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for ticket in waiting {
            ticket.fire();
        }
    }

    /// Blocks the current thread until it is notified, or takes the permit.
    pub fn wait(&self) {
        self.wait_with(|wait| wait.block(None));
    }

    /// Like [`wait`](Self::wait), for no longer than `timeout`. `true` if it was notified.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.wait_with(|wait| wait.block_timed(deadline))
    }

    fn wait_with(&self, block: impl FnOnce(Wait) -> Outcome) -> bool {
        let wait = wait::begin();
        let stale = {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.permit) {
                return true;
            }
            let stale: Vec<_> = if state.waiting.len() == state.waiting.capacity() {
                let all = std::mem::take(&mut state.waiting);
                let (stale, waiting): (_, Vec<_>) = all.into_iter().partition(Ticket::is_stale);
                state.waiting = waiting.into();
                stale
            } else {
                Vec::new()
            };
            state.waiting.push_back(wait.ticket());
            stale
        };
        drop(stale);
        block(wait) == Outcome::Fired
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify")
            .field("permit", &self.state.lock().permit)
            .finish_non_exhaustive()
    }
}
