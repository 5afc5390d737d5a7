//! Fresh green threads spread over the workers. Each test ends only if as many run at the same time
//! as there are workers, because none of them gives its worker back before all have met.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::thread;

/// Arrives, and waits for `all` without giving the worker back.
fn meet(arrived: &AtomicUsize, all: usize) {
    arrived.fetch_add(1, Ordering::AcqRel);
    while arrived.load(Ordering::Acquire) < all {
        std::thread::yield_now();
    }
}

#[test]
fn what_one_spawns_is_run_by_all() {
    on_each_worker_count(|| {
        let workers = thread::available_parallelism().unwrap().get();
        for _ in 0..50 {
            let arrived = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (1..workers)
                .map(|_| {
                    let arrived = arrived.clone();
                    thread::spawn(move || meet(&arrived, workers))
                })
                .collect();
            meet(&arrived, workers);
            handles.into_iter().for_each(|h| h.join().unwrap());
        }
    });
}

#[test]
fn what_an_os_thread_spawns_is_run_by_all() {
    each_worker_count(|runtime| {
        let workers = runtime.workers();
        for _ in 0..50 {
            let arrived = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    let arrived = arrived.clone();
                    runtime.spawn(move || meet(&arrived, workers))
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        }
    });
}

/// The spawner is the second link of a chain in which each runs on another worker.
#[test]
fn a_chain_of_spawns_is_run_by_all() {
    fn link(arrived: &Arc<AtomicUsize>, left: usize, all: usize) {
        let child = (left > 1).then(|| {
            let arrived = arrived.clone();
            thread::spawn(move || link(&arrived, left - 1, all))
        });
        meet(arrived, all);
        if let Some(child) = child {
            child.join().unwrap();
        }
    }
    on_each_worker_count(|| {
        let workers = thread::available_parallelism().unwrap().get();
        for _ in 0..50 {
            link(&Arc::new(AtomicUsize::new(0)), workers, workers);
        }
    });
}

/// A thief takes many at a time, and others steal them from the thief.
#[test]
fn a_long_queue_is_shared() {
    on_each_worker_count(|| {
        let workers = thread::available_parallelism().unwrap().get();
        for _ in 0..5 {
            let ran = Arc::new(AtomicUsize::new(0));
            let arrived = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..1000)
                .map(|n| {
                    let (ran, arrived) = (ran.clone(), arrived.clone());
                    thread::spawn(move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                        // The last ones need every worker but the spawner's.
                        if n > 1000 - workers {
                            meet(&arrived, workers);
                        }
                    })
                })
                .collect();
            meet(&arrived, workers);
            handles.into_iter().for_each(|h| h.join().unwrap());
            assert_eq!(ran.load(Ordering::Relaxed), 1000);
        }
    });
}
