//! Nobody starves. Each test ends only if those whom somebody else tries to starve go on.
//!
//! - beside some that yield for ever, and pairs that wake each other for ever: timers, parked
//!   threads, fresh threads from within and without
//! - beside one that computes for ever, with more than one worker: whatever has not started on the
//!   same worker
//! - beside one that keeps its worker until those have run that it has woken, with more than one worker

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use common::{
    beside_one_that_computes, beside_some_that_yield, compute_until, each_plural_worker_count,
    each_worker_count, lone_worker, stacks_returned, watchdog,
};
use roving_scheduler::channel::unbounded;
use roving_scheduler::thread::{self, JoinHandle};
use roving_scheduler::{Runtime, ThreadLocals, blocking};

/// Everything that must go on: a little of each, some of it on green threads, some from this OS
/// thread.
fn everything_goes_on(runtime: &Runtime) {
    let from_within = runtime.spawn(|| {
        for n in 0..10 {
            thread::sleep(Duration::from_micros(n * 50));
            let child = thread::spawn(move || {
                thread::park();
                n
            });
            thread::yield_now();
            child.thread().unpark();
            assert_eq!(child.join().unwrap(), n);
            assert_eq!(blocking::run(|| n), n);
        }
    });
    for n in 0..10 {
        assert_eq!(runtime.run(|| n), n);
        let parked = runtime.spawn(thread::park);
        parked.thread().unpark();
        parked.join().unwrap();
    }
    from_within.join().unwrap();
}

#[test]
fn some_yield_for_ever() {
    each_worker_count(|runtime| {
        beside_some_that_yield(runtime, || everything_goes_on(runtime));
    });
}

/// Two that wake each other until `stop`.
fn pair(runtime: &Runtime, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = stop.clone();
    runtime.spawn(move || {
        let main = thread::current();
        let stop_partner = stop.clone();
        let partner = thread::spawn(move || {
            while !stop_partner.load(Ordering::Acquire) {
                thread::park();
                main.unpark();
            }
            main.unpark();
        });
        while !stop.load(Ordering::Acquire) {
            partner.thread().unpark();
            thread::park();
        }
        partner.thread().unpark();
        partner.join().unwrap();
    })
}

#[test]
fn pairs_wake_each_other_for_ever() {
    each_worker_count(|runtime| {
        for pairs in [1, 2 * runtime.workers()] {
            let stop = Arc::new(AtomicBool::new(false));
            let pairs: Vec<_> = (0..pairs).map(|_| pair(runtime, &stop)).collect();
            everything_goes_on(runtime);
            stop.store(true, Ordering::Release);
            pairs.into_iter().for_each(|p| p.join().unwrap());
        }
    });
}

/// Each one wakes the next of a ring and is woken again, so that the queue never empties.
#[test]
fn a_ring_goes_round_for_ever() {
    each_worker_count(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let ring = runtime.spawn(move || {
            let mut next = thread::current();
            let links: Vec<_> = (0..20)
                .map(|_| {
                    let (wakes, stop) = (next.clone(), seen.clone());
                    let link = thread::spawn(move || {
                        while !stop.load(Ordering::Acquire) {
                            thread::park();
                            wakes.unpark();
                        }
                    });
                    next = link.thread().clone();
                    link
                })
                .collect();
            while !seen.load(Ordering::Acquire) {
                next.unpark();
                thread::park();
            }
            for link in links {
                link.thread().unpark();
                link.join().unwrap();
            }
        });
        everything_goes_on(runtime);
        stop.store(true, Ordering::Release);
        ring.thread().unpark();
        ring.join().unwrap();
    });
}

#[test]
fn one_computes_for_ever() {
    each_plural_worker_count(|runtime| {
        for _ in 0..5 {
            beside_one_that_computes(runtime, || everything_goes_on(runtime));
        }
    });
}

/// One sleeps, and its worker, whose timer that is, computes until the sleep is over.
#[test]
fn sleep_ends_though_its_worker_computes() {
    each_plural_worker_count(|runtime| {
        if runtime.thread_locals() == ThreadLocals::Pinned {
            return;
        }
        for _ in 0..20 {
            runtime.run(|| {
                let is_over = Arc::new(AtomicBool::new(false));
                let over = is_over.clone();
                let sleeps = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(2));
                    over.store(true, Ordering::Release);
                });
                thread::yield_now();
                compute_until(&is_over);
                sleeps.join().unwrap();
            });
        }
    });
}

#[test]
fn what_it_spawned_is_stolen_from_one_that_computes() {
    each_plural_worker_count(|runtime| {
        for _ in 0..20 {
            runtime.run(|| {
                let done = Arc::new(AtomicBool::new(false));
                for n in 0..100 {
                    let done = done.clone();
                    thread::spawn(move || {
                        thread::sleep(Duration::from_micros(10));
                        if n == 99 {
                            done.store(true, Ordering::Release);
                        }
                    });
                }
                compute_until(&done);
            });
        }
    });
}

/// Thieves that have come for nothing many times come once more.
#[test]
fn one_alone_is_stolen_after_many_that_were_joined_at_once() {
    each_plural_worker_count(|runtime| {
        for _ in 0..20 {
            runtime.run(|| {
                for n in 0..1000 {
                    assert_eq!(thread::spawn(move || n).join().unwrap(), n);
                }
                let done = Arc::new(AtomicBool::new(false));
                let seen = done.clone();
                let alone = thread::spawn(move || seen.store(true, Ordering::Release));
                compute_until(&done);
                alone.join().unwrap();
            });
        }
    });
}

/// Runs `test` again and again where those that have begun move.
fn each_that_moves(test: impl Fn(&Runtime)) {
    each_plural_worker_count(|runtime| {
        if runtime.thread_locals() == ThreadLocals::Pinned {
            return;
        }
        for _ in 0..10 {
            test(runtime);
        }
    });
}

#[test]
fn the_woken_one_runs_though_its_waker_blocks_its_worker() {
    each_that_moves(|runtime| {
        let (ask, asked) = unbounded();
        let (answer, answered) = std::sync::mpsc::channel();
        let answers = runtime.spawn(move || {
            for question in asked {
                answer.send(question + 1).unwrap();
            }
        });
        runtime.run(move || {
            for question in 0..3 {
                thread::yield_now();
                ask.send(question).unwrap();
                assert_eq!(answered.recv(), Ok(question + 1));
            }
        });
        answers.join().unwrap();
    });
}

#[test]
fn the_woken_one_runs_though_its_waker_computes() {
    each_that_moves(|runtime| {
        runtime.run(|| {
            let done = Arc::new(AtomicBool::new(false));
            let seen = done.clone();
            let woken = thread::spawn(move || {
                thread::park();
                seen.store(true, Ordering::Release);
            });
            thread::yield_now();
            woken.thread().unpark();
            compute_until(&done);
            woken.join().unwrap();
        });
    });
}

/// Each wakes the next one and keeps its worker until that has done so too. The last one needs the last
/// worker.
#[test]
fn a_chain_of_the_woken_runs_though_each_keeps_its_worker() {
    each_that_moves(|runtime| {
        let mut next: Option<JoinHandle<()>> = None;
        for link in 0..runtime.workers() {
            let after = next.take();
            next = Some(runtime.spawn(move || {
                thread::park();
                let Some(after) = after else { return };
                let done = Arc::new(AtomicBool::new(false));
                let seen = done.clone();
                let woken = thread::spawn(move || {
                    thread::park();
                    after.thread().unpark();
                    after.join().unwrap();
                    seen.store(true, Ordering::Release);
                });
                thread::yield_now();
                woken.thread().unpark();
                if link % 2 == 0 {
                    compute_until(&done);
                } else {
                    while !done.load(Ordering::Acquire) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                woken.join().unwrap();
            }));
        }
        let first = next.expect("there are some");
        first.thread().unpark();
        first.join().unwrap();
    });
}

/// All but one worker are asleep for so long that nobody watches any more.
#[test]
fn the_woken_one_runs_after_all_have_slept_deeply() {
    each_plural_worker_count(|runtime| {
        if runtime.thread_locals() == ThreadLocals::Pinned {
            return;
        }
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        let sleeper = runtime.spawn(move || {
            thread::park();
            seen.store(true, Ordering::Release);
        });
        std::thread::sleep(Duration::from_millis(600));
        let wakes = sleeper.thread().clone();
        runtime.run(move || {
            wakes.unpark();
            compute_until(&done);
        });
        sleeper.join().unwrap();
    });
}

/// A flood of fresh threads does not hold up those that have begun, nor the other way round.
#[test]
fn what_has_begun_goes_on_before_all_have_begun() {
    const THREADS: i64 = 1000;
    let _stacks = stacks_returned();
    let _watchdog = watchdog("with one worker");
    let runtime = lone_worker();
    let (begun, most) = runtime.run(|| {
        let (begun, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (begun, most) = (begun.clone(), most.clone());
                thread::spawn(move || {
                    let now = begun.fetch_add(1, Ordering::Relaxed) + 1;
                    most.fetch_max(now, Ordering::Relaxed);
                    thread::yield_now();
                    begun.fetch_sub(1, Ordering::Relaxed);
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        (begun.load(Ordering::Relaxed), most.load(Ordering::Relaxed))
    });
    assert_eq!(begun, 0);
    assert!((2..THREADS / 10).contains(&most), "{most} at a time");
}

/// One that polls for what another must do gets it, though it keeps the only worker.
#[test]
fn those_who_spin_let_the_others_run() {
    use roving_scheduler::sync::{Mutex, OnceLock};

    common::on_each_worker_count(|| {
        let (sender, receiver) = unbounded();
        let (ask, asked) = unbounded();
        let answers = thread::spawn(move || {
            for question in asked {
                sender.send(question).unwrap();
            }
        });
        thread::yield_now();
        ask.send(1).unwrap();
        while receiver.try_recv().is_err() {}
        drop(ask);
        while !answers.is_finished() {}

        static CELL: OnceLock<u32> = OnceLock::new();
        thread::spawn(|| CELL.set(1));
        while CELL.get().is_none() {}

        static LOCK: Mutex<()> = Mutex::new(());
        let held = thread::spawn(|| {
            let _held = LOCK.lock().unwrap();
            thread::yield_now();
        });
        thread::yield_now();
        while LOCK.try_lock().is_err() {}
        held.join().unwrap();
    });
}
