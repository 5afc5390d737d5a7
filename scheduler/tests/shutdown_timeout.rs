//! Shutdowns that give up.
//!
//! - a thread that computes is waited for until the time is up, and then told of
//! - what has not started by then drops its closure when its worker gets to it
//!
//! Nobody waits for the workers of such a runtime, and they keep stacks at hand until they end, so
//! this is a program of its own.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{WORKER_COUNTS, runtime, unwatched, watchdog};
use roving_scheduler::thread;
use roving_scheduler::wait::Cancelled;

struct CountsDrop(Arc<AtomicUsize>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn a_shutdown_gives_up_on_a_thread_that_computes() {
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let (tell, told) = mpsc::channel();
        let computes = runtime.spawn(move || {
            tell.send(()).unwrap();
            while !seen.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            "computed"
        });
        told.recv().unwrap();
        let error = runtime
            .shutdown_timeout(Duration::from_millis(5))
            .unwrap_err();
        assert_eq!(error.green_threads(), 1);
        assert!(error.to_string().contains("1 green thread"));
        assert!(!computes.is_finished());
        stop.store(true, Ordering::Release);
        assert_eq!(computes.join().unwrap(), "computed");
    }
}

#[test]
fn what_has_not_started_drops_its_closure() {
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = unwatched(workers);
        let drops = Arc::new(AtomicUsize::new(0));
        let runs = Arc::new(AtomicUsize::new(0));
        let busy = Arc::new(AtomicUsize::new(0));
        let let_go = Arc::new(AtomicBool::new(false));
        for _ in 0..workers {
            let (busy, let_go) = (busy.clone(), let_go.clone());
            runtime.spawn(move || {
                busy.fetch_add(1, Ordering::AcqRel);
                while !let_go.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
            });
        }
        while busy.load(Ordering::Acquire) < workers {
            thread::yield_now();
        }
        // Every worker is busy, and no spare takes its place, so none of these starts before the runtime ends.
        let handles: Vec<_> = (0..100)
            .map(|_| {
                let (guard, runs) = (CountsDrop(drops.clone()), runs.clone());
                runtime.spawn(move || {
                    runs.fetch_add(1, Ordering::AcqRel);
                    drop(guard);
                })
            })
            .collect();
        let error = runtime
            .shutdown_timeout(Duration::from_millis(1))
            .unwrap_err();
        assert_eq!(error.green_threads(), workers + 100);
        let_go.store(true, Ordering::Release);
        for handle in handles {
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
        assert_eq!(drops.load(Ordering::Acquire), 100);
        assert_eq!(runs.load(Ordering::Acquire), 0);
    }
}
