//! Runtimes of one's own, and their end.
//!
//! - several at once, one that runs code of another, closures that borrow
//! - a shutdown unwinds what is parked, in every kind of wait, and destructors run and may block
//! - what swallows the unwinding is unwound again
//! - nothing is spawned after the end
//! - a thousand runtimes come and go; a runtime ends on a green thread, its own or another's

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{WORKER_COUNTS, each_worker_count, runtime, stacks_returned, watchdog};
use roving_scheduler::thread::{self, Builder, JoinHandle};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{Handle, Runtime, blocking, is_green};

/// Runs `test` with runtimes of each size that it may end as it likes.
fn each_end(test: impl Fn(Runtime)) {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(format_args!("with {workers} workers"));
        test(runtime(workers));
    }
}

/// Waits without a time limit until the condition holds, on any kind of thread.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// Counts how often it is dropped.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn guard(&self) -> impl Drop + Send + 'static {
        struct Guard(Arc<AtomicUsize>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        Guard(self.0.clone())
    }
}

#[test]
fn runtimes_keep_to_themselves() {
    each_worker_count(|first| {
        let second = runtime(2);
        assert_ne!(first.handle().id(), second.handle().id());
        let here = || Handle::try_current().map(|handle| handle.id());
        assert_eq!(here(), None);
        assert!(!is_green());
        for runtime in [first, &second] {
            let id = runtime.handle().id();
            runtime.run(move || {
                assert!(is_green());
                assert_eq!(here(), Some(id));
                assert_eq!(thread::spawn(here).join().unwrap(), Some(id));
            });
        }
        assert_eq!(first.thread_locals(), second.thread_locals());
    });
}

#[test]
fn many_runtimes_work_at_once() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtimes: Vec<_> = (0..20).map(|n| runtime(1 + n % 3)).collect();
    let handles: Vec<_> = runtimes
        .iter()
        .map(|runtime| {
            runtime.spawn(|| {
                let children: Vec<_> = (0..50)
                    .map(|n| {
                        thread::spawn(move || {
                            thread::sleep(Duration::from_micros(n));
                            n
                        })
                    })
                    .collect();
                children.into_iter().map(|c| c.join().unwrap()).sum::<u64>()
            })
        })
        .collect();
    for handle in handles {
        assert_eq!(handle.join().unwrap(), 50 * 49 / 2);
    }
}

#[test]
fn run_lends_to_its_closure() {
    each_worker_count(|runtime| {
        let mut numbers = vec![3, 1, 2];
        let least = runtime.run(|| {
            thread::yield_now();
            numbers.sort_unstable();
            &numbers[0]
        });
        assert_eq!(*least, 1);
        numbers.push(9);
        assert_eq!(numbers, [1, 2, 3, 9]);
    });
}

#[test]
fn a_panic_in_run_goes_on_in_the_caller() {
    each_worker_count(|runtime| {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.run(|| {
                thread::yield_now();
                panic::panic_any(11u8);
            })
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&11u8));
        assert_eq!(runtime.run(|| 1), 1);
    });
}

#[test]
fn a_green_thread_runs_code_of_its_own_and_of_another_runtime() {
    each_worker_count(|outer| {
        let inner = runtime(1);
        let sum: u64 = outer.run(|| {
            let handles: Vec<_> = (0..20u64)
                .map(|n| {
                    let handle = inner.handle();
                    thread::spawn(move || handle.spawn(move || n).join().unwrap())
                })
                .collect();
            let mut sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
            for _ in 0..20 {
                sum += inner.run(|| outer.run(|| inner.run(|| 1)));
            }
            sum
        });
        assert_eq!(sum, 190 + 20);
    });
}

type Block = fn();

/// One of each kind of wait, none of which ever ends by itself.
const WAITS: [Block; 6] = [
    || thread::park(),
    || thread::sleep(Duration::MAX),
    || thread::park_timeout(Duration::from_secs(1 << 30)),
    || {
        // If the runtime has begun to end, there is no child to join, or it may end first.
        if let Ok(child) = Builder::new().spawn(thread::park) {
            let _ = child.join();
        }
        thread::park();
    },
    || loop {
        thread::yield_now();
    },
    || {
        roving_scheduler::wait::begin().block(None);
    },
];

#[test]
fn a_shutdown_unwinds_whatever_waits() {
    each_end(|runtime| {
        let (drops, started) = (Drops::default(), Drops::default());
        let handles: Vec<_> = (0..60)
            .map(|n| {
                let (guard, start) = (drops.guard(), started.guard());
                runtime.spawn(move || {
                    let _guard = guard;
                    drop(start);
                    WAITS[n % WAITS.len()]();
                    panic!("the wait ended");
                })
            })
            .collect();
        until(|| started.count() == 60);
        assert_eq!(drops.count(), 0);
        runtime.shutdown();
        assert_eq!(drops.count(), 60);
        for handle in handles {
            assert!(handle.is_finished());
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
    });
}

#[test]
fn a_shutdown_calls_no_panic_hook_and_shows_in_panicking() {
    each_end(|runtime| {
        let (tell, told) = mpsc::channel();
        struct Tell(mpsc::Sender<bool>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.send(thread::panicking()).unwrap();
            }
        }
        let started = Arc::new(AtomicBool::new(false));
        let start = started.clone();
        runtime.spawn(move || {
            let _tell = Tell(tell);
            start.store(true, Ordering::Release);
            thread::park();
        });
        until(|| started.load(Ordering::Acquire));
        drop(runtime);
        assert!(told.recv().unwrap(), "the destructor ran in an unwinding");
    });
}

/// Its destructor blocks in every way there is.
struct BlocksInDrop {
    steps: Arc<AtomicUsize>,
    lock: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Drop for BlocksInDrop {
    fn drop(&mut self) {
        let step = || self.steps.fetch_add(1, Ordering::AcqRel);
        thread::sleep(Duration::from_micros(100));
        step();
        thread::yield_now();
        step();
        let handle = self.lock.lock().unwrap().take();
        if let Some(handle) = handle {
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
        step();
        thread::current().unpark();
        thread::park();
        step();
        assert_eq!(blocking::run(|| 5), 5);
        step();
        assert!(Builder::new().spawn(|| ()).is_err());
        step();
        assert!(thread::panicking());
    }
}

#[test]
fn destructors_may_block_while_the_runtime_ends() {
    each_end(|runtime| {
        let steps = Arc::new(AtomicUsize::new(0));
        let parked = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let (steps, parked) = (steps.clone(), parked.clone());
            runtime.spawn(move || {
                let child = thread::spawn(thread::park);
                let _blocks = BlocksInDrop {
                    steps,
                    lock: Arc::new(Mutex::new(Some(child))),
                };
                parked.fetch_add(1, Ordering::AcqRel);
                thread::park();
            });
        }
        until(|| parked.load(Ordering::Acquire) == 20);
        runtime.shutdown();
        assert_eq!(steps.load(Ordering::Acquire), 20 * 6);
    });
}

/// Two threads that unwind hand something over, as through a channel.
#[test]
fn destructors_may_wait_for_each_other() {
    struct Meet {
        arrived: Arc<AtomicUsize>,
        others: Arc<Mutex<Vec<thread::Thread>>>,
    }
    impl Drop for Meet {
        fn drop(&mut self) {
            self.arrived.fetch_add(1, Ordering::AcqRel);
            for other in &*self.others.lock().unwrap() {
                other.unpark();
            }
            while self.arrived.load(Ordering::Acquire) < 10 {
                thread::park();
            }
        }
    }
    each_end(|runtime| {
        let arrived = Arc::new(AtomicUsize::new(0));
        let others = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..10 {
            let meet = Meet {
                arrived: arrived.clone(),
                others: others.clone(),
            };
            runtime.spawn(move || {
                let meet = meet;
                meet.others.lock().unwrap().push(thread::current());
                thread::sleep(Duration::MAX);
            });
        }
        until(|| others.lock().unwrap().len() == 10);
        runtime.shutdown();
        assert_eq!(arrived.load(Ordering::Acquire), 10);
    });
}

#[test]
fn who_swallows_the_unwinding_is_unwound_again() {
    each_end(|runtime| {
        let (swallowed, started) = (Arc::new(AtomicUsize::new(0)), Drops::default());
        let (count, start) = (swallowed.clone(), started.guard());
        let handle = runtime.spawn(move || {
            drop(start);
            for _ in 0..10 {
                let caught = panic::catch_unwind(|| {
                    loop {
                        thread::park();
                    }
                });
                assert!(caught.unwrap_err().is::<Cancelled>());
                count.fetch_add(1, Ordering::AcqRel);
            }
            "in its own time"
        });
        until(|| started.count() == 1);
        runtime.shutdown();
        assert_eq!(handle.join().unwrap(), "in its own time");
        assert_eq!(swallowed.load(Ordering::Acquire), 10);
    });
}

/// The same while a neighbour on the same worker is suspended in an unwinding.
#[test]
fn who_swallows_the_unwinding_is_unwound_again_whatever_its_neighbours_do() {
    struct SleepsInDrop;
    impl Drop for SleepsInDrop {
        fn drop(&mut self) {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    each_end(|runtime| {
        let started = Drops::default();
        let handles: Vec<_> = (0..20)
            .map(|n| {
                let start = started.guard();
                runtime.spawn(move || {
                    drop(start);
                    if n % 2 == 0 {
                        let _sleeps = SleepsInDrop;
                        thread::park();
                    } else {
                        for _ in 0..10 {
                            let caught = panic::catch_unwind(|| {
                                loop {
                                    thread::park();
                                }
                            });
                            assert!(caught.unwrap_err().is::<Cancelled>());
                        }
                    }
                })
            })
            .collect();
        until(|| started.count() == 20);
        runtime.shutdown();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().is_ok(), n % 2 == 1);
        }
    });
}

#[test]
fn a_shutdown_with_enough_time_succeeds() {
    each_end(|runtime| {
        runtime.spawn(thread::park);
        runtime.shutdown_timeout(Duration::MAX).unwrap();
    });
}

#[test]
fn nothing_is_spawned_after_the_end() {
    each_end(|runtime| {
        let handle = runtime.handle();
        runtime.shutdown();
        let drops = Drops::default();
        let guard = drops.guard();
        let late = panic::catch_unwind(AssertUnwindSafe(|| handle.spawn(move || drop(guard))));
        assert!(late.is_err());
        assert_eq!(drops.count(), 1, "the closure was dropped");
    });
}

#[test]
fn spawning_while_the_runtime_ends_is_an_error_and_no_more() {
    each_end(|runtime| {
        let started = Drops::default();
        let spawners: Vec<_> = (0..8)
            .map(|_| {
                let start = started.guard();
                runtime.spawn(move || {
                    drop(start);
                    let mut spawned = 0;
                    loop {
                        if let Err(error) = Builder::new().spawn(thread::yield_now) {
                            assert_eq!(error.kind(), std::io::ErrorKind::Other);
                            return error.to_string();
                        }
                        spawned += 1;
                        // If the end is late, what has been spawned ends before memory does.
                        if spawned > 1000 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        until(|| started.count() > 0);
        runtime.shutdown();
        for spawner in spawners {
            match spawner.join() {
                Ok(message) => assert!(message.contains("shut down"), "{message}"),
                Err(payload) => assert!(payload.is::<Cancelled>()),
            }
        }
    });
}

#[test]
fn a_thousand_runtimes_come_and_go() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    for n in 0..1000 {
        let runtime = runtime(1 + n % 3);
        match n % 4 {
            0 => drop(runtime),
            1 => assert_eq!(runtime.run(|| n), n),
            2 => {
                runtime.spawn(thread::park);
                runtime.shutdown();
            }
            _ => {
                let handle = runtime.spawn(|| Builder::new().spawn(|| 3).map(JoinHandle::join));
                drop(runtime);
                match handle.join() {
                    Ok(Ok(Ok(value))) => assert_eq!(value, 3),
                    Ok(Err(refused)) => assert_eq!(refused.kind(), std::io::ErrorKind::Other),
                    Ok(Ok(Err(payload))) | Err(payload) => assert!(payload.is::<Cancelled>()),
                }
            }
        }
    }
}

#[test]
fn runtimes_come_and_go_on_many_threads() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..50 {
                    let runtime = runtime(2);
                    let parked = runtime.spawn(thread::park);
                    assert_eq!(runtime.run(|| n), n);
                    drop(runtime);
                    assert!(parked.join().is_err());
                }
            });
        }
    });
}

#[test]
fn a_green_thread_ends_another_runtime() {
    each_worker_count(|outer| {
        outer.run(|| {
            for _ in 0..5 {
                let inner = runtime(2);
                let parked = inner.spawn(|| thread::sleep(Duration::MAX));
                inner.run(thread::yield_now);
                drop(inner);
                assert!(parked.join().unwrap_err().is::<Cancelled>());
            }
        });
    });
}

/// The end of the inner runtime needs a green thread of the outer one, on the very worker that
/// waits for that end.
#[test]
fn a_green_thread_that_ends_another_runtime_blocks_nobody_else() {
    struct Joins(Option<JoinHandle<()>>);
    impl Drop for Joins {
        fn drop(&mut self) {
            let handle = self.0.take().unwrap();
            handle.thread().unpark();
            handle.join().unwrap();
        }
    }
    each_worker_count(|outer| {
        outer.run(|| {
            let neighbour = thread::spawn(thread::park);
            thread::yield_now();
            let inner = runtime(1);
            let (tell, told) = mpsc::channel();
            let parked = inner.spawn(move || {
                let _joins = Joins(Some(neighbour));
                tell.send(()).unwrap();
                thread::park();
            });
            told.recv().unwrap();
            drop(inner);
            assert!(parked.join().unwrap_err().is::<Cancelled>());
        });
    });
}
