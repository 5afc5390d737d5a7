//! What a runtime counts: exactly, never less than before, and in all modes.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    WORKER_COUNTS, beside_one_that_computes, compute_until, each_kind, each_worker_count,
    lone_worker, stacks_returned, wait_until_parked, watchdog,
};
use roving_scheduler::sync::Barrier;
use roving_scheduler::thread::{self, Thread};
use roving_scheduler::{Builder, Handle, Metrics, Runtime, blocking, channel};

/// Runs `test` on a runtime of each size and mode.
fn each_mode(test: impl Fn(&Runtime)) {
    let kinds = |builder: Builder| {
        // SAFETY: nothing here uses a thread-local over a suspension, or keeps what is not `Send`.
        let shared = unsafe { builder.clone().shared_thread_locals() };
        [builder.clone(), builder.pinned_thread_locals(), shared]
    };
    each_kind(kinds, test);
}

fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

/// What holds between the numbers of any runtime at any moment.
fn assert_adds_up(metrics: &Metrics) {
    assert_eq!(metrics.spawned - metrics.ended, metrics.alive as u64);
    assert_eq!(
        metrics.alive,
        metrics.running + metrics.runnable + metrics.parked
    );
    assert_eq!(
        metrics.runs,
        metrics.ended + metrics.parks + metrics.yields,
        "each run ends with one of them"
    );
    assert!(metrics.wake_ups <= metrics.parks);
    assert!(metrics.from_outside <= metrics.spawned + metrics.wake_ups);
    let of_workers: u64 = metrics.workers.iter().map(|worker| worker.runs).sum();
    assert!(of_workers >= metrics.runs, "they are read later");
}

#[test]
fn what_has_happened_is_counted_once() {
    each_mode(|runtime| {
        const THREADS: u64 = 30;
        const YIELDS: u64 = 100;
        let before = runtime.metrics();
        assert_eq!((before.spawned, before.runs, before.alive), (0, 0, 0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| runtime.spawn(|| (0..YIELDS).for_each(|_| thread::yield_now())))
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let after = runtime.metrics();
        assert_adds_up(&after);
        assert_eq!((after.spawned, after.ended), (THREADS, THREADS));
        assert_eq!(after.yields, THREADS * YIELDS);
        assert_eq!((after.parks, after.wake_ups), (0, 0));
        assert_eq!(after.from_outside, THREADS);
        assert_eq!(after.alive, 0);
        let of_workers: u64 = after.workers.iter().map(|worker| worker.runs).sum();
        assert_eq!(of_workers, after.runs);
    });
}

#[test]
fn each_wait_is_ended_by_one_wake_up() {
    each_mode(|runtime| {
        const ROUNDS: u64 = 500;
        let (to, from) = (channel::bounded(0), channel::bounded(0));
        let (ping, pong) = (to.0, from.1);
        let echo = runtime.spawn(move || {
            while let Ok(message) = to.1.recv() {
                from.0.send(message).unwrap();
            }
        });
        runtime.run(move || {
            for round in 0..ROUNDS {
                ping.send(round).unwrap();
                assert_eq!(pong.recv(), Ok(round));
            }
        });
        echo.join().unwrap();
        let after = runtime.metrics();
        assert_adds_up(&after);
        assert_eq!((after.spawned, after.ended), (2, 2));
        assert!(after.parks >= ROUNDS, "{after}");
        assert_eq!(after.parks, after.wake_ups, "{after}");
    });
}

#[test]
fn who_waits_for_what_is_told_of_a_runtime_at_rest() {
    each_mode(|runtime| {
        const THREADS: usize = 20;
        let parked: Vec<_> = (0..THREADS).map(|_| runtime.spawn(thread::park)).collect();
        let asleep: Vec<_> = (0..THREADS)
            .map(|_| runtime.spawn(|| thread::park_timeout(Duration::MAX / 4)))
            .collect();
        let all = || parked.iter().chain(&asleep);
        all().for_each(|t| wait_until_parked(t.thread()));
        let metrics = runtime.metrics();
        assert_adds_up(&metrics);
        assert_eq!(metrics.parked, 2 * THREADS, "{metrics}");
        assert_eq!((metrics.running, metrics.runnable), (0, 0), "{metrics}");
        assert_eq!(metrics.parks - metrics.wake_ups, 2 * THREADS as u64);
        assert!(metrics.stacks_in_use >= 2 * THREADS);
        assert!(metrics.stack_bytes_in_use >= metrics.stacks_in_use * (16 << 10));
        all().for_each(|t| t.thread().unpark());
        parked
            .into_iter()
            .chain(asleep)
            .for_each(|t| t.join().unwrap());
        let after = runtime.metrics();
        assert_eq!(after.parks, after.wake_ups);
        assert_eq!(after.alive, 0);
    });
}

#[test]
fn timers_are_counted() {
    each_worker_count(|runtime| {
        const THREADS: usize = 20;
        let long = || thread::sleep(Duration::from_secs(3600));
        let asleep: Vec<_> = (0..THREADS).map(|_| runtime.spawn(long)).collect();
        asleep.iter().for_each(|t| wait_until_parked(t.thread()));
        let metrics = runtime.metrics();
        assert_eq!(
            (metrics.timers, metrics.armed_timers),
            (THREADS, THREADS as u64)
        );
        assert_eq!(metrics.expired_timers, 0);
        runtime.run(|| thread::sleep(Duration::from_millis(1)));
        let metrics = runtime.metrics();
        assert_eq!(metrics.expired_timers, 1);
        asleep.iter().for_each(|t| t.cancel());
        asleep.into_iter().for_each(|t| drop(t.join()));
        let metrics = runtime.metrics();
        assert_eq!(
            (metrics.timers, metrics.armed_timers),
            (0, THREADS as u64 + 1)
        );
    });
}

/// Fresh threads, and in pinned mode also those that have run, wait in queues of their own.
#[test]
fn what_waits_for_a_worker_that_computes_is_in_its_queues() {
    const THREADS: usize = 20;
    let _stacks = stacks_returned();
    for pinned in [false, true] {
        let _watchdog = watchdog(format_args!("pinned: {pinned}"));
        let builder = Builder::new().workers(1).stuck_after(Duration::ZERO);
        let builder = match pinned {
            true => builder.pinned_thread_locals(),
            false => builder,
        };
        let runtime = builder.build().unwrap();
        let parked: Vec<_> = (0..THREADS).map(|_| runtime.spawn(thread::park)).collect();
        parked.iter().for_each(|t| wait_until_parked(t.thread()));
        let (computes, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (begun, seen) = (computes.clone(), stop.clone());
        let threads: Vec<_> = parked.iter().map(|t| t.thread().clone()).collect();
        let computer = runtime.spawn(move || {
            threads.iter().for_each(Thread::unpark);
            let fresh: Vec<_> = (0..THREADS).map(|_| thread::spawn(|| ())).collect();
            begun.store(true, Ordering::Release);
            compute_until(&seen);
            fresh
        });
        wait_until(|| computes.load(Ordering::Acquire));
        let metrics = runtime.metrics();
        assert_adds_up(&metrics);
        assert_eq!((metrics.running, metrics.parked), (1, 0), "{metrics}");
        assert_eq!(metrics.runnable, 2 * THREADS, "{metrics}");
        assert_eq!(metrics.workers[0].queued, 2 * THREADS, "{metrics}");
        let outside: Vec<_> = (0..THREADS).map(|_| runtime.spawn(|| ())).collect();
        let metrics = runtime.metrics();
        assert_eq!(metrics.injected, THREADS, "{metrics}");
        assert_eq!(metrics.runnable, 3 * THREADS, "{metrics}");
        stop.store(true, Ordering::Release);
        let fresh = computer.join().unwrap();
        let all = parked.into_iter().chain(fresh).chain(outside);
        all.for_each(|t| t.join().unwrap());
        let metrics = runtime.metrics();
        assert_eq!((metrics.injected, metrics.workers[0].queued), (0, 0));
        runtime.shutdown();
    }
}

#[test]
fn a_place_that_is_handed_over_is_counted() {
    const CALLS: u64 = 50;
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(format_args!("with {workers} workers"));
        let builder = Builder::new().workers(workers).stuck_after(Duration::ZERO);
        let runtime = builder.build().unwrap();
        runtime.run(|| {
            for call in 0..CALLS {
                let handle = Handle::current().unwrap();
                assert_eq!(handle.metrics().hand_overs, call);
                blocking::run(|| assert_eq!(handle.metrics().stuck, 1));
                assert_eq!(handle.metrics().stuck, 0);
            }
        });
        let metrics = runtime.metrics();
        assert_eq!(metrics.hand_overs, CALLS);
        assert_eq!(metrics.workers.len(), workers + metrics.spares);
        assert!(metrics.workers.iter().skip(workers).all(|w| w.is_spare));
        runtime.shutdown();
    }
}

#[test]
fn of_the_runs_of_a_worker_one_in_so_many_is_timed() {
    each_mode(|runtime| {
        let threads: Vec<_> = (0..20)
            .map(|_| runtime.spawn(|| (0..1000).for_each(|_| thread::yield_now())))
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let metrics = runtime.metrics();
        let timed = |runs| runs / 101;
        let workers = metrics.workers.iter().filter(|worker| !worker.is_spare);
        let expected: u64 = workers.map(|worker| timed(worker.runs)).sum();
        let found = metrics.run_lengths.count();
        assert!(
            found >= expected && found <= timed(metrics.runs),
            "{metrics}"
        );
        assert!(metrics.delays.count() > 0, "{metrics}");
        assert!(metrics.run_lengths.sum() <= metrics.uptime * 9, "{metrics}");
    });
}

/// What a thread waits for its worker is in the histogram of delays, and what the worker does meanwhile in that of runs.
#[test]
fn a_long_run_is_seen_and_a_long_delay() {
    const LONG: Duration = Duration::from_millis(1);
    let _stacks = stacks_returned();
    let _watchdog = watchdog("on a lone worker");
    let runtime = lone_worker();
    let is_long = |histogram: &roving_scheduler::Histogram| {
        let mut buckets = histogram.buckets();
        buckets.any(|(below, count)| count > 0 && below >= LONG)
    };
    wait_until(|| {
        runtime.run(|| {
            let threads: Vec<_> = (0..60)
                .map(|_| thread::spawn(|| blocking::run(|| std::thread::sleep(LONG))))
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
        let metrics = runtime.metrics();
        is_long(&metrics.run_lengths) && is_long(&metrics.delays)
    });
    runtime.shutdown();
}

#[test]
fn a_worker_is_busy_or_idle() {
    each_worker_count(|runtime| {
        let busy = || -> Duration { runtime.metrics().workers.iter().map(|w| w.busy).sum() };
        let idle = || -> Duration { runtime.metrics().workers.iter().map(|w| w.idle).sum() };
        let before = idle();
        wait_until(|| idle() > before + Duration::from_millis(1));
        beside_one_that_computes(runtime, || {
            let before = busy();
            wait_until(|| busy() > before + Duration::from_millis(1));
        });
        let metrics = runtime.metrics();
        let uptime = runtime.metrics().uptime;
        for worker in metrics.workers {
            let both = worker.busy + worker.idle;
            assert!(both <= uptime + uptime / 100, "{worker}, {uptime:?}");
        }
    });
}

/// While everything changes, nothing becomes less, and nothing is seen before what it comes of.
#[test]
fn counts_only_grow() {
    each_mode(|runtime| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut before = runtime.metrics();
                let mut reads = 0;
                while !done.load(Ordering::Acquire) || reads == 0 {
                    let now = runtime.metrics();
                    assert_adds_up(&now);
                    let counts = |m: &Metrics| {
                        let workers = m.workers.iter().take(runtime.workers());
                        let of_workers = workers.flat_map(|w| [w.runs, w.steals, w.sleeps]);
                        let mut counts = vec![
                            m.spawned,
                            m.ended,
                            m.runs,
                            m.parks,
                            m.yields,
                            m.wake_ups,
                            m.from_outside,
                            m.steals,
                            m.sleeps,
                            m.armed_timers,
                            m.expired_timers,
                            m.hand_overs,
                            m.run_lengths.count(),
                            m.delays.count(),
                        ];
                        counts.extend(of_workers);
                        counts
                    };
                    for (before, now) in counts(&before).into_iter().zip(counts(&now)) {
                        assert!(before <= now, "{before} then {now}");
                    }
                    before = now;
                    reads += 1;
                }
            });
            for _ in 0..5 {
                runtime.run(|| {
                    let barrier = Arc::new(Barrier::new(8));
                    let threads: Vec<_> = (0..8)
                        .map(|_| {
                            let barrier = barrier.clone();
                            thread::spawn(move || {
                                for _ in 0..10 {
                                    barrier.wait();
                                    thread::yield_now();
                                    thread::spawn(thread::yield_now).join().unwrap();
                                    thread::sleep(Duration::from_micros(50));
                                    blocking::run(std::thread::yield_now);
                                }
                            })
                        })
                        .collect();
                    threads.into_iter().for_each(|t| t.join().unwrap());
                });
            }
            done.store(true, Ordering::Release);
            reader.join().unwrap();
        });
        let after = runtime.metrics();
        assert_eq!((after.parks, after.alive), (after.wake_ups, 0), "{after}");
    });
}

#[test]
fn people_can_read_them() {
    each_worker_count(|runtime| {
        runtime.run(|| ());
        let told = runtime.metrics().to_string();
        assert!(
            told.contains("green threads: 1 spawned, 1 ended, 0 alive"),
            "{told}"
        );
        assert!(told.contains("\nworker 0: busy for "), "{told}");
    });
}
