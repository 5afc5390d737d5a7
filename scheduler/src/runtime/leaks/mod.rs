//! Leaks: parked threads that nothing can ever wake, but the end of their runtime.
//!
//! Whoever may wake a thread has a reference to it: a [`Thread`](crate::thread::Thread), a handle, a ticket in a list, a
//! timer. References are counted. Some are known: that of the registry; that of the wait, which lies in the
//! thread's own frames; those that its [`Why`](crate::wait::Why) knows to lie there too; and if it joins another one, or
//! waits for what another one has, its ticket, which only that one fires. Who joins has a reference to the one whom it
//! joins, in its own frames too, and uses it only if it goes on.
//!
//! So the leaked threads are the largest set of which each waits without a deadline, has no references but those that
//! are known or lie with others of the set, and if it waits for one certain thread, for one of the set ([`closed`](mod@closed)).
//!
//! # Why there is no false alarm
//!
//! All that are in question are [held](crate::run::hold) at the same time, so that none of them runs and their frames are as
//! they are. Then each is asked and its references are counted; then all are let go of, and those are out whose wait
//! has ended, with all that this leads to. Take the set that is left. When the references to one of its threads were
//! counted, nobody outside had one. None can come to be but from one that is there, and those are in the hands of
//! threads of the set, which have not run since. So from the last count on nobody outside can wake any of them, and none
//! of them is woken by another one before that is woken itself. Who has ended a wait earlier gave up his reference after
//! that (release), and the counts were read before the letting go (acquire), which finds it.
//!
//! That one holds the lock that another one waits for is read from the lock's word while both are held: see
//! [`deadlock`](super::deadlock).
//!
//! What has a reference elsewhere is not told, though it may be of no use there: in a list of those who wait for an
//! event of which nobody knows who could cause it, or in a value that was forgotten.

mod closed;

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use self::closed::{Need, Node, closed};
use super::dump;
use super::state::Parked;
use crate::protocol::word::Epoch;
use crate::run::green::{Green, Waiter};
use crate::run::hold::Held;
use crate::run::reason::{Needs, Whom};
use crate::run::registry::Cursor;
use crate::run::shared::{RuntimeId, Shared};

/// Threads that are looked at in one go.
const SLICE: usize = 256;

/// The references of the registry, of the wait, and of the one who looks.
const KNOWN: usize = 3;

/// A green thread that waits for what can never come: see [`Runtime::leaks`](crate::Runtime::leaks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    runtime: RuntimeId,
    id: u64,
    name: Option<String>,
    spawned_at: &'static Location<'static>,
    parked: Parked,
}

impl Leak {
    /// Returns the name of the thread, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// Returns what it waits for, where, and since when.
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
    let mut leaks = find(&dump::runtimes());
    leaks.retain(|leak| leak.runtime == runtime.id);
    leaks
}

/// The leaked threads of these runtimes, for one who lets nobody else look.
pub(super) fn find(runtimes: &[Arc<Shared>]) -> Vec<Leak> {
    let (mut members, mut waits) = (Vec::new(), Vec::new());
    for runtime in runtimes {
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let (threads, next) = runtime.registry.some_from(from, SLICE);
            for (member, wait) in threads.into_iter().filter_map(Member::of) {
                members.push(member);
                waits.push(Some(wait));
            }
            cursor = next;
        }
    }
    // Who may be woken need not be held beside the others.
    let mut is_in = closed(&nodes(&members, &waits), [].into_iter()).into_iter();
    members.retain(|_| is_in.next() == Some(true));
    leaked(&members)
}

/// A thread that was seen parked in a wait.
struct Member {
    waiter: Arc<Waiter>,
    epoch: Epoch,
}

/// What is known of a wait.
struct Waits {
    references: usize,
    needs: Option<Needed>,
}

/// Whom one needs: by an address on its stack, or by that of its control block.
enum Needed {
    Stack(usize),
    Thread(usize),
    /// More than one.
    Many,
}

impl Member {
    /// `None` if it is not parked, or certainly not leaked.
    fn of(waiter: Arc<Waiter>) -> Option<(Self, Waits)> {
        let epoch = waiter.word.parked()?;
        let held = Held::take(&waiter, epoch)?;
        let waits = Waits::of(&held, &waiter)?;
        drop(held);
        Some((Self { waiter, epoch }, waits))
    }

    fn green(&self) -> &Green {
        let green = self.waiter.green();
        green.expect("only green threads are held")
    }

    fn leak(&self, held: &Held<'_>) -> Leak {
        Leak {
            runtime: held.runtime().id,
            id: self.waiter.id(),
            name: self.waiter.name().map(str::to_owned),
            spawned_at: self.green().own_stack.site,
            parked: Parked::of(held),
        }
    }
}

impl Waits {
    fn of(held: &Held<'_>, waiter: &Arc<Waiter>) -> Option<Self> {
        let reason = held.reason();
        if reason.deadline.is_some() {
            return None;
        }
        let needs = reason.why.needs().map(|Needs(whom)| match whom {
            Whom::Holder(holder) => Needed::Stack(holder.stack),
            Whom::Thread(thread) => Needed::Thread(ptr::from_ref(thread).addr()),
            Whom::Scope(_) => Needed::Many,
        });
        let own = match needs {
            // The ticket.
            Some(_) => 1,
            None => reason.why.own_references()?,
        };
        let references = Arc::strong_count(waiter).checked_sub(KNOWN + own)?;
        // There is one who joins, at most.
        let is_joined = || {
            waiter
                .green()
                .is_some_and(|green| green.completion.is_joined())
        };
        let may_be = references == 0 || references == 1 && is_joined();
        may_be.then_some(Self { references, needs })
    }
}

/// Those of the members that are leaked.
fn leaked(members: &[Member]) -> Vec<Leak> {
    let held: Vec<_> = members
        .iter()
        .map(|member| Held::take(&member.waiter, member.epoch))
        .collect();
    let waits: Vec<_> = held
        .iter()
        .zip(members)
        .map(|(held, member)| Waits::of(held.as_ref()?, &member.waiter))
        .collect();
    let nodes = nodes(members, &waits);
    let leak = |((held, member), is_in): ((&Option<Held<'_>>, &Member), bool)| {
        held.as_ref()
            .filter(|_| is_in)
            .map(|held| member.leak(held))
    };
    let leaks = held.iter().zip(members).zip(closed(&nodes, [].into_iter()));
    let leaks: Vec<_> = leaks.map(leak).collect();
    fence(Ordering::Acquire);
    let ended = held.into_iter().enumerate().filter_map(|(index, held)| {
        let is_parked = held.is_some_and(Held::release);
        (!is_parked).then_some(index)
    });
    let ended: Vec<_> = ended.collect();
    let is_in = closed(&nodes, ended.into_iter());
    let still = leaks.into_iter().zip(is_in);
    still
        .filter_map(|(leak, is_in)| leak.filter(|_| is_in))
        .collect()
}

/// The members as a graph. One of which nothing is known is outside.
fn nodes(members: &[Member], waits: &[Option<Waits>]) -> Vec<Node> {
    let (mut threads, mut stacks) = (HashMap::new(), Vec::new());
    for (index, member) in members.iter().enumerate() {
        threads.insert(Arc::as_ptr(&member.waiter).addr(), index);
        // SAFETY: it was found in the registry, and has started.
        let started = unsafe { member.green().own_stack.started() };
        let stack = started.coroutine.stack().range();
        stacks.push((stack.start, stack.end, index));
    }
    stacks.sort_unstable();
    let on_stack = |address: usize| {
        let after = stacks.partition_point(|(start, ..)| *start <= address);
        let (_, end, index) = stacks[..after].last()?;
        (address < *end).then_some(*index)
    };
    let other = |found: Option<usize>| found.map_or(Need::Outside, Need::Other);
    let node = |waits: &Option<Waits>| {
        let Some(Waits { references, needs }) = waits else {
            return Node {
                references: 0,
                needs: Need::Outside,
                joins: None,
            };
        };
        let joins = match needs {
            Some(Needed::Thread(thread)) => threads.get(thread).copied(),
            _ => None,
        };
        Node {
            references: *references,
            needs: match needs {
                None => Need::Reference,
                Some(Needed::Stack(address)) => other(on_stack(*address)),
                Some(Needed::Thread(_)) => other(joins),
                Some(Needed::Many) => Need::Outside,
            },
            joins,
        }
    };
    waits.iter().map(node).collect()
}
