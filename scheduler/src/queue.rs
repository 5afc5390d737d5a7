//! Where runnable green threads are.
//!
//! | queue      | whose           | who pushes             | who pops                 | what is in it                              |
//! |------------|-----------------|------------------------|--------------------------|--------------------------------------------|
//! | LIFO slot  | a worker's      | the worker             | the worker               | what the running green thread woke last    |
//! | `stealable`| a worker's      | the worker             | the worker, all thieves  | what any worker may run                    |
//! | `bound`    | a worker's      | the worker             | the worker               | what only this worker may run              |
//! | inbox      | a worker's      | everybody else         | the worker               | what only this worker may run, woken elsewhere |
//! | injector   | the runtime's   | everybody              | all workers              | what was spawned or woken outside the workers |
//!
//! The LIFO slot runs a woken partner at once, while the message that woke it is in the cache (as
//! Go's `runnext`). Two that wake each other would starve the rest, so after [`LIFO_LIMIT`] such
//! runs in a row the slot is emptied into the queue's end, if anybody waits there. `stealable` and `bound` are served in
//! turn, first in first out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};
use crossbeam_utils::Backoff;
use parking_lot::Mutex;

use crate::green::Runnable;

/// So many green threads run from the LIFO slot in a row.
const LIFO_LIMIT: u32 = 3;

/// A thief takes half of the queue, but at most this many.
const STEAL_LIMIT: usize = 256;

/// A worker's own side of its queues.
pub(crate) struct Local {
    lifo: Cell<Option<Runnable>>,
    lifo_runs: Cell<u32>,
    stealable: Deque<Runnable>,
    bound: RefCell<VecDeque<Runnable>>,
    bound_is_next: Cell<bool>,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self {
            lifo: Cell::new(None),
            lifo_runs: Cell::new(0),
            stealable: Deque::new_fifo(),
            bound: RefCell::new(VecDeque::new()),
            bound_is_next: Cell::new(false),
        }
    }

    pub(crate) fn stealer(&self) -> Stealer<Runnable> {
        self.stealable.stealer()
    }

    /// Queues what any worker may run.
    pub(crate) fn push_stealable(&self, runnable: Runnable) {
        self.stealable.push(runnable);
    }

    /// Queues what only this worker may run.
    pub(crate) fn push_bound(&self, runnable: Runnable) {
        self.bound.borrow_mut().push_back(runnable);
    }

    /// Queues at the front; gives what was there and must be queued at the end.
    #[must_use]
    pub(crate) fn push_lifo(&self, runnable: Runnable) -> Option<Runnable> {
        self.lifo.replace(Some(runnable))
    }

    /// What the LIFO slot holds when its turns are used up and others wait for theirs; it must be
    /// queued at the end.
    #[must_use]
    pub(crate) fn overdue_lifo(&self) -> Option<Runnable> {
        let is_overdue = self.lifo_runs.get() >= LIFO_LIMIT;
        if !is_overdue || (self.stealable.is_empty() && self.bound.borrow().is_empty()) {
            return None;
        }
        self.lifo_runs.set(0);
        self.lifo.take()
    }

    pub(crate) fn take_lifo(&self) -> Option<Runnable> {
        self.lifo.take()
    }

    pub(crate) fn pop(&self) -> Option<Runnable> {
        if let Some(runnable) = self.lifo.take() {
            self.lifo_runs.set(self.lifo_runs.get() + 1);
            return Some(runnable);
        }
        self.lifo_runs.set(0);
        let bound_first = self.bound_is_next.replace(!self.bound_is_next.get());
        if bound_first {
            self.pop_bound().or_else(|| self.stealable.pop())
        } else {
            self.stealable.pop().or_else(|| self.pop_bound())
        }
    }

    fn pop_bound(&self) -> Option<Runnable> {
        self.bound.borrow_mut().pop_front()
    }

    /// Moves all that others left for this worker into its queue.
    pub(crate) fn take_inbox(&self, inbox: &Inbox) {
        inbox.drain_into(&mut self.bound.borrow_mut());
    }

    /// Takes a batch from the injector and pops one.
    pub(crate) fn take_injected(&self, injector: &Injector<Runnable>) -> Option<Runnable> {
        persist(|| injector.steal_batch_and_pop(&self.stealable))
    }

    /// Steals half of another worker's queue and pops one.
    pub(crate) fn steal_from(&self, victim: &Stealer<Runnable>) -> Option<Runnable> {
        persist(|| victim.steal_batch_with_limit_and_pop(&self.stealable, STEAL_LIMIT))
    }

    pub(crate) fn has_stealable(&self) -> bool {
        !self.stealable.is_empty()
    }
}

/// Repeats a steal that met another one, a little later each time.
fn persist(mut steal: impl FnMut() -> Steal<Runnable>) -> Option<Runnable> {
    let backoff = Backoff::new();
    loop {
        match steal() {
            Steal::Success(runnable) => return Some(runnable),
            Steal::Empty => return None,
            Steal::Retry if backoff.is_completed() => return None,
            Steal::Retry => backoff.spin(),
        }
    }
}

/// What others woke and only one worker may run.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Vec<Runnable>>,
    /// The length of `queue`, to be read without the lock.
    len: AtomicUsize,
}

impl Inbox {
    pub(crate) fn push(&self, runnable: Runnable) {
        let mut queue = self.queue.lock();
        queue.push(runnable);
        self.len.store(queue.len(), Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    fn drain_into(&self, queue: &mut VecDeque<Runnable>) {
        if !self.is_empty() {
            let mut inbox = self.queue.lock();
            queue.extend(inbox.drain(..));
            self.len.store(0, Ordering::Release);
        }
    }
}
