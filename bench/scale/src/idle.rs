//! Who sleeps, who searches, and who is woken: the steps of `scheduler/src/protocol/idle/sleep.rs`.

use std::cell::Cell;

use crate::clock::Time;
use crate::machine::Access;
use crate::queue::Turns;
use crate::workload::Thread;
use crate::world::{Idle, On, Parker, Shared, World, add};
use crate::{driver, queue, timers};

/// As in the runtime.
const NAPS: u32 = 8;
const SHORTEST_NAP: Time = 64_000;
const LONGEST_NAP: Time = 512_000;
const WATCHES: u32 = 30;
const WATCH_PERIOD: Time = 10_000_000;

/// The naps of a worker that was woken for nothing.
#[derive(Debug)]
struct Naps {
    missed: bool,
    left: u32,
    length: Time,
}

impl Naps {
    fn next(&mut self) -> Option<Time> {
        if std::mem::take(&mut self.missed) {
            if self.left > 0 {
                self.length = LONGEST_NAP.min(2 * self.length);
            }
            self.left = NAPS;
        }
        if self.left == 0 {
            self.length = SHORTEST_NAP;
            return None;
        }
        self.left -= 1;
        Some(self.length)
    }
}

/// Something was queued that others may run; whether it waits alone.
pub(crate) async fn wake_others(world: &World, me: usize, is_lone: bool) {
    if world.workers == 1 && me == 0 {
        return;
    }
    let idle = world.idle_of(me);
    world.pay(me, On::Sleeping, world.costs.fence);
    world
        .touch(me, &idle.searching.line, Access::Read, On::Sleeping)
        .await;
    if idle.searching.value.get() > 0 {
        return;
    }
    world
        .touch(me, &idle.napping.line, Access::Read, On::Sleeping)
        .await;
    if idle.napping.value.get() && is_lone {
        return;
    }
    wake_some(world, me, 1).await;
}

/// Wakes some sleeping worker anywhere, if there is one.
pub(crate) async fn wake_any(world: &World, me: usize) {
    wake_some(world, me, world.idle.len()).await;
}

/// Wakes some sleeping worker, if there is one, of so many nodes from the own one on, if there are words a node; else of all.
async fn wake_some(world: &World, me: usize, nodes: usize) {
    let own = world.index_of_idle(me);
    for step in 0..nodes {
        let index = (own + step) % world.idle.len();
        for (word, asleep) in world.idle[index].asleep.iter().enumerate() {
            world
                .touch(me, &asleep.line, Access::Read, On::Sleeping)
                .await;
            if asleep.value.get() == 0 {
                continue;
            }
            world
                .touch(me, &asleep.line, Access::Write, On::Sleeping)
                .await;
            let seen = asleep.value.get();
            if seen == 0 {
                continue;
            }
            asleep.value.set(seen & (seen - 1));
            let first = index * world.workers_an_idle + word * 64;
            let other = first + seen.trailing_zeros() as usize;
            add_searcher(world, me, other, 1).await;
            unpark(world, me, other).await;
            return;
        }
    }
}

/// Wakes a worker of the driver, if one sleeps.
pub(crate) async fn wake_one_of_driver(world: &World, me: usize, driver: usize) {
    let workers = world.design.workers_a_driver;
    for other in driver * workers..world.workers.min((driver + 1) * workers) {
        let (asleep, bit) = world.place(other);
        world
            .touch(me, &asleep.line, Access::Read, On::Sleeping)
            .await;
        if asleep.value.get() & bit == 0 {
            continue;
        }
        world
            .touch(me, &asleep.line, Access::Write, On::Sleeping)
            .await;
        let seen = asleep.value.get();
        if seen & bit != 0 {
            asleep.value.set(seen & !bit);
            add_searcher(world, me, other, 1).await;
            unpark(world, me, other).await;
            return;
        }
    }
}

/// Counts one more or less of those who search, where `whose` is counted. How many there are then.
async fn add_searcher(world: &World, me: usize, whose: usize, more: isize) -> usize {
    let searching = &world.idle_of(whose).searching;
    world
        .touch(me, &searching.line, Access::Write, On::Sleeping)
        .await;
    let count = searching.value.get().strict_add_signed(more);
    searching.value.set(count);
    count
}

impl World {
    /// Who is from outside counts where the first is.
    fn index_of_idle(&self, worker: usize) -> usize {
        if worker < self.workers {
            worker / self.workers_an_idle
        } else {
            0
        }
    }

    fn idle_of(&self, worker: usize) -> &Idle {
        &self.idle[self.index_of_idle(worker)]
    }

    /// The word that says whether the worker is asleep, and its bit.
    fn place(&self, worker: usize) -> (&Shared<Cell<u64>>, u64) {
        let place = worker % self.workers_an_idle;
        (&self.idle_of(worker).asleep[place / 64], 1 << (place % 64))
    }
}

async fn unpark(world: &World, me: usize, other: usize) {
    let parker = &world.remotes[other].parker;
    world
        .touch(me, &parker.line, Access::Write, On::Sleeping)
        .await;
    let before = parker.value.replace(Parker::Notified);
    add(&world.counts.unparks, 1);
    if before == Parker::Empty {
        return;
    }
    world.pay(me, On::Sleeping, world.costs.unpark);
    let wakes = world.clock.now() + world.wake_up();
    match before {
        Parker::Parked if world.cores[other].sleeps.get().is_some() => {
            world.clock.rouse(other, wakes);
        }
        // It is about to sleep, and sees it.
        Parker::Parked => {}
        _ => {
            let driver = &world.drivers[other / world.design.workers_a_driver];
            // If it does not sleep yet, it sees that it was unparked.
            if driver.sleeper.get() == Some(other) {
                driver.sleeper.set(None);
                world.clock.rouse(other, wakes);
            }
        }
    }
    world.settle(me).await;
}

pub(crate) fn is_in_driver(world: &World, me: usize) -> bool {
    world.remotes[me].parker.value.get() == Parker::InDriver
}

async fn start_search(world: &World, me: usize) -> bool {
    let idle = world.idle_of(me);
    world
        .touch(me, &idle.searching.line, Access::Read, On::Searching)
        .await;
    if world.design.search_share * idle.searching.value.get() >= idle.workers {
        return false;
    }
    add_searcher(world, me, me, 1).await;
    true
}

/// Finds a green thread, or sleeps until there is one.
pub(crate) async fn find_or_sleep(world: &World, me: usize, turns: &mut Turns) -> Thread {
    let idle = world.idle_of(me);
    let mut naps = Naps {
        missed: false,
        left: 0,
        length: SHORTEST_NAP,
    };
    let (mut has_slept, mut quiet) = (false, 0);
    let mut searching = start_search(world, me).await;
    loop {
        timers::expire_all(world, me).await;
        if let Some(thread) = find(world, me, turns, searching, &mut naps).await {
            get_busy(world, me, searching, has_slept).await;
            return thread;
        }
        let nap = match naps.next() {
            Some(nap) if world.workers > 1 && begin_nap(world, me).await => Some(nap),
            _ => None,
        };
        add(&world.counts.sleeps, 1);
        world
            .touch(
                me,
                &world.remotes[me].busy.line,
                Access::Write,
                On::Sleeping,
            )
            .await;
        world.remotes[me].busy.value.set(false);
        let (asleep, bit) = world.place(me);
        world
            .touch(me, &asleep.line, Access::Write, On::Sleeping)
            .await;
        asleep.value.set(asleep.value.get() | bit);
        if searching {
            add_searcher(world, me, me, -1).await;
        }
        world.pay(me, On::Sleeping, world.costs.fence);
        let called = sleep(world, me, nap, &mut quiet).await;
        has_slept = true;
        searching = match (nap, called) {
            (Some(_), _) => {
                if !called {
                    add_searcher(world, me, me, 1).await;
                }
                world
                    .touch(me, &idle.napping.line, Access::Write, On::Sleeping)
                    .await;
                idle.napping.value.set(false);
                true
            }
            (None, true) => true,
            (None, false) => start_search(world, me).await,
        };
        naps.missed |= called;
    }
}

async fn begin_nap(world: &World, me: usize) -> bool {
    let napping = &world.idle_of(me).napping;
    world
        .touch(me, &napping.line, Access::Write, On::Sleeping)
        .await;
    !napping.value.replace(true)
}

async fn find(
    world: &World,
    me: usize,
    turns: &mut Turns,
    searches: bool,
    naps: &mut Naps,
) -> Option<Thread> {
    if let Some(thread) = queue::pop(world, me, turns).await {
        return Some(thread);
    }
    if let Some(thread) = queue::take_injected(world, me).await {
        return Some(thread);
    }
    if searches {
        if let Some(thread) = queue::steal(world, me, 2).await {
            return Some(thread);
        }
        let (was_lone, thread) = queue::steal_lone(world, me).await;
        naps.missed |= was_lone;
        if thread.is_some() {
            return thread;
        }
        driver::visit_driver(world, me).await;
        if let Some(thread) = queue::pop(world, me, turns).await {
            return Some(thread);
        }
    }
    None
}

/// Leaves to others what it leaves behind: to search, and if it has slept, to watch.
async fn get_busy(world: &World, me: usize, searching: bool, has_slept: bool) {
    if searching && add_searcher(world, me, me, -1).await == 0 {
        world.pay(me, On::Sleeping, world.costs.fence);
        if sees_work(world, me, true).await {
            wake_any(world, me).await;
        }
    }
    if has_slept && world.workers > 1 {
        let watching = &world.watching;
        world
            .touch(me, &watching.line, Access::Read, On::Sleeping)
            .await;
        if !watching.value.get() {
            wake_any(world, me).await;
        }
    }
}

async fn sees_work(world: &World, me: usize, lone: bool) -> bool {
    world
        .scan(
            me,
            [&world.injector_head, &world.injector_tail].into_iter(),
            1.0,
            On::Searching,
        )
        .await;
    !world.injector.borrow().is_empty() || queue::sees_queued(world, me, lone).await
}

/// Takes the own bit back. `false` if somebody has claimed the worker.
async fn retract_sleep(world: &World, me: usize) -> bool {
    let (asleep, bit) = world.place(me);
    world
        .touch(me, &asleep.line, Access::Read, On::Sleeping)
        .await;
    if asleep.value.get() & bit == 0 {
        return false;
    }
    world
        .touch(me, &asleep.line, Access::Write, On::Sleeping)
        .await;
    let seen = asleep.value.get();
    asleep.value.set(seen & !bit);
    seen & bit != 0
}

/// Sleeps, having announced it, unless there is work after all. Whether it counts as searching.
async fn sleep(world: &World, me: usize, nap: Option<Time>, quiet: &mut u32) -> bool {
    let idle = world.idle_of(me);
    world
        .touch(me, &idle.napping.line, Access::Read, On::Sleeping)
        .await;
    if sees_work(world, me, !idle.napping.value.get()).await {
        if retract_sleep(world, me).await {
            add_searcher(world, me, me, 1).await;
        } else {
            absorb(world, me).await;
        }
        return true;
    }
    let watches = begin_watch(world, me, quiet).await;
    let until = sleeps_until(world, me, nap, watches).await;
    let own = me / world.design.workers_a_driver;
    let has_driver = !world.work.connections.is_empty();
    let unparked = if has_driver && driver::lead(world, me, own).await {
        if enter(world, me, Parker::InDriver).await {
            driver::wait_in_driver(world, me, own, until).await;
            leave(world, me).await
        } else {
            world.drivers[own].leader.value.set(false);
            true
        }
    } else {
        park(world, me, until).await
    };
    if watches {
        world
            .touch(me, &world.watching.line, Access::Write, On::Sleeping)
            .await;
        world.watching.value.set(false);
    }
    if unparked {
        return true;
    }
    let called = !retract_sleep(world, me).await;
    if called {
        absorb(world, me).await;
    }
    called
}

/// Whether it must watch: others are busy, or were a short while ago, and nobody watches.
async fn begin_watch(world: &World, me: usize, quiet: &mut u32) -> bool {
    let watching = &world.watching;
    world
        .touch(me, &watching.line, Access::Read, On::Sleeping)
        .await;
    if world.workers == 1 || watching.value.get() {
        return false;
    }
    let busy = world
        .remotes
        .iter()
        .position(|remote| remote.busy.value.get());
    let seen = busy.map_or(world.workers, |busy| busy + 1);
    let lines = world.remotes[..seen].iter().map(|remote| &remote.busy.line);
    world
        .scan(me, lines, world.assumed.overlap, On::Sleeping)
        .await;
    *quiet = if busy.is_some() { 0 } else { *quiet + 1 };
    if *quiet > WATCHES {
        return false;
    }
    world
        .touch(me, &watching.line, Access::Write, On::Sleeping)
        .await;
    !watching.value.replace(true)
}

async fn sleeps_until(world: &World, me: usize, nap: Option<Time>, watches: bool) -> Option<Time> {
    let now = world.clock.now();
    let own = [world.remotes[me].next_timer(), nap.map(|nap| now + nap)];
    let until = own.into_iter().flatten().min();
    if !watches {
        return until;
    }
    let lines = world
        .remotes
        .iter()
        .flat_map(|remote| [&remote.busy.line, &remote.timers.line]);
    world
        .scan(me, lines, world.assumed.overlap, On::Sleeping)
        .await;
    let busy = world
        .remotes
        .iter()
        .filter(|remote| remote.busy.value.get());
    let timers = busy.filter_map(|remote| remote.next_timer());
    until
        .into_iter()
        .chain(timers)
        .chain([now + WATCH_PERIOD])
        .min()
}

async fn enter(world: &World, me: usize, how: Parker) -> bool {
    let parker = &world.remotes[me].parker;
    world
        .touch(me, &parker.line, Access::Write, On::Sleeping)
        .await;
    let enters = parker.value.get() == Parker::Empty;
    parker.value.set(if enters { how } else { Parker::Empty });
    enters
}

async fn leave(world: &World, me: usize) -> bool {
    let parker = &world.remotes[me].parker;
    world
        .touch(me, &parker.line, Access::Write, On::Sleeping)
        .await;
    parker.value.replace(Parker::Empty) == Parker::Notified
}

async fn park(world: &World, me: usize, until: Option<Time>) -> bool {
    if !enter(world, me, Parker::Parked).await {
        return true;
    }
    world.pay(me, On::Sleeping, world.costs.park);
    world.settle(me).await;
    if world.remotes[me].parker.value.get() == Parker::Parked {
        world.sleep(me, until).await;
    }
    leave(world, me).await
}

/// Takes the unpark of a worker that was claimed but is awake.
async fn absorb(world: &World, me: usize) {
    park(world, me, None).await;
}
