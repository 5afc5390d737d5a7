//! Workers that get stuck, are found so, and come back, beside spares.

use super::*;

const WORKER: usize = 0;
const SPARE: usize = 1;

fn with_a_spare() -> Arc<Model> {
    Arc::new(Model::with_spares(1, 1))
}

/// In the end nobody is stuck, and nobody is thought to be.
fn check_that_nobody_is_stuck(model: &Model) {
    assert!(model.paces.iter().all(|pace| !pace.is_stuck()));
    assert_eq!(model.roster.stuck(), 0);
    assert!(!model.roster.takes_part(&model.idle, SPARE));
}

/// The spare falls asleep in reserve, before or after.
#[test]
fn a_push_meets_a_place_that_is_handed_over() {
    check_with(3, || {
        let model = with_a_spare();
        let spare = Worker::new(&model, SPARE).start();
        let pushes = {
            let model = model.clone();
            thread::spawn(move || model.push_shared())
        };
        Worker::new(&model, WORKER);
        model.hands_over(WORKER);
        // Only then does its call return.
        assert_eq!(spare.join().unwrap(), Some(Work::Shared));
        pushes.join().unwrap();
        model.is_back(WORKER);
        check_that_nobody_is_stuck(&model);
    });
}

/// The same of one that has long been asleep in reserve, so that nobody but these two sees to it.
#[test]
fn a_push_meets_the_place_that_a_sleeper_gets() {
    loom::model(|| {
        let model = with_a_spare();
        model.idle.announce_sleep(SPARE, false);
        let pushes = {
            let model = model.clone();
            thread::spawn(move || model.push_shared())
        };
        model.hands_over(WORKER);
        pushes.join().unwrap();
        assert!(!model.idle.retract_sleep(SPARE), "it has been claimed");
    });
}

/// Who is in reserve sleeps or is about to, so that it can be called to watch.
#[test]
fn one_that_is_claimed_meets_its_dismissal() {
    loom::model(|| {
        let model = with_a_spare();
        model.idle.announce_sleep(SPARE, false);
        model.hands_over(WORKER);
        let is_claimed = {
            let model = model.clone();
            thread::spawn(move || {
                model.idle.claim_any().is_some() && model.roster.takes_part(&model.idle, SPARE)
            })
        };
        model.is_back(WORKER);
        let takes_part = is_claimed.join().unwrap();
        assert!(!takes_part || model.roster.has_no_reserve());
    });
}

/// Whether it was the spare that has found what was pushed, or the worker that is back.
#[test]
fn a_push_meets_a_place_that_is_given_back() {
    check_with(3, || {
        let model = with_a_spare();
        let until_the_end = |worker: Worker| {
            let found = worker.find_or_sleep();
            if found.is_some() {
                worker.model.stop();
            }
            found
        };
        let spare = Worker::new(&model, SPARE);
        let spare = thread::spawn(move || until_the_end(spare));
        let worker = Worker::new(&model, WORKER);
        let worker = thread::spawn(move || {
            worker.model.hands_over(WORKER);
            worker.model.is_back(WORKER);
            until_the_end(worker)
        });
        model.push_shared();
        let found = [spare, worker].map(|worker| worker.join().unwrap());
        assert_eq!(found.iter().flatten().count(), 1);
        check_that_nobody_is_stuck(&model);
    });
}

/// The spare leads, is dismissed, and is called to watch, so that it leaves the driver; meanwhile the worker that is back
/// has fallen asleep, since somebody led.
#[test]
fn an_event_meets_a_leader_that_is_dismissed() {
    check_with(2, || {
        let model = Arc::new(Model {
            driver: Some(Driver::default()),
            ..Model::with_spares(1, 1)
        });
        let until_the_end = |worker: Worker| {
            let found = worker.find_or_sleep();
            if found.is_some() {
                worker.model.stop();
            }
            found
        };
        let worker = Worker::new(&model, WORKER);
        model.hands_over(WORKER);
        let spare = Worker::new(&model, SPARE);
        let spare = thread::spawn(move || until_the_end(spare));
        let worker = thread::spawn(move || {
            worker.model.is_back(WORKER);
            if let Watcher::Claimed(other) = worker.model.idle.claim_watcher() {
                worker.unpark(other);
            }
            until_the_end(worker)
        });
        model.event();
        let found = [spare, worker].map(|worker| worker.join().unwrap());
        assert_eq!(found.iter().flatten().count(), 1);
        check_that_nobody_is_stuck(&model);
    });
}

#[test]
fn one_that_is_found_stuck_falls_asleep() {
    check_with(3, || {
        let model = with_a_spare();
        let worker = Worker::new(&model, WORKER);
        let seen = model.paces[WORKER].seen().expect("it is busy");
        let worker = worker.start();
        let (idle, pace) = (&model.idle, &model.paces[WORKER]);
        let place = model.roster.is_found_stuck(idle, pace, seen, SPARE);
        model.see_to_place(place);
        model.stop();
        assert_eq!(worker.join().unwrap(), None);
        check_that_nobody_is_stuck(&model);
    });
}

/// What keeps it ends in that very moment, and it goes on with the next.
#[test]
fn one_that_is_found_stuck_gets_on() {
    loom::model(|| {
        let model = with_a_spare();
        let worker = Worker::new(&model, WORKER);
        let seen = model.paces[WORKER].seen().expect("it is busy");
        let runs = thread::spawn(move || {
            for _ in 0..2 {
                worker.model.paces[WORKER].runs();
                worker.model.is_back(WORKER);
            }
        });
        let (idle, pace) = (&model.idle, &model.paces[WORKER]);
        let place = model.roster.is_found_stuck(idle, pace, seen, SPARE);
        model.see_to_place(place);
        runs.join().unwrap();
        model.is_back(WORKER);
        check_that_nobody_is_stuck(&model);
    });
}

#[test]
fn the_end_meets_a_spare_that_is_enrolled() {
    check_with(3, || {
        let model = with_a_spare();
        let spare = Worker::new(&model, SPARE).start();
        let worker = Worker::new(&model, WORKER);
        let worker = thread::spawn(move || {
            worker.model.hands_over(WORKER);
            worker.model.is_back(WORKER);
            worker.find_or_sleep()
        });
        model.stop();
        assert_eq!(spare.join().unwrap(), None);
        assert_eq!(worker.join().unwrap(), None);
        check_that_nobody_is_stuck(&model);
    });
}

/// The last that sleeps gets busy, and the spare in reserve is called to watch; what is pushed at that time
/// relies on it, as on any who searches.
#[test]
fn a_push_meets_a_spare_that_is_called_to_watch() {
    check_with(2, || {
        let model = Arc::new(Model::with_spares(2, 1));
        let spare = Worker::new(&model, 2).start();
        let worker = Worker::new(&model, 0);
        let called = thread::spawn(move || {
            let found = worker.find_or_sleep();
            (found, worker)
        });
        let other = Worker::new(&model, 1).start();
        model.push_private(0);
        model.push_shared();
        let (found, worker) = called.join().unwrap();
        match found {
            // It may have found either first.
            Some(Work::Private) => assert_eq!(other.join().unwrap(), Some(Work::Shared)),
            Some(Work::Shared) => {
                assert_eq!(worker.find_or_sleep(), Some(Work::Private));
                model.stop();
                assert_eq!(other.join().unwrap(), None);
            }
            _ => unreachable!("it does not end before"),
        }
        model.stop();
        assert_eq!(spare.join().unwrap(), None);
    });
}
