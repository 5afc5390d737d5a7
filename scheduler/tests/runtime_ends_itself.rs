//! A runtime that is dropped on one of its own green threads, which cannot wait for its own end: it
//! begins the end and goes on.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{WORKER_COUNTS, runtime, watchdog};
use roving_scheduler::thread;
use roving_scheduler::wait::Cancelled;

#[test]
fn a_runtime_is_dropped_on_its_own_green_thread() {
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let parked = runtime.spawn(thread::park);
        let (give, given) = mpsc::channel();
        let handle = runtime.spawn(move || {
            let runtime: roving_scheduler::Runtime = loop {
                match given.try_recv() {
                    Ok(runtime) => break runtime,
                    Err(_) => thread::yield_now(),
                }
            };
            drop(runtime);
            // The drop has cancelled this thread too, which goes on until its next wait.
            thread::sleep(Duration::MAX);
        });
        give.send(runtime).unwrap();
        assert!(handle.join().unwrap_err().is::<Cancelled>());
        assert!(parked.join().unwrap_err().is::<Cancelled>());
    }
}

#[test]
fn it_may_be_shut_down_there_too() {
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (give, given) = mpsc::channel::<roving_scheduler::Runtime>();
        let handle = runtime.spawn(move || {
            let runtime = loop {
                match given.try_recv() {
                    Ok(runtime) => break runtime,
                    Err(_) => thread::yield_now(),
                }
            };
            runtime.shutdown();
            "still here"
        });
        give.send(runtime).unwrap();
        assert_eq!(handle.join().unwrap(), "still here");
    }
}
