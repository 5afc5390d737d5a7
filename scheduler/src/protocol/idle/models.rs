//! Workers that fall asleep, and those who have something for them.
//!
//! The workers find work or sleep as those of a runtime do, by [`sleep`], on queues that are counts. A
//! model in which nobody is on the way to what must be done ends with threads that wait for ever, of which
//! loom tells. Whatever lasts for a time ends at once, and what only saves time (a worker that watches
//! though all are asleep) is left out.

mod hand_over;

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use super::sleep::{self, Idler};
use super::{Idle, Watcher};
use crate::protocol::nap::Naps;
use crate::protocol::pace::Pace;
use crate::protocol::parker::{Parker, Rouse};
use crate::protocol::primitive::{AtomicUsize, Condvar, Mutex, Ordering};
use crate::protocol::roster::{Place, Roster};
use crate::protocol::slot::{self, Looker, Slot};

/// What one waits for and another one says.
#[derive(Default)]
struct Signal {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn give(&self) {
        *self.given.lock() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut given = self.given.lock();
        while !*given {
            given = self.changed.wait(given);
        }
        *given = false;
    }
}

/// A driver whose wait ends when it is woken, before or meanwhile. An event wakes it too.
#[derive(Default)]
struct Driver {
    woken: Signal,
    is_led: AtomicUsize,
    /// How many events there are that let something run, to be taken by who is in it.
    events: AtomicUsize,
}

struct Model {
    idle: Idle,
    roster: Roster,
    paces: Vec<Pace>,
    parkers: Vec<Parker>,
    driver: Option<Driver>,
    stopping: AtomicUsize,
    /// What waits where any worker may take it that searches.
    shared: AtomicUsize,
    /// What only one worker may do.
    private: Vec<AtomicUsize>,
    /// Those of the workers that are busy by and by.
    slots: Vec<Looker<u64>>,
    /// The clock of the looks at the slots: each is long after the one before.
    looks: AtomicU32,
    /// What was in a slot has been run.
    has_run: Signal,
}

impl Model {
    fn new(workers: usize) -> Self {
        Self::with_spares(workers, 0)
    }

    /// The spares are in reserve, and awake.
    fn with_spares(workers: usize, spares: usize) -> Self {
        let idle = Idle::new(workers, spares, spares > 0);
        let roster = Roster::default();
        for spare in 0..spares {
            assert!(!roster.join(&idle, workers + spare));
        }
        let paces: Vec<_> = (0..workers + spares).map(|_| Pace::new()).collect();
        paces[..workers].iter().for_each(Pace::go_on);
        let workers = workers + spares;
        Self {
            idle,
            roster,
            paces,
            parkers: (0..workers).map(|_| Parker::new()).collect(),
            driver: None,
            stopping: AtomicUsize::new(0),
            shared: AtomicUsize::new(0),
            private: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            slots: Vec::new(),
            looks: AtomicU32::new(0),
            has_run: Signal::default(),
        }
    }

    fn with_driver(workers: usize) -> Self {
        Self {
            driver: Some(Driver::default()),
            ..Self::new(workers)
        }
    }

    /// Something comes that only who is in the driver learns of.
    fn event(&self) {
        let driver = self.driver.as_ref().expect("there is one");
        driver.events.fetch_add(1, Ordering::AcqRel);
        driver.woken.give();
    }

    fn unpark(&self, worker: usize) {
        if self.parkers[worker].unpark() == Rouse::WakeDriver {
            self.driver.as_ref().expect("it is led").woken.give();
        }
    }

    fn push(&self, is_lone: impl FnOnce() -> bool) {
        self.shared.fetch_add(1, Ordering::Release);
        if let Some(worker) = self.idle.claim_for_work(is_lone) {
            self.unpark(worker);
        }
    }

    fn push_shared(&self) {
        self.push(|| false);
    }

    /// Pushes what is lone if nothing else is there.
    fn push_lone(&self) {
        self.push(|| self.shared.load(Ordering::Acquire) < 2);
    }

    fn push_private(&self, worker: usize) {
        self.private[worker].fetch_add(1, Ordering::Release);
        if self.idle.claim(worker) {
            self.unpark(worker);
        }
    }

    /// The worker runs what blocks from now on.
    fn hands_over(&self, worker: usize) {
        let place = self.roster.gets_stuck(&self.idle, &self.paces[worker]);
        self.see_to_place(place);
    }

    fn see_to_place(&self, place: Place) {
        if place == Place::Taken
            && self.shared.load(Ordering::Acquire) > 0
            && let Some(worker) = self.idle.claim_any()
        {
            self.unpark(worker);
        }
    }

    fn is_back(&self, worker: usize) {
        if self.paces[worker].is_stuck() {
            self.roster.is_back(&self.idle, &self.paces[worker]);
        }
    }

    fn stop(&self) {
        self.stopping.store(1, Ordering::SeqCst);
        for worker in 0..self.parkers.len() {
            if self.idle.claim(worker) {
                self.unpark(worker);
            }
        }
    }

    /// When all its workers are busy, nobody is counted as anything else, and no unpark is left over.
    fn check_that_all_are_busy(&self) {
        let idle = &self.idle;
        for count in [&idle.searching, &idle.watching, &idle.napping] {
            assert_eq!(count.load(Ordering::SeqCst), 0);
        }
        for word in &idle.asleep {
            assert_eq!(word.load(Ordering::SeqCst), 0);
        }
        for parker in &self.parkers {
            assert!(parker.enter_driver(), "no unpark has come late");
        }
    }

    fn take(count: &AtomicUsize) -> bool {
        let mut seen = count.load(Ordering::Acquire);
        while seen > 0 {
            match count.compare_exchange(seen, seen - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}

/// Where a worker has found work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Private,
    Shared,
    Slot,
}

struct Worker {
    model: Arc<Model>,
    index: usize,
    /// How often it comes for what is gone by then.
    misses: Cell<u32>,
    /// Whether the time comes at which it has something to do, and whether it has come.
    timer: Cell<bool>,
    timer_is_due: Cell<bool>,
    has_led: Cell<bool>,
    /// What it has brought along from the driver.
    events: Cell<usize>,
}

impl Worker {
    fn new(model: &Arc<Model>, index: usize) -> Self {
        if index >= model.idle.workers {
            model.paces[index].go_on();
        }
        Self {
            model: model.clone(),
            index,
            misses: Cell::new(0),
            timer: Cell::new(false),
            timer_is_due: Cell::new(false),
            has_led: Cell::new(false),
            events: Cell::new(0),
        }
    }

    fn find_or_sleep(&self) -> Option<Work> {
        sleep::find_or_sleep(self)
    }

    fn start(self) -> JoinHandle<Option<Work>> {
        thread::spawn(move || self.find_or_sleep())
    }

    /// Wakes one, and goes on until that has run.
    fn wakes_and_goes_on(&self, slot: &Slot<u64>) {
        let before = slot.put(std::sync::Arc::new(0), false);
        assert!(before.is_none());
        self.model.has_run.wait();
        assert!(slot.take().is_none());
    }

    /// Finds something to do, and if that is what another one holds up, tells it so.
    fn helps(&self) -> Option<Work> {
        let found = self.find_or_sleep();
        if found == Some(Work::Slot) {
            self.model.has_run.give();
        }
        found
    }
}

impl Idler for Worker {
    type Work = Work;

    fn idle(&self) -> &Idle {
        &self.model.idle
    }

    fn roster(&self) -> &Roster {
        &self.model.roster
    }

    fn index(&self) -> usize {
        self.index
    }

    fn parker(&self) -> &Parker {
        &self.model.parkers[self.index]
    }

    fn unpark(&self, worker: usize) {
        self.model.unpark(worker);
    }

    fn is_stopping(&self) -> bool {
        self.model.stopping.load(Ordering::SeqCst) == 1
    }

    fn may_end(&self) -> bool {
        false
    }

    fn expire_timers(&self, _: bool) {
        if self.timer_is_due.take() {
            self.model.private[self.index].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn surrender(&self) {}

    fn find(&self, takes_part: bool, searches: bool, naps: &mut Naps) -> Option<Work> {
        let model = &self.model;
        if let Some(left) = self.misses.get().checked_sub(1) {
            self.misses.set(left);
            naps.missed();
        }
        if Model::take(&model.private[self.index]) {
            return Some(Work::Private);
        }
        if !takes_part {
            return None;
        }
        if searches && Model::take(&model.shared) {
            return Some(Work::Shared);
        }
        model.slots.iter().find_map(|slot| {
            let look = model.looks.fetch_add(1, Ordering::Relaxed);
            slot.look(look * slot::LONG).map(|_| Work::Slot)
        })
    }

    fn sees_own_work(&self) -> bool {
        self.model.private[self.index].load(Ordering::Acquire) > 0
    }

    fn sees_shared_work(&self, lone: bool) -> bool {
        self.model.shared.load(Ordering::Acquire) > usize::from(!lone)
    }

    fn tidy(&self, _: bool) -> bool {
        false
    }

    fn rests(&self) {
        self.model.paces[self.index].rest();
    }

    fn is_not_stuck(&self) {
        self.model.is_back(self.index);
    }

    fn somebody_is_busy(&self) -> bool {
        self.model.paces.iter().any(|pace| pace.seen().is_some())
    }

    /// A watcher has something to look after in those models only that have slots.
    fn sleeps_until(&self, _: bool, nap: Option<Duration>, watches: bool) -> Option<Instant> {
        let has_timer = self.timer.take();
        self.timer_is_due.set(has_timer);
        let watches = watches && !self.model.slots.is_empty();
        (nap.is_some() || has_timer || watches).then(Instant::now)
    }

    fn look_for_stuck(&self) {}

    fn has_slept(&self) {}

    fn goes_on(&self) {
        self.model.paces[self.index].go_on();
    }

    fn lacks_watcher(&self) {}

    fn may_lead(&self) -> bool {
        let driver = self.model.driver.as_ref();
        driver.is_some_and(|driver| driver.is_led.load(Ordering::Relaxed) == 0)
    }

    fn has_led(&self) -> bool {
        self.has_led.take()
    }

    fn wait_in_driver(&self, until: Option<Instant>) -> Option<bool> {
        let driver = self.model.driver.as_ref().expect("it may lead");
        let leads = driver
            .is_led
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
        if leads.is_err() {
            return None;
        }
        self.has_led.set(true);
        if !self.parker().enter_driver() {
            driver.is_led.store(0, Ordering::Release);
            return Some(true);
        }
        match until {
            None => driver.woken.wait(),
            Some(_) => thread::yield_now(),
        }
        self.events.set(driver.events.swap(0, Ordering::AcqRel));
        driver.is_led.store(0, Ordering::Release);
        Some(self.parker().leave_driver())
    }

    fn has_events(&self) -> bool {
        self.events.get() > 0
    }

    fn attend(&self) {
        for _ in 0..self.events.take() {
            self.model.shared.fetch_add(1, Ordering::Release);
            let woken = self.model.idle.claim_for_work(|| false);
            assert_eq!(woken, None, "who attends sees to it");
        }
    }
}

/// Explores with so many preemptions at most.
fn check_with(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(preemptions);
    bounded.check(model);
}

/// Two pushes, and two workers that come in vain so often before.
fn two_pushes_wake_two(misses: [u32; 2], push: fn(&Model)) {
    let model = Arc::new(Model::new(2));
    let workers = [0, 1].map(|index| {
        let worker = Worker::new(&model, index);
        worker.misses.set(misses[index]);
        worker.start()
    });
    push(&model);
    push(&model);
    for worker in workers {
        assert_eq!(worker.join().unwrap(), Some(Work::Shared));
    }
    model.check_that_all_are_busy();
}

#[test]
fn a_push_meets_a_worker_that_falls_asleep() {
    loom::model(|| {
        let model = Arc::new(Model::new(1));
        let worker = Worker::new(&model, 0).start();
        model.push_shared();
        assert_eq!(worker.join().unwrap(), Some(Work::Shared));
        model.check_that_all_are_busy();
    });
}

#[test]
fn a_push_meets_a_leader_that_enters_the_driver() {
    loom::model(|| {
        let model = Arc::new(Model::with_driver(1));
        let leader = Worker::new(&model, 0).start();
        model.push_shared();
        assert_eq!(leader.join().unwrap(), Some(Work::Shared));
        model.check_that_all_are_busy();
    });
}

#[test]
fn an_event_and_a_push_meet_a_leader() {
    check_with(3, || {
        let model = Arc::new(Model::with_driver(1));
        let leader = Worker::new(&model, 0).start();
        let event = {
            let model = model.clone();
            thread::spawn(move || model.driver.as_ref().unwrap().woken.give())
        };
        model.push_private(0);
        assert_eq!(leader.join().unwrap(), Some(Work::Private));
        event.join().unwrap();
        model.check_that_all_are_busy();
    });
}

/// It may have seen the first push before it was unparked for that, and sleeps again.
#[test]
fn two_pushes_meet_a_worker_that_falls_asleep_twice() {
    check_with(3, || {
        let model = Arc::new(Model::new(1));
        let worker = Worker::new(&model, 0);
        let worker = thread::spawn(move || [(); 2].map(|()| worker.find_or_sleep()));
        model.push_shared();
        model.push_private(0);
        let found = worker.join().unwrap();
        assert!(found.contains(&Some(Work::Shared)) && found.contains(&Some(Work::Private)));
        model.check_that_all_are_busy();
    });
}

/// Who leads takes one of two events, wakes itself for none, and sees to it that the other one is taken.
#[test]
fn two_events_come_to_one_who_leads() {
    check_with(2, || {
        let model = Arc::new(Model::with_driver(2));
        model
            .driver
            .as_ref()
            .unwrap()
            .events
            .store(1, Ordering::Release);
        let workers = [0, 1].map(|index| Worker::new(&model, index).start());
        model.event();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), Some(Work::Shared));
        }
        model.check_that_all_are_busy();
    });
}

#[test]
fn a_push_to_one_worker_meets_its_falling_asleep() {
    loom::model(|| {
        let model = Arc::new(Model::new(2));
        let worker = Worker::new(&model, 1).start();
        model.push_private(1);
        assert_eq!(worker.join().unwrap(), Some(Work::Private));
        model.check_that_all_are_busy();
    });
}

#[test]
fn the_end_meets_a_worker_that_falls_asleep() {
    loom::model(|| {
        let model = Arc::new(Model::with_driver(2));
        let worker = Worker::new(&model, 0).start();
        model.stop();
        assert_eq!(worker.join().unwrap(), None);
    });
}

#[test]
fn a_push_of_lone_work_meets_the_end_of_a_nap() {
    loom::model(|| {
        let model = Arc::new(Model::new(2));
        let worker = Worker::new(&model, 0);
        worker.misses.set(1);
        let worker = worker.start();
        model.push_lone();
        assert_eq!(worker.join().unwrap(), Some(Work::Shared));
        model.check_that_all_are_busy();
    });
}

#[test]
fn one_falls_asleep_beside_one_that_naps() {
    check_with(2, || two_pushes_wake_two([1, 0], Model::push_lone));
}

#[test]
fn two_pushes_wake_two_workers() {
    check_with(3, || two_pushes_wake_two([0, 0], Model::push_shared));
}

#[test]
fn one_that_gets_busy_meets_one_that_falls_asleep() {
    loom::model(|| {
        let model = Arc::new(Model::new(2));
        model.paces[0].rest();
        model.idle.announce_sleep(0, false);
        let falls_asleep = {
            let worker = Worker::new(&model, 1);
            thread::spawn(move || {
                worker.rests();
                worker.idle().announce_sleep(1, false);
                worker.somebody_is_busy() && worker.idle().begin_watch()
            })
        };
        assert!(model.idle.retract_sleep(0));
        model.paces[0].go_on();
        let claims = matches!(model.idle.claim_watcher(), Watcher::Claimed(_));
        let watches = falls_asleep.join().unwrap();
        assert!(watches || claims);
    });
}

/// The busy one has not slept, and the other one falls asleep beside it.
#[test]
fn one_that_falls_asleep_takes_what_a_busy_one_holds_up() {
    check_with(3, || {
        let slot = Slot::new();
        let model = Arc::new(Model {
            slots: vec![slot.looker()],
            ..Model::new(2)
        });
        let other = Worker::new(&model, 1);
        let other = thread::spawn(move || other.helps());
        Worker::new(&model, 0).wakes_and_goes_on(&slot);
        assert_eq!(other.join().unwrap(), Some(Work::Slot));
        model.check_that_all_are_busy();
    });
}

/// Both fall asleep, so that nobody watches; then one gets busy because its time has come.
#[test]
fn one_that_sleeps_takes_what_one_holds_up_that_woke_by_itself() {
    check_with(3, || {
        let slot = Slot::new();
        let model = Arc::new(Model {
            slots: vec![slot.looker()],
            ..Model::new(2)
        });
        let other = Worker::new(&model, 1);
        let other = thread::spawn(move || other.helps());
        let worker = Worker::new(&model, 0);
        worker.timer.set(true);
        assert_eq!(worker.find_or_sleep(), Some(Work::Private));
        worker.wakes_and_goes_on(&slot);
        assert_eq!(other.join().unwrap(), Some(Work::Slot));
        model.check_that_all_are_busy();
    });
}

/// Both fall asleep; then one gets busy by a push from outside.
#[test]
fn one_that_sleeps_takes_what_one_holds_up_that_was_woken() {
    check_with(2, || {
        let slot = Slot::new();
        let model = Arc::new(Model {
            slots: vec![slot.looker()],
            ..Model::new(2)
        });
        let other = Worker::new(&model, 1);
        let other = thread::spawn(move || other.helps());
        let worker = Worker::new(&model, 0);
        let worker = thread::spawn(move || {
            let found = worker.find_or_sleep();
            worker.wakes_and_goes_on(&slot);
            found
        });
        model.push_private(0);
        assert_eq!(worker.join().unwrap(), Some(Work::Private));
        assert_eq!(other.join().unwrap(), Some(Work::Slot));
        model.check_that_all_are_busy();
    });
}
