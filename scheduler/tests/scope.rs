//! `thread::scope` and `Group`: nothing is left running.

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_worker_count, stacks_returned, uses_global_runtime};
use roving_scheduler::thread::Builder;
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{Group, deadline, thread};

const EVER: Duration = Duration::MAX;

#[test]
fn smoke() {
    on_each_worker_count(|| {
        let mut numbers = vec![1, 2, 3];
        let (mut sum, count) = (0, AtomicUsize::new(0));
        let result = thread::scope(|scope| {
            let length = scope.spawn(|| numbers.len());
            scope.spawn(|| sum = numbers.iter().sum());
            scope.spawn(|| {
                scope.spawn(|| count.fetch_add(1, Ordering::Relaxed));
            });
            length.join().unwrap()
        });
        numbers.push(sum);
        assert_eq!((result, numbers.len()), (3, 4));
        assert_eq!((sum, count.into_inner()), (6, 1));
    });
}

#[test]
fn on_an_os_thread() {
    uses_global_runtime();
    let mut value = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(1));
            value = 1;
        });
    });
    assert_eq!(value, 1);
}

#[test]
fn many() {
    each_worker_count(|runtime| {
        let count = AtomicUsize::new(0);
        runtime.run(|| {
            thread::scope(|scope| {
                for _ in 0..3000 {
                    scope.spawn(|| {
                        thread::yield_now();
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        });
        assert_eq!(count.into_inner(), 3000);
    });
}

#[test]
fn a_panic_is_reported_unless_it_was_joined() {
    on_each_worker_count(|| {
        let unjoined = panic::catch_unwind(|| {
            thread::scope(|scope| {
                scope.spawn(|| panic::resume_unwind(Box::new("inner")));
            });
        });
        let message = *unjoined.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "a scoped thread panicked");
        thread::scope(|scope| {
            let panics = scope.spawn(|| panic::resume_unwind(Box::new("inner")));
            assert!(panics.join().is_err());
            let cancelled = scope.spawn(|| thread::sleep(EVER));
            cancelled.cancel();
        });
        let done = AtomicUsize::new(0);
        let outer = panic::catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(1));
                    done.fetch_add(1, Ordering::Relaxed);
                });
                panic::resume_unwind(Box::new("outer"));
            });
        }));
        assert_eq!(*outer.unwrap_err().downcast::<&str>().unwrap(), "outer");
        assert_eq!(done.into_inner(), 1, "it was waited for");
    });
}

#[test]
fn a_scope_that_is_cancelled_ends_its_threads() {
    on_each_worker_count(|| {
        let ended = AtomicUsize::new(0);
        struct Counts<'a>(&'a AtomicUsize);
        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                thread::yield_now();
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let late = deadline(Duration::from_millis(2), || {
            thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| {
                        let _counts = Counts(&ended);
                        thread::sleep(EVER);
                    });
                }
                thread::yield_now();
            });
        });
        assert!(late.is_err());
        assert!(ended.load(Ordering::Relaxed) <= 10);
        let (begun, inner) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|outer| {
            let scopes = outer.spawn(|| {
                thread::scope(|scope| {
                    let _counts = Counts(&inner);
                    begun.store(true, Ordering::Relaxed);
                    scope.spawn(|| thread::sleep(EVER));
                    thread::sleep(EVER);
                });
            });
            while !begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(1));
            scopes.cancel();
            assert!(scopes.join().unwrap_err().is::<Cancelled>());
        });
        assert_eq!(inner.into_inner(), 1);
    });
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic::resume_unwind(Box::new("dropped"));
    }
}

#[test]
fn a_spawn_that_fails_or_unwinds_is_not_waited_for() {
    on_each_worker_count(|| {
        let too_large = || Builder::new().stack_size(usize::MAX);
        let done = thread::scope(|scope| {
            assert!(too_large().spawn_scoped(scope, || ()).is_err());
            scope.spawn(|| 1).join().unwrap()
        });
        assert_eq!(done, 1);
        let unwinds = panic::catch_unwind(|| {
            thread::scope(|scope| {
                let bomb = Bomb;
                let _refused = too_large().spawn_scoped(scope, move || {
                    let _bomb = &bomb;
                });
            });
        });
        assert_eq!(common::message(&*unwinds.unwrap_err()), "dropped");
    });
}

#[test]
fn a_spawn_that_the_end_of_the_runtime_unwinds_is_not_waited_for() {
    let _stacks = stacks_returned();
    for workers in common::WORKER_COUNTS {
        for spawns_in_group in [false, true] {
            let _watchdog = common::watchdog(workers);
            let runtime = common::runtime(workers);
            let (begin, begun) = std::sync::mpsc::channel();
            let spawns = runtime.spawn(move || {
                // It is told of the end only at a wait, or by a spawn.
                thread::sleep(Duration::from_nanos(1));
                if spawns_in_group {
                    let _never = Group::new().run(|group| {
                        begin.send(()).unwrap();
                        loop {
                            group.spawn(|| Ok::<(), ()>(()));
                            std::thread::sleep(Duration::from_micros(10));
                        }
                    });
                } else {
                    thread::scope(|scope| {
                        begin.send(()).unwrap();
                        loop {
                            scope.spawn(|| ());
                            std::thread::sleep(Duration::from_micros(10));
                        }
                    });
                }
            });
            begun.recv().unwrap();
            runtime.shutdown();
            assert!(spawns.join().unwrap_err().is::<Cancelled>());
        }
    }
}

#[test]
fn a_group_gives_its_values_in_order() {
    on_each_worker_count(|| {
        let words = ["a", "bb", "ccc"];
        let lengths = Group::new().run(|group| {
            for word in &words {
                group.spawn(|| {
                    thread::sleep(Duration::from_micros(300 / word.len() as u64));
                    Ok::<_, ()>(word.len())
                });
            }
            Ok(())
        });
        assert_eq!(lengths, Ok(vec![1, 2, 3]));
        let doubled = Group::new().limit(3).map(0..50, |n| Ok::<_, ()>(n * 2));
        assert!(doubled.unwrap().into_iter().eq((0..50).map(|n| n * 2)));
        let came: Result<Vec<u32>, ()> = Group::new().run(|group| {
            (0..5).for_each(|n| group.spawn(move || Ok(n)));
            let mut came: Vec<_> = std::iter::from_fn(|| group.next()).collect();
            came.sort_unstable();
            assert_eq!(came, [0, 1, 2, 3, 4]);
            Ok(())
        });
        assert_eq!(came, Ok(vec![]));
    });
}

#[test]
fn a_limit_is_kept() {
    on_each_worker_count(|| {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = Group::new().limit(4).map(0..60, |_| {
            let running = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(running, Ordering::SeqCst);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        });
        assert_eq!(done.unwrap().len(), 60);
        assert!(most.into_inner() <= 4);
    });
}

#[test]
fn the_first_failure_ends_a_group() {
    on_each_worker_count(|| {
        let failed = Group::new().run(|group| {
            for _ in 0..10 {
                group.spawn(|| {
                    thread::sleep(EVER);
                    Ok(())
                });
            }
            group.spawn(|| Err("failed"));
            // Neither does this go on.
            thread::sleep(EVER);
            Ok(())
        });
        assert_eq!(failed, Err("failed"));
        let own: Result<Vec<()>, _> = Group::new().run(|group| {
            group.spawn(|| {
                thread::sleep(EVER);
                Ok(())
            });
            Err("own")
        });
        assert_eq!(own, Err("own"));
        let panics = panic::catch_unwind(|| {
            Group::new().run(|group| {
                group.spawn(|| -> Result<(), ()> {
                    thread::sleep(EVER);
                    Ok(())
                });
                group.spawn(|| panic::resume_unwind(Box::new("first")));
                Ok(())
            })
        });
        assert_eq!(*panics.unwrap_err().downcast::<&str>().unwrap(), "first");
        let endless = Group::new().limit(2).map(0.., |n| {
            thread::yield_now();
            if n < 20 { Ok(()) } else { Err(n) }
        });
        assert!(endless.unwrap_err() >= 20);
    });
}

#[test]
fn a_group_that_is_cancelled_gives_what_came() {
    on_each_worker_count(|| {
        let first = Group::new().run(|group| {
            group.spawn(|| Ok::<_, ()>(1));
            let cancels = group.clone();
            group.spawn(move || {
                // Until the first has ended.
                while cancels.running() > 1 {
                    thread::yield_now();
                }
                cancels.cancel();
                thread::sleep(EVER);
                Ok(2)
            });
            Ok(())
        });
        assert_eq!(first, Ok(vec![1]));
        let late = deadline(Duration::from_millis(1), || {
            Group::new().run(|group| {
                group.spawn(|| {
                    thread::sleep(EVER);
                    Ok::<_, ()>(())
                });
                Ok(())
            })
        });
        assert!(late.is_err());
    });
}

#[test]
fn a_deadline_that_ends_a_member_ends_the_group_that_has_not_waited() {
    on_each_worker_count(|| {
        let mut ended = false;
        let late = deadline(Duration::from_millis(1), || {
            Group::new().run(|group| {
                group.spawn(|| {
                    thread::sleep(EVER);
                    Ok::<_, ()>(())
                });
                let patience = Instant::now() + Duration::from_millis(100);
                // Without a blocking call, which the deadline would end; on one worker the member
                // has no turn before that.
                while group.running() > 0 && Instant::now() < patience {
                    std::thread::yield_now();
                }
                ended = group.running() == 0;
                Ok(())
            })
        });
        assert!(late.is_err(), "the member had ended: {ended}");
    });
}

/// Throws on what a thread of its own was cancelled with, as those do who join.
fn throws_on_another_cancellation() {
    let other = thread::spawn(thread::park);
    other.cancel();
    if let Err(payload) = other.join() {
        panic::resume_unwind(payload);
    }
}

#[test]
fn a_cancellation_of_another_thread_that_is_thrown_on_is_a_panic() {
    on_each_worker_count(|| {
        let group = panic::catch_unwind(|| {
            Group::new().map(0..3, |n| {
                if n == 1 {
                    throws_on_another_cancellation();
                }
                Ok::<_, ()>(n)
            })
        });
        assert!(group.unwrap_err().is::<Cancelled>());
        let scope = panic::catch_unwind(|| {
            thread::scope(|scope| {
                scope.spawn(throws_on_another_cancellation);
            });
        });
        assert_eq!(
            common::message(&*scope.unwrap_err()),
            "a scoped thread panicked"
        );
        let ended = AtomicBool::new(false);
        let waited = panic::catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(1));
                    ended.store(true, Ordering::Release);
                });
                throws_on_another_cancellation();
            });
        }));
        assert!(waited.unwrap_err().is::<Cancelled>());
        assert!(ended.load(Ordering::Acquire), "as after any panic");
        // One that was cancelled itself was meant to be.
        thread::scope(|scope| scope.spawn(thread::park).cancel());
    });
}

#[test]
fn a_panic_beside_the_members_cancels_them() {
    on_each_worker_count(|| {
        let panics = panic::catch_unwind(|| {
            Group::new().run(|members| {
                members.spawn(|| {
                    thread::sleep(Duration::MAX);
                    Ok::<(), ()>(())
                });
                panic!("beside")
            })
        });
        assert_eq!(common::message(&*panics.unwrap_err()), "beside");
        let panics = panic::catch_unwind(|| {
            let items = (0..3).inspect(|n| assert!(*n < 2, "no more items"));
            Group::new().map(items, |_| {
                thread::sleep(Duration::MAX);
                Ok::<(), ()>(())
            })
        });
        assert_eq!(common::message(&*panics.unwrap_err()), "no more items");
    });
}
