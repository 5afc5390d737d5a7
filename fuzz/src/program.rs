//! What a random program is: threads, each with a list of operations, over a few shared objects.
//!
//! A program is data. It can be printed, one operation a line, written to a file and run again, and
//! made smaller. Operations name shared objects by small numbers: whatever is taken away from a
//! program, the rest still makes sense.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How many there are of each kind of shared object, but for channels.
pub(crate) const OBJECTS: usize = 2;

/// A whole program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) pinned: bool,
    pub(crate) migrate: bool,
    /// Whether all that it does ends by itself. If not, the end cancels what is blocked.
    pub(crate) bounded: bool,
    pub(crate) channels: Vec<Channel>,
    pub(crate) roots: Vec<Root>,
    pub(crate) end: End,
}

/// A channel that all threads have both ends of, until they drop them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Channel {
    /// `None` if it is unbounded.
    pub(crate) capacity: Option<usize>,
    /// Whether a receiver stays until the end, so that no message may be lost.
    pub(crate) kept: bool,
}

/// A thread that the program begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Root {
    pub(crate) green: bool,
    pub(crate) body: Body,
}

/// How a program ends. All of them shut the runtime down in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// When the roots have ended, or after a while if they need not.
    Join,
    /// By the token that all roots run in, after this long.
    Cancel(Micros),
    /// With work in flight, after this long.
    ShutDown(Micros),
}

pub(crate) type Micros = u64;

/// What a thread does, one after the other. It is shared with the threads that run parts of it, so
/// an operation has one address for as long as the program is there.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Body(pub(crate) Arc<Vec<Op>>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "{}" } else { ".." })
    }
}

/// How long an operation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Patience {
    Never,
    For(Micros),
    Forever,
}

/// What a value does when it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Nothing,
    Yield,
    Sleep(Micros),
    /// Spawns a thread and leaves it.
    Spawn,
    /// Spawns a thread and joins it.
    SpawnAndJoin,
    /// Holds a lock over a sleep, if it gets it.
    Lock(Micros),
    /// Panics and catches that, sleeping meanwhile.
    Catch(Micros),
    /// Panics, unless the thread does already.
    Panic,
}

/// What becomes of a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    Drop,
    Forget,
}

/// One arm of a select.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Arm {
    Send(usize),
    Receive(usize),
    After(Micros),
    Never,
    /// The end of the thread that was spawned last.
    Child,
    Token(usize),
}

/// What is done with the operation that a select has selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Selected {
    Complete,
    /// Drop it, which panics.
    Abandon,
    Forget,
    /// Only ask which is ready.
    Observe,
}

/// Who polls a thread in a future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Host {
    /// The thread that waits for it.
    BlockOn,
    /// The same, or, in another such future, the task around that.
    Await,
    /// A new OS thread each time.
    Moves,
    /// The thread that has it, so often; then it is dropped.
    Drops(usize),
}

/// Threads that work together on something of their own, and always come to an end, with a result
/// that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// All messages of all producers reach one of the consumers.
    Pipeline {
        capacity: Option<usize>,
        producers: usize,
        consumers: usize,
        messages: u64,
    },
    /// One consumer selects among as many channels as there are producers.
    Select {
        capacity: Option<usize>,
        producers: usize,
        messages: u64,
        biased: bool,
    },
    /// Two threads that select on sending to and receiving from each other.
    Exchange { messages: u64 },
    /// Everyone adds to a number under a mutex.
    Mutex { threads: usize, rounds: u64 },
    /// Writers keep two numbers equal, readers look.
    RwLock { threads: usize, rounds: u64 },
    /// No more hold a permit than there are.
    Semaphore {
        permits: usize,
        threads: usize,
        rounds: u64,
    },
    /// Two threads take turns under a condition variable.
    Turns { rounds: u64 },
    /// All notified.
    CondvarAll { threads: usize },
    /// Two threads wake each other by park and unpark.
    ParkPingPong { rounds: u64 },
    /// Two threads wake each other by `Notify`.
    NotifyPingPong { rounds: u64 },
    /// All are in the same round.
    Barrier { threads: usize, rounds: u64 },
    /// One of all runs it.
    Once { threads: usize },
    /// Each has an answer.
    Oneshots { threads: usize },
    /// Every receiver gets all.
    Broadcast { receivers: usize, messages: u64 },
    /// Every receiver sees the last value.
    Watch { receivers: usize, values: u64 },
    /// The last clone is dropped before the wait is over.
    WaitGroup { threads: usize },
    /// A token ends what sleeps for ever.
    CancelTree { threads: usize },
    /// A deadline ends what sleeps for ever.
    DeadlineTree { threads: usize, micros: Micros },
    /// Values in order, or the first error.
    GroupMap {
        items: usize,
        limit: usize,
        fails: Option<usize>,
    },
    /// A select takes each of the threads when it has ended.
    JoinAny { threads: usize },
    /// Threads, tasks, threads in futures and coroutines share locks, permits and messages.
    Colours { members: usize, rounds: u64 },
}

/// One operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Op {
    Yield,
    Sleep(Micros),
    /// Keeps its OS thread busy.
    Compute(Micros),
    Park(Patience),
    /// Unparks one of all threads.
    Unpark(usize),
    Blocking(Micros),
    Panic,
    Catch {
        /// Whether it goes on after it was interrupted.
        swallow: bool,
        body: Body,
    },
    AtDrop {
        action: Action,
        body: Body,
    },
    /// The destructor of a thread-local.
    AtEnd(Action),
    /// Borrows a thread-local.
    Borrow(Body),
    /// Sets a value that children inherit.
    Inherit(Body),

    Spawn(Body),
    /// These are about the thread that was spawned last and is not yet joined, detached or forgotten.
    Join,
    CancelChild,
    Detach,
    ForgetChild,
    Scope {
        children: Vec<Body>,
        body: Body,
        fate: Fate,
    },
    Group {
        limit: Option<usize>,
        /// What each does, and whether it fails then.
        members: Vec<(Body, bool)>,
        take: usize,
        cancel: bool,
    },
    /// A runtime of its own, which ends with its threads in flight when `body` has ended.
    Nested {
        workers: usize,
        pinned: bool,
        children: Vec<Body>,
        body: Body,
    },

    RunIn {
        token: usize,
        child: bool,
        body: Body,
    },
    Cancel(usize),
    AwaitCancel(usize),
    Deadline {
        micros: Micros,
        body: Body,
    },
    Shield(Body),

    /// All that waits in the body does so in futures, which are dropped when they have had their time.
    AsFutures(Body),
    /// A thread in a future.
    Greenly {
        host: Host,
        body: Body,
    },
    /// A coroutine does it, one operation after the other, and may be dropped in between.
    Coroutine {
        resumes: usize,
        /// By another, that it transfers to.
        transfers: bool,
        body: Body,
    },

    Send {
        channel: usize,
        patience: Patience,
        action: Action,
    },
    Receive {
        channel: usize,
        patience: Patience,
    },
    /// By an iterator.
    ReceiveMany {
        channel: usize,
        most: usize,
        patience: Patience,
    },
    DropSender(usize),
    DropReceiver(usize),
    Select {
        arms: Vec<Arm>,
        biased: bool,
        patience: Patience,
        then: Selected,
    },
    /// The macro.
    SelectMacro {
        send: usize,
        receive: usize,
        micros: Micros,
        biased: bool,
    },

    Lock {
        mutex: usize,
        patience: Patience,
        fate: Fate,
        body: Body,
    },
    Read {
        lock: usize,
        patience: Patience,
        fate: Fate,
        body: Body,
    },
    Write {
        lock: usize,
        patience: Patience,
        downgrade: bool,
        fate: Fate,
        body: Body,
    },
    /// Waits with the mutex of the same number.
    CondvarWait {
        condvar: usize,
        patience: Patience,
    },
    CondvarNotify {
        condvar: usize,
        all: bool,
    },
    Acquire {
        semaphore: usize,
        permits: usize,
        patience: Patience,
        fate: Fate,
        body: Body,
    },
    BarrierWait(usize),
    NotifyWait {
        notify: usize,
        patience: Patience,
    },
    Notify {
        notify: usize,
        all: bool,
    },
    Once {
        once: usize,
        body: Body,
    },
    OneshotSend(usize),
    OneshotReceive {
        oneshot: usize,
        patience: Patience,
    },
    Broadcast,
    BroadcastReceive(Patience),
    WatchSend,
    WatchWait(Patience),
    Pattern(Pattern),
}

impl Op {
    /// The operations in it.
    pub(crate) fn bodies(&self) -> Vec<&Body> {
        match self {
            Self::Catch { body, .. }
            | Self::AtDrop { body, .. }
            | Self::Borrow(body)
            | Self::Inherit(body)
            | Self::Spawn(body)
            | Self::RunIn { body, .. }
            | Self::Deadline { body, .. }
            | Self::Shield(body)
            | Self::AsFutures(body)
            | Self::Greenly { body, .. }
            | Self::Coroutine { body, .. }
            | Self::Lock { body, .. }
            | Self::Read { body, .. }
            | Self::Write { body, .. }
            | Self::Acquire { body, .. }
            | Self::Once { body, .. } => vec![body],
            Self::Scope { children, body, .. } | Self::Nested { children, body, .. } => {
                children.iter().chain([body]).collect()
            }
            Self::Group { members, .. } => members.iter().map(|(body, _)| body).collect(),
            _ => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn bodies_mut(&mut self) -> Vec<&mut Body> {
        match self {
            Self::Catch { body, .. }
            | Self::AtDrop { body, .. }
            | Self::Borrow(body)
            | Self::Inherit(body)
            | Self::Spawn(body)
            | Self::RunIn { body, .. }
            | Self::Deadline { body, .. }
            | Self::Shield(body)
            | Self::AsFutures(body)
            | Self::Greenly { body, .. }
            | Self::Coroutine { body, .. }
            | Self::Lock { body, .. }
            | Self::Read { body, .. }
            | Self::Write { body, .. }
            | Self::Acquire { body, .. }
            | Self::Once { body, .. } => vec![body],
            Self::Scope { children, body, .. } | Self::Nested { children, body, .. } => {
                children.iter_mut().chain([body]).collect()
            }
            Self::Group { members, .. } => members.iter_mut().map(|(body, _)| body).collect(),
            _ => Vec::new(),
        }
    }

    /// What it is known by while the program is there.
    pub(crate) fn address(&self) -> usize {
        (&raw const *self).addr()
    }
}

impl Program {
    /// How many operations it has.
    pub(crate) fn len(&self) -> usize {
        fn count(body: &Body) -> usize {
            let inner = |op: &Op| op.bodies().into_iter().map(count).sum::<usize>();
            body.0.iter().map(|op| 1 + inner(op)).sum()
        }
        self.roots.iter().map(|root| count(&root.body)).sum()
    }

    /// The lines that it is printed as, each with the operation that it is of.
    pub(crate) fn lines(&self) -> Vec<(Option<usize>, String)> {
        let mut lines = vec![(
            None,
            format!(
                "seed {}: {} workers, {}{}, {}, end {:?}",
                self.seed,
                self.workers,
                if self.pinned { "pinned" } else { "own" },
                if self.migrate { ", migrate always" } else { "" },
                if self.bounded {
                    "ends by itself"
                } else {
                    "is ended"
                },
                self.end
            ),
        )];
        for (number, channel) in self.channels.iter().enumerate() {
            lines.push((None, format!("channel {number}: {channel:?}")));
        }
        for (number, root) in self.roots.iter().enumerate() {
            let kind = if root.green {
                "green thread"
            } else {
                "OS thread"
            };
            lines.push((None, format!("root {number}, {kind}")));
            add_lines(&root.body, 1, &mut lines);
        }
        lines
    }
}

fn add_lines(body: &Body, depth: usize, lines: &mut Vec<(Option<usize>, String)>) {
    for op in body.0.iter() {
        let indent = "    ".repeat(depth);
        lines.push((Some(op.address()), format!("{indent}{op:?}")));
        let bodies = op.bodies();
        let are_several = bodies.len() > 1;
        for (number, body) in bodies.into_iter().enumerate() {
            if are_several && !body.0.is_empty() {
                lines.push((None, format!("{indent}  [{number}]")));
            }
            add_lines(body, depth + 1, lines);
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (_, line)) in self.lines().iter().enumerate() {
            writeln!(f, "{number:>4} {line}")?;
        }
        Ok(())
    }
}
