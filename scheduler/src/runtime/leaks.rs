//! Leaks: parked threads that nothing can ever wake, but the end of their runtime.
//!
//! Whoever may wake a thread has a reference to it: a [`Thread`](crate::thread::Thread), a handle, a ticket in a list, a
//! timer. References are counted. Some are known: that of the registry; that of the wait, which lies in the
//! thread's own frames; and those that its [`Why`](crate::wait::Why) knows to lie there too. If there are no more than
//! these, the thread is leaked.
//!
//! **There is no false alarm.** The count is taken while the thread is [held](crate::run::hold), so that it does not run and
//! its frames are as they are. If all references lie there, or with the registry, then nobody else had one at
//! that moment; none can come to be but from one that is there; and those are in the hands of a thread that does not
//! run. A wait that somebody has ended before is found ended when the thread is let go of: he gave up his reference
//! after that (release), and the count was read before the letting go (acquire).
//!
//! What has a reference elsewhere is not told, though it may be of no use there: in a list of those who wait for an
//! event of which nobody knows who could cause it, or in a value that was forgotten.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::run::green::Waiter;
use crate::run::hold::Held;
use crate::run::registry::Cursor;
use crate::run::shared::Shared;
use crate::runtime::dump;
use crate::runtime::state::Parked;

/// Threads that are looked at in one go.
const SLICE: usize = 256;

/// The references of the registry, of the wait, and of the one who looks.
const KNOWN: usize = 3;

/// A green thread that waits for what can never come: see [`Runtime::leaks`](crate::Runtime::leaks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    id: u64,
    name: Option<String>,
    spawned_at: &'static Location<'static>,
    parked: Parked,
}

impl Leak {
    /// The name of the thread, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// What it waits for, where, and since when.
    pub fn parked(&self) -> &Parked {
        &self.parked
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        let Self {
            spawned_at, parked, ..
        } = self;
        write!(f, ", spawned at {spawned_at}: {parked}")
    }
}

/// The leaked threads of a runtime.
pub(super) fn of(runtime: &Shared) -> Vec<Leak> {
    // A dump has references, too, for moments.
    let _one = dump::one_at_a_time();
    find(runtime)
}

/// The same, for a dump.
pub(super) fn find(runtime: &Shared) -> Vec<Leak> {
    let mut leaks = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        let (threads, next) = runtime.registry.some_from(from, SLICE);
        leaks.extend(threads.iter().filter_map(look_at));
        cursor = next;
    }
    leaks
}

fn look_at(waiter: &Arc<Waiter>) -> Option<Leak> {
    let epoch = waiter.word.parked()?;
    let held = Held::take(waiter, epoch)?;
    let is_leaked = nobody_wakes(&held, waiter);
    let leak = is_leaked.then(|| Leak {
        id: waiter.id(),
        name: waiter.name().map(str::to_owned),
        spawned_at: waiter.own_stack().expect("green threads have stacks").site,
        parked: Parked::of(&held),
    });
    fence(Ordering::Acquire);
    let is_parked = held.release();
    leak.filter(|_| is_parked)
}

/// Whether there are no references to a thread but those that are known.
fn nobody_wakes(held: &Held<'_>, waiter: &Arc<Waiter>) -> bool {
    let reason = held.reason();
    let (None, Some(own)) = (reason.deadline, reason.why.own_references()) else {
        return false;
    };
    Arc::strong_count(waiter) == KNOWN + own
}
