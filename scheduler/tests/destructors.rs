//! What destructors of the user's may do where the runtime calls them.
//!
//! - a panic in that of a value that was inherited is its thread's panic
//! - a panic in that of a result that nobody takes ends the process as std does, whoever is last to
//!   have it
//! - a panic in that of a thread-local ends the process as std does
//! - a cancellation that ends a wait in that of a result goes on in whoever drops it
//! - whatever they do, the worker and the others go on

mod common;

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use common::{WORKER_COUNTS, child, is_child, message, on_each_mode, printed, runtime};
use roving_scheduler::sync::Notify;
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{Group, shield, thread};

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic::panic_any(self.0);
    }
}

roving_scheduler::local! {
    static INHERITED: Bomb;
    static INHERITED_TOO: Bomb;
}

#[test]
fn a_panic_of_an_inherited_value_is_the_threads() {
    on_each_mode(|| {
        let child = |result: fn() -> u8| {
            let mut child = None;
            let set = || {
                INHERITED.set(Bomb("outer"), || {
                    INHERITED_TOO.set(Bomb("inner"), || {
                        child = Some(thread::spawn(move || {
                            thread::park();
                            result()
                        }));
                    });
                });
            };
            // The child has them still, so here they are not dropped.
            assert!(panic::catch_unwind(AssertUnwindSafe(set)).is_ok());
            let child = child.unwrap();
            child.thread().unpark();
            child.join().map_err(|payload| message(&*payload))
        };
        // Each is dropped, the last that was set first.
        assert_eq!(child(|| 1), Err("inner".to_owned()));
        let own = || panic::resume_unwind(Box::new("its own"));
        assert_eq!(child(own), Err("its own".to_owned()));
        // The worker has survived it.
        assert_eq!(thread::spawn(|| 2).join().unwrap(), 2);
    });
}

#[test]
fn a_panic_of_a_value_is_the_setters_if_it_is_last() {
    on_each_mode(|| {
        let set = panic::catch_unwind(|| {
            INHERITED.set(Bomb("set"), || thread::spawn(|| ()).join().unwrap());
        });
        assert_eq!(message(&*set.unwrap_err()), "set");
    });
}

thread_local! {
    static OF_THREAD: RefCell<Option<Bomb>> = const { RefCell::new(None) };
}

/// How a result comes to be dropped by the runtime, and what std says of it.
const UNTAKEN: [(&str, fn()); 8] = [
    ("thread result panicked on drop", || {
        let handle = thread::spawn(|| {
            thread::park();
            Bomb("detached")
        });
        let other = handle.thread().clone();
        drop(handle);
        other.unpark();
        thread::sleep(Duration::MAX);
    }),
    ("thread result panicked on drop", || {
        let handle = thread::spawn(|| Bomb("has ended"));
        while !handle.is_finished() {
            thread::yield_now();
        }
        let _caught = panic::catch_unwind(AssertUnwindSafe(|| drop(handle)));
    }),
    ("thread result panicked on drop", || {
        let _caught = panic::catch_unwind(|| {
            let handle = thread::spawn(|| Bomb("has ended"));
            while !handle.is_finished() {
                thread::yield_now();
            }
            // In the middle of an unwinding.
            panic::resume_unwind(Box::new(handle));
        })
        .map_err(|payload| panic::catch_unwind(AssertUnwindSafe(|| drop(payload))));
    }),
    ("thread result panicked on drop", || {
        let _caught = panic::catch_unwind(|| {
            thread::scope(|scope| {
                scope.spawn(|| Bomb("of a scope"));
            });
        });
    }),
    ("thread result panicked on drop", || {
        let panics = thread::spawn(|| panic::resume_unwind(Box::new(Bomb("payload"))));
        drop(panics);
        thread::sleep(Duration::MAX);
    }),
    ("thread result panicked on drop", || {
        INHERITED.set(Bomb("inherited"), || {
            let child = thread::spawn(|| {
                thread::park();
                Bomb("a result in whose place comes a panic")
            });
            panic::resume_unwind(Box::new(child));
        });
    }),
    ("thread result panicked on drop", || {
        let handle = thread::spawn(|| ThrowsOn);
        while !handle.is_finished() {
            thread::yield_now();
        }
        drop(handle);
    }),
    ("thread local panicked on drop", || {
        let sets = || OF_THREAD.with_borrow_mut(|bomb| *bomb = Some(Bomb("of the thread")));
        let _ended = thread::spawn(sets).join();
        // Without thread-locals of its own it was the worker's, which ends with the runtime.
    }),
];

#[test]
fn a_panic_of_what_nobody_takes_ends_the_process_as_std_does() {
    let name = "a_panic_of_what_nobody_takes_ends_the_process_as_std_does";
    const CASE: &str = "CASE";
    const WORKERS: &str = "WORKERS";
    let of_environment = |variable| std::env::var(variable).unwrap().parse::<usize>().unwrap();
    if is_child(name) {
        panic::set_hook(Box::new(|_| ()));
        runtime(of_environment(WORKERS)).run(|| {
            let (_, case) = UNTAKEN[of_environment(CASE)];
            if let Err(payload) = panic::catch_unwind(case) {
                // It holds the handle of one that still runs.
                let child = payload.downcast::<thread::JoinHandle<Bomb>>().unwrap();
                child.thread().unpark();
                let _never = child.join();
            }
        });
        return;
    }
    for (case, (says, _)) in UNTAKEN.iter().enumerate() {
        for workers in WORKER_COUNTS {
            let mut child = child(name);
            child.env(CASE, case.to_string());
            child.env(WORKERS, workers.to_string());
            let output = child.output().unwrap();
            let printed = printed(&output);
            let says = format!("fatal runtime error: {says}, aborting");
            assert!(!output.status.success(), "case {case}:\n{printed}");
            assert!(printed.contains(&says), "case {case}:\n{printed}");
        }
    }
}

/// Throws on, when it is dropped, what another thread was cancelled with.
struct ThrowsOn;

impl Drop for ThrowsOn {
    fn drop(&mut self) {
        let other = thread::spawn(thread::park);
        other.cancel();
        if let Err(payload) = other.join() {
            panic::resume_unwind(payload);
        }
    }
}

/// Says so when it is dropped, and blocks.
struct Sleeps(Arc<Notify>);

impl Drop for Sleeps {
    fn drop(&mut self) {
        self.0.notify_one();
        thread::sleep(Duration::MAX);
    }
}

#[test]
fn one_who_is_cancelled_while_it_drops_a_result_unwinds() {
    on_each_mode(|| {
        let is_dropped = Arc::new(Notify::new());
        let sleeps = Sleeps(is_dropped.clone());
        let drops = thread::spawn(|| {
            let handle = thread::spawn(|| sleeps);
            while !handle.is_finished() {
                thread::yield_now();
            }
            drop(handle);
        });
        // Before, it would be the other thread that drops it, which nobody cancels.
        is_dropped.wait();
        drops.cancel();
        assert!(drops.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_failure_of_a_group_that_comes_too_late_may_panic() {
    on_each_mode(|| {
        let all_run = AtomicBool::new(false);
        let failed = Group::new().run(|group| {
            for first in [true, false, false] {
                let others = group.clone();
                let all_run = &all_run;
                group.spawn(move || {
                    // The others are late.
                    let is_early = || !all_run.load(SeqCst) || others.running() == 3;
                    shield(|| {
                        while !first && is_early() {
                            thread::yield_now();
                        }
                    });
                    Err::<(), _>(Bomb(if first { "first" } else { "late" }))
                });
            }
            all_run.store(true, SeqCst);
            Ok(())
        });
        let bomb = failed.unwrap_err();
        assert_eq!(bomb.0, "first");
        std::mem::forget(bomb);
    });
}

#[test]
fn the_end_of_the_process_waits_for_no_lock_of_std() {
    let name = "the_end_of_the_process_waits_for_no_lock_of_std";
    let _watchdog = common::watchdog("");
    if is_child(name) {
        panic::set_hook(Box::new(|_| ()));
        runtime(1).run(|| {
            let _holds = thread::spawn(|| {
                let _lock = std::io::stderr().lock();
                thread::sleep(Duration::MAX);
            });
            thread::yield_now();
            drop(thread::spawn(|| Bomb("while another holds the lock")));
            thread::sleep(Duration::MAX);
        });
        return;
    }
    let output = child(name).output().unwrap();
    let printed = printed(&output);
    assert!(!output.status.success());
    assert!(
        printed.contains("fatal runtime error: thread result panicked on drop, aborting"),
        "{printed}"
    );
}
