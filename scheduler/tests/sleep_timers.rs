//! Sleeping and deadlines.
//!
//! - nobody wakes too early, and on one worker sleepers wake in the order of their deadlines
//! - very many sleep at once, and timers that are armed and cancelled all the time leave nothing
//!   behind
//! - what has passed does not block, and what never comes blocks until the runtime ends
//! - OS threads sleep too

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{
    each_worker_count, lone_worker, on_each_worker_count, runtime, stacks_returned, watchdog,
};
use roving_scheduler::thread::{self, Builder};
use roving_scheduler::wait::Cancelled;

#[test]
fn nobody_wakes_too_early() {
    on_each_worker_count(|| {
        let handles: Vec<_> = (0..200u64)
            .map(|n| {
                thread::spawn(move || {
                    let start = Instant::now();
                    let length = Duration::from_micros(n * 37 % 5000);
                    thread::sleep(length);
                    assert!(start.elapsed() >= length);
                    let deadline = Instant::now() + length;
                    thread::sleep_until(deadline);
                    assert!(Instant::now() >= deadline);
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}

#[test]
fn on_one_worker_sleepers_wake_in_the_order_of_their_deadlines() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = lone_worker();
    let mut lead = Duration::from_millis(20);
    // Again, if not all slept before the first deadline came.
    while !runtime.run(|| wake_in_order(Instant::now() + lead)) {
        lead *= 2;
    }
}

/// On the only worker. `false` if a deadline came before all slept.
fn wake_in_order(base: Instant) -> bool {
    let asleep = Arc::new(AtomicUsize::new(0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let handles: Vec<_> = (0..100u64)
        .map(|n| {
            let rank = n * 37 % 100;
            let (asleep, order) = (asleep.clone(), order.clone());
            thread::spawn(move || {
                asleep.fetch_add(1, Ordering::Relaxed);
                thread::sleep_until(base + Duration::from_micros(rank));
                order.lock().unwrap().push(rank);
            })
        })
        .collect();
    while asleep.load(Ordering::Relaxed) < 100 {
        thread::yield_now();
    }
    let in_time = Instant::now() < base;
    handles.into_iter().for_each(|h| h.join().unwrap());
    if in_time {
        assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..100));
    }
    in_time
}

/// Where guards take memory mappings, so many as the limit on them lets there be.
#[test]
fn a_hundred_thousand_sleep() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = runtime(2);
    runtime.run(|| {
        let base = Instant::now() + Duration::from_millis(300);
        let mut handles = Vec::new();
        for n in 0..100_000u64 {
            let spawned = Builder::new().stack_size(16 << 10).spawn(move || {
                let deadline = base + Duration::from_micros(n * 7919 % 100_000);
                thread::sleep_until(deadline);
                Instant::now() >= deadline
            });
            match spawned {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    assert!(error.to_string().contains("vm.max_map_count"), "{error}");
                    break;
                }
            }
        }
        assert!(handles.into_iter().all(|h| h.join().unwrap()));
    });
}

#[test]
fn what_has_passed_does_not_block() {
    on_each_worker_count(|| {
        let past = Instant::now();
        thread::sleep(Duration::from_micros(10));
        for _ in 0..1000 {
            thread::sleep(Duration::ZERO);
            thread::sleep_until(past);
        }
    });
}

#[test]
fn what_never_comes_blocks_until_the_runtime_ends() {
    let _stacks = stacks_returned();
    for workers in common::WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let forever: Vec<_> = (0..100)
            .map(|n| {
                runtime.spawn(move || match n % 3 {
                    0 => thread::sleep(Duration::MAX),
                    1 => thread::sleep(Duration::from_secs(u64::from(u32::MAX))),
                    _ => thread::park_timeout(Duration::MAX),
                })
            })
            .collect();
        runtime.run(|| thread::sleep(Duration::from_millis(5)));
        assert!(forever.iter().all(|h| !h.is_finished()));
        runtime.shutdown();
        for handle in forever {
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
    }
}

#[test]
fn os_threads_sleep_too() {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(3));
    assert!(start.elapsed() >= Duration::from_millis(3));
    let deadline = Instant::now() + Duration::from_millis(3);
    thread::sleep_until(deadline);
    assert!(Instant::now() >= deadline);
    thread::park_timeout(Duration::from_millis(3));
    assert!(Instant::now() >= deadline + Duration::from_millis(3));
}

/// A long timeout that is armed and cancelled again and again must not hold up the short ones.
#[test]
fn timers_come_and_go() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            let handles: Vec<_> = (0..10)
                .map(|_| {
                    thread::spawn(|| {
                        for n in 0..300u64 {
                            thread::current().unpark();
                            thread::park_timeout(Duration::from_secs(3600));
                            if n % 100 == 0 {
                                thread::sleep(Duration::from_micros(n));
                            }
                        }
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        });
    });
}

/// The deadline of one thread is armed while its worker already sleeps until a later one.
#[test]
fn an_earlier_deadline_comes_after_a_later_one() {
    each_worker_count(|runtime| {
        let late = runtime.spawn(|| thread::park_timeout(Duration::from_secs(3600)));
        for _ in 0..20 {
            let early = runtime.spawn(|| thread::sleep(Duration::from_millis(1)));
            early.join().unwrap();
        }
        late.thread().unpark();
        late.join().unwrap();
    });
}
