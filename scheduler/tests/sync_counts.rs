//! `sync::{Barrier, Semaphore, WaitGroup, Notify}`: nobody is counted twice, and no permit is lost.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::sync::{Barrier, Notify, Semaphore, WaitGroup};
use roving_scheduler::{deadline, thread};

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn a_barrier_has_one_leader_a_round() {
    each_worker_count(|runtime| {
        let barrier = Arc::new(Barrier::new(6));
        let leaders = Arc::new(AtomicUsize::new(0));
        let wait = || {
            let (barrier, leaders) = (barrier.clone(), leaders.clone());
            move || {
                for _ in 0..100 {
                    let leads = barrier.wait().is_leader();
                    leaders.fetch_add(usize::from(leads), Ordering::Relaxed);
                }
            }
        };
        let green: Vec<_> = (0..4).map(|_| runtime.spawn(wait())).collect();
        let os: Vec<_> = (0..2).map(|_| std::thread::spawn(wait())).collect();
        green.into_iter().for_each(|t| t.join().unwrap());
        os.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(leaders.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn one_who_leaves_a_barrier_has_not_come() {
    on_each_worker_count(|| {
        let barrier = Arc::new(Barrier::new(2));
        for _ in 0..3 {
            assert!(deadline(SHORT, || barrier.wait()).is_err());
        }
        let waits = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait().is_leader())
        };
        thread::sleep(SHORT);
        let leads = barrier.wait().is_leader();
        assert!(leads != waits.join().unwrap());
        assert!(Barrier::new(1).wait().is_leader() && Barrier::new(0).wait().is_leader());
    });
}

#[test]
fn a_semaphore_limits() {
    each_worker_count(|runtime| {
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..20)
            .map(|n| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                runtime.spawn(move || {
                    for _ in 0..50 {
                        let permit = semaphore.acquire_many(1 + n % 3);
                        let now = inside.fetch_add(permit.permits(), Ordering::SeqCst);
                        assert!(now + permit.permits() <= 3);
                        thread::yield_now();
                        inside.fetch_sub(permit.permits(), Ordering::SeqCst);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn permits_are_served_in_order_and_survive_those_who_give_up() {
    on_each_worker_count(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let held = semaphore.acquire();
        assert!(semaphore.try_acquire_for(SHORT).is_none());
        assert!(deadline(SHORT, || drop(semaphore.acquire())).is_err());
        let many = {
            let semaphore = semaphore.clone();
            thread::spawn(move || drop(semaphore.acquire_many(2)))
        };
        while semaphore.available_permits() != 0 || !semaphore_has_waiter(&semaphore) {
            thread::yield_now();
        }
        semaphore.add_permits(1);
        thread::yield_now();
        assert!(
            semaphore.try_acquire().is_none(),
            "nobody overtakes the one who waits for two"
        );
        many.cancel();
        assert!(many.join().is_err());
        assert_eq!(semaphore.available_permits(), 1);
        drop(held);
        assert_eq!(semaphore.available_permits(), 2);
        semaphore.acquire().forget();
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// A try that fails although a permit is there tells that somebody waits.
fn semaphore_has_waiter(semaphore: &Semaphore) -> bool {
    semaphore.try_acquire_many(0).is_none()
}

#[test]
fn cancelled_waiters_lose_no_permit() {
    each_worker_count(|runtime| {
        let semaphore = Arc::new(Semaphore::new(2));
        for _ in 0..200 {
            let threads: Vec<_> = (0..6)
                .map(|_| {
                    let semaphore = semaphore.clone();
                    runtime.spawn(move || {
                        let _permit = semaphore.acquire();
                        thread::yield_now();
                    })
                })
                .collect();
            threads.iter().step_by(2).for_each(|t| t.cancel());
            threads.into_iter().for_each(|t| drop(t.join()));
            assert_eq!(semaphore.available_permits(), 2);
        }
    });
}

#[test]
fn a_wait_group_waits_for_all() {
    each_worker_count(|runtime| {
        let done = Arc::new(AtomicUsize::new(0));
        let group = WaitGroup::new();
        for _ in 0..50 {
            let (group, done) = (group.clone(), done.clone());
            runtime.spawn(move || {
                thread::yield_now();
                done.fetch_add(1, Ordering::Relaxed);
                drop(group);
            });
        }
        runtime.run(move || group.wait());
        assert_eq!(done.load(Ordering::Relaxed), 50);
        let group = WaitGroup::new();
        let _kept = group.clone();
        assert!(runtime.run(|| deadline(SHORT, || group.wait())).is_err());
    });
}

#[test]
fn a_notification_is_kept_for_one() {
    on_each_worker_count(|| {
        let notify = Arc::new(Notify::new());
        assert!(!notify.wait_timeout(SHORT));
        notify.notify_one();
        notify.notify_one();
        notify.wait();
        assert!(!notify.wait_timeout(SHORT), "there is one permit");
        notify.notify_all();
        assert!(!notify.wait_timeout(SHORT), "nobody waited");
        assert!(deadline(SHORT, || notify.wait()).is_err());
        let woken = Arc::new(AtomicUsize::new(0));
        let mut waiting: Vec<_> = (0..5)
            .map(|_| {
                let (notify, woken) = (notify.clone(), woken.clone());
                thread::spawn(move || {
                    notify.wait();
                    woken.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        thread::sleep(SHORT);
        let cancelled = waiting.remove(0);
        cancelled.cancel();
        for n in 1..=4 {
            notify.notify_one();
            // One that does not wait yet must have the permit before it is given again.
            while woken.load(Ordering::Relaxed) < n {
                thread::yield_now();
            }
        }
        if cancelled.join().is_ok() {
            notify.notify_one();
        }
        waiting.into_iter().for_each(|t| t.join().unwrap());
        assert!(!notify.wait_timeout(SHORT), "each has woken one");
    });
}

#[test]
fn permits_that_cannot_be_counted_are_given_back_without_a_panic() {
    on_each_worker_count(|| {
        let semaphore = Semaphore::new(usize::MAX);
        let permit = semaphore.acquire();
        semaphore.add_permits(1);
        drop(permit);
        assert_eq!(semaphore.available_permits(), usize::MAX);
    });
}
