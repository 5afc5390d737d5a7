//! `sync::{Once, OnceLock, LazyLock}`: what runs once, and blocks meanwhile.

mod common;
#[path = "common/executors.rs"]
mod executors;

use std::future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use executors::in_each_executor;
use futures::future::{FutureExt, join_all};
use roving_scheduler::sync::{LazyLock, Once, OnceLock};
use roving_scheduler::time::sleep_async;
use roving_scheduler::{block_on, deadline, thread};

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

/// Of futures and threads one gives the value, and the others wait for it.
#[test]
fn futures_among_threads() {
    in_each_executor(|| async {
        let cell = Arc::new(OnceLock::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let future = |n: usize| {
            let (cell, runs) = (cell.clone(), runs.clone());
            async move {
                if n.is_multiple_of(3) {
                    return *cell.wait_async().await;
                }
                let init = async || {
                    sleep_async(Duration::from_micros(20)).await;
                    runs.fetch_add(1, Ordering::Relaxed);
                    n
                };
                *cell.get_or_init_async(init).await
            }
        };
        let threads: Vec<_> = (0..6)
            .map(|n| {
                let future = future(n);
                let (cell, runs) = (cell.clone(), runs.clone());
                thread::spawn(move || match n {
                    0..3 => block_on(future),
                    3 => *cell.wait(),
                    _ => *cell.get_or_init(|| {
                        thread::yield_now();
                        runs.fetch_add(1, Ordering::Relaxed);
                        n
                    }),
                })
            })
            .collect();
        let mut values = join_all((6..12).map(future)).await;
        for thread in threads {
            values.push(thread.await.unwrap());
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert!(values.iter().all(|value| Some(value) == cell.get()));
    });
}

/// A future that is dropped while it gives the value lets another try, and so does one that panics.
#[test]
fn a_dropped_future() {
    on_each_worker_count(|| {
        let ends: [fn(&mut dyn FnMut()); 2] = [
            |_| (),
            |polls| drop(panic::catch_unwind(AssertUnwindSafe(polls)).unwrap_err()),
        ];
        for end in ends {
            let cell = Arc::new(OnceLock::new());
            let panics = AtomicBool::new(false);
            let waits: Vec<_> = {
                let never = future::poll_fn(|_| match panics.load(Ordering::Relaxed) {
                    true => panic::resume_unwind(Box::new("of the future")),
                    false => std::task::Poll::<u32>::Pending,
                });
                let mut stuck = pin!(cell.get_or_init_async(async || never.await));
                let mut poll = || {
                    let polled = stuck.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert!(polled.is_pending());
                };
                poll();
                let waits = (0..4).map(|n| {
                    let cell = cell.clone();
                    thread::spawn(move || match n {
                        0 => *cell.get_or_init(|| 1),
                        1 => *cell.wait(),
                        2 => *block_on(cell.wait_async()),
                        _ => *block_on(cell.get_or_init_async(async || 1)),
                    })
                });
                let waits = waits.collect();
                // One who waits is dropped too.
                assert!(cell.get_or_init_async(async || 2).now_or_never().is_none());
                thread::sleep(Duration::from_millis(1));
                assert_eq!(cell.get(), None);
                panics.store(true, Ordering::Relaxed);
                end(&mut poll);
                waits
            };
            for wait in waits {
                assert_eq!(wait.join().unwrap(), 1);
            }
        }
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
