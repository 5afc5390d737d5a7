//! What the system refuses, each in a process of its own with less than usual.
//!
//! - no address space for another stack: an error that names the limit, and the process goes on
//! - whatever is left of address space or writable memory, from none on: a runtime works, or there is an error that names
//!   the limit; nothing aborts, hangs or stays
//! - what is asked for in vain is not taken from others meanwhile
//! - a kernel that can guard stacks only by memory mappings, until these run out: an error that
//!   says so
//! - no OS thread for a worker: `build` fails, and a smaller runtime works after it
//! - no more OS threads for the user, no descriptors, a stack of the main thread without a limit or of hardly any size
//! - no OS thread for a call that blocks: an error of that call

// A sanitizer needs more of the system than these tests leave.
#![cfg(not(any(feature = "address-sanitizer", feature = "thread-sanitizer")))]

mod common;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{child_with_limits, is_child, run, stacks_returned, watchdog};
use roving_scheduler::thread::{self, Builder};
use roving_scheduler::{Builder as RuntimeBuilder, Runtime, blocking, stacks};

/// What an error says of the limits that it has named.
const RAISE: &str = "; raise the one that is met";

/// In a child with `limits`, calls `test`; elsewhere, starts that child.
fn with_limits(name: &str, limits: &str, test: impl FnOnce()) {
    let _printed = printed_with_limits(name, limits, test);
}

/// The same, and gives what the child has printed, which a child does not know.
fn printed_with_limits(name: &str, limits: &str, test: impl FnOnce()) -> Option<String> {
    let _watchdog = watchdog("");
    if is_child(name) {
        test();
        return None;
    }
    Some(run(child_with_limits(name, limits)))
}

/// Waits on a green thread until the other one of two workers runs: an OS thread that starts needs
/// room itself.
fn until_both_workers_run() {
    let runs = Arc::new(AtomicBool::new(false));
    let other = runs.clone();
    let other = thread::spawn(move || other.store(true, Ordering::Release));
    while !runs.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    other.join().unwrap();
}

#[test]
fn no_room_for_another_stack() {
    with_limits("no_room_for_another_stack", "ulimit -v 800000", || {
        let _stacks = stacks_returned();
        let runtime = common::runtime(2);
        let (reached, message) = runtime.run(|| {
            until_both_workers_run();
            let mut parked = Vec::new();
            let error = loop {
                let next = Builder::new().stack_size(4 << 20).spawn(thread::park);
                match next {
                    Ok(handle) => parked.push(handle),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            // Those that are there go on, and their stacks can be had again.
            let reached = parked.len();
            for handle in parked {
                handle.thread().unpark();
                handle.join().unwrap();
            }
            for _ in 0..reached {
                let again = Builder::new().stack_size(4 << 20).spawn(|| 1).unwrap();
                assert_eq!(again.join().unwrap(), 1);
            }
            (reached, error.to_string())
        });
        assert!((10..200).contains(&reached), "{reached} stacks of 4 MiB");
        assert!(message.contains("ulimit -v"), "{message}");
        assert!(message.contains("KiB"), "{message}");
        assert!(message.contains(RAISE), "{message}");
    });
}

/// How many OS threads there are of ours.
#[cfg(target_os = "linux")]
fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits until there are as many of them as `before`: one that was joined is counted for a moment still.
#[cfg(target_os = "linux")]
fn until_os_threads_are(before: usize) {
    while os_threads() > before {
        std::thread::yield_now();
    }
    assert_eq!(os_threads(), before);
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Runs `test` with at most `most` of `resource`.
#[cfg(target_os = "linux")]
fn with_soft_limit<T>(resource: Resource, most: libc::rlim_t, test: impl FnOnce() -> T) -> T {
    let set = |limit: &libc::rlimit| {
        // SAFETY: a lower limit makes calls fail, and nothing else.
        assert_eq!(unsafe { libc::setrlimit(resource, limit) }, 0);
    };
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: it is written to a `rlimit`.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut before) }, 0);
    set(&libc::rlimit {
        rlim_cur: most,
        ..before
    });
    let result = test();
    set(&before);
    result
}

/// How many bytes of memory of that name the process has.
#[cfg(target_os = "linux")]
fn memory(name: &str) -> libc::rlim_t {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: libc::rlim_t = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Starts a runtime, and as many green threads as there may be: how many that were, and why there were no more.
#[cfg(target_os = "linux")]
fn fill(workers: usize) -> (usize, String) {
    const ENOUGH: usize = 10_000;
    let runtime = match RuntimeBuilder::new().workers(workers).build() {
        Ok(runtime) => runtime,
        Err(error) => return (0, error.to_string()),
    };
    let filled = || {
        let mut parked = Vec::new();
        let error = loop {
            assert!(parked.len() < ENOUGH, "there is no limit");
            match Builder::new().spawn(thread::park) {
                Ok(handle) => parked.push(handle),
                Err(error) => break error,
            }
        };
        let reached = parked.len();
        for handle in parked {
            handle.thread().unpark();
            handle.join().unwrap();
        }
        (reached, error.to_string())
    };
    panic::catch_unwind(AssertUnwindSafe(|| runtime.run(filled)))
        .unwrap_or_else(|panic| (0, common::message(&*panic)))
}

#[cfg(target_os = "linux")]
fn whatever_is_left(resource: Resource, memory_name: &str, limit_name: &str) {
    for workers in common::WORKER_COUNTS {
        let before = os_threads();
        let mut most = 0;
        for left in (0..48).step_by(3) {
            let limit = memory(memory_name) + (left << 20);
            let (reached, error) = with_soft_limit(resource, limit, || fill(workers));
            let message = error.to_string();
            let names_it = format!("{limit_name} is {}", limit >> 10);
            assert!(
                message.contains(&names_it) && message.contains(RAISE),
                "{left} MiB: {message}"
            );
            until_os_threads_are(before);
            most = most.max(reached);
        }
        assert!(most > 10, "{workers} workers: {most} green threads");
    }
}

/// The panics of those that find no room for a single green thread print no backtraces: std, if it runs out of memory as
/// it makes one, waits for itself.
#[cfg(target_os = "linux")]
const NO_BACKTRACES: &str = "export RUST_BACKTRACE=0";

#[cfg(target_os = "linux")]
#[test]
fn whatever_is_left_of_address_space() {
    with_limits("whatever_is_left_of_address_space", NO_BACKTRACES, || {
        whatever_is_left(libc::RLIMIT_AS, "VmSize", "ulimit -v");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn whatever_is_left_of_writable_memory() {
    with_limits("whatever_is_left_of_writable_memory", NO_BACKTRACES, || {
        whatever_is_left(libc::RLIMIT_DATA, "VmData", "ulimit -d");
    });
}

/// Whether the system would give so many bytes.
#[cfg(target_os = "linux")]
fn can_map(bytes: usize) -> bool {
    use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};
    let (null, access) = (std::ptr::null_mut(), PROT_READ | PROT_WRITE);
    // SAFETY: it is a mapping of its own, of which nobody knows.
    unsafe {
        let start = libc::mmap(null, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        start != MAP_FAILED && libc::munmap(start, bytes) == 0
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_asked_for_in_vain_is_not_taken_from_others() {
    let name = "what_is_asked_for_in_vain_is_not_taken_from_others";
    with_limits(name, NO_BACKTRACES, || {
        let runtime = common::runtime(2);
        let mut refused = 0;
        for left in 32..64 {
            let limit = memory("VmSize") + (left << 20);
            refused += with_soft_limit(libc::RLIMIT_AS, limit, || asked_in_vain(&runtime));
        }
        assert!(refused > 1000, "{refused} of 3,200");
    });
}

/// Asks for large stacks while somebody else needs some memory, and gives how often they were refused.
#[cfg(target_os = "linux")]
fn asked_in_vain(runtime: &Runtime) -> usize {
    let one = || Builder::new().stack_size(24 << 20).spawn(|| ());
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let refused = runtime.run(|| (0..100).filter(|_| one().is_err()).count());
            is_done.store(true, Ordering::Relaxed);
            refused
        });
        while !is_done.load(Ordering::Relaxed) {
            assert!(can_map(1 << 20), "there are some MiB left");
        }
        asks.join().unwrap()
    })
}

#[cfg(target_os = "linux")]
#[test]
fn no_os_thread_for_the_user() {
    with_limits("no_os_thread_for_the_user", ":", || {
        // Those of the superuser are not limited, so it becomes one who has none.
        // SAFETY: no arguments; the whole process changes its user, if it may.
        if unsafe { libc::geteuid() } == 0 {
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setuid(2_000_000_019) }, 0);
        }
        let before = os_threads();
        for workers in common::WORKER_COUNTS {
            let build = || RuntimeBuilder::new().workers(workers).build();
            let error = with_soft_limit(libc::RLIMIT_NPROC, 1, build).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            let message = error.to_string();
            assert!(message.contains("ulimit -u is 1,"), "{message}");
            until_os_threads_are(before);
            let runtime = build().unwrap();
            assert_eq!(runtime.run(|| thread::spawn(|| 5).join().unwrap()), 5);
        }
    });
}

/// A runtime needs no descriptor.
#[cfg(target_os = "linux")]
#[test]
fn no_descriptors() {
    with_limits("no_descriptors", ":", || {
        for workers in common::WORKER_COUNTS {
            let thread_locals = with_soft_limit(libc::RLIMIT_NOFILE, 0, || {
                assert!(std::fs::File::open("/dev/null").is_err());
                let runtime = common::runtime(workers);
                assert_eq!(runtime.run(|| thread::spawn(|| 5).join().unwrap()), 5);
                assert_eq!(runtime.run(|| blocking::run(|| 6)), 6);
                runtime.thread_locals()
            });
            assert_eq!(thread_locals, common::runtime(workers).thread_locals());
        }
    });
}

/// A limit on stacks is one of the main thread's.
#[test]
fn any_stack_of_the_main_thread() {
    for limit in ["unlimited", "100"] {
        let limit = format!("ulimit -s {limit}");
        with_limits("any_stack_of_the_main_thread", &limit, || {
            common::on_each_worker_count(|| {
                let threads: Vec<_> = (0..100).map(|n| thread::spawn(move || n)).collect();
                let sum: u32 = threads.into_iter().map(|t| t.join().unwrap()).sum();
                assert_eq!(sum, 4950);
            });
        });
    }
}

#[test]
fn spawn_panics_where_there_is_no_stack() {
    with_limits(
        "spawn_panics_where_there_is_no_stack",
        "ulimit -v 800000",
        || {
            let runtime = RuntimeBuilder::new()
                .workers(1)
                .stack_size(1 << 30)
                .build()
                .unwrap();
            let spawn = || runtime.handle().spawn(|| ());
            let spawned = panic::catch_unwind(AssertUnwindSafe(spawn));
            let message = spawned.unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains("failed to spawn"), "{message}");
            let ran = panic::catch_unwind(AssertUnwindSafe(|| runtime.run(|| ())));
            assert!(ran.is_err());
        },
    );
}

#[test]
fn no_os_thread_for_a_worker() {
    // What is too little for another stack is still plenty for all else that an OS thread needs to
    // start.
    let limits = "ulimit -v 1000000; export RUST_MIN_STACK=67108864";
    with_limits("no_os_thread_for_a_worker", limits, || {
        let _stacks = stacks_returned();
        let error = RuntimeBuilder::new().workers(1000).build().unwrap_err();
        let message = error.to_string();
        assert!(message.contains("of 1000"), "{message}");
        assert!(message.contains("ulimit -u is "), "{message}");
        assert!(message.ends_with(RAISE), "{message}");
        for _ in 0..10 {
            assert!(RuntimeBuilder::new().workers(1000).build().is_err());
            let small = RuntimeBuilder::new().workers(2).build().unwrap();
            assert_eq!(small.run(|| thread::spawn(|| 5).join().unwrap()), 5);
        }
    });
}

#[test]
fn no_os_thread_for_a_call_that_blocks() {
    let printed = printed_with_limits(
        "no_os_thread_for_a_call_that_blocks",
        "ulimit -v 600000",
        || {
            let _stacks = stacks_returned();
            // So that no spare is there before it is needed.
            let runtime = common::lone_worker();
            // A stack is there from now on.
            runtime.run(|| ());
            // Takes the address space that an OS thread's stack would need.
            let mut taken = Vec::new();
            for bytes in [64 << 20, 1 << 20] {
                loop {
                    let mut part: Vec<u8> = Vec::new();
                    match part.try_reserve_exact(bytes) {
                        Ok(()) => taken.push(part),
                        Err(_) => break,
                    }
                }
            }
            // Nobody takes its place.
            assert_eq!(runtime.run(|| blocking::run(|| 1)), 1);
            drop(taken);
            assert_eq!(runtime.run(|| blocking::run(|| 2)), 2);
        },
    );
    if let Some(printed) = printed {
        let told = printed.matches("the system refuses another one").count();
        assert_eq!(told, 1, "{printed}");
        assert!(printed.contains(RAISE), "{printed}");
    }
}

/// Guards of two kinds take memory mappings: one a stack, or two. Where the limit has been raised, it is not
/// reached.
#[cfg(target_os = "linux")]
#[test]
fn no_memory_mapping_for_another_guard() {
    const ENOUGH: usize = 66_000;
    let name = "no_memory_mapping_for_another_guard";
    let _watchdog = watchdog("");
    if !is_child(name) {
        for kind in ["memfd", "mprotect"] {
            let mut child = child_with_limits(name, ":");
            child.env("ROVING_STACK_GUARDS", kind);
            run(child);
        }
        return;
    }
    let mappings_each = match std::env::var("ROVING_STACK_GUARDS").as_deref() {
        Ok("memfd") => 1,
        _ => 2,
    };
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    // All stacks of one size, since a free one of another size is of no use.
    let runtime = RuntimeBuilder::new()
        .workers(2)
        .stack_size(64 << 10)
        .build()
        .unwrap();
    let (handles, error) = runtime.run(|| {
        until_both_workers_run();
        // Room for all, since a vector that grows may need a mapping too.
        let mut handles = Vec::with_capacity(ENOUGH);
        let mut error = None;
        while handles.len() < ENOUGH && error.is_none() {
            let number = handles.len();
            let spawned = Builder::new().spawn(move || {
                thread::park();
                number
            });
            match spawned {
                Ok(handle) => handles.push(handle),
                Err(refused) => error = Some(refused),
            }
        }
        for handle in &handles {
            handle.thread().unpark();
        }
        (handles, error)
    });
    let reached = handles.len();
    let most = stacks().limit.expect("mappings limit it");
    if limit / mappings_each < ENOUGH {
        let error = error.expect("the limit is below that");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let message = error.to_string();
        assert!(message.contains("vm.max_map_count"), "{message}");
        assert!(message.contains(&limit.to_string()), "{message}");
        assert!(
            message.ends_with("; raise it with sysctl vm.max_map_count"),
            "{message}"
        );
        for range in [
            limit * 9 / 10 / mappings_each..=limit / mappings_each,
            most * 99 / 100..=most,
        ] {
            assert!(
                range.contains(&reached),
                "{reached} stacks with {limit} mappings and a limit of {most}"
            );
        }
    } else {
        assert_eq!(reached, ENOUGH);
    }
    for (number, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), number);
    }
    // Their stacks can be had again.
    let again = runtime.run(|| {
        let again: Vec<_> = (0..1000).map(|n| thread::spawn(move || n)).collect();
        again.into_iter().map(|h| h.join().unwrap()).sum::<u32>()
    });
    assert_eq!(again, 499_500);
}
