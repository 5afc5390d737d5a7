//! A worker: it runs green threads, looks for some, and sleeps. Its steps are those of the runtime, in their order
//! (`scheduler/src/run/worker/`, `scheduler/src/protocol/idle/`); what only seldom happens is left out: spares, threads that are stuck or
//! bound to a worker, looks for deadlocks, dead pages that are given back.

use crate::driver::look_into_driver;
use crate::idle;
use crate::machine::Access;
use crate::queue::{self, Turns, pop, take_injected};
use crate::timers::expire;
use crate::workload::{self, Is, Thread};
use crate::world::{On, World};

/// As in the runtime.
const LOOK_AROUND: u32 = 61;

/// What a worker does until the end.
pub(crate) async fn work(world: &World, me: usize) {
    let (mut runs, turns) = (0, &mut Turns::default());
    loop {
        let thread = match next(world, me, &mut runs, turns).await {
            Some(thread) => thread,
            None => idle::find_or_sleep(world, me, turns).await,
        };
        world.pay(me, On::Running, world.costs.switch);
        if thread.home != me {
            let lines = world.assumed.lines_a_move;
            world.follow(me, world.cores[thread.home].place, lines, On::Moving);
        }
        world
            .touch(me, &world.remotes[me].busy.line, Access::Write, On::Running)
            .await;
        world.remotes[me].busy.value.set(true);
        workload::run(world, me, thread).await;
    }
}

/// The next green thread that it can have without looking at the other workers.
async fn next(world: &World, me: usize, runs: &mut u32, turns: &mut Turns) -> Option<Thread> {
    *runs += 1;
    if *runs >= LOOK_AROUND {
        *runs = 0;
        expire(world, me, me).await;
        look_into_driver(world, me, me / world.design.workers_a_driver).await;
        // Who pushes looks only at the own node.
        if world.idle.len() > 1 && world.remotes[me].stealable() > 1 {
            idle::wake_any(world, me).await;
        }
        if let Some(injected) = take_injected(world, me).await {
            return Some(injected);
        }
    }
    match pop(world, me, turns).await {
        None => take_injected(world, me).await,
        thread => thread,
    }
}

pub(crate) async fn spawn(world: &World, me: usize, is: Is) {
    world.pay(me, On::Running, world.costs.spawn);
    count_reference(world, me).await;
    queue::push(world, me, Thread { is, home: me }, true).await;
}

/// A green thread begins or ends, and with it a reference to the runtime.
pub(crate) async fn count_reference(world: &World, me: usize) {
    if world.design.counts_references {
        world
            .touch(me, &world.references, Access::Write, On::Running)
            .await;
    }
}
