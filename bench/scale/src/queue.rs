//! Where runnable green threads are, as in `scheduler/src/run/queue.rs`: a slot, a queue of those that are fresh and one of those that were
//! woken for each worker, and the injector.

use crate::design::{Looks, NODE};
use crate::idle;
use crate::machine::{Access, Line};
use crate::workload::Thread;
use crate::world::{On, Remote, World, add};

/// As in the runtime.
const LIFO_LIMIT: u32 = 3;
const TURN: u32 = 8;
const STEAL_LIMIT: usize = 256;
const INJECTED_LIMIT: usize = 32;
const LONE_LOOKS: u32 = 4;
/// What 32 pauses of the processor take.
const LOOK_PAUSES: f64 = 1_400.0;
/// A thief looks at so many queues and then takes what it has seen.
const LOOKS_AT_A_TIME: usize = 8;
/// So many pointers are on a line.
const POINTERS_A_LINE: f64 = 8.0;

/// Whose turn it is of the queues of a worker.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lifo_runs: u32,
    turn: u32,
}

/// The next green thread in the queues of the worker.
pub(crate) async fn pop(world: &World, me: usize, turns: &mut Turns) -> Option<Thread> {
    let remote = &world.remotes[me];
    if turns.lifo_runs >= LIFO_LIMIT && remote.stealable() > 0 {
        turns.lifo_runs = 0;
        if let Some(overdue) = remote.slot.value.take() {
            push(world, me, overdue, false).await;
        }
    }
    if remote.slot.value.get().is_some() {
        world
            .touch(me, &remote.slot.line, Access::Write, On::Running)
            .await;
        if let Some(thread) = remote.slot.value.take() {
            turns.lifo_runs += 1;
            return Some(thread);
        }
    }
    turns.lifo_runs = 0;
    turns.turn = (turns.turn + 1) % (2 * TURN);
    let [has_fresh, has_woken] =
        [&remote.fresh, &remote.woken].map(|queue| !queue.value.borrow().is_empty());
    let is_fresh = has_fresh && (turns.turn < TURN || !has_woken);
    if !is_fresh && !has_woken {
        return None;
    }
    let queue = if is_fresh {
        &remote.fresh
    } else {
        &remote.woken
    };
    world
        .touch(me, &queue.line, Access::Write, On::Running)
        .await;
    // A thief may have been first.
    let mut queue = queue.value.borrow_mut();
    if is_fresh {
        queue.pop_back()
    } else {
        queue.pop_front()
    }
}

/// Queues a green thread that is spawned, or else woken, and sees to it that somebody runs it.
pub(crate) async fn push(world: &World, me: usize, thread: Thread, is_fresh: bool) {
    let remote = &world.remotes[me];
    let queue = if is_fresh {
        &remote.fresh
    } else {
        &remote.woken
    };
    world.pay(me, On::Running, world.costs.push_pop);
    world
        .touch(me, &queue.line, Access::Write, On::Running)
        .await;
    queue.value.borrow_mut().push_back(thread);
    tell_node(world, me).await;
    idle::wake_others(world, me, remote.stealable() < 2).await;
}

/// Queues a green thread that runs next.
pub(crate) async fn push_next(world: &World, me: usize, thread: Thread) {
    let slot = &world.remotes[me].slot;
    world
        .touch(me, &slot.line, Access::Write, On::Running)
        .await;
    if let Some(displaced) = slot.value.replace(Some(thread)) {
        push(world, me, displaced, false).await;
    }
}

/// Queues a green thread from outside of the workers.
pub(crate) async fn inject(world: &World, me: usize, thread: Thread) {
    world.pay(me, On::Running, world.costs.inject);
    world
        .touch(me, &world.injector_tail, Access::Write, On::Running)
        .await;
    world.settle(me).await;
    world.injector.borrow_mut().push_back(thread);
    idle::wake_others(world, me, false).await;
}

/// Takes a batch from the injector.
pub(crate) async fn take_injected(world: &World, me: usize) -> Option<Thread> {
    world
        .scan(
            me,
            [&world.injector_head, &world.injector_tail].into_iter(),
            1.0,
            On::Searching,
        )
        .await;
    if world.injector.borrow().is_empty() {
        return None;
    }
    world
        .touch(me, &world.injector_head, Access::Write, On::Searching)
        .await;
    let (first, more) = {
        let mut injector = world.injector.borrow_mut();
        let batch = injector.len().div_ceil(2).min(INJECTED_LIMIT);
        let first = injector.pop_front()?;
        (first, injector.drain(..batch - 1).collect::<Vec<_>>())
    };
    let taken = more.len() + 1;
    world.pay(me, On::Searching, world.costs.take_injected);
    world.follow(
        me,
        world.cores[first.home].place,
        taken as f64 / POINTERS_A_LINE,
        On::Searching,
    );
    let queue = &world.remotes[me].woken;
    world
        .touch(me, &queue.line, Access::Write, On::Searching)
        .await;
    world.settle(me).await;
    if !more.is_empty() {
        queue.value.borrow_mut().extend(more);
        tell_node(world, me).await;
        idle::wake_others(world, me, world.remotes[me].stealable() < 2).await;
    }
    Some(first)
}

/// Where a node's words are told of, says that the worker has something to steal.
async fn tell_node(world: &World, me: usize) {
    if world.design.looks == Looks::AtAll {
        return;
    }
    let (word, bit) = (&world.full[me / NODE], 1 << (me % NODE));
    world.touch(me, &word.line, Access::Read, On::Running).await;
    if word.value.get() & bit == 0 {
        world
            .touch(me, &word.line, Access::Write, On::Running)
            .await;
        word.value.set(word.value.get() | bit);
    }
}

impl World {
    /// The nodes, beginning with that of the worker.
    fn nodes_from(&self, worker: usize) -> impl Iterator<Item = usize> {
        let (own, nodes) = (worker / NODE, self.full.len());
        (0..nodes).map(move |step| (own + step) % nodes)
    }
}

/// Steals from some worker that has so many to steal, or more.
pub(crate) async fn steal(world: &World, me: usize, least: usize) -> Option<Thread> {
    let start = world.random.borrow_mut().usize(..world.workers);
    match world.design.looks {
        Looks::AtAll => {
            let order: Vec<_> = (start..world.workers).chain(0..start).collect();
            for victims in order.chunks(LOOKS_AT_A_TIME) {
                let stolen = steal_from_some(world, me, victims, least).await;
                if stolen.is_some() {
                    return stolen;
                }
            }
        }
        Looks::AtNodes => {
            for node in world.nodes_from(me) {
                let word = &world.full[node];
                world
                    .touch(me, &word.line, Access::Read, On::Searching)
                    .await;
                let full = word.value.get();
                let members = (0..NODE).map(|step| (start + step) % NODE);
                let victims: Vec<_> = members.filter(|member| full & (1 << member) != 0).collect();
                for member in victims {
                    let victim = node * NODE + member;
                    let stolen = steal_from_some(world, me, &[victim], least).await;
                    if stolen.is_some() {
                        return stolen;
                    }
                    if world.remotes[victim].stealable() == 0 {
                        world
                            .touch(me, &word.line, Access::Write, On::Searching)
                            .await;
                        // It says so anew when it pushes.
                        let empty = world.remotes[victim].stealable() == 0;
                        let bit = u64::from(empty) << member;
                        word.value.set(word.value.get() & !bit);
                    }
                }
            }
        }
    }
    None
}

async fn steal_from_some(
    world: &World,
    me: usize,
    victims: &[usize],
    least: usize,
) -> Option<Thread> {
    let lines = victims
        .iter()
        .flat_map(|victim| queues(&world.remotes[*victim]));
    // Between the ends of each queue there is a fence.
    world.scan(me, lines, 1.0, On::Searching).await;
    for &victim in victims {
        if victim != me && world.remotes[victim].stealable() >= least {
            let stolen = steal_from(world, me, victim).await;
            if stolen.is_some() {
                return stolen;
            }
        }
    }
    None
}

fn queues(remote: &Remote) -> [&Line; 2] {
    [&remote.fresh.line, &remote.woken.line]
}

/// Steals a share of another worker's queues.
async fn steal_from(world: &World, me: usize, victim: usize) -> Option<Thread> {
    let from = &world.remotes[victim];
    let queue = match from.fresh.value.borrow().is_empty() {
        true => &from.woken,
        false => &from.fresh,
    };
    world.pay(me, On::Searching, world.costs.steal);
    world
        .touch(me, &queue.line, Access::Write, On::Searching)
        .await;
    world.settle(me).await;
    let (first, more) = {
        let mut queue = queue.value.borrow_mut();
        let share = queue
            .len()
            .div_ceil(world.design.steal_share)
            .min(STEAL_LIMIT);
        let first = queue.pop_front()?;
        (first, queue.drain(..share - 1).collect::<Vec<_>>())
    };
    let taken = more.len() + 1;
    add(&world.counts.steals, 1);
    add(&world.counts.stolen, taken as u64);
    world.pay(me, On::Searching, world.costs.steal_each * taken as f64);
    world.follow(
        me,
        world.cores[victim].place,
        taken as f64 / POINTERS_A_LINE,
        On::Searching,
    );
    world.settle(me).await;
    if !more.is_empty() {
        let is_fresh = std::ptr::eq(queue, &from.fresh);
        let remote = &world.remotes[me];
        let own = if is_fresh {
            &remote.fresh
        } else {
            &remote.woken
        };
        world
            .touch(me, &own.line, Access::Write, On::Searching)
            .await;
        own.value.borrow_mut().extend(more);
        tell_node(world, me).await;
    }
    Some(first)
}

/// Steals what waits alone for its worker, if it still does after a moment. Whether there was any, and what was stolen.
pub(crate) async fn steal_lone(world: &World, me: usize) -> (bool, Option<Thread>) {
    for look in 0..LONE_LOOKS {
        if !sees_queued(world, me, true).await {
            return (look > 0, None);
        }
        world.pay(me, On::Searching, LOOK_PAUSES);
        world.settle(me).await;
        if let Some(thread) = steal(world, me, 2).await {
            return (true, Some(thread));
        }
    }
    (true, steal(world, me, 1).await)
}

/// Whether there is work in the queues that any worker may do; what waits alone counts only if `lone` does.
pub(crate) async fn sees_queued(world: &World, me: usize, lone: bool) -> bool {
    let least = if lone { 1 } else { 2 };
    match world.design.looks {
        Looks::AtAll => {
            for remotes in world.remotes.chunks(LOOKS_AT_A_TIME) {
                let lines = remotes.iter().flat_map(queues);
                world.scan(me, lines, 1.0, On::Searching).await;
                if remotes.iter().any(|remote| remote.stealable() >= least) {
                    return true;
                }
            }
            false
        }
        Looks::AtNodes => {
            world
                .scan(
                    me,
                    world.full.iter().map(|word| &word.line),
                    world.assumed.overlap,
                    On::Searching,
                )
                .await;
            let is_full =
                |index: usize| world.full[index / NODE].value.get() & (1 << (index % NODE)) != 0;
            let mut all = world.remotes.iter().enumerate();
            all.any(|(index, remote)| is_full(index) && remote.stealable() >= least)
        }
    }
}
