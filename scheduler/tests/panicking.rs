//! Who is unwinding: the green thread that asks, not its neighbours on the same worker.
//!
//! - `panicking` is right in a destructor, before and after it blocks, and in whoever runs
//!   meanwhile
//! - any number of green threads unwind at once on one worker, each with its own payload
//! - a shutdown that meets green threads in the middle of an unwinding lets them finish

mod common;

use std::any::Any;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::drops::OnDrop;
use common::{each_worker_count, is_child, on_each_worker_count, run, runtime, watchdog};
use roving_scheduler::{blocking, thread};

/// Panics without the panic hook, whose output would be long.
fn quiet_panic(payload: impl Any + Send) -> ! {
    panic::resume_unwind(Box::new(payload))
}

#[test]
fn a_destructor_that_blocks_is_unwinding_before_and_after() {
    on_each_worker_count(|| {
        let handle = thread::spawn(|| {
            assert!(!thread::panicking());
            let _blocks = OnDrop(|| {
                for _ in 0..10 {
                    assert!(thread::panicking());
                    thread::yield_now();
                    assert!(thread::panicking());
                    thread::sleep(Duration::from_micros(10));
                }
            });
            panic::panic_any(1u8);
        });
        assert!(handle.join().unwrap_err().is::<u8>());
        assert!(!thread::panicking());
    });
}

#[test]
fn neighbours_of_one_that_unwinds_do_not() {
    on_each_worker_count(|| {
        let unwinding = Arc::new(AtomicBool::new(false));
        let go_on = Arc::new(AtomicBool::new(false));
        let (began, wait) = (unwinding.clone(), go_on.clone());
        let unwinds = thread::spawn(move || {
            let _blocks = OnDrop(move || {
                began.store(true, Ordering::Release);
                while !wait.load(Ordering::Acquire) {
                    thread::park();
                }
                assert!(thread::panicking());
            });
            panic::panic_any(2u8);
        });
        while !unwinding.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert!(!thread::panicking());
        let neighbours: Vec<_> = (0..20)
            .map(|_| {
                thread::spawn(|| {
                    let before = thread::panicking();
                    thread::yield_now();
                    let after = thread::panicking();
                    thread::sleep(Duration::from_micros(10));
                    before || after || thread::panicking()
                })
            })
            .collect();
        for neighbour in neighbours {
            assert!(!neighbour.join().unwrap());
        }
        go_on.store(true, Ordering::Release);
        unwinds.thread().unpark();
        assert_eq!(unwinds.join().unwrap_err().downcast_ref(), Some(&2u8));
        assert!(!thread::panicking());
    });
}

#[test]
fn many_unwind_at_once() {
    on_each_worker_count(|| {
        let destructors = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..50usize)
            .map(|n| {
                let destructors = destructors.clone();
                thread::spawn(move || {
                    let _outer =
                        OnDrop(|| thread::sleep(Duration::from_micros(n as u64 * 7 % 100)));
                    let _inner = OnDrop(|| {
                        for _ in 0..n % 5 {
                            thread::yield_now();
                        }
                        destructors.fetch_add(1, Ordering::AcqRel);
                    });
                    thread::yield_now();
                    quiet_panic(n);
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap_err().downcast_ref(), Some(&n));
        }
        assert_eq!(destructors.load(Ordering::Acquire), 50);
        // Nothing is left behind on any worker.
        let fresh: Vec<_> = (0..50).map(|_| thread::spawn(thread::panicking)).collect();
        assert!(fresh.into_iter().all(|handle| !handle.join().unwrap()));
    });
}

#[test]
fn a_panic_in_a_destructor_that_is_caught_there_is_over() {
    on_each_worker_count(|| {
        let handle = thread::spawn(|| {
            let _catches = OnDrop(|| {
                thread::yield_now();
                let caught = panic::catch_unwind(|| {
                    thread::yield_now();
                    panic::panic_any("inner");
                });
                assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"inner"));
                thread::yield_now();
            });
            panic::panic_any("outer");
        });
        assert_eq!(handle.join().unwrap_err().downcast_ref(), Some(&"outer"));
    });
}

/// Ways to begin an unwinding.
const RAISES: [fn(u8); 2] = [
    |payload| panic::panic_any(payload),
    |payload| blocking::run(|| quiet_panic(payload)),
];

/// One panics while another one is suspended in an unwinding, on the same worker.
fn panic_beside_one_that_unwinds(
    raise: fn(u8),
    in_destructor: impl FnOnce() + Send + 'static,
) -> [bool; 2] {
    let stage = Arc::new(AtomicUsize::new(0));
    let (first_stage, second_stage) = (stage.clone(), stage.clone());
    let first = thread::spawn(move || {
        let _blocks = OnDrop(|| {
            first_stage.store(1, Ordering::Release);
            while first_stage.load(Ordering::Acquire) < 2 {
                thread::sleep(Duration::from_micros(10));
            }
        });
        panic::panic_any(1u8);
    });
    let mut in_destructor = Some(in_destructor);
    let second = thread::spawn(move || {
        while second_stage.load(Ordering::Acquire) < 1 {
            thread::sleep(Duration::from_micros(10));
        }
        let _blocks = OnDrop(|| in_destructor.take().unwrap()());
        raise(2);
    });
    let second = second.join().unwrap_err().is::<u8>();
    stage.store(2, Ordering::Release);
    [first.join().unwrap_err().is::<u8>(), second]
}

#[test]
fn what_panics_beside_one_that_unwinds_is_unwinding() {
    each_worker_count(|runtime| {
        for raise in RAISES {
            let seen = Arc::new(AtomicUsize::new(0));
            let count = seen.clone();
            let both = runtime.run(|| {
                panic_beside_one_that_unwinds(raise, move || {
                    for _ in 0..5 {
                        count.fetch_add(usize::from(thread::panicking()), Ordering::AcqRel);
                        thread::yield_now();
                    }
                })
            });
            assert_eq!(both, [true, true]);
            assert_eq!(seen.load(Ordering::Acquire), 5);
            let fresh = runtime.spawn(thread::panicking);
            assert!(!fresh.join().unwrap());
        }
    });
}

/// In a process of its own, since an unwinding that leaves a destructor aborts it.
#[test]
fn a_shutdown_lets_those_who_unwind_side_by_side_finish() {
    let name = "a_shutdown_lets_those_who_unwind_side_by_side_finish";
    if !is_child(name) {
        run(common::child(name));
        return;
    }
    for workers in common::WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (unwinding, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..20)
            .map(|n| {
                let (unwinding, finished) = (unwinding.clone(), finished.clone());
                runtime.spawn(move || {
                    let _blocks = OnDrop(|| {
                        unwinding.fetch_add(1, Ordering::AcqRel);
                        for _ in 0..20 {
                            thread::sleep(Duration::from_millis(1));
                        }
                        finished.fetch_add(1, Ordering::AcqRel);
                    });
                    RAISES[n % RAISES.len()](1);
                })
            })
            .collect();
        while unwinding.load(Ordering::Acquire) < 20 {
            thread::yield_now();
        }
        runtime.shutdown();
        assert_eq!(finished.load(Ordering::Acquire), 20);
        for handle in handles {
            assert!(handle.join().unwrap_err().is::<u8>());
        }
    }
}
