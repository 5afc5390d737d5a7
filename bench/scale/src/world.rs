//! What all simulated threads share: time, cores, queues, who is asleep, drivers, and the work.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use crate::clock::{Clock, Time};
use crate::costs::{Assumed, Costs};
use crate::design::{Design, Looks, NODE};
use crate::machine::{Access, Distances, Line};
use crate::workload::{Kind, Thread, Work};

/// What time is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// What the program is there for; system calls on sockets too.
    Work,
    /// Spawning, switching, the own queues, timers.
    Running,
    /// What comes with a green thread that ran elsewhere before.
    Moving,
    /// Looking for work, and stealing it.
    Searching,
    /// Falling asleep, waking, and whom to wake.
    Sleeping,
    /// Waiting in the driver, and what its events cost.
    Events,
}

pub(crate) const SPENT_ON: [&str; 6] = [
    "work",
    "running",
    "moving",
    "searching",
    "sleeping",
    "events",
];

/// What has been paid for passes before the next line is touched, if it is more than this.
const MOST_DEBT: Time = 100;

/// The time of a simulated OS thread, which has its core for itself.
#[derive(Debug, Default)]
pub(crate) struct Core {
    pub(crate) place: usize,
    /// What it has spent, and what of that has not passed yet.
    pub(crate) spent: [Cell<Time>; SPENT_ON.len()],
    pub(crate) debt: Cell<Time>,
    pub(crate) slept: Cell<Time>,
    /// Since when it sleeps, if it does.
    pub(crate) sleeps: Cell<Option<Time>>,
}

/// A value on a line of its own.
#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    pub(crate) line: Line,
    pub(crate) value: T,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parker {
    #[default]
    Empty,
    Parked,
    InDriver,
    Notified,
}

/// What others see of a worker.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    pub(crate) fresh: Shared<RefCell<VecDeque<Thread>>>,
    pub(crate) woken: Shared<RefCell<VecDeque<Thread>>>,
    pub(crate) slot: Shared<Cell<Option<Thread>>>,
    pub(crate) parker: Shared<Cell<Parker>>,
    pub(crate) timers: Shared<RefCell<BTreeSet<(Time, usize)>>>,
    /// Whether it runs a green thread.
    pub(crate) busy: Shared<Cell<bool>>,
}

impl Remote {
    pub(crate) fn stealable(&self) -> usize {
        self.fresh.value.borrow().len() + self.woken.value.borrow().len()
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.timers.value.borrow().first().map(|(time, _)| *time)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Driver {
    /// Whether somebody is in it.
    pub(crate) leader: Shared<Cell<bool>>,
    /// The kernel's list of what is ready, behind its lock.
    pub(crate) ready: Shared<RefCell<VecDeque<usize>>>,
    /// Who sleeps in it.
    pub(crate) sleeper: Cell<Option<usize>>,
    /// For how long somebody was in it and awake.
    pub(crate) led: Cell<Time>,
}

/// Who sleeps and who searches, of all workers or of those of a node.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    pub(crate) searching: Shared<Cell<usize>>,
    pub(crate) napping: Shared<Cell<bool>>,
    /// Who is asleep, 64 a word.
    pub(crate) asleep: Vec<Shared<Cell<u64>>>,
    pub(crate) workers: usize,
}

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) costs: Costs,
    pub(crate) assumed: Assumed,
    pub(crate) distances: Distances,
    pub(crate) design: Design,
    pub(crate) workers: usize,
    pub(crate) cores: Vec<Core>,
    pub(crate) remotes: Vec<Remote>,
    /// One, or where there are words a node, one for each.
    pub(crate) idle: Vec<Idle>,
    pub(crate) workers_an_idle: usize,
    pub(crate) watching: Shared<Cell<bool>>,
    /// By node: which of its workers have something to steal.
    pub(crate) full: Vec<Shared<Cell<u64>>>,
    /// By node: a line that is written when its next timer changes.
    pub(crate) node_timers: Vec<Line>,
    /// The count of references to the runtime, of which each green thread has one.
    pub(crate) references: Line,
    pub(crate) injector: RefCell<VecDeque<Thread>>,
    pub(crate) injector_head: Line,
    pub(crate) injector_tail: Line,
    pub(crate) drivers: Vec<Driver>,
    pub(crate) work: Work,
    pub(crate) counts: Counts,
    pub(crate) random: RefCell<fastrand::Rng>,
}

/// What has happened how often.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Counts {
    pub(crate) steals: Cell<u64>,
    pub(crate) stolen: Cell<u64>,
    pub(crate) unparks: Cell<u64>,
    pub(crate) sleeps: Cell<u64>,
    pub(crate) waits: Cell<u64>,
    pub(crate) events: Cell<u64>,
    pub(crate) hand_overs: Cell<u64>,
}

pub(crate) fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

impl World {
    pub(crate) fn new(
        workers: usize,
        design: Design,
        costs: Costs,
        assumed: Assumed,
        work: Work,
    ) -> Self {
        // Two cores are the two that there are here.
        let distances = match workers {
            ..=2 => [costs.transfer; 3],
            _ => assumed.transfer,
        };
        let workers_an_idle = match design.looks {
            Looks::AtAll => workers,
            Looks::AtNodes => NODE,
        };
        let idle = |first| {
            let workers = workers_an_idle.min(workers - first);
            Idle {
                asleep: many(workers.div_ceil(64)),
                workers,
                ..Idle::default()
            }
        };
        let outside = work.outside();
        let core = |index: usize| Core {
            // Those from outside are among the workers, but on cores of their own.
            place: match index.checked_sub(workers) {
                None => index,
                Some(other) => other * workers / outside,
            },
            ..Core::default()
        };
        fn many<T: Default>(count: usize) -> Vec<T> {
            (0..count).map(|_| T::default()).collect()
        }
        Self {
            clock: Clock::default(),
            costs,
            assumed,
            distances: Distances(distances.map(|ns| ns.round() as Time)),
            design,
            workers,
            cores: (0..workers + outside).map(core).collect(),
            remotes: many(workers),
            idle: (0..workers).step_by(workers_an_idle).map(idle).collect(),
            workers_an_idle,
            watching: Shared::default(),
            full: many(workers.div_ceil(NODE)),
            node_timers: many(workers.div_ceil(NODE)),
            references: Line::default(),
            injector: RefCell::default(),
            injector_head: Line::default(),
            injector_tail: Line::default(),
            drivers: many(workers.div_ceil(design.workers_a_driver)),
            work,
            counts: Counts::default(),
            random: RefCell::new(fastrand::Rng::with_seed(42)),
        }
    }

    /// The core spends time, which [passes](Self::settle) before anybody else can see what comes of it.
    pub(crate) fn pay(&self, core: usize, on: On, ns: f64) {
        self.pay_time(core, on, ns.round() as Time);
    }

    fn pay_time(&self, core: usize, on: On, time: Time) {
        let core = &self.cores[core];
        add(&core.spent[on as usize], time);
        add(&core.debt, time);
    }

    /// What has been paid for passes.
    pub(crate) async fn settle(&self, core: usize) {
        let debt = self.cores[core].debt.take();
        if debt > 0 {
            self.clock.wait(Some(self.clock.now() + debt)).await;
        }
    }

    /// Sleeps until then, or until it is roused. Whose time has come is woken as whom another one wakes.
    pub(crate) async fn sleep(&self, core: usize, until: Option<Time>) {
        debug_assert_eq!(self.cores[core].debt.get(), 0);
        let since = self.clock.now();
        self.cores[core].sleeps.set(Some(since));
        let until = until.map(|until| until.max(since) + self.wake_up());
        self.clock.wait(until).await;
        self.cores[core].sleeps.set(None);
        add(&self.cores[core].slept, self.clock.now() - since);
    }

    /// The core reads or writes a line. What others have done to what is on it is seen after that; and while it has the
    /// line, nobody does anything to it.
    pub(crate) async fn touch(&self, core: usize, line: &Line, access: Access, on: On) {
        let place = self.cores[core].place;
        if access == Access::Write {
            self.pay(core, on, self.costs.locked);
        }
        if self.cores[core].debt.get() > MOST_DEBT {
            self.settle(core).await;
        }
        if line.is_at(place, access) {
            return;
        }
        self.settle(core).await;
        let now = self.clock.now();
        let there = line.fetch(place, access, now, &self.distances);
        self.pay_time(core, on, there - now);
        self.settle(core).await;
    }

    /// Reads many lines, of which `at_a_time` come at the same time.
    pub(crate) async fn scan<'a>(
        &self,
        core: usize,
        lines: impl Iterator<Item = &'a Line>,
        at_a_time: f64,
        on: On,
    ) {
        let (place, now) = (self.cores[core].place, self.clock.now());
        let mut coming = 0;
        for line in lines {
            self.pay(core, on, self.costs.look);
            coming += line.fetch(place, Access::Read, now, &self.distances) - now;
        }
        self.pay(core, on, coming as f64 / at_a_time);
        if coming > 0 {
            self.settle(core).await;
        }
    }

    /// So many lines come from where a green thread was.
    pub(crate) fn follow(&self, core: usize, from: usize, lines: f64, on: On) {
        let distance = self.distances.between(from, self.cores[core].place);
        self.pay(core, on, lines * distance as f64 / self.assumed.overlap);
    }

    /// A descriptor becomes ready: by the peer that has sent, if it is here, else by an interrupt on some core.
    pub(crate) fn arrive(&self, index: usize) {
        let connection = &self.work.connections[index];
        let driver = &self.drivers[connection.driver.get()];
        connection.arrived.set(self.clock.now());
        let core = match self.work.kind {
            Kind::Pairs { .. } => self.work.connections[index ^ 1].home.get(),
            _ => self.random.borrow_mut().usize(..self.workers),
        };
        connection.came_from.set(core);
        let line = &driver.ready.line;
        let there = line.fetch(core, Access::Write, self.clock.now(), &self.distances);
        driver.ready.value.borrow_mut().push_back(index);
        if let Some(sleeper) = driver.sleeper.take() {
            self.clock.rouse(sleeper, there + self.wake_up());
        }
    }

    pub(crate) fn wake_up(&self) -> Time {
        self.costs.wake_up.round() as Time
    }
}
