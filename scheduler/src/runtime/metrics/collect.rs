//! How metrics are taken.
//!
//! What follows from something is read before it: see [`counts`](crate::run::counts). So a difference of two
//! counts is never negative. Each number is read of all who are there by then: a spare that has started meanwhile
//! may have done what others have gone on with.

use std::sync::Arc;

use super::{Histogram, Metrics, WorkerMetrics};
use crate::run::counts::Counts;
use crate::run::shared::{Remote, Shared};
use crate::run::ticks;
use crate::stack;

impl Metrics {
    pub(in crate::runtime) fn of(runtime: &Shared) -> Self {
        if !runtime.process.is_current() {
            // Its locks may be held for ever, by threads that are not there.
            return Self::default();
        }
        let everybody = || everybody(runtime);
        let sum = |number: fn(&Counts) -> u64| -> u64 {
            everybody().map(|worker| number(&worker.counts)).sum()
        };
        let outside = &runtime.outside;

        let ended = sum(|counts| counts.ends.get());
        let wake_ups = sum(|counts| counts.wake_ups.get());
        let woken_outside = outside.wake_ups();
        let parks = sum(|counts| counts.waits.get());
        let yields = sum(|counts| counts.yields.get());
        let spawned = sum(|counts| counts.spawns.get());
        let spawned_outside = outside.spawns();

        let wake_ups = wake_ups + woken_outside;
        let spawned = spawned + spawned_outside;
        let shows = |worker: &&Arc<Remote>| worker.running.thread.shows_any();
        let running = everybody().filter(shows).count();
        let alive = as_gauge(spawned - ended);
        let parked = as_gauge(parks - wake_ups).min(alive);
        let runnable = (alive - parked).saturating_sub(running);

        let timers = runtime.timers.iter().map(|shard| shard.counts());
        let (timers, armed) = timers.fold((0, 0), |(timers, armed), (now, ever)| {
            (timers + now, armed + ever)
        });
        let (in_use, pooled) = stack::stock();
        let times = |which: fn(&Counts) -> &_| {
            Histogram::of(everybody().map(|worker| which(&worker.counts)))
        };
        let is_spare = |number| number >= runtime.workers.len();
        Self {
            uptime: runtime.start.elapsed(),
            spawned,
            ended,
            alive,
            running: alive - parked - runnable,
            runnable,
            parked,
            runs: ended + parks + yields,
            parks,
            yields,
            wake_ups,
            from_outside: spawned_outside + woken_outside,
            steals: sum(|counts| counts.steals.get()),
            sleeps: sum(|counts| counts.sleeps.get()),
            driver_waits: sum(|counts| counts.driver_waits.get()),
            events: sum(|counts| counts.events.get()),
            timers,
            armed_timers: armed,
            expired_timers: sum(|counts| counts.expired_timers.get()),
            hand_overs: runtime.roster.hand_overs(),
            stuck: runtime.roster.stuck(),
            spares: runtime.spares.len(),
            injected: runtime.injector.len(),
            stacks_in_use: in_use.stacks,
            stack_bytes_in_use: in_use.bytes,
            stacks_pooled: pooled.stacks,
            stack_bytes_pooled: pooled.bytes,
            run_lengths: times(|counts| &counts.run_lengths),
            delays: times(|counts| &counts.delays),
            workers: everybody()
                .enumerate()
                .map(|(number, worker)| WorkerMetrics::of(worker, is_spare(number)))
                .collect(),
        }
    }
}

/// The workers, and the spares that there are or were.
fn everybody(runtime: &Shared) -> impl Iterator<Item = &Arc<Remote>> {
    runtime.workers.iter().chain(runtime.spares.ever())
}

fn as_gauge(difference: u64) -> usize {
    usize::try_from(difference).unwrap_or(usize::MAX)
}

impl WorkerMetrics {
    fn of(worker: &Remote, is_spare: bool) -> Self {
        let counts = &worker.counts;
        let (busy, idle) = counts.shift.read();
        Self {
            is_spare,
            runs: counts.runs(),
            steals: counts.steals.get(),
            sleeps: counts.sleeps.get(),
            queued: worker.stealable.queued() + worker.inbox.len(),
            is_stuck: worker.pace.is_stuck(),
            busy: ticks::time(busy),
            idle: ticks::time(idle),
        }
    }
}
