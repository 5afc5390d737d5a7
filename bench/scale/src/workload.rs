//! What the green threads do.

use std::cell::{Cell, RefCell};

use serde::Serialize;

use crate::clock::Time;
use crate::machine::Access;
use crate::world::{On, World, add};
use crate::{queue, timers, worker};

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A tree: each thread spawns ten and joins them, but for the leaves on this level, the root being on level 0.
    Skynet { levels: u32 },
    /// Green threads that spawn tasks of so many nanoseconds, and do nothing else.
    Producers {
        producers: usize,
        tasks: usize,
        ns: f64,
    },
    /// The same from OS threads outside, through the injector.
    Injected {
        producers: usize,
        tasks: usize,
        ns: f64,
    },
    /// Connections, whose clients send the next request some time after the answer, as often as it says. A request takes so
    /// many nanoseconds beside its system calls.
    Echo {
        connections: usize,
        requests: u32,
        think_ns: f64,
        ns: f64,
    },
    /// Connections of two green threads each, which send a message to and fro as often as it says.
    Pairs { pairs: usize, messages: u32 },
    /// Threads that sleep a random time up to this, and then work for so many nanoseconds, as often as it says.
    Sleepers {
        threads: usize,
        naps: u32,
        most_ns: f64,
        ns: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Node(usize),
    Producer,
    Task,
    Connection(usize),
    Sleeper(usize),
}

/// A green thread that may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) is: Is,
    /// Where it ran last, or was spawned.
    pub(crate) home: usize,
}

/// A thread of the tree.
#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    level: u32,
    /// Children that have not ended.
    pending: u32,
    has_begun: bool,
    /// It waits for its children.
    waits: bool,
    home: usize,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) driver: Cell<usize>,
    pub(crate) home: Cell<usize>,
    pub(crate) arrived: Cell<Time>,
    /// The core on which its request came.
    pub(crate) came_from: Cell<usize>,
    left: Cell<u32>,
}

#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) home: Cell<usize>,
    due: Cell<Time>,
    left: Cell<u32>,
}

/// The work of a run, and how far it is.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    nodes: RefCell<Vec<Node>>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) sleepers: Vec<Sleeper>,
    /// Nodes, tasks, requests, messages, naps.
    pub(crate) done: Cell<u64>,
    pub(crate) done_at: Cell<Time>,
    /// Of requests, from their arrival to their answer; of naps, how late their end was.
    pub(crate) latencies: RefCell<Vec<Time>>,
    /// Nothing counts before.
    pub(crate) counts_from: Time,
}

impl Work {
    pub(crate) fn new(kind: Kind, counts_from: Time) -> Self {
        let (connections, messages) = match kind {
            Kind::Echo {
                connections,
                requests,
                ..
            } => (connections, requests),
            Kind::Pairs { pairs, messages } => (2 * pairs, messages),
            _ => (0, 0),
        };
        let (sleepers, naps) = match kind {
            Kind::Sleepers { threads, naps, .. } => (threads, naps),
            _ => (0, 0),
        };
        let connection = |_| Connection {
            driver: Cell::default(),
            home: Cell::default(),
            arrived: Cell::default(),
            came_from: Cell::default(),
            left: Cell::new(messages),
        };
        let sleeper = |_| Sleeper {
            home: Cell::default(),
            due: Cell::default(),
            left: Cell::new(naps),
        };
        Self {
            kind,
            nodes: RefCell::default(),
            connections: (0..connections).map(connection).collect(),
            sleepers: (0..sleepers).map(sleeper).collect(),
            done: Cell::default(),
            done_at: Cell::default(),
            latencies: RefCell::default(),
            counts_from,
        }
    }

    /// How many OS threads are not workers.
    pub(crate) fn outside(&self) -> usize {
        match self.kind {
            Kind::Injected { producers, .. } => producers,
            _ => 0,
        }
    }

    /// How much there is to do, if that is finite.
    pub(crate) fn all(&self) -> Option<u64> {
        let times =
            |count: usize, each: u32| (each < u32::MAX).then(|| count as u64 * u64::from(each));
        match self.kind {
            Kind::Skynet { levels } => Some((0..=levels).map(|level| 10u64.pow(level)).sum()),
            Kind::Producers {
                producers, tasks, ..
            }
            | Kind::Injected {
                producers, tasks, ..
            } => Some((producers * tasks) as u64),
            Kind::Echo {
                connections,
                requests,
                ..
            } => times(connections, requests),
            Kind::Pairs { pairs, messages } => times(2 * pairs, messages),
            Kind::Sleepers { threads, naps, .. } => times(threads, naps),
        }
    }
}

/// Puts the first threads where they begin.
pub(crate) fn begin(world: &World) {
    let work = &world.work;
    let inject = |is| {
        let thread = Thread { is, home: 0 };
        world.injector.borrow_mut().push_back(thread);
    };
    match work.kind {
        Kind::Skynet { .. } => inject(Is::Node(new_node(world, None, 0, 0))),
        Kind::Producers { producers, .. } => (0..producers).for_each(|_| inject(Is::Producer)),
        Kind::Injected { .. } => {}
        Kind::Echo { .. } | Kind::Pairs { .. } => {
            for (index, connection) in work.connections.iter().enumerate() {
                // Both of a pair are of one worker.
                let home = match work.kind {
                    Kind::Pairs { .. } => index / 2 % world.workers,
                    _ => index % world.workers,
                };
                connection.home.set(home);
                connection.driver.set(home / world.design.workers_a_driver);
                match work.kind {
                    Kind::Echo { think_ns, .. } => {
                        world.clock.arrives(random_time(world, think_ns), index);
                    }
                    _ if index % 2 == 0 => world.clock.arrives(0, index),
                    _ => {}
                }
            }
        }
        Kind::Sleepers { most_ns, .. } => {
            for (index, sleeper) in work.sleepers.iter().enumerate() {
                let home = index % world.workers;
                let due = random_time(world, most_ns);
                sleeper.home.set(home);
                sleeper.due.set(due);
                let mut timers = world.remotes[home].timers.value.borrow_mut();
                timers.insert((due, index));
            }
        }
    }
}

/// Evenly between nothing and this.
fn random_time(world: &World, most_ns: f64) -> Time {
    (world.random.borrow_mut().f64() * most_ns) as Time
}

fn new_node(world: &World, parent: Option<usize>, level: u32, home: usize) -> usize {
    let mut nodes = world.work.nodes.borrow_mut();
    nodes.push(Node {
        parent,
        level,
        pending: 0,
        has_begun: false,
        waits: false,
        home,
    });
    nodes.len() - 1
}

/// The green thread that the worker runs ends.
async fn end(world: &World, me: usize) {
    world.pay(me, On::Running, world.costs.end);
    worker::count_reference(world, me).await;
    world.settle(me).await;
}

/// Runs a green thread on the worker until it waits or ends.
pub(crate) async fn run(world: &World, me: usize, thread: Thread) {
    match thread.is {
        Is::Node(node) => run_node(world, me, node).await,
        Is::Task => {
            let (Kind::Producers { ns, .. } | Kind::Injected { ns, .. }) = world.work.kind else {
                unreachable!("tasks have producers");
            };
            world.pay(me, On::Work, ns);
            end(world, me).await;
            done(world, None);
        }
        Is::Producer => {
            let Kind::Producers { tasks, .. } = world.work.kind else {
                unreachable!("it is one of producers");
            };
            for _ in 0..tasks {
                worker::spawn(world, me, Is::Task).await;
            }
            end(world, me).await;
        }
        Is::Connection(index) => run_connection(world, me, index).await,
        Is::Sleeper(index) => run_sleeper(world, me, index).await,
    }
}

async fn run_node(world: &World, me: usize, index: usize) {
    let Kind::Skynet { levels } = world.work.kind else {
        unreachable!("nodes are of a tree");
    };
    let (level, has_begun) = {
        let node = &mut world.work.nodes.borrow_mut()[index];
        node.home = me;
        (node.level, std::mem::replace(&mut node.has_begun, true))
    };
    if level < levels && !has_begun {
        world.work.nodes.borrow_mut()[index].pending = 10;
        for _ in 0..10 {
            let child = new_node(world, Some(index), level + 1, me);
            worker::spawn(world, me, Is::Node(child)).await;
        }
        world.settle(me).await;
        // It joins them, and goes on when the last has ended.
        let node = &mut world.work.nodes.borrow_mut()[index];
        node.waits = node.pending > 0;
        if node.waits {
            return;
        }
    }
    end(world, me).await;
    done(world, None);
    let Some(parent) = world.work.nodes.borrow()[index].parent else {
        return;
    };
    let (goes_on, home) = {
        let parent = &mut world.work.nodes.borrow_mut()[parent];
        parent.pending -= 1;
        (parent.pending == 0 && parent.waits, parent.home)
    };
    world.follow(me, home, 1.0, On::Moving);
    if goes_on {
        world.pay(me, On::Running, world.costs.fire);
        let thread = Thread {
            is: Is::Node(parent),
            home,
        };
        queue::push_next(world, me, thread).await;
    }
}

async fn run_connection(world: &World, me: usize, index: usize) {
    let connection = &world.work.connections[index];
    let (ns, next) = match world.work.kind {
        Kind::Echo { ns, think_ns, .. } => {
            // Exponential, as of clients that know nothing of each other.
            let chance = world.random.borrow_mut().f64();
            (ns, Some((-think_ns * (1.0 - chance).ln()) as Time))
        }
        _ => (0.0, None),
    };
    world.pay(me, On::Work, world.costs.request + ns);
    let lines = world.assumed.lines_a_message;
    world.follow(me, connection.came_from.get(), lines, On::Moving);
    world.settle(me).await;
    connection.home.set(me);
    done(world, Some(connection.arrived.get()));
    let own = me / world.design.workers_a_driver;
    if world.design.hands_over && connection.driver.get() != own {
        world.pay(me, On::Events, world.costs.hand_over);
        world.settle(me).await;
        connection.driver.set(own);
        add(&world.counts.hand_overs, 1);
    }
    let left = connection.left.get() - 1;
    connection.left.set(left);
    match next {
        Some(think) if left > 0 => world.clock.arrives(world.clock.now() + think, index),
        None if world.work.connections[index ^ 1].left.get() > 0 => {
            world.clock.arrives(world.clock.now(), index ^ 1);
        }
        _ => {}
    }
}

async fn run_sleeper(world: &World, me: usize, index: usize) {
    let Kind::Sleepers { most_ns, ns, .. } = world.work.kind else {
        unreachable!("it is one of sleepers");
    };
    let sleeper = &world.work.sleepers[index];
    done(world, Some(sleeper.due.get()));
    sleeper.home.set(me);
    world.pay(me, On::Work, ns);
    sleeper.left.set(sleeper.left.get() - 1);
    if sleeper.left.get() > 0 {
        let timers = &world.remotes[me].timers;
        world.pay(me, On::Running, world.costs.timer);
        world
            .touch(me, &timers.line, Access::Write, On::Running)
            .await;
        world.settle(me).await;
        let due = world.clock.now() + random_time(world, most_ns);
        sleeper.due.set(due);
        timers.value.borrow_mut().insert((due, index));
        timers::tell_node_of_timer(world, me).await;
    }
}

/// A piece of the work is done; when it could have been.
fn done(world: &World, due: Option<Time>) {
    let (work, now) = (&world.work, world.clock.now());
    work.done_at.set(now);
    if now < work.counts_from {
        return;
    }
    add(&work.done, 1);
    if let Some(due) = due {
        work.latencies.borrow_mut().push(now - due);
    }
}

/// An OS thread that spawns tasks from outside.
pub(crate) async fn outside(world: &World, me: usize) {
    let Kind::Injected { tasks, .. } = world.work.kind else {
        unreachable!("nobody else is outside");
    };
    for _ in 0..tasks {
        world.pay(me, On::Running, world.costs.spawn);
        worker::count_reference(world, me).await;
        queue::inject(
            world,
            me,
            Thread {
                is: Is::Task,
                home: me,
            },
        )
        .await;
    }
}
