//! What all green threads do: [`dump`].
//!
//! | file      | what it is                                              |
//! |-----------|---------------------------------------------------------|
//! | this one  | the dump, and how people read it                        |
//! | `collect` | how it is taken                                         |
//! | `frames`  | stacks as people read them                              |
//! | `visit`   | walking the stacks of parked threads                    |
//! | `signal`  | a dump whenever a signal comes                          |
//! | `list`    | all threads one by one, for the console                 |
//! | `trace_file` | the trace beside a dump                              |
//!
//! # What it costs, and what it does to the program
//!
//! Nothing, until it is taken. Then each parked thread is [held](crate::run::hold) for as long as it takes to walk its
//! stack, some microseconds, and is where it was afterwards. Locks of the runtime are held for moments in
//! which nothing can block: those of the registry while some hundred references are copied. So a dump can be
//! taken whatever the program does, also if all workers are stuck. Of a thread that runs a
//! [glimpse](crate::run::glimpse) is taken.

mod collect;
mod frames;
#[cfg(feature = "console")]
mod list;
#[cfg_attr(windows, path = "signal/windows.rs")]
pub(crate) mod signal;
mod trace_file;
mod visit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(all(feature = "console", unix))]
pub(super) use collect::of_thread;
pub(crate) use collect::runtimes;
pub(super) use collect::{RUNTIMES, SLICE, enter, one_at_a_time, what_it_does};
use frames::Frame;
#[cfg(all(feature = "console", unix))]
pub(super) use list::Threads;
pub(super) use visit::{Visitor, write_stack};

use crate::protocol::written::written;
use crate::run::glimpse::Doing;
use crate::run::green::Waiter;
use crate::runtime::record::Record;

/// So many threads of a deadlock are named, beside the first.
const MOST_IN_CIRCLE: usize = 15;

/// So many groups of threads are in what nobody has asked for.
const BRIEF_GROUPS: usize = 20;

/// The green threads of this process, and what they do: see [`dump`].
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Dump {
    /// How many green threads are alive.
    pub(super) alive: usize,
    pub(super) running: usize,
    pub(super) runnable: usize,
    pub(super) parked: usize,
    /// How many of them wait for what can never come.
    pub(super) leaked: usize,
    /// Some of these.
    pub(super) leaks: Vec<String>,
    /// Of each deadlock the threads: each waits for the next one, and the last for the first.
    pub(super) deadlocks: Vec<Vec<Thread>>,
    pub(super) workers: Vec<Worker>,
    pub(super) groups: Vec<Group>,
    /// How many threads are in no group, since there were too many groups.
    pub(super) left_out: usize,
    /// What has led to that, where it is recorded.
    pub(super) record: Record,
}

/// A worker.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct Worker {
    /// The number of its runtime, from 0.
    runtime: usize,
    worker: usize,
    /// What it runs; `None` if it looks for work, or sleeps.
    runs: Option<Thread>,
    does: Option<Does>,
}

/// What a thread does that runs.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct Does {
    /// `None` if that is not known.
    doing: Option<Doing>,
    /// From the inside to the outside. Empty if it is not known.
    stack: Vec<Frame>,
    /// The number of the thread whose stack it is too.
    same_as: Option<u64>,
    /// Why there is no stack, if there is none.
    no_stack: Option<&'static str>,
}

/// Threads that do the same.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct Group {
    count: usize,
    state: Kind,
    /// From the inside to the outside. Empty if it is not known.
    stack: Vec<Frame>,
    /// Why there is no stack, if there is none.
    no_stack: Option<&'static str>,
    /// Some of them, those first that were found first.
    threads: Vec<Thread>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub(super) enum Kind {
    Runnable,
    Parked,
}

/// One thread.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct Thread {
    id: u64,
    name: Option<String>,
    spawned_at: String,
    /// What it waits for.
    why: Option<String>,
    waits_at: Option<String>,
    seconds: Option<f64>,
    /// Until its wait ends by itself.
    seconds_left: Option<f64>,
    held_by: Option<HeldBy>,
}

/// Who has what a thread waits for.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct HeldBy {
    /// Its number, if it is a green thread that is alive.
    id: Option<u64>,
    name: Option<String>,
    taken_at: String,
}

/// Takes a look at all green threads of this process: what each does, why it waits and for how long, where it
/// was spawned, and its stack.
///
/// Threads that do the same are grouped, with a few of them as examples, so a dump of a million
/// threads is not longer than one of a hundred. What it gives can be printed, and with the feature `serde`
/// be serialized.
///
/// It may be taken anywhere and at any time, and changes nothing in what the program does. Parked threads are shown
/// with their stacks. Of one that runs it is told on which worker, for how long, where it was
/// spawned, whether it computes or waits in the system, and, on x86-64 Linux, its stack; the chapter `watching` says
/// which stacks are left alone. One that waits to be run, or has not begun, is counted by where it was spawned. What is
/// inside of a [`greenly`](crate::greenly) belongs to whoever polls it, and is not told of.
///
/// A dump waits up to a fifth of a second for each thread that computes, a second for all, until the
/// kernel's next tick finds it at that.
///
/// Where threads wait for one another in a circle, its first lines say so.
///
/// # Examples
///
/// ```
/// use roving::{go, thread};
///
/// let parked = go!(name = "forgotten", thread::park);
/// thread::sleep(std::time::Duration::from_millis(50));
/// let dump = roving::dump().to_string();
/// assert!(dump.contains("\"forgotten\""), "{dump}");
/// assert!(dump.contains("park"), "{dump}");
/// parked.thread().unpark();
/// parked.join().unwrap();
/// ```
pub fn dump() -> Dump {
    collect::everything()
}

impl Dump {
    /// Returns how many green threads are alive.
    pub fn green_threads(&self) -> usize {
        self.alive
    }

    /// Returns how many of them run, wait to be run, and wait for something.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns how many of them wait to be run, those included that have not begun.
    pub fn runnable(&self) -> usize {
        self.runnable
    }

    /// Returns how many of them wait for something.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Returns how many of these wait for what can never come: see [`Runtime::leaks`](crate::Runtime::leaks).
    pub fn leaked(&self) -> usize {
        self.leaked
    }

    /// Returns the last events of each worker, up to when the dump was taken, where they are
    /// [recorded](crate::Builder::record).
    pub fn record(&self) -> &Record {
        &self.record
    }
}

/// A thread as people know it.
pub(super) fn name_of(thread: &Arc<Waiter>) -> impl fmt::Display {
    Thread::of(thread)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Threads of which each waits for the next one, and the last for the first.
pub(super) fn circle<T: fmt::Display>(members: &[T]) -> impl fmt::Display {
    written(move |f| {
        let [first, others @ ..] = members else {
            return Ok(());
        };
        if others.is_empty() {
            return write!(f, "{first} waits for itself");
        }
        write!(f, "{first} waits for ")?;
        for other in others.iter().take(MOST_IN_CIRCLE) {
            write!(f, "{other}, which waits for ")?;
        }
        if others.len() > MOST_IN_CIRCLE {
            let more = others.len() - MOST_IN_CIRCLE;
            write!(f, "one of {more} more, the last of which waits for ")?;
        }
        write!(f, "{first}")
    })
}

/// A time as people read it.
fn time(seconds: f64) -> impl fmt::Display {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let whole = time.as_secs();
    written(move |f| match whole {
        0..60 => write!(f, "{time:.1?}"),
        60..3600 => write!(f, "{} min {} s", whole / 60, whole % 60),
        3600..86400 => write!(f, "{} h {} min", whole / 3600, whole / 60 % 60),
        _ => write!(f, "{} days", whole / 86400),
    })
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, usize::MAX)
    }
}

impl Dump {
    /// The first of what it has, as people read it: for what nobody has asked for.
    pub(super) fn brief(&self) -> impl fmt::Display {
        written(|f| self.write(f, BRIEF_GROUPS))
    }

    /// Writes so many groups at most.
    fn write(&self, f: &mut fmt::Formatter<'_>, most_groups: usize) -> fmt::Result {
        let Self {
            alive,
            running,
            runnable,
            parked,
            ..
        } = self;
        writeln!(
            f,
            "{alive} green thread{}: {running} running, {runnable} runnable, {parked} parked",
            plural(*alive)
        )?;
        for members in &self.deadlocks {
            writeln!(f, "deadlock: {}", circle(members))?;
        }
        let many = self.workers.iter().any(|worker| worker.runtime > 0);
        let mut idle = 0;
        for worker in &self.workers {
            match &worker.runs {
                Some(thread) => worker.write(thread, f, many)?,
                None => idle += 1,
            }
        }
        if idle > 0 {
            let run = if idle == 1 { "runs" } else { "run" };
            writeln!(f, "{idle} worker{} {run} nothing", plural(idle))?;
        }
        if self.leaked > 0 {
            let waits = if self.leaked == 1 { "waits" } else { "wait" };
            let plural = plural(self.leaked);
            let leaked = self.leaked;
            writeln!(
                f,
                "{leaked} thread{plural} {waits} for what can never come:"
            )?;
            for leak in &self.leaks {
                writeln!(f, "  {leak}")?;
            }
            if leaked > self.leaks.len() {
                writeln!(f, "  and {} more", leaked - self.leaks.len())?;
            }
        }
        for group in self.groups.iter().take(most_groups) {
            write!(f, "\n{group}")?;
        }
        let unwritten = self.groups.iter().skip(most_groups);
        let left_out = self.left_out + unwritten.map(|group| group.count).sum::<usize>();
        if left_out > 0 {
            writeln!(f, "\nand {left_out} threads with other stacks")?;
        }
        if !self.record.is_empty() {
            write!(f, "\n{}", self.record)?;
        }
        Ok(())
    }
}

impl Worker {
    fn write(&self, runs: &Thread, f: &mut fmt::Formatter<'_>, with_runtime: bool) -> fmt::Result {
        if with_runtime {
            write!(f, "runtime {} ", self.runtime)?;
        }
        write!(f, "worker {} runs {runs}", self.worker)?;
        if let Some(seconds) = runs.seconds {
            write!(f, ", for {}", time(seconds))?;
        }
        writeln!(f, ", spawned at {}", runs.spawned_at)?;
        self.does
            .as_ref()
            .map_or(Ok(()), |does| write!(f, "{does}"))
    }
}

impl Does {
    /// Whether it has been found out what the thread does.
    pub(super) fn is_known(&self) -> bool {
        self.doing.is_some()
    }

    fn unknown(why: &'static str) -> Self {
        Self {
            doing: None,
            stack: Vec::new(),
            same_as: None,
            no_stack: Some(why),
        }
    }
}

impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = self.doing {
            writeln!(f, "  it {doing}")?;
        }
        if let Some(same) = self.same_as {
            writeln!(f, "    where thread {same} does")?;
        }
        for frame in &self.stack {
            writeln!(f, "    {frame}")?;
        }
        self.no_stack.map_or(Ok(()), |why| writeln!(f, "    {why}"))
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.id)?;
        let name = |name| write!(f, " {name:?}");
        self.name.as_ref().map_or(Ok(()), name)
    }
}

impl Thread {
    /// What it waits for.
    pub(super) fn write_why(&self, f: &mut impl fmt::Write) -> fmt::Result {
        write!(f, "{self}")?;
        if let Some(seconds) = self.seconds {
            write!(f, ", for {}", time(seconds))?;
        }
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        if let Some(holder) = &self.held_by {
            write!(f, ", {holder}")?;
        }
        if let Some(left) = self.seconds_left {
            write!(f, ", {} left", time(left))?;
        }
        match &self.waits_at {
            Some(place) => writeln!(f, ", at {place}"),
            None => writeln!(f),
        }
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "held by thread {id}")?;
            if let Some(name) = &self.name {
                write!(f, " {name:?}")?;
            }
            f.write_str(", ")?;
        }
        write!(f, "taken at {}", self.taken_at)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            Kind::Runnable => "runnable",
            Kind::Parked => "parked",
        };
        let first = self.threads.first();
        let site = first.map_or("", |thread| &thread.spawned_at);
        writeln!(
            f,
            "{} thread{} {state}, spawned at {site}",
            self.count,
            plural(self.count)
        )?;
        for thread in &self.threads {
            f.write_str("  ")?;
            thread.write_why(f)?;
        }
        let more = self.count - self.threads.len();
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        for frame in &self.stack {
            writeln!(f, "    {frame}")?;
        }
        self.no_stack.map_or(Ok(()), |why| writeln!(f, "    {why}"))
    }
}
