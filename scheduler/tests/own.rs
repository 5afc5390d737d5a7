//! Thread-locals of one's own, as the default and when they are asked for.
//!
//! - it is known which mode a runtime is in, and why not in a better one
//! - blocks that were given back to the system come back as new
//! - what the C library does for all threads reaches the workers while they run green threads

mod common;
#[cfg(target_os = "linux")]
#[path = "common/old_kernel.rs"]
mod old_kernel;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{child, each_worker_count, is_child, not_tested, run, stacks_returned, watchdog};
use roving_scheduler::{Builder, Runtime, ThreadLocals, stacks, thread};

/// A runtime with own thread-locals, where they can be had.
fn own_runtime(workers: usize) -> Option<Runtime> {
    match Builder::new().workers(workers).own_thread_locals().build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            not_tested::without_own_thread_locals(error);
            None
        }
    }
}

#[test]
fn a_runtime_tells_its_mode_and_why_not_a_better_one() {
    let _stacks = stacks_returned();
    let pinned = Builder::new().pinned_thread_locals().build().unwrap();
    assert_eq!(pinned.thread_locals(), ThreadLocals::Pinned);
    assert_eq!(pinned.no_own_thread_locals(), None);
    let asked = Builder::new().own_thread_locals().build();
    let default = Builder::new().build().unwrap();
    match (asked, default.no_own_thread_locals()) {
        (Ok(own), None) => assert_eq!(own.thread_locals(), ThreadLocals::Own),
        (Err(error), Some(why)) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("thread-locals"), "{error}");
            assert_eq!(error.to_string(), why.to_string());
            assert_eq!(default.thread_locals(), ThreadLocals::Pinned);
        }
        // The environment or the build asks for another mode.
        (Ok(_) | Err(_), _) => assert_ne!(default.thread_locals(), ThreadLocals::Own),
    }
}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(17) };
    static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1, 2, 3]);
}

#[test]
fn more_threads_than_stay_warm_find_their_thread_locals_new_each_time() {
    const THREADS: usize = 4000;
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let Some(runtime) = own_runtime(2) else {
        return;
    };
    for _ in 0..3 {
        let parked: Vec<_> = (0..THREADS)
            .map(|_| {
                runtime.spawn(|| {
                    assert_eq!(COUNT.replace(0), 17);
                    LIST.with_borrow_mut(|list| {
                        assert_eq!(*list, [1, 2, 3]);
                        list.push(4);
                        thread::park();
                        assert_eq!(*list, [1, 2, 3, 4]);
                    });
                    assert_eq!(COUNT.get(), 0);
                })
            })
            .collect();
        parked.iter().for_each(|p| p.thread().unpark());
        parked.into_iter().for_each(|p| p.join().unwrap());
    }
}

#[test]
fn credentials_are_changed_on_every_os_thread() {
    // SAFETY: these have no preconditions; what is set is what is there.
    let set = || unsafe { libc::setuid(libc::getuid()) };
    each_worker_count(|runtime| {
        let busy = Arc::new(AtomicBool::new(true));
        let computing: Vec<_> = (1..runtime.workers())
            .map(|_| {
                let busy = busy.clone();
                runtime.spawn(move || {
                    while busy.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(set(), 0);
            assert_eq!(runtime.run(set), 0);
        }
        busy.store(false, Ordering::Relaxed);
        computing.into_iter().for_each(|c| c.join().unwrap());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn where_they_cannot_be_had_it_is_an_error_to_demand_them_and_a_fact_to_be_asked_for() {
    const NAME: &str =
        "where_they_cannot_be_had_it_is_an_error_to_demand_them_and_a_fact_to_be_asked_for";
    if !is_child(NAME) {
        let _watchdog = watchdog("");
        let mut child = child(NAME);
        child.env_remove("ROVING_THREAD_LOCALS");
        run(child);
        return;
    }
    old_kernel::hide_handler_of_signal_to_all_threads();
    let os_threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = os_threads();
    for _ in 0..3 {
        let error = Builder::new().own_thread_locals().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("thread-locals: "), "{error}");
    }
    // The system counts one that has ended for a moment more.
    while os_threads() > before {
        std::thread::yield_now();
    }
    assert_eq!((os_threads(), stacks().in_use), (before, 0));
    let default = Builder::new().workers(2).build().unwrap();
    if cfg!(roving_shared) {
        return;
    }
    assert_eq!(default.thread_locals(), ThreadLocals::Pinned);
    assert!(default.no_own_thread_locals().is_some());
    assert_eq!(default.run(|| thread::spawn(|| 1).join().unwrap()), 1);
}
