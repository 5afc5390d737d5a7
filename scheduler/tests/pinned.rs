//! Where a green thread without thread-locals of its own runs.
//!
//! - one that is pinned and has started stays on its worker, over every kind of suspension
//! - so it may hold what must stay on one OS thread across them: an `Rc`, a borrow of a
//!   thread-local
//! - where the builder took the unsafe promise, it roams, and results are right all the same

mod common;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use common::{WORKER_COUNTS, on_pinned_threads, stacks_returned, watchdog};
use roving_scheduler::{Builder, ThreadLocals, thread};

/// Suspends in a way of which there are several.
fn suspend(n: usize) {
    match n % 4 {
        0 => thread::yield_now(),
        1 => thread::sleep(Duration::from_nanos(1)),
        2 => {
            let main = thread::current();
            thread::spawn(move || main.unpark());
            thread::park();
        }
        _ => thread::spawn(|| ()).join().unwrap(),
    }
}

#[test]
fn a_started_thread_stays_on_its_os_thread() {
    on_pinned_threads(|| {
        let handles: Vec<_> = (0..20)
            .map(|n| {
                thread::spawn(move || {
                    let home = std::thread::current().id();
                    for round in 0..300 {
                        suspend(n + round);
                        assert_eq!(std::thread::current().id(), home);
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}

thread_local! {
    static SHARED: Rc<Cell<u64>> = Rc::default();
    static BORROWED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn an_rc_of_a_thread_local_is_held_across_suspensions() {
    on_pinned_threads(|| {
        let handles: Vec<_> = (0..20)
            .map(|n| {
                thread::spawn(move || {
                    let shared = SHARED.with(Rc::clone);
                    for round in 0..200 {
                        let copy = shared.clone();
                        copy.set(copy.get() + 1);
                        suspend(n + round);
                        assert!(SHARED.with(|here| Rc::ptr_eq(here, &copy)));
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}

#[test]
fn a_borrow_of_a_thread_local_spans_suspensions() {
    on_pinned_threads(|| {
        // As many as may be borrowers on one worker without meeting, which is one in all.
        let handle = thread::spawn(|| {
            BORROWED.with_borrow_mut(|numbers| {
                numbers.clear();
                for n in 0..400 {
                    numbers.push(n);
                    suspend(n);
                }
                assert!(numbers.iter().copied().eq(0..400));
            });
        });
        handle.join().unwrap();
    });
}

#[test]
fn those_who_roam_get_their_results_right() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        // SAFETY: nothing below holds anything of a thread-local, nor anything that is not `Send`,
        // across a suspension.
        let builder = unsafe { Builder::new().workers(workers).shared_thread_locals() };
        // Nor does any of them run on a spare.
        let runtime = builder.stuck_after(Duration::ZERO).build().unwrap();
        assert_eq!(runtime.thread_locals(), ThreadLocals::Shared);
        let homes: usize = runtime.run(|| {
            let handles: Vec<_> = (0..50usize)
                .map(|n| {
                    thread::spawn(move || {
                        let mut sum = 0;
                        let mut homes = HashSet::new();
                        for round in 0..100 {
                            sum += round;
                            suspend(n + round);
                            homes.insert(std::thread::current().id());
                        }
                        assert_eq!(sum, 4950);
                        homes.len()
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|h| h.join().unwrap())
                .max()
                .unwrap()
        });
        assert!((1..=workers).contains(&homes));
    }
}

#[test]
fn those_who_roam_unwind_too() {
    let _stacks = stacks_returned();
    struct SleepsInDrop;
    impl Drop for SleepsInDrop {
        fn drop(&mut self) {
            for n in 0..5 {
                assert!(thread::panicking());
                thread::sleep(Duration::from_micros(n * 10));
                thread::yield_now();
            }
        }
    }
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        // SAFETY: as above; a destructor that suspends stays on its worker.
        let builder = unsafe { Builder::new().workers(workers).shared_thread_locals() };
        let runtime = builder.build().unwrap();
        for round in 0..20 {
            let handle = runtime.spawn(move || {
                let _sleeps = SleepsInDrop;
                suspend(round);
                std::panic::panic_any(round);
            });
            assert_eq!(handle.join().unwrap_err().downcast_ref(), Some(&round));
        }
        let parked: Vec<_> = (0..20).map(|_| runtime.spawn(thread::park)).collect();
        drop(runtime);
        assert!(parked.into_iter().all(|p| p.join().is_err()));
    }
}
