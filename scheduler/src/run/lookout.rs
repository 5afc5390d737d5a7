//! When a runtime looks for deadlocks.
//!
//! A thread that waits for what only other threads can do may do so for ever, and nobody is there only to find
//! out. So a worker that has parked one remembers that, by a store of its own, and
//! [tells](Lookout::somebody_waits) when it next looks around or is about to announce that it sleeps. If it is stuck before that,
//! whoever hands its place over tells in its stead. A second later a look is due. A worker that has nothing else to do
//! wakes up for it, and one that is busy does a piece of it whenever it looks around. Another look follows as long as
//! one has seen waits that were too new. So an idle runtime looks two or three times and then sleeps for good; and one
//! that is never idle spends a fiftieth of a worker on it at most, however many threads there are.
//!
//! What a look is, is for those above to say.
//!
//! # No wait is missed
//!
//! A worker tells of a wait after it has parked the thread, under the lock under which looks begin. So the look that is due
//! begins after that; and if one is under way, there will be another.
//!
//! It tells before it announces that it sleeps. So who sees that all sleep also sees that there will be a look, which
//! may find what one of them waits for.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;

use crate::run::shared::Shared;

/// How long a wait must have lasted to be looked at.
pub(crate) const LONG: Duration = Duration::from_secs(1);

/// For so many times the time that a look has taken there is no other.
const REST: u32 = 50;

/// A look at all threads of a runtime, which is done in pieces.
pub(crate) trait Look: Send {
    fn go_on(&mut self) -> Progress;
}

/// How far a look has come.
pub(crate) enum Progress {
    More,
    Done {
        /// Whether it has seen waits that were too new.
        again: bool,
    },
}

/// Begins a look.
pub(crate) type Begin = fn(&Arc<Shared>) -> Box<dyn Look>;

/// See the [module](self).
pub(crate) struct Lookout {
    /// `None` if nobody looks.
    begin: Option<Begin>,
    /// Whether `state.next` is set, to be read without the lock.
    is_scheduled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the next look begins; that under way had begun then.
    next: Option<Instant>,
    is_under_way: bool,
    /// The look that is under way, while nobody is at it.
    look: Option<Box<dyn Look>>,
    /// How long it has taken so far.
    taken: Duration,
    /// Whether there were new waits since it has begun.
    again: bool,
}

impl Lookout {
    pub(crate) fn new(begin: Option<Begin>) -> Self {
        Self {
            begin,
            is_scheduled: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// A worker has parked threads that wait for what only other threads can do.
    pub(crate) fn somebody_waits(&self) {
        if self.begin.is_none() {
            return;
        }
        let mut state = self.state.lock();
        state.again |= state.is_under_way;
        state.next.get_or_insert_with(|| Instant::now() + LONG);
        self.is_scheduled.store(true, Ordering::Relaxed);
    }

    /// Whether there will be a look, or one is under way.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.is_scheduled.load(Ordering::Relaxed)
    }

    /// When a worker must be awake to look. `None` also while one is at it.
    pub(crate) fn next(&self) -> Option<Instant> {
        if !self.is_scheduled() {
            return None;
        }
        let state = self.state.lock();
        let is_somebody_at_it = state.is_under_way && state.look.is_none();
        state.next.filter(|_| !is_somebody_at_it)
    }

    /// Does a piece of a look if one is due. `true` if there is more to do at once.
    pub(crate) fn slice(&self, shared: &Arc<Shared>) -> bool {
        let Some(begin) = self.begin.filter(|_| self.is_scheduled()) else {
            return false;
        };
        let start = Instant::now();
        let under_way = {
            let Some(mut state) = self.state.try_lock() else {
                return false;
            };
            let look = state.look.take();
            let is_due = state.next.is_some_and(|next| next <= start);
            if !is_due || state.is_under_way && look.is_none() {
                return false;
            }
            state.is_under_way = true;
            look
        };
        let mut look = under_way.unwrap_or_else(|| begin(shared));
        let progress = look.go_on();
        let mut state = self.state.lock();
        state.taken += start.elapsed();
        match progress {
            Progress::More => {
                state.look = Some(look);
                true
            }
            Progress::Done { again } => {
                let rest = LONG.max(mem::take(&mut state.taken) * REST);
                let again = again | mem::take(&mut state.again);
                state.is_under_way = false;
                state.next = again.then(|| Instant::now() + rest);
                self.is_scheduled
                    .store(state.next.is_some(), Ordering::Relaxed);
                false
            }
        }
    }
}
