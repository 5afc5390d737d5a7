//! A run of the simulation, and what came of it.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use crate::clock::Time;
use crate::costs::{Assumed, Costs};
use crate::design::Design;
use crate::worker;
use crate::workload::{self, Kind, Work};
use crate::world::{Counts, SPENT_ON, World};

/// What is to be simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) workers: usize,
    pub(crate) design: Design,
    pub(crate) costs: Costs,
    pub(crate) assumed: Assumed,
    /// Where the work has no end: until when it runs, and since when it counts.
    pub(crate) window: Option<(Time, Time)>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// Pieces of work that are done, and in how many nanoseconds.
    pub(crate) done: u64,
    pub(crate) ns: Time,
    /// Of all cores: awake.
    pub(crate) cpu_ns: Time,
    pub(crate) p50_ns: Option<Time>,
    pub(crate) p99_ns: Option<Time>,
    /// By what it is spent on, the share of the time of all cores. The rest they sleep.
    pub(crate) shares: [f64; SPENT_ON.len()],
    /// The share of the time in which somebody is in the driver and awake, the largest of all drivers.
    pub(crate) led: f64,
    pub(crate) counts: Counts,
    /// How much of each core's time is neither spent nor slept, or is so twice; nothing, if it ended.
    pub(crate) unaccounted: Time,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 * 1e9 / self.ns as f64
    }

    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu_ns as f64 / self.done as f64
    }
}

pub(crate) fn run(plan: &Plan) -> Outcome {
    let (from, end) = plan.window.unwrap_or((0, Time::MAX));
    let work = Work::new(plan.kind, from);
    let world = World::new(plan.workers, plan.design, plan.costs, plan.assumed, work);
    workload::begin(&world);
    let workers = (0..plan.workers).map(|me| boxed(worker::work(&world, me)));
    let outside = (plan.workers..world.cores.len()).map(|me| boxed(workload::outside(&world, me)));
    let threads = workers.chain(outside).collect();
    world
        .clock
        .run(end, threads, |connection| world.arrive(connection));
    outcome(&world, plan)
}

fn boxed<'a>(thread: impl Future<Output = ()> + 'a) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(thread)
}

fn outcome(world: &World, plan: &Plan) -> Outcome {
    let (work, now) = (&world.work, world.clock.now());
    let ns = match plan.window {
        Some((from, end)) => end - from,
        None => work.done_at.get(),
    };
    let mut latencies = work.latencies.borrow_mut();
    latencies.sort_unstable();
    let quantile = |of: f64| {
        latencies
            .get((latencies.len() as f64 * of) as usize)
            .copied()
    };
    let workers = &world.cores[..world.workers];
    let spent: [Time; SPENT_ON.len()] =
        std::array::from_fn(|on| workers.iter().map(|core| core.spent[on].get()).sum());
    // Of an endless run, that is from its beginning on.
    let all = match plan.window {
        Some((_, end)) => end,
        None => ns,
    } as f64;
    let unaccounted = workers.iter().map(|core| {
        let slept = core.slept.get() + core.sleeps.get().map_or(0, |since| now - since);
        let passed = core.spent.iter().map(|spent| spent.get()).sum::<Time>() - core.debt.get();
        now.abs_diff(slept + passed)
    });
    let counted = if plan.window.is_some() {
        ns as f64 / all
    } else {
        1.0
    };
    Outcome {
        done: work.done.get(),
        ns,
        cpu_ns: (spent.iter().sum::<Time>() as f64 * counted) as Time,
        p50_ns: quantile(0.5),
        p99_ns: quantile(0.99),
        shares: spent.map(|spent| spent as f64 / all / plan.workers as f64),
        led: world
            .drivers
            .iter()
            .map(|driver| driver.led.get() as f64 / all)
            .fold(0.0, f64::max),
        counts: world.counts.clone(),
        unaccounted: unaccounted.max().unwrap_or(0),
    }
}
