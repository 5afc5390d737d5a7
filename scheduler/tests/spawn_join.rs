//! Spawning and joining, as users of `std::thread` know it.
//!
//! - results and panic payloads come out of `join`, from green threads and from OS threads
//! - `is_finished`, detaching, names, numbers
//! - stack sizes, and closures larger than a page, than a stack's default size
//! - spawning from within, and many at once
//! - joining oneself is refused
//! - where results are dropped

mod common;

use std::any::Any;
use std::collections::HashSet;
use std::hint::black_box;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::thread::{self, Builder, JoinHandle, ThreadId};

#[test]
fn results_come_out_of_join() {
    on_each_worker_count(|| {
        let handles: Vec<_> = (0..100u64)
            .map(|n| thread::spawn(move || n.to_string()))
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n.to_string());
        }
    });
}

#[test]
fn an_os_thread_joins() {
    each_worker_count(|runtime| {
        let handles: Vec<_> = (0..100).map(|n| runtime.spawn(move || n + 1)).collect();
        let sum: i32 = handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum();
        assert_eq!(sum, 5050);
    });
}

#[test]
fn a_thread_is_joined_by_another_than_its_spawner() {
    each_worker_count(|runtime| {
        let inner = runtime.spawn(|| 7);
        let outer = runtime.spawn(move || inner.join().unwrap() * 6);
        let os = std::thread::spawn(move || outer.join().unwrap());
        assert_eq!(os.join().unwrap(), 42);
    });
}

fn payload(handle: JoinHandle<()>) -> Box<dyn Any + Send> {
    handle.join().expect_err("it panicked")
}

#[test]
fn panic_payloads_are_kept() {
    #[derive(Debug, PartialEq)]
    struct Custom(u64);

    on_each_worker_count(|| {
        let literal = payload(thread::spawn(|| panic!("a literal")));
        assert_eq!(literal.downcast_ref::<&str>(), Some(&"a literal"));

        let number = black_box(3);
        let formatted = payload(thread::spawn(move || panic!("number {number}")));
        assert_eq!(
            formatted.downcast_ref::<String>(),
            Some(&"number 3".to_owned())
        );

        let custom = payload(thread::spawn(|| panic::panic_any(Custom(9))));
        assert_eq!(custom.downcast_ref::<Custom>(), Some(&Custom(9)));

        let resumed = payload(thread::spawn(|| panic::resume_unwind(Box::new(Custom(10)))));
        assert_eq!(resumed.downcast_ref::<Custom>(), Some(&Custom(10)));
    });
}

#[test]
fn a_panic_unwinds_its_own_thread_and_no_other() {
    on_each_worker_count(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        struct CountDrop(Arc<AtomicUsize>);
        impl Drop for CountDrop {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let handles: Vec<_> = (0..100)
            .map(|n| {
                let count = CountDrop(dropped.clone());
                thread::spawn(move || {
                    let _count = count;
                    thread::yield_now();
                    assert!(n % 2 == 0, "odd");
                    thread::yield_now();
                    n
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            match handle.join() {
                Ok(value) => assert_eq!((value, n % 2), (n, 0)),
                Err(_) => assert_eq!(n % 2, 1),
            }
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn a_panic_that_is_caught_is_over() {
    on_each_worker_count(|| {
        let handle = thread::spawn(|| {
            for n in 0..10 {
                let caught = panic::catch_unwind(|| {
                    thread::yield_now();
                    panic::panic_any(n);
                });
                assert_eq!(caught.unwrap_err().downcast_ref(), Some(&n));
                assert!(!thread::panicking());
                thread::yield_now();
            }
            "fine"
        });
        assert_eq!(handle.join().unwrap(), "fine");
    });
}

#[test]
fn is_finished_tells_the_end() {
    on_each_worker_count(|| {
        let go_on = Arc::new(AtomicBool::new(false));
        let seen = go_on.clone();
        let handle = thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                thread::park();
            }
        });
        for _ in 0..10 {
            assert!(!handle.is_finished());
            thread::yield_now();
        }
        go_on.store(true, Ordering::Release);
        handle.thread().unpark();
        while !handle.is_finished() {
            thread::yield_now();
        }
        handle.join().unwrap();
    });
}

#[test]
fn a_detached_thread_goes_on() {
    on_each_worker_count(|| {
        let main = thread::current();
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        drop(thread::spawn(move || {
            thread::sleep(Duration::from_millis(1));
            done.store(true, Ordering::Release);
            main.unpark();
        }));
        while !seen.load(Ordering::Acquire) {
            thread::park();
        }
    });
}

#[test]
fn names_are_kept() {
    on_each_worker_count(|| {
        let named = Builder::new()
            .name("weaver".to_owned())
            .spawn(|| thread::current().name().map(str::to_owned))
            .unwrap();
        assert_eq!(named.thread().name(), Some("weaver"));
        assert_eq!(named.join().unwrap().as_deref(), Some("weaver"));

        let unnamed = thread::spawn(|| thread::current().name().map(str::to_owned));
        assert_eq!(unnamed.thread().name(), None);
        assert_eq!(unnamed.join().unwrap(), None);
    });
}

#[test]
fn a_null_byte_in_a_name_panics_as_in_std() {
    on_each_worker_count(|| {
        let ours = panic::catch_unwind(|| {
            let _ = Builder::new().name("nu\0ll".to_owned()).spawn(|| ());
        });
        let theirs = panic::catch_unwind(|| {
            let _ = std::thread::Builder::new()
                .name("nu\0ll".to_owned())
                .spawn(|| ());
        });
        for payload in [ours.unwrap_err(), theirs.unwrap_err()] {
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            assert!(message.unwrap().contains("interior null bytes"));
        }
    });
}

#[test]
fn every_thread_has_a_number_of_its_own() {
    on_each_worker_count(|| {
        let handles: Vec<_> = (0..100)
            .map(|_| thread::spawn(|| thread::current().id()))
            .collect();
        let mut ids = HashSet::from([thread::current().id()]);
        for handle in handles {
            let id = handle.thread().id();
            assert_eq!(handle.join().unwrap(), id);
            assert!(ids.insert(id));
        }
        let os = std::thread::spawn(|| thread::current().id());
        assert!(ids.insert(os.join().unwrap()));
        assert_eq!(thread::current().id(), thread::current().id());
    });
}

/// Uses at least `bytes` of stack, and all of it.
fn use_stack(bytes: usize) -> usize {
    #[inline(never)]
    fn descend(top: usize, bytes: usize) -> usize {
        let frame = black_box([1u8; 256]);
        let used = top - frame.as_ptr().addr();
        if used >= bytes {
            used
        } else {
            black_box(descend(top, bytes))
        }
    }
    let top = black_box(0u8);
    descend((&raw const top).addr(), bytes)
}

#[test]
fn stack_sizes_are_granted() {
    on_each_worker_count(|| {
        for (asked, used) in [(1 << 20, 700 << 10), (8 << 20, 6 << 20)] {
            let handle = Builder::new()
                .stack_size(asked)
                .spawn(move || use_stack(used))
                .unwrap();
            assert!(handle.join().unwrap() >= used);
        }
        let least = Builder::new().stack_size(0).spawn(|| 3).unwrap();
        assert_eq!(least.join().unwrap(), 3);
        for too_much in [usize::MAX, (1 << 30) + 1] {
            let error = Builder::new()
                .stack_size(too_much)
                .spawn(|| ())
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn stacks_of_many_sizes_live_together() {
    on_each_worker_count(|| {
        let handles: Vec<_> = (0..60usize)
            .map(|n| {
                let size = (16 << 10) << (n % 6);
                Builder::new()
                    .stack_size(size)
                    .spawn(move || {
                        let used = if size >= 256 << 10 { size / 2 } else { 1024 };
                        thread::yield_now();
                        use_stack(used) >= used
                    })
                    .unwrap()
            })
            .collect();
        assert!(handles.into_iter().all(|handle| handle.join().unwrap()));
    });
}

#[test]
fn closures_may_be_larger_than_a_page_or_a_stack() {
    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().map(|byte| u64::from(*byte)).sum()
    }

    on_each_worker_count(|| {
        let page = [7u8; 5000];
        let small = thread::spawn(move || sum(&page));
        assert_eq!(small.join().unwrap(), 35_000);

        // Code that is not optimised makes many copies of a closure, on the spawner's stack and on
        // the new one.
        let roomy = || Builder::new().stack_size(32 << 20);
        let outer = roomy().spawn(move || {
            let large = [3u8; 300 << 10];
            let inner = roomy().spawn(move || sum(black_box(&large)));
            inner.unwrap().join().unwrap()
        });
        assert_eq!(outer.unwrap().join().unwrap(), 3 * (300 << 10));
    });
}

#[test]
fn a_large_closure_is_dropped_once() {
    struct Bulky {
        _weight: [u8; 4000],
        drops: Arc<AtomicUsize>,
    }
    impl Drop for Bulky {
        fn drop(&mut self) {
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }
    on_each_worker_count(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let bulky = Bulky {
                    _weight: [0; 4000],
                    drops: drops.clone(),
                };
                thread::spawn(move || {
                    thread::yield_now();
                    let _moved = bulky;
                })
            })
            .collect();
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        assert_eq!(drops.load(Ordering::Relaxed), 20);
    });
}

#[test]
fn large_results_come_back() {
    each_worker_count(|runtime| {
        let handle = runtime.spawn(|| [5u8; 20_000]);
        assert!(handle.join().unwrap().iter().all(|byte| *byte == 5));
    });
}

#[test]
fn threads_spawn_threads() {
    fn tree(depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let left = thread::spawn(move || tree(depth - 1));
        let right = thread::spawn(move || tree(depth - 1));
        left.join().unwrap() + right.join().unwrap()
    }
    on_each_worker_count(|| assert_eq!(tree(10), 1024));
}

#[test]
fn a_storm_of_threads() {
    on_each_worker_count(|| {
        for _ in 0..5 {
            let handles: Vec<_> = (0..2000u64).map(|n| thread::spawn(move || n)).collect();
            let sum: u64 = handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .sum();
            assert_eq!(sum, 2000 * 1999 / 2);
        }
    });
}

#[test]
fn joining_oneself_panics() {
    on_each_worker_count(|| {
        let own: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
        let (done, has_panicked) = std::sync::mpsc::channel();
        let for_thread = own.clone();
        let handle = thread::spawn(move || {
            let own = loop {
                match for_thread.lock().unwrap().take() {
                    Some(own) => break own,
                    None => thread::yield_now(),
                }
            };
            let joined = panic::catch_unwind(AssertUnwindSafe(|| own.join()));
            done.send(joined.is_err()).unwrap();
        });
        *own.lock().unwrap() = Some(handle);
        let panicked = loop {
            match has_panicked.try_recv() {
                Ok(panicked) => break panicked,
                Err(_) => thread::yield_now(),
            }
        };
        assert!(panicked, "the thread could join itself");
    });
}

/// A result that tells where it was dropped, after having blocked there.
struct TellsWhere(std::sync::mpsc::Sender<ThreadId>);

impl Drop for TellsWhere {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(1));
        thread::yield_now();
        self.0.send(thread::current().id()).unwrap();
    }
}

#[test]
fn the_result_of_a_detached_thread_is_dropped_on_it() {
    each_worker_count(|runtime| {
        let (tell, told) = std::sync::mpsc::channel();
        let own = runtime.run(move || {
            let detached = Arc::new(AtomicBool::new(false));
            let seen = detached.clone();
            let handle = thread::spawn(move || {
                while !seen.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                TellsWhere(tell)
            });
            let own = handle.thread().id();
            drop(handle);
            detached.store(true, Ordering::Release);
            own
        });
        assert_eq!(told.recv().unwrap(), own);
    });
}

#[test]
fn the_result_of_a_thread_that_was_not_joined_is_dropped_with_the_handle() {
    on_each_worker_count(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let handle = thread::spawn(move || TellsWhere(tell));
        while !handle.is_finished() {
            thread::yield_now();
        }
        assert!(told.try_recv().is_err(), "the handle still has the result");
        drop(handle);
        assert_eq!(told.recv().unwrap(), thread::current().id());
    });
}

#[test]
fn workers_are_the_parallelism_of_green_threads() {
    each_worker_count(|runtime| {
        let parallelism = runtime.run(|| thread::available_parallelism().unwrap().get());
        assert_eq!(parallelism, runtime.workers());
        assert_eq!(
            thread::available_parallelism().unwrap(),
            std::thread::available_parallelism().unwrap()
        );
    });
}

#[test]
fn the_end_of_a_thread_is_seen_once_it_is_joined() {
    each_worker_count(|runtime| {
        for _ in 0..500 {
            let handle = runtime.spawn(|| ());
            handle.join().unwrap();
            assert_eq!(runtime.green_threads(), 0);
        }
    });
}
