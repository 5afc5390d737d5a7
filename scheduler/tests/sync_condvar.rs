//! `sync::Condvar`: no notification is lost, and none goes to one who has given up.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::sync::{Condvar, Mutex};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{deadline, thread};

type Pair = Arc<(Mutex<u32>, Condvar)>;

fn pair() -> Pair {
    Arc::default()
}

/// Waits until the number is not zero, and takes one off.
fn take_one((number, changed): &(Mutex<u32>, Condvar)) {
    let mut number = changed
        .wait_while(number.lock().unwrap(), |number| *number == 0)
        .unwrap();
    *number -= 1;
}

#[test]
fn smoke() {
    on_each_worker_count(|| {
        let pair = pair();
        let waits = {
            let pair = pair.clone();
            thread::spawn(move || take_one(&pair))
        };
        thread::yield_now();
        *pair.0.lock().unwrap() = 1;
        pair.1.notify_one();
        waits.join().unwrap();
        pair.1.notify_one();
        pair.1.notify_all();
    });
}

#[test]
fn mpmc() {
    each_worker_count(|runtime| {
        let pair = pair();
        let takers: Vec<_> = (0..10)
            .map(|_| {
                let pair = pair.clone();
                runtime.spawn(move || (0..100).for_each(|_| take_one(&pair)))
            })
            .collect();
        let givers: Vec<_> = (0..10)
            .map(|_| {
                let pair = pair.clone();
                runtime.spawn(move || {
                    for _ in 0..100 {
                        *pair.0.lock().unwrap() += 1;
                        pair.1.notify_one();
                    }
                })
            })
            .collect();
        givers.into_iter().for_each(|t| t.join().unwrap());
        takers.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*pair.0.lock().unwrap(), 0);
    });
}

#[test]
fn mixed_os_and_green() {
    each_worker_count(|runtime| {
        let pair = pair();
        let green = {
            let pair = pair.clone();
            runtime.spawn(move || (0..100).for_each(|_| take_one(&pair)))
        };
        let os = {
            let pair = pair.clone();
            std::thread::spawn(move || (0..100).for_each(|_| take_one(&pair)))
        };
        for _ in 0..200 {
            *pair.0.lock().unwrap() += 1;
            pair.1.notify_one();
        }
        green.join().unwrap();
        os.join().unwrap();
    });
}

#[test]
fn all_are_notified() {
    on_each_worker_count(|| {
        let pair = pair();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let pair = pair.clone();
                thread::spawn(move || take_one(&pair))
            })
            .collect();
        thread::yield_now();
        *pair.0.lock().unwrap() = 20;
        pair.1.notify_all();
        waiting.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn timeout() {
    on_each_worker_count(|| {
        let pair = pair();
        let start = Instant::now();
        let held = pair.0.lock().unwrap();
        let (held, result) = pair.1.wait_timeout(held, Duration::from_millis(3)).unwrap();
        assert!(result.timed_out() && start.elapsed() >= Duration::from_millis(3));
        assert!(pair.0.try_lock().is_err(), "the lock is held again");
        let (held, result) = pair
            .1
            .wait_timeout_while(held, Duration::from_millis(1), |number| *number == 0)
            .unwrap();
        assert!(result.timed_out());
        let (_held, result) = pair
            .1
            .wait_timeout_while(held, Duration::ZERO, |number| *number != 0)
            .unwrap();
        assert!(!result.timed_out());
    });
}

#[test]
fn a_deadline_ends_the_wait() {
    on_each_worker_count(|| {
        let pair = pair();
        let late = deadline(Duration::from_millis(1), || take_one(&pair));
        assert!(late.is_err());
        let held = pair.0.try_lock().expect("the wait has left the lock alone");
        let told = deadline(Duration::from_millis(1), || {
            let (_held, result) = pair.1.wait_timeout(held, Duration::MAX).unwrap();
            result.timed_out()
        });
        assert_eq!(told, Ok(true));
    });
}

/// A notification that comes to one who is cancelled goes to another.
#[test]
fn cancel() {
    each_worker_count(|runtime| {
        for _ in 0..200 {
            let pair = pair();
            let spawn = || {
                let pair = pair.clone();
                runtime.spawn(move || take_one(&pair))
            };
            let (cancelled, stays) = (spawn(), spawn());
            thread::yield_now();
            *pair.0.lock().unwrap() = 1;
            cancelled.cancel();
            pair.1.notify_one();
            if let Err(payload) = cancelled.join() {
                assert!(payload.is::<Cancelled>());
            } else {
                *pair.0.lock().unwrap() += 1;
                pair.1.notify_one();
            }
            stays.join().unwrap();
            assert!(!pair.0.is_poisoned());
        }
    });
}

#[test]
fn poison() {
    on_each_worker_count(|| {
        let pair = pair();
        let waits = {
            let pair = pair.clone();
            thread::spawn(move || {
                let held = pair.0.lock().unwrap();
                pair.1.wait(held).is_err()
            })
        };
        let panics = {
            let pair = pair.clone();
            thread::spawn(move || {
                let _held = pair.0.lock().unwrap();
                std::panic::resume_unwind(Box::new(()));
            })
        };
        assert!(panics.join().is_err());
        while !waits.is_finished() {
            pair.1.notify_all();
            thread::yield_now();
        }
        // It may have come to the lock after the panic, and have had the error there.
        assert!(waits.join().unwrap_or(true));
    });
}
