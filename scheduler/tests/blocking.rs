//! Calls that block in the system, off the workers.
//!
//! - other green threads of the worker go on meanwhile; results and panics come back
//! - more calls than helper threads all get their turn
//! - a shutdown does not wait for such a call

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use common::{WORKER_COUNTS, on_each_worker_count, runtime, stacks_returned, watchdog};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{blocking, is_green, thread};

#[test]
fn the_others_go_on_meanwhile() {
    on_each_worker_count(|| {
        let (let_go, held) = mpsc::channel();
        let blocks = thread::spawn(move || blocking::run(move || held.recv().unwrap()).unwrap());
        // On one worker too, so this is where the call does not block.
        for n in 0..100 {
            assert_eq!(thread::spawn(move || n).join().unwrap(), n);
        }
        let_go.send("go").unwrap();
        assert_eq!(blocks.join().unwrap(), "go");
    });
}

#[test]
fn it_runs_on_an_os_thread() {
    on_each_worker_count(|| assert!(!blocking::run(is_green).unwrap()));
    assert_eq!(
        blocking::run(|| std::thread::current().id()).unwrap(),
        std::thread::current().id(),
        "an OS thread just calls it"
    );
}

#[test]
fn panics_go_on_in_the_caller() {
    on_each_worker_count(|| {
        for n in 0..20u64 {
            let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                blocking::run(move || panic::resume_unwind(Box::new(n)))
            }));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&n));
            assert_eq!(blocking::run(|| 1).unwrap(), 1);
        }
    });
}

#[test]
fn more_calls_than_helpers_get_their_turn() {
    on_each_worker_count(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..200)
            .map(|n| {
                let calls = calls.clone();
                thread::spawn(move || {
                    blocking::run(move || {
                        std::thread::yield_now();
                        calls.fetch_add(1, Ordering::AcqRel);
                        n
                    })
                    .unwrap()
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
        assert_eq!(calls.load(Ordering::Acquire), 200);
    });
}

#[test]
fn a_shutdown_does_not_wait_for_the_call() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (let_go, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let blocks = runtime.spawn(move || {
            blocking::run(move || {
                tell.send(()).unwrap();
                held.recv()
            })
        });
        told.recv().unwrap();
        runtime.shutdown();
        assert!(blocks.join().unwrap_err().is::<Cancelled>());
        let_go.send(()).unwrap();
    }
}
