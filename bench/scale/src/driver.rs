//! The drivers: who waits in them, and what comes of it, as in `scheduler/src/run/worker/search.rs` and `io/src/driver.rs`.

use crate::clock::Time;
use crate::idle;
use crate::machine::Access;
use crate::queue::push;
use crate::workload::{Is, Thread};
use crate::world::{On, World, add};

/// As in the runtime.
const BATCH: usize = 1024;

/// Looks into some other driver, if there are several: its workers may all be busy. If they have fallen asleep
/// meanwhile, and not in the driver since somebody was there, one of them leads.
pub(crate) async fn visit_driver(world: &World, me: usize) {
    if world.drivers.len() == 1 || world.work.connections.is_empty() {
        return;
    }
    let driver = world.random.borrow_mut().usize(..world.drivers.len());
    if look_into_driver(world, me, driver).await {
        world.pay(me, On::Sleeping, world.costs.fence);
        let leader = &world.drivers[driver].leader;
        world
            .touch(me, &leader.line, Access::Read, On::Sleeping)
            .await;
        if !leader.value.get() {
            idle::wake_one_of_driver(world, me, driver).await;
        }
    }
}

/// Takes what is ready, unless another worker is in the driver.
pub(crate) async fn look_into_driver(world: &World, me: usize, driver: usize) -> bool {
    let leads = lead(world, me, driver).await;
    if leads {
        wait_in_driver(world, me, driver, Some(0)).await;
    }
    leads
}

/// Enters the driver, if nobody is there.
pub(crate) async fn lead(world: &World, me: usize, driver: usize) -> bool {
    let leader = &world.drivers[driver].leader;
    world
        .touch(me, &leader.line, Access::Read, On::Events)
        .await;
    if leader.value.get() {
        return false;
    }
    world
        .touch(me, &leader.line, Access::Write, On::Events)
        .await;
    !leader.value.replace(true)
}

/// Waits in the driver until then, for events or until it is roused, leaves it, and lets run what is ready.
pub(crate) async fn wait_in_driver(world: &World, me: usize, index: usize, until: Option<Time>) {
    let (driver, costs) = (&world.drivers[index], &world.costs);
    add(&world.counts.waits, 1);
    let since = world.clock.now();
    world.pay(me, On::Events, costs.epoll_wait);
    world
        .touch(me, &driver.ready.line, Access::Write, On::Events)
        .await;
    let mut slept = 0;
    let may_sleep = until != Some(0) && driver.ready.value.borrow().is_empty();
    if may_sleep && idle::is_in_driver(world, me) {
        world.pay(me, On::Sleeping, costs.park);
        world.settle(me).await;
        if driver.ready.value.borrow().is_empty() && idle::is_in_driver(world, me) {
            driver.sleeper.set(Some(me));
            let begun = world.clock.now();
            world.sleep(me, until).await;
            slept = world.clock.now() - begun;
            driver.sleeper.set(None);
        }
        world
            .touch(me, &driver.ready.line, Access::Write, On::Events)
            .await;
    }
    world.settle(me).await;
    let ready: Vec<_> = {
        let mut ready = driver.ready.value.borrow_mut();
        let batch = ready.len().min(BATCH);
        ready.drain(..batch).collect()
    };
    // In the system, and in the driver, which looks the registration up and takes the ticket.
    let each = costs.epoll_event + costs.locked;
    for connection in &ready {
        let home = world.work.connections[*connection].home.get();
        world.pay(me, On::Events, each);
        world.follow(
            me,
            world.cores[home].place,
            world.assumed.lines_an_event,
            On::Events,
        );
    }
    world.settle(me).await;
    world
        .touch(me, &driver.leader.line, Access::Write, On::Events)
        .await;
    world.settle(me).await;
    driver.leader.value.set(false);
    add(&driver.led, world.clock.now() - since - slept);
    add(&world.counts.events, ready.len() as u64);
    for connection in ready {
        world.pay(me, On::Events, costs.fire);
        let home = world.work.connections[connection].home.get();
        push(
            world,
            me,
            Thread {
                is: Is::Connection(connection),
                home,
            },
            false,
        )
        .await;
    }
}
