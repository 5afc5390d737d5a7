//! `sync::{Once, OnceLock, LazyLock}`: what runs once, and blocks meanwhile.

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::sync::{LazyLock, Once, OnceLock};
use roving_scheduler::{deadline, thread};

#[test]
fn smoke() {
    on_each_worker_count(|| {
        let once = Once::new();
        assert!(!once.is_completed());
        once.call_once(|| assert!(!once.is_completed()));
        once.call_once(|| unreachable!());
        once.call_once_force(|_| unreachable!());
        once.wait();
        once.wait_force();
        assert!(once.is_completed());
    });
}

#[test]
fn mpmc() {
    each_worker_count(|runtime| {
        for _ in 0..50 {
            let state = Arc::new((Once::new(), AtomicUsize::new(0)));
            let threads: Vec<_> = (0..10)
                .map(|n| {
                    let state = state.clone();
                    runtime.spawn(move || {
                        let (once, runs) = &*state;
                        if n % 3 == 0 {
                            once.wait();
                        } else {
                            once.call_once(|| {
                                thread::yield_now();
                                runs.fetch_add(1, Ordering::Relaxed);
                            });
                        }
                        assert_eq!(runs.load(Ordering::Relaxed), 1);
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        }
    });
}

#[test]
fn mixed_os_and_green() {
    each_worker_count(|runtime| {
        for _ in 0..50 {
            let cell = Arc::new(OnceLock::new());
            let init = |cell: Arc<OnceLock<usize>>, n: usize| {
                move || {
                    *cell.get_or_init(|| {
                        thread::sleep(Duration::from_micros(20));
                        n
                    })
                }
            };
            let green = runtime.spawn(init(cell.clone(), 1));
            let os = std::thread::spawn(init(cell.clone(), 2));
            let waits = {
                let cell = cell.clone();
                runtime.spawn(move || *cell.wait())
            };
            let value = green.join().unwrap();
            assert_eq!(value, os.join().unwrap());
            assert_eq!(value, waits.join().unwrap());
        }
    });
}

#[test]
fn poison() {
    on_each_worker_count(|| {
        let once = Once::new();
        let panics =
            panic::catch_unwind(|| once.call_once(|| panic::resume_unwind(Box::new("first"))));
        assert_eq!(*panics.unwrap_err().downcast::<&str>().unwrap(), "first");
        for poisoned in [
            panic::catch_unwind(|| once.call_once(|| ())),
            panic::catch_unwind(|| once.wait()),
        ] {
            let message = *poisoned.unwrap_err().downcast::<&str>().unwrap();
            assert_eq!(message, "Once instance has previously been poisoned");
        }
        once.call_once_force(|state| assert!(state.is_poisoned()));
        once.call_once(|| unreachable!());

        let lazy = LazyLock::new(|| -> u32 { panic::resume_unwind(Box::new("lazy")) });
        let force = || panic::catch_unwind(AssertUnwindSafe(|| *lazy)).unwrap_err();
        assert_eq!(*force().downcast::<&str>().unwrap(), "lazy");
        let message = *force().downcast::<&str>().unwrap();
        assert_eq!(message, "LazyLock instance has previously been poisoned");

        let cell = OnceLock::new();
        let panics = panic::catch_unwind(|| {
            cell.get_or_init(|| panic::resume_unwind(Box::new(())));
        });
        assert!(panics.is_err());
        assert_eq!(cell.get(), None);
        assert_eq!(*cell.get_or_init(|| 3), 3);
    });
}

/// One that is cancelled while it initialises lets another try.
#[test]
fn cancel() {
    on_each_worker_count(|| {
        let cell = Arc::new(OnceLock::new());
        let begun = Arc::new(AtomicBool::new(false));
        let stuck = {
            let (cell, begun) = (cell.clone(), begun.clone());
            thread::spawn(move || {
                cell.get_or_init(|| {
                    begun.store(true, Ordering::Relaxed);
                    thread::sleep(Duration::MAX);
                    1
                });
            })
        };
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let waits = {
            let cell = cell.clone();
            thread::spawn(move || *cell.get_or_init(|| 2))
        };
        thread::sleep(Duration::from_millis(1));
        stuck.cancel();
        assert!(stuck.join().is_err());
        assert_eq!(waits.join().unwrap(), 2);
    });
}

#[test]
fn a_deadline_ends_the_wait() {
    on_each_worker_count(|| {
        let cell = OnceLock::<u32>::new();
        assert!(deadline(Duration::from_millis(1), || *cell.wait()).is_err());
        cell.set(5).unwrap();
        assert_eq!(deadline(Duration::ZERO, || *cell.wait()), Ok(5));
    });
}

#[test]
fn drops() {
    let counted = Arc::new(());
    let mut cell = OnceLock::from(counted.clone());
    assert_eq!(Arc::strong_count(&counted), 2);
    assert!(cell.set(counted.clone()).is_err());
    drop(cell.take());
    assert_eq!(Arc::strong_count(&counted), 1);
    cell.set(counted.clone()).unwrap();
    drop(cell);
    let captured = counted.clone();
    drop(LazyLock::new(move || drop(captured)));
    assert_eq!(Arc::strong_count(&counted), 1);
    let captured = counted.clone();
    let lazy = LazyLock::new(move || captured);
    assert_eq!(LazyLock::get(&lazy), None);
    assert_eq!(Arc::strong_count(&lazy), 2);
    drop(lazy);
    assert_eq!(Arc::strong_count(&counted), 1);
}
