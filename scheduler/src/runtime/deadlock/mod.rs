//! Deadlocks: green threads of which each waits for the next one, and the last for the first.
//!
//! | file     | what it is                                          |
//! |----------|-----------------------------------------------------|
//! | this one | what a deadlock is, and how those that there are are found |
//! | `cycles` | cycles in a graph                                   |
//! | `look`   | a runtime looks for them now and then               |
//! | `report` | what is done about one                              |
//!
//! # What one is
//!
//! Each of its threads is parked in a wait that only the next one can end: for a lock that this one has, for its
//! end, or for that of all threads of a scope, of which it is one. The wait has no deadline. So none of them goes on
//! by itself, nor by what any of the others does; only a cancellation from outside ends it, if anything
//! does. Whoever cannot be known to wait for one certain thread is in no deadlock: a task, a guest, an OS thread, who
//! waits for those that read, for a permit or a message.
//!
//! # Why each that is found is one
//!
//! First the threads are seen that are [parked](crate::protocol::word) in such waits. Then each of these is
//! [held](crate::run::hold), in the wait that it was seen in, and asked. Last, they must be in these waits still.
//! Waits have numbers that never come back, so there is a moment between the last question and the last look at which all
//! were in their waits, and had been in them since before the first question. At that moment, who is said to need another
//! one does:
//!
//! - Of a lock, the word names the holder, put there by the step that took it and taken away by that which
//!   releases it ([`holder`](crate::sync)). A thread that was found in the word while it was parked has taken
//!   the lock, and has it for as long as it is parked. What it did before it parked was seen by who has seen it parked.
//! - Who is parked has not ended, so who joins it waits for it; and the scope that it belongs to is no other any more.
//!
//! The word names the holder by its stack, which is a thread's own: coroutines and lent stacks are of other
//! [classes](crate::stack::Class). If a thread has forgotten a guard and ended, its stack may be that of
//! another one, which is then named in its place; but the lock is locked for ever then, so that who waits for it is stuck
//! indeed, and so is who waits for that one. (A thread that keeps a guard in a thread-local that is its worker's, and ends, leaves
//! it to whoever finds it there, and this is not known.)
//!
//! # Why each is found
//!
//! All threads of a deadlock were parked when the last of them was. So whoever looks for the first time at one that has
//! parked before the look began, finds the deadlock that this one has closed.

mod cycles;
mod look;
mod report;

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use super::dump;
use crate::protocol::word::Epoch;
use crate::run::green::{Green, Waiter};
use crate::run::hold::Held;
use crate::run::lookout;
use crate::run::reason::{Needs, Whom};
use crate::run::registry::Cursor;

/// What happens when green threads wait for one another in a circle: see
/// [`Builder::deadlocks`](crate::Builder::deadlocks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadlocks {
    /// Nothing: they wait for ever.
    Ignore,
    /// It is told on standard error, once, with the stacks of all.
    Report,
    /// It is told, and the thread panics that was the last to wait; or if nothing may interrupt that one, the last
    /// of those that can be interrupted. With `panic = "abort"` that ends the process.
    Panic,
    /// It is told, and the process aborts.
    Abort,
}

impl Deadlocks {
    pub(super) const ALL: [Self; 4] = [Self::Ignore, Self::Report, Self::Panic, Self::Abort];

    /// As the variable of the environment calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ignore => "off",
            Self::Report => "report",
            Self::Panic => "panic",
            Self::Abort => "abort",
        }
    }

    /// How they are looked for.
    pub(super) fn look(self) -> Option<lookout::Begin> {
        match self {
            Self::Ignore => None,
            Self::Report => Some(|runtime| look::begin(runtime, Self::Report)),
            // No wait can be interrupted there.
            Self::Panic if cfg!(panic = "abort") => Self::Abort.look(),
            Self::Panic => Some(|runtime| look::begin(runtime, Self::Panic)),
            Self::Abort => Some(|runtime| look::begin(runtime, Self::Abort)),
        }
    }
}

/// A thread that was seen parked in a wait that only other threads end.
struct Suspect {
    waiter: Weak<Waiter>,
    epoch: Epoch,
}

impl Suspect {
    fn of(waiter: &Arc<Waiter>) -> Option<Self> {
        let epoch = waiter.word.parked()?;
        waiter.reason.needs_threads().then(|| Self {
            waiter: Arc::downgrade(waiter),
            epoch,
        })
    }
}

/// A thread in its wait.
pub(super) struct Member {
    pub(super) waiter: Arc<Waiter>,
    epoch: Epoch,
    /// When it parked.
    since: u64,
}

impl Member {
    fn green(&self) -> &Green {
        self.waiter
            .green()
            .expect("only green threads are looked at")
    }

    /// Whether it has been told that it is in a deadlock.
    fn is_told(&self) -> bool {
        self.green().judged.load(Ordering::Relaxed) == self.epoch.short() | Green::TOLD
    }

    fn set_judged(&self, told: bool) {
        let told = if told { Green::TOLD } else { 0 };
        let judged = self.epoch.short() | told;
        self.green().judged.store(judged, Ordering::Relaxed);
    }

    /// What was found out of it must be found out again.
    fn set_unjudged(&self) {
        self.green().judged.store(0, Ordering::Relaxed);
    }

    fn is_in_its_wait(&self) -> bool {
        !self.waiter.word.is_stale(self.epoch)
    }
}

/// See the [module](self).
pub(super) struct Deadlock {
    /// Each waits for the next one, and the last for the first, which was the last to wait.
    pub(super) members: Vec<Member>,
    /// How many others wait for them, and for those that do.
    behind: usize,
}

impl Deadlock {
    /// The last to wait of those that can be interrupted.
    fn victim(&self) -> Option<&Member> {
        let interruptible = |member: &&Member| !member.waiter.word.is_masked();
        let candidates = self.members.iter().filter(interruptible);
        candidates.max_by_key(|member| member.since)
    }

    /// Whether it has been told of.
    fn is_told(&self) -> bool {
        self.members[0].is_told()
    }
}

/// What was found out of a number of suspects.
struct Found {
    deadlocks: Vec<Deadlock>,
    /// Those that are in none.
    others: Vec<Member>,
    /// Whether one was in its wait, and could not be asked.
    is_incomplete: bool,
}

/// Whom a suspect needs: by an address on its stack, or by that of its control block, or by that of its scope.
enum Needed {
    Stack(usize),
    Thread(usize),
    Scope(usize),
}

/// All that there are in this process. For whoever [keeps others from looking](dump::one_at_a_time).
pub(super) fn all() -> Vec<Deadlock> {
    find(&all_suspects()).deadlocks
}

/// Whether each green thread that is alive is in a deadlock that has been told of, or waits for one that is.
pub(super) fn told_account_for_all() -> bool {
    let _one = dump::one_at_a_time();
    let all = all();
    let told = all.iter().filter(|deadlock| deadlock.is_told());
    let involved: usize = told.map(|told| told.members.len() + told.behind).sum();
    let runtimes = dump::runtimes();
    let alive: usize = runtimes.iter().map(|runtime| runtime.registry.len()).sum();
    involved > 0 && involved == alive
}

fn all_suspects() -> Vec<Suspect> {
    let mut suspects = Vec::new();
    for runtime in dump::runtimes() {
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let (threads, next) = runtime.registry.some_from(from, dump::SLICE);
            suspects.extend(threads.iter().filter_map(Suspect::of));
            cursor = next;
        }
    }
    suspects
}

/// The deadlocks that there are among those who were seen.
fn find(suspects: &[Suspect]) -> Found {
    // What each did before it was seen parked, and what it took and released, is seen from here on.
    fence(Ordering::SeqCst);
    let mut is_incomplete = false;
    let (mut members, mut needs) = (Vec::new(), Vec::new());
    for Suspect { waiter, epoch } in suspects {
        let Some(waiter) = waiter.upgrade() else {
            continue;
        };
        let Some((since, needed)) = Held::take(&waiter, *epoch).map(|held| ask(&held)) else {
            is_incomplete |= !waiter.word.is_stale(*epoch);
            continue;
        };
        members.push(Member {
            waiter,
            epoch: *epoch,
            since,
        });
        needs.push(needed);
    }
    fence(Ordering::SeqCst);
    let edges = edges(&members, &needs);
    let mut members: Vec<_> = members.into_iter().map(Some).collect();
    let mut deadlocks = Vec::new();
    for (cycle, behind) in cycles::find(&edges) {
        let in_cycle = cycle.into_iter().map(|member| members[member].take());
        let mut in_cycle: Vec<_> = in_cycle.map(|member| member.expect("is in one")).collect();
        if in_cycle.iter().all(Member::is_in_its_wait) {
            let last = (0..in_cycle.len()).max_by_key(|member| in_cycle[*member].since);
            in_cycle.rotate_left(last.expect("a cycle has members"));
            deadlocks.push(Deadlock {
                members: in_cycle,
                behind,
            });
        }
    }
    Found {
        deadlocks,
        others: members.into_iter().flatten().collect(),
        is_incomplete,
    }
}

/// Since when a thread waits, and for whom, as far as that is known.
fn ask(held: &Held<'_>) -> (u64, Option<Needed>) {
    let reason = held.reason();
    let needed = match reason.why.needs() {
        _ if reason.deadline.is_some() => None,
        None => None,
        Some(Needs(Whom::Holder(holder))) => Some(Needed::Stack(holder.stack)),
        Some(Needs(Whom::Thread(thread))) => Some(Needed::Thread(ptr::from_ref(thread).addr())),
        Some(Needs(Whom::Scope(scope))) => Some(Needed::Scope(ptr::from_ref(scope).addr())),
    };
    (held.since(), needed)
}

/// For each who waits, which of the others it waits for.
fn edges(members: &[Member], needs: &[Option<Needed>]) -> Vec<Vec<usize>> {
    let mut stacks = Vec::new();
    let mut threads = HashMap::new();
    let mut scopes: HashMap<_, Vec<_>> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        // SAFETY: it was found in the registry, and has started.
        let started = unsafe { member.green().own_stack.started() };
        let stack = started.coroutine.stack().range();
        stacks.push((stack.start, stack.end, index));
        threads.insert(Arc::as_ptr(&member.waiter).addr(), index);
        if let Some(scope) = &member.green().scope {
            let scope = Arc::as_ptr(scope).addr();
            scopes.entry(scope).or_default().push(index);
        }
    }
    stacks.sort_unstable();
    let on_stack = |address: usize| {
        let after = stacks.partition_point(|(start, ..)| *start <= address);
        let (_, end, index) = stacks[..after].last()?;
        (address < *end).then_some(*index)
    };
    let needed = |needed: &Option<Needed>| match needed {
        None => Vec::new(),
        Some(Needed::Stack(address)) => on_stack(*address).into_iter().collect(),
        Some(Needed::Thread(thread)) => threads.get(thread).copied().into_iter().collect(),
        Some(Needed::Scope(scope)) => scopes.get(scope).cloned().unwrap_or_default(),
    };
    needs.iter().map(needed).collect()
}
