//! Where runnable green threads are.
//!
//! | queue      | whose           | who pushes             | who pops                 | what is in it                              |
//! |------------|-----------------|------------------------|--------------------------|--------------------------------------------|
//! | LIFO slot  | a worker's      | the worker             | the worker, idle ones    | what the running green thread woke last    |
//! | `fresh`    | a worker's      | the worker             | the worker, all thieves  | what was spawned here and has not run      |
//! | `woken`    | a worker's      | the worker             | the worker, all thieves  | what any worker may run                    |
//! | `bound`    | a worker's      | the worker             | the worker               | what only this worker may run              |
//! | inbox      | a worker's      | everybody else         | the worker               | what only this worker may run, woken elsewhere |
//! | injector   | the runtime's   | everybody              | all workers              | what was spawned or woken outside the workers |
//!
//! The LIFO slot runs a woken partner at once, while the message that woke it is in the cache (as
//! Go's `runnext`). Two that wake each other would starve the rest, so after [`LIFO_LIMIT`] such
//! runs in a row the slot is emptied into the queue's end, if anybody waits there. Nobody is woken for
//! what is in the slot; if its worker does not get to it for [long](crate::protocol::slot), an idle one takes it.
//!
//! `fresh`, `woken` and `bound` are served in turn, [`TURN`] at a time; those whose turn finds them empty give
//! it to what has begun rather than to what has not, so that a flood of fresh threads does not hold up those
//! that sleep and come back. `woken` and `bound` are first in, first out.
//! `fresh` is a stack for its worker and a queue for thieves, as in Cilk (Blumofe and Leiserson,
//! "Scheduling multithreaded computations by work stealing", 1999): a tree of green threads is walked
//! depth first, so that few of its nodes are alive at a time and those are in the cache, while thieves
//! get the oldest, which have the most work below them. So that nobody starves at the bottom of the
//! stack, every [`OLDEST`]th comes from there.
//!
//! Where green threads always [migrate](crate::Builder::migrate_always), those that have run wait in the inbox of the worker to which
//! they go, and are taken from there one by one: while that worker is stuck, others take them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::protocol::lock::Mutex;
use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};
use crossbeam_utils::Backoff;

use crate::protocol::slot::{Looker, Slot};
use crate::run::green::{Runnable, Waiter};
use crate::run::whereabouts::{Place, Whereabouts};

/// So many green threads run from the LIFO slot in a row.
const LIFO_LIMIT: u32 = 3;

/// Of so many fresh green threads that a worker takes from its own, one is the oldest.
const OLDEST: u32 = 61;

/// So many green threads run in the turn of one queue, so that those which were spawned or woken together
/// stay together, and what they share is in the cache.
const TURN: u32 = 8;

/// A thief takes half of the queue, but at most this many.
const STEAL_LIMIT: usize = 256;

/// A worker's own side of its queues.
pub(crate) struct Local {
    lifo: Slot<Waiter>,
    lifo_runs: Cell<u32>,
    fresh: Deque<Runnable>,
    fresh_runs: Cell<u32>,
    woken: Deque<Runnable>,
    /// Where those in `woken` are.
    woken_at: Whereabouts,
    bound: RefCell<VecDeque<Runnable>>,
    /// Where those in `bound` are.
    bound_at: Whereabouts,
    /// How many are in `bound`, for others.
    bound_len: Arc<AtomicUsize>,
    /// How many have run since the turn of `fresh` began.
    turn_runs: Cell<u32>,
}

/// Makes what the queues of all runtimes share, on the thread that starts one: a child that was forked while
/// a worker makes it would wait for that worker.
pub(crate) fn prepare() {
    let queue = Deque::<()>::new_fifo();
    // The library makes its collector when something is stolen for the first time.
    let _ = queue.stealer().steal();
}

impl Local {
    pub(crate) fn new() -> Self {
        Self {
            lifo: Slot::new(),
            lifo_runs: Cell::new(0),
            fresh: Deque::new_lifo(),
            fresh_runs: Cell::new(0),
            woken: Deque::new_fifo(),
            woken_at: Whereabouts::default(),
            bound: RefCell::new(VecDeque::new()),
            bound_at: Whereabouts::default(),
            bound_len: Arc::default(),
            turn_runs: Cell::new(0),
        }
    }

    pub(crate) fn stealable(&self) -> Stealable {
        Stealable {
            fresh: self.fresh.stealer(),
            woken: self.woken.stealer(),
            lifo: self.lifo.looker(),
            bound_len: self.bound_len.clone(),
        }
    }

    /// Queues what was spawned and any worker may run.
    pub(crate) fn push_fresh(&self, runnable: Runnable) {
        self.fresh.push(runnable);
    }

    /// Queues what has run and any worker may run.
    #[inline]
    pub(crate) fn push_woken(&self, runnable: Runnable) {
        self.woken_at.queued(|| Place::of(&runnable));
        self.woken.push(runnable);
    }

    /// So many are about to be queued that have waited for events.
    pub(crate) fn many_are_woken(&self, count: usize) {
        self.woken_at.many_come(count, || self.woken.len());
        self.bound_at.many_come(count, || self.bound.borrow().len());
    }

    /// Gives back the room of a burst that is over. The other queues do so by themselves.
    pub(crate) fn shrink(&self) {
        let mut bound = self.bound.borrow_mut();
        if bound.capacity() / 4 > bound.len().max(256) {
            let room = 2 * bound.len();
            bound.shrink_to(room);
        }
        self.bound_at.shrink(bound.len());
        self.woken_at.shrink(self.woken.len());
    }

    /// Queues what only this worker may run.
    pub(crate) fn push_bound(&self, runnable: Runnable) {
        self.bound_at.queued(|| Place::of(&runnable));
        self.bound.borrow_mut().push_back(runnable);
        self.publish_bound();
    }

    /// Queues at the front what only this worker may run if it `stays`; gives what was there and must be
    /// queued at the end.
    #[must_use]
    pub(crate) fn push_lifo(&self, runnable: Runnable, stays: bool) -> Option<Runnable> {
        self.lifo.put(runnable.0, stays).map(Runnable)
    }

    /// What the LIFO slot holds when its turns are used up and others wait for theirs; it must be
    /// queued at the end.
    #[must_use]
    #[inline]
    pub(crate) fn overdue_lifo(&self) -> Option<Runnable> {
        let is_overdue = self.lifo_runs.get() >= LIFO_LIMIT;
        if !is_overdue || !self.has_stealable() && self.bound.borrow().is_empty() {
            return None;
        }
        self.lifo_runs.set(0);
        self.take_lifo()
    }

    pub(crate) fn take_lifo(&self) -> Option<Runnable> {
        self.lifo.take().map(Runnable)
    }

    /// The next one. What only this worker may run is what `pop_bound` gives.
    pub(crate) fn pop(&self, pop_bound: impl Fn() -> Option<Runnable>) -> Option<Runnable> {
        if let Some(runnable) = self.take_lifo() {
            self.lifo_runs.set(self.lifo_runs.get() + 1);
            return Some(runnable);
        }
        self.lifo_runs.set(0);
        let fresh = || self.pop_fresh();
        let woken = || self.woken.pop();
        let runs = self.turn_runs.get();
        self.turn_runs.set((runs + 1) % (3 * TURN));
        if self.woken_at.may_be_long() {
            self.prefetch_woken();
        }
        match runs / TURN {
            0 => fresh().or_else(woken).or_else(pop_bound),
            1 => woken().or_else(pop_bound).or_else(fresh),
            _ => pop_bound().or_else(woken).or_else(fresh),
        }
    }

    /// Only what this worker alone may run.
    pub(crate) fn pop_bound(&self) -> Option<Runnable> {
        let first = self.bound.borrow_mut().pop_front()?;
        let left = self.publish_bound();
        if self.bound_at.may_be_long()
            && let Some(ahead) = self.bound_at.ahead(left + 1)
        {
            ahead.prefetch(self.bound_at.frames());
        }
        Some(first)
    }

    /// Prefetches one of those in `woken` that will be run soon.
    #[inline(never)]
    fn prefetch_woken(&self) {
        if let Some(ahead) = self.woken_at.ahead(self.woken.len()) {
            ahead.prefetch(self.woken_at.frames());
        }
    }

    /// Tells others how many are in `bound`, which has changed, and gives that.
    fn publish_bound(&self) -> usize {
        let len = self.bound.borrow().len();
        self.bound_len.store(len, Ordering::Relaxed);
        len
    }

    /// Only what any worker may run, but for the LIFO slot: what has run, and then the oldest of what has not.
    pub(crate) fn pop_unbound(&self) -> Option<Runnable> {
        let fresh = || persist(|| self.fresh.stealer().steal());
        self.woken.pop().or_else(fresh)
    }

    #[inline]
    fn pop_fresh(&self) -> Option<Runnable> {
        if self.fresh.is_empty() {
            return None;
        }
        let newest = self.fresh.pop()?;
        self.fresh_runs.set(self.fresh_runs.get() + 1);
        if self.fresh_runs.get() < OLDEST || self.fresh.is_empty() {
            return Some(newest);
        }
        self.fresh_runs.set(0);
        match persist(|| self.fresh.stealer().steal()) {
            None => Some(newest),
            oldest => {
                self.fresh.push(newest);
                oldest
            }
        }
    }

    /// Moves all that others left for this worker into its queue.
    #[cold]
    pub(crate) fn take_inbox(&self, inbox: &Inbox) {
        let before = self.bound.borrow().len();
        inbox.drain_into(&mut self.bound.borrow_mut());
        let after = self.publish_bound();
        self.bound_at.unknown(after - before);
    }

    /// Takes a batch from the injector and pops one.
    pub(crate) fn take_injected(&self, injector: &Injector<Runnable>) -> Option<Runnable> {
        if injector.is_empty() {
            return None;
        }
        self.with_more_woken(|| persist(|| injector.steal_batch_and_pop(&self.woken)))
    }

    /// The same for one that does not come here for its next green thread: it takes as many as a thief would at most. With a batch
    /// at a time, those that are injected would fall behind those that wait here.
    pub(crate) fn take_many_injected(&self, injector: &Injector<Runnable>) -> Option<Runnable> {
        let first = self.take_injected(injector)?;
        let most = self.woken.len() + STEAL_LIMIT;
        let take = || persist(|| injector.steal_batch(&self.woken)).is_some();
        self.with_more_woken(|| while self.woken.len() < most && take() {});
        Some(first)
    }

    /// Steals half of another worker's queues and pops one.
    pub(crate) fn steal_from(&self, victim: &Stealable) -> Option<Runnable> {
        let steal = |from: &Stealer<Runnable>, to| {
            persist(|| from.steal_batch_with_limit_and_pop(to, STEAL_LIMIT))
        };
        let woken = || self.with_more_woken(|| steal(&victim.woken, &self.woken));
        steal(&victim.fresh, &self.fresh).or_else(woken)
    }

    /// Calls `take`, which puts others' into `woken`.
    fn with_more_woken<R>(&self, take: impl FnOnce() -> R) -> R {
        let before = self.woken.len();
        let result = take();
        let came = self.woken.len().saturating_sub(before);
        self.woken_at.unknown(came);
        result
    }

    pub(crate) fn has_stealable(&self) -> bool {
        !self.fresh.is_empty() || !self.woken.is_empty()
    }

    /// Whether thieves would find one green thread here, or none. Costs its worker less than to look as
    /// thieves do.
    pub(crate) fn is_lone(&self) -> bool {
        self.fresh.len() + self.woken.len() < 2
    }
}

/// The thieves' side of a worker's queues.
#[derive(Debug)]
pub(crate) struct Stealable {
    fresh: Stealer<Runnable>,
    woken: Stealer<Runnable>,
    lifo: Looker<Waiter>,
    bound_len: Arc<AtomicUsize>,
}

impl Stealable {
    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.woken.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.woken.len()
    }

    /// How many wait in all the queues of the worker, but for its inbox.
    pub(crate) fn queued(&self) -> usize {
        let in_slot = usize::from(!self.lifo.is_empty());
        in_slot + self.len() + self.bound_len.load(Ordering::Relaxed)
    }

    /// As [`Local::is_lone`].
    pub(crate) fn is_lone(&self) -> bool {
        self.len() < 2
    }

    /// Takes what has been in the LIFO slot for long, by the caller's clock.
    pub(crate) fn take_old_lifo(&self, now: impl FnOnce() -> Duration) -> Option<Runnable> {
        if !self.lifo.is_within_reach() {
            return None;
        }
        self.lifo.look(now()).map(Runnable)
    }
}

/// Repeats a steal that met another one, a little later each time.
fn persist<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    let backoff = Backoff::new();
    loop {
        match steal() {
            Steal::Success(stolen) => return Some(stolen),
            Steal::Empty => return None,
            Steal::Retry if backoff.is_completed() => return None,
            Steal::Retry => backoff.spin(),
        }
    }
}

/// What others woke and only one worker may run, or goes there first.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Runnable>>,
    /// The length of `queue`, to be read without the lock.
    len: AtomicUsize,
}

impl Inbox {
    pub(crate) fn push(&self, runnable: Runnable) {
        let mut queue = self.queue.lock();
        queue.push_back(runnable);
        self.len.store(queue.len(), Ordering::Release);
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first.
    pub(crate) fn pop(&self) -> Option<Runnable> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let first = queue.pop_front();
        self.len.store(queue.len(), Ordering::Release);
        first
    }

    fn drain_into(&self, queue: &mut VecDeque<Runnable>) {
        let mut inbox = self.queue.lock();
        queue.extend(inbox.drain(..));
        self.len.store(0, Ordering::Release);
    }
}
