//! Waits whose times come: of each worker its own, which others end too.

use crate::clock::Time;
use crate::design::{Looks, NODE};
use crate::machine::Access;
use crate::queue::push;
use crate::workload::{Is, Thread};
use crate::world::{On, Remote, World};

/// Where there are words a node, says that its next timer is another one.
pub(crate) async fn tell_node_of_timer(world: &World, me: usize) {
    let (mine, now) = (world.remotes[me].next_timer(), world.clock.now());
    if world.design.looks == Looks::AtNodes && mine.is_some_and(|due| due > now) {
        let mut node = world.node_of(me);
        if node.all(|other| other.next_timer() >= mine || other.next_timer().is_none()) {
            world
                .touch(
                    me,
                    &world.node_timers[me / NODE],
                    Access::Write,
                    On::Running,
                )
                .await;
        }
    }
}

impl World {
    fn node_of(&self, worker: usize) -> impl Iterator<Item = &Remote> {
        let begin = worker / NODE * NODE;
        self.remotes[begin..self.workers.min(begin + NODE)].iter()
    }
}

/// Ends the waits whose times have come, of one worker.
pub(crate) async fn expire(world: &World, me: usize, whose: usize) {
    let timers = &world.remotes[whose].timers;
    world
        .scan(me, std::iter::once(&timers.line), 1.0, On::Running)
        .await;
    let is_due = |time: Time| time <= world.clock.now();
    if !world.remotes[whose].next_timer().is_some_and(is_due) {
        return;
    }
    world
        .touch(me, &timers.line, Access::Write, On::Running)
        .await;
    world.settle(me).await;
    let due = {
        let mut timers = timers.value.borrow_mut();
        let later = timers.split_off(&(world.clock.now() + 1, 0));
        std::mem::replace(&mut *timers, later)
    };
    for (_, sleeper) in due {
        world.pay(me, On::Running, world.costs.timer + world.costs.fire);
        let home = world.work.sleepers[sleeper].home.get();
        world.follow(me, world.cores[home].place, 1.0, On::Moving);
        push(
            world,
            me,
            Thread {
                is: Is::Sleeper(sleeper),
                home,
            },
            false,
        )
        .await;
    }
    tell_node_of_timer(world, me).await;
}

/// Ends the waits whose times have come, of all workers.
pub(crate) async fn expire_all(world: &World, me: usize) {
    match world.design.looks {
        Looks::AtAll => {
            let lines = world.remotes.iter().map(|remote| &remote.timers.line);
            world
                .scan(me, lines, world.assumed.overlap, On::Searching)
                .await;
        }
        Looks::AtNodes => {
            world
                .scan(
                    me,
                    world.node_timers.iter(),
                    world.assumed.overlap,
                    On::Searching,
                )
                .await
        }
    }
    for whose in 0..world.workers {
        if world.remotes[whose]
            .next_timer()
            .is_some_and(|due| due <= world.clock.now())
        {
            expire(world, me, whose).await;
        }
    }
}
