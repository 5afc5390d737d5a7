//! Compact stacks: frames lie where the C library would keep thread-locals of libraries that are loaded later.
//!
//! - what is loaded before, and what needs no static thread-locals, works as ever; what needs some has no place
//! - it is had whole or not at all, whatever other threads load meanwhile; and where it is not had, all is as usual
//! - the first runtime decides for the process, and for its forked children
//!
//! As it holds for a process, each test has one of its own. The other tests of this crate are run with it, too.

mod libraries;

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libraries::{LAZY, Library, STATIC};
use roving::{Builder, Runtime, ThreadLocals, stacks, thread};
use roving_soundness::{bounded, many, migrate, without_own_thread_locals};

const CHILD: &str = "ROVING_TEST_CHILD";

/// Runs `test`, which is the body of the test `name`, in so many processes of its own, one after the other.
fn in_processes(name: &str, count: usize, test: impl FnOnce()) {
    if env::var_os(CHILD).is_some() {
        return bounded(test);
    }
    for _ in 0..count {
        let output = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, name)
            .env_remove("ROVING_COMPACT_STACKS")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{}\n{told}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        print!("{told}");
    }
}

/// A runtime whose green threads move with every suspension.
fn runtime(compact: bool) -> Option<Runtime> {
    let builder = Builder::new().workers(2).migrate_always(true);
    match builder.own_thread_locals().compact_stacks(compact).build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            without_own_thread_locals(&error);
            None
        }
    }
}

fn is_compact() -> bool {
    let stacks = stacks();
    assert!(!(stacks.is_compact && stacks.not_compact.is_some()));
    assert_eq!(stacks.to_string().contains(", compact"), stacks.is_compact);
    stacks.is_compact
}

/// What each thread finds in a library that it has not used before, with frames below that hold something.
fn use_it(library: &Library) {
    let held = std::hint::black_box([0x5a_u8; 512]);
    assert_eq!(library.next(), 42);
    for round in 0..5 {
        migrate(round);
        assert_eq!(library.next(), 43 + 3 * round as i32);
        assert_eq!(library.across(), 46 + 3 * round as i32);
    }
    assert_eq!(std::hint::black_box(held), [0x5a; 512]);
}

/// No library with static thread-locals can be loaded.
fn has_no_room() {
    let why = Library::try_load(STATIC).err();
    let why = why.expect("it has a place among frames");
    assert!(why.contains("static TLS"), "{why}");
}

#[test]
fn libraries_come_before_and_between_and_those_with_static_thread_locals_not_after() {
    let name = "libraries_come_before_and_between_and_those_with_static_thread_locals_not_after";
    in_processes(name, 3, || {
        let before: Arc<Vec<_>> = Arc::new([STATIC, STATIC, LAZY].map(Library::load).into());
        let Some(runtime) = runtime(true) else {
            return;
        };
        assert!(is_compact(), "{:?}", stacks().not_compact);
        has_no_room();
        for _ in 0..10 {
            let before = before.clone();
            many(&runtime, move |_| {
                before.iter().for_each(use_it);
                has_no_room();
                let between = Library::load(LAZY);
                use_it(&between);
                thread::spawn(move || use_it(&between)).join().unwrap();
            });
        }
        std::thread::spawn(has_no_room).join().unwrap();
        // What one of them leaves is not given to another.
        drop(before);
        has_no_room();
    });
}

#[test]
fn it_is_whole_or_not_at_all_whatever_other_threads_load_meanwhile() {
    let name = "it_is_whole_or_not_at_all_whatever_other_threads_load_meanwhile";
    in_processes(name, 20, || {
        static STOP: AtomicBool = AtomicBool::new(false);
        static LOADED: AtomicUsize = AtomicUsize::new(0);
        let others = [0, 1].map(|keeps| {
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                while !STOP.load(Ordering::Relaxed) {
                    let loaded = Library::try_load(STATIC).ok();
                    LOADED.fetch_add(loaded.iter().len(), Ordering::Relaxed);
                    if kept.len() < 3 * keeps {
                        kept.extend(loaded);
                    }
                }
                kept
            })
        });
        while LOADED.load(Ordering::Relaxed) < 5 {
            std::thread::yield_now();
        }
        let runtime = runtime(true);
        STOP.store(true, Ordering::Relaxed);
        let kept: Vec<_> = others
            .into_iter()
            .flat_map(|other| other.join().unwrap())
            .collect();
        let Some(runtime) = runtime else {
            return;
        };
        println!("{} libraries, {}", kept.len(), stacks());
        match stacks().not_compact {
            None => {
                assert!(is_compact());
                has_no_room();
            }
            Some(_) => assert!(!is_compact()),
        }
        let kept = Arc::new(kept);
        many(&runtime, move |_| kept.iter().for_each(use_it));
    });
}

#[test]
fn where_nothing_is_left_all_is_as_usual() {
    let name = "where_nothing_is_left_all_is_as_usual";
    in_processes(name, 1, || {
        let mut before = Vec::new();
        while let Ok(library) = Library::try_load(STATIC) {
            before.push(library);
        }
        let Some(runtime) = runtime(true) else {
            return;
        };
        assert!(!is_compact());
        let why = stacks().not_compact.unwrap().to_string();
        assert!(why.contains("static TLS"), "{why}");
        let before = Arc::new(before);
        many(&runtime, move |_| {
            before.iter().step_by(20).for_each(use_it)
        });
    });
}

#[test]
fn the_first_runtime_decides_for_the_process() {
    let name = "the_first_runtime_decides_for_the_process";
    in_processes(name, 1, || {
        assert!(!is_compact());
        assert_eq!(stacks().not_compact, None);
        // One without thread-locals of its own does not.
        let pinned = Builder::new().workers(1).pinned_thread_locals();
        let pinned = pinned.compact_stacks(true).build().unwrap();
        assert_eq!(pinned.thread_locals(), ThreadLocals::Pinned);
        assert!(stacks().not_compact.is_some());
        let Some(first) = runtime(false) else {
            return;
        };
        let second = runtime(true).unwrap();
        assert!(!is_compact());
        let why = stacks().not_compact.unwrap().to_string();
        assert!(why.contains("first runtime"), "{why}");
        let later = Arc::new(Library::load(STATIC));
        for runtime in [&first, &second] {
            let later = later.clone();
            many(runtime, move |_| use_it(&later));
        }
    });
}

#[test]
fn a_runtime_that_does_not_ask_for_it_has_what_the_first_one_has() {
    let name = "a_runtime_that_does_not_ask_for_it_has_what_the_first_one_has";
    in_processes(name, 1, || {
        let (Some(first), Some(second)) = (runtime(true), runtime(false)) else {
            return;
        };
        assert!(is_compact());
        let lazy = Arc::new(Library::load(LAZY));
        for runtime in [&first, &second] {
            let lazy = lazy.clone();
            many(runtime, move |_| use_it(&lazy));
            has_no_room();
        }
    });
}

/// Forks, and gives how the child ended that has called `child`.
fn forked(child: impl FnOnce()) -> i32 {
    // SAFETY: the child goes on with this thread alone, for which the runtime is made.
    match unsafe { libc::fork() } {
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: the process ends, and nothing of its parent's is done once more.
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for a child of ours.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            status
        }
    }
}

/// In a forked child: it makes a runtime of its own, on which all is as where stacks are compact.
fn is_compact_in_child(wants: bool) {
    let runtime = runtime(wants).unwrap();
    assert!(is_compact(), "{}", stacks());
    let lazy = Arc::new(Library::load(LAZY));
    many(&runtime, move |_| use_it(&lazy));
    has_no_room();
}

#[test]
fn a_forked_child_has_what_its_parent_has() {
    let name = "a_forked_child_has_what_its_parent_has";
    in_processes(name, 1, || {
        let Some(runtime) = runtime(true) else {
            return;
        };
        for wants in [true, false] {
            let child = move || is_compact_in_child(wants);
            assert_eq!(forked(child), 0);
            assert_eq!(runtime.run(move || forked(child)), 0);
        }
    });
}

#[test]
fn a_forked_child_may_have_it_though_its_parent_has_not() {
    let name = "a_forked_child_may_have_it_though_its_parent_has_not";
    in_processes(name, 1, || {
        let Some(runtime) = runtime(false) else {
            return;
        };
        assert_eq!(forked(|| is_compact_in_child(true)), 0);
        // The thread that goes on there has the block that its parent has made.
        assert_eq!(runtime.run(|| forked(|| is_compact_in_child(true))), 0);
        let later = Arc::new(Library::load(STATIC));
        many(&runtime, move |_| use_it(&later));
        assert!(!is_compact());
    });
}

#[test]
fn a_parked_thread_takes_a_page_less() {
    let name = "a_parked_thread_takes_a_page_less";
    const PARKED: usize = 4000;
    let measure = |compact| {
        let runtime = runtime(compact)?;
        assert_eq!(is_compact(), compact);
        // What comes with the first use of anything.
        many(&runtime, |_| thread::yield_now());
        let before = resident();
        let arrived = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..PARKED)
            .map(|_| {
                let arrived = arrived.clone();
                runtime.spawn(move || {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    thread::park();
                })
            })
            .collect();
        while arrived.load(Ordering::Relaxed) < PARKED {
            std::thread::yield_now();
        }
        let each = (resident() - before) / PARKED;
        threads.iter().for_each(|thread| thread.thread().unpark());
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        println!("{each} bytes each, compact: {compact}");
        Some(each)
    };
    in_processes(name, 1, || {
        let usual = || {
            if let Some(each) = measure(false) {
                assert!(each > 8192, "{each}");
            }
        };
        assert_eq!(forked(usual), 0);
        if let Some(each) = measure(true) {
            assert!((4096..6144).contains(&each), "{each}");
        }
    });
}

/// The bytes of memory that this process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = pages.split_whitespace().nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4096
}
