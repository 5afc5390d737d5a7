//! Very many green threads, parked and joined.
//!
//! Where only `mprotect` can guard stacks, the system's limit on memory mappings stops them before,
//! with an error that says so.

// ThreadSanitizer has not so many threads.
#![cfg(not(feature = "thread-sanitizer"))]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{runtime, stacks_returned, watchdog};
use roving_scheduler::thread::{self, Builder};

const MANY: usize = 200_000;

#[test]
fn two_hundred_thousand_are_started_parked_and_joined() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = runtime(2);
    runtime.run(|| {
        let started = Arc::new(AtomicUsize::new(0));
        let mut handles = Vec::new();
        while handles.len() < MANY {
            let started = started.clone();
            let number = handles.len();
            let spawned = Builder::new().stack_size(16 << 10).spawn(move || {
                started.fetch_add(1, Ordering::AcqRel);
                thread::park();
                number
            });
            match spawned {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
                    assert!(error.to_string().contains("vm.max_map_count"), "{error}");
                    break;
                }
            }
        }
        while started.load(Ordering::Acquire) < handles.len() {
            thread::yield_now();
        }
        assert!(handles.iter().all(|handle| !handle.is_finished()));
        for handle in &handles {
            handle.thread().unpark();
        }
        for (number, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), number);
        }
    });
    assert_eq!(runtime.green_threads(), 0);
}

#[test]
fn a_shutdown_unwinds_fifty_thousand() {
    struct CountsDrop(Arc<AtomicUsize>);
    impl Drop for CountsDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = runtime(2);
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut alive = 0;
    while alive < 50_000 {
        let counts = CountsDrop(dropped.clone());
        let spawned = runtime.run(move || {
            Builder::new().stack_size(16 << 10).spawn(move || {
                let _counts = counts;
                thread::park();
            })
        });
        match spawned {
            Ok(_) => alive += 1,
            Err(error) => {
                assert!(error.to_string().contains("vm.max_map_count"), "{error}");
                alive += 1;
                break;
            }
        }
    }
    runtime.shutdown();
    assert_eq!(dropped.load(Ordering::Acquire), alive);
}
