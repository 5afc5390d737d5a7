//! The numbers of a runtime: [`Metrics`].
//!
//! | file        | what it is                                  |
//! |-------------|---------------------------------------------|
//! | this one    | the numbers, and how people read them       |
//! | `collect`   | how they are taken                          |
//! | `histogram` | times by their length                       |
//!
//! What is counted, and how, is in [`counts`](crate::run::counts).

mod collect;
mod histogram;

use std::fmt;
use std::time::Duration;

pub use histogram::Histogram;
#[cfg(feature = "serde")]
use histogram::seconds;

/// The numbers of a runtime at one moment: see [`Runtime::metrics`](crate::Runtime::metrics).
///
/// There are *counts*, which begin with the runtime and only grow, and *gauges*, which say what there is now. Nothing
/// stands still while they are taken. Each count is exact for some moment of the call: what the caller knows
/// to have happened before is in it. And what follows from something is not counted before it: never have more
/// threads ended than were spawned, nor more waits. Gauges of a runtime at rest are exact; of one that is busy they are
/// what was seen when each was looked at.
///
/// They are counted always. That costs four instructions a switch, and some more each time that a worker looks for
/// work elsewhere. To ask takes some microseconds, and some locks of the runtime for a moment each; it may be done
/// anywhere. In the first hundredth of a second after the first runtime has started it waits for the rest of that, to know the
/// processor's clock. A forked child that asks for the numbers of its parent's runtime gets none: all are zero.
///
/// With the feature `serde` they can be serialized; times are seconds then.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Metrics {
    /// How long it has been there.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub uptime: Duration,
    /// Count: green threads that were spawned.
    pub spawned: u64,
    /// Count: green threads that have ended. One that was joined is counted.
    pub ended: u64,
    /// Gauge: those that are alive.
    pub alive: usize,
    /// Gauge: of those, the ones that a worker runs.
    pub running: usize,
    /// Gauge: of those, the ones that wait to be run.
    pub runnable: usize,
    /// Gauge: of those, the ones that wait for something.
    pub parked: usize,
    /// Count: how often a green thread has run until it gave its worker back, by a wait, a yield, or its end.
    pub runs: u64,
    /// Count: how many of these runs ended with a wait.
    pub parks: u64,
    /// Count: how many of them ended with a yield.
    pub yields: u64,
    /// Count: how often a green thread was queued since what it waited for had come.
    pub wake_ups: u64,
    /// Count: how many of the threads that were spawned, and of the wake-ups, came from OS threads that are no workers of
    /// this runtime.
    pub from_outside: u64,
    /// Count: how often a worker has taken green threads from another one.
    pub steals: u64,
    /// Count: how often a worker has found nothing to do, and was about to sleep.
    pub sleeps: u64,
    /// Count: how often a worker has asked the IO driver, in passing or to sleep until something comes.
    pub driver_waits: u64,
    /// Count: the waits that the IO driver has ended.
    pub events: u64,
    /// Gauge: timers that are armed.
    pub timers: usize,
    /// Count: timers that were armed.
    pub armed_timers: u64,
    /// Count: timers whose time has come.
    pub expired_timers: u64,
    /// Count: how often a stuck worker was handed over, whether it was noticed or announced by
    /// [`blocking`](crate::blocking).
    pub hand_overs: u64,
    /// Gauge: workers and spares that are stuck.
    pub stuck: usize,
    /// Gauge: spare OS threads, those in reserve included.
    pub spares: usize,
    /// Gauge: green threads that wait in the queue of those that came from outside.
    pub injected: usize,
    /// Gauge: stacks of this process, all its runtimes together, that are out of the pool: those of green threads that are
    /// alive and have started, and those that workers keep at hand.
    pub stacks_in_use: usize,
    /// Gauge: the usable bytes of these stacks. It is address space; memory is what has been touched.
    pub stack_bytes_in_use: usize,
    /// Gauge: stacks of this process that are in the pool.
    pub stacks_pooled: usize,
    /// Gauge: the usable bytes of these.
    pub stack_bytes_pooled: usize,
    /// For how long a green thread ran until it gave its worker back. A sample, of one run in 101.
    pub run_lengths: Histogram,
    /// For how long a green thread waited for a worker, from when it was spawned or woken until it ran. A sample, of
    /// one time in 101 of those in which it was queued behind others, be there any or not. One that was woken by a green
    /// thread and runs as soon as that gives its worker back is not among them, nor one that yields.
    pub delays: Histogram,
    /// The workers, and then the spares that there are or were, whose seats are used again.
    pub workers: Vec<WorkerMetrics>,
}

/// The numbers of one worker or spare: a part of [`Metrics`].
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Whether it is a spare.
    pub is_spare: bool,
    /// Count: how often it has run a green thread.
    pub runs: u64,
    /// Count: how often it has taken green threads from another one.
    pub steals: u64,
    /// Count: how often it has found nothing to do, and was about to sleep.
    pub sleeps: u64,
    /// Gauge: green threads that wait in its queues.
    pub queued: usize,
    /// Gauge: whether it is stuck.
    pub is_stuck: bool,
    /// Count: how long it has run green threads, or taken them from its own queues. It may not have had a processor all
    /// the time.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub busy: Duration,
    /// Count: how long it has looked for work elsewhere, or slept.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub idle: Duration,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uptime,
            spawned,
            ended,
            alive,
            running,
            runnable,
            parked,
            ..
        } = self;
        writeln!(
            f,
            "up for {uptime:.1?}; green threads: {spawned} spawned, {ended} ended, {alive} alive, of which \
             {running} running, {runnable} runnable, {parked} parked"
        )?;
        writeln!(
            f,
            "{} runs, of which {} ended with a wait and {} with a yield; {} wake-ups; {} steals",
            self.runs, self.parks, self.yields, self.wake_ups, self.steals
        )?;
        writeln!(
            f,
            "{} timers armed, {} expired; {} events in {} driver waits",
            self.timers, self.expired_timers, self.events, self.driver_waits
        )?;
        writeln!(
            f,
            "{} hand-overs, {} stuck, {} spares; {} stacks in use, {} pooled",
            self.hand_overs, self.stuck, self.spares, self.stacks_in_use, self.stacks_pooled
        )?;
        writeln!(f, "run lengths: {}", self.run_lengths)?;
        writeln!(f, "scheduling delays: {}", self.delays)?;
        for (number, worker) in self.workers.iter().enumerate() {
            writeln!(f, "{} {number}: {worker}", worker.kind())?;
        }
        Ok(())
    }
}

impl WorkerMetrics {
    fn kind(&self) -> &'static str {
        if self.is_spare { "spare" } else { "worker" }
    }
}

impl fmt::Display for WorkerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stuck = if self.is_stuck { ", stuck" } else { "" };
        write!(
            f,
            "busy for {:.1?}, idle for {:.1?}, {} runs, {} steals, {} queued{stuck}",
            self.busy, self.idle, self.runs, self.steals, self.queued
        )
    }
}
