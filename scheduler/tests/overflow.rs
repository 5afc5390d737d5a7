//! Faults, each in a process of its own.
//!
//! - a green thread that overflows its stack is named, with where it was spawned and what helps,
//!   and the process aborts
//! - an OS thread's overflow is still reported by std
//! - so is one that overflows the stack which it was lent for a poll
//! - so it is with guards of each kind
//! - a bad pointer on a green thread is no overflow, nor is a file that was cut short: the signal does what it
//!   always does
//! - nor is a fault of one that is on another stack than its own
//! - a coroutine that overflows its stack is told of with where it was made, on any thread

// A sanitizer has its own say when a program faults.
#![cfg(not(any(feature = "address-sanitizer", feature = "thread-sanitizer")))]

mod common;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use corosensei::stack::DefaultStack;

use common::{child, is_child, printed, runtime, watchdog, with_each_kind_of_guards};
use roving_scheduler::coroutine::{self, Generator, State, Yielder};
use roving_scheduler::thread::{self, Builder};
use roving_scheduler::{block_on, on_warm_stack};

/// Recurses `depth` times, in frames of about `FRAME` bytes.
#[inline(never)]
fn recurse<const FRAME: usize>(depth: u64) -> u64 {
    let frame = black_box([depth as u8; FRAME]);
    if depth == 0 {
        return u64::from(frame[0]);
    }
    black_box(recurse::<FRAME>(depth - 1)) + u64::from(frame[FRAME - 1])
}

fn overflow() -> u64 {
    recurse::<64>(black_box(u64::MAX))
}

/// Runs the test `name` in a child that must die of `signal`, and gives what it printed.
fn dies_of(name: &str, signal: i32) -> String {
    let _watchdog = watchdog("");
    dies(child(name), &[signal])
}

/// Runs a child that must die of one of `signals`, and gives what it printed.
fn dies(mut child: Command, signals: &[i32]) -> String {
    let output = child.output().unwrap();
    let printed = printed(&output);
    let signal = output.status.signal().unwrap_or_default();
    assert!(signals.contains(&signal), "{}: {printed}", output.status);
    printed
}

/// Runs the test `name` in children, with guards of each kind. Each must die of an overflow that is told,
/// also with what is `expected`.
fn overflows(name: &str, expected: &[&str]) {
    let _watchdog = watchdog("");
    for child in with_each_kind_of_guards(|| child(name)) {
        let printed = dies(child, &[libc::SIGABRT]);
        for expected in expected.iter().chain(&["has overflowed its stack"]) {
            assert!(printed.contains(expected), "no {expected:?} in:\n{printed}");
        }
    }
}

#[test]
fn a_green_thread_that_overflows_is_reported() {
    let name = "a_green_thread_that_overflows_is_reported";
    if is_child(name) {
        runtime(2).run(|| {
            let named = Builder::new().name("bottomless".to_owned());
            let _ = named.stack_size(64 << 10).spawn(overflow).unwrap().join();
        });
        return;
    }
    overflows(
        name,
        &[
            "green thread 'bottomless' has overflowed its stack",
            "scheduler/tests/overflow.rs",
            "64 KiB",
            "ROVING_STACK_SIZE",
        ],
    );
}

#[test]
fn one_that_overflows_what_it_was_lent_is_reported() {
    let name = "one_that_overflows_what_it_was_lent_is_reported";
    if is_child(name) {
        runtime(2).run(|| {
            let named = Builder::new().name("lent".to_owned());
            let polls = || block_on(on_warm_stack(async { overflow() }));
            let _ = named.spawn(polls).unwrap().join();
        });
        return;
    }
    overflows(
        name,
        &[
            "green thread 'lent' has overflowed its stack",
            "scheduler/tests/overflow.rs",
            "ROVING_STACK_SIZE",
        ],
    );
}

#[test]
fn an_overflow_after_a_migration_of_the_fresh_and_many_switches_is_reported() {
    let name = "an_overflow_after_a_migration_of_the_fresh_and_many_switches_is_reported";
    if is_child(name) {
        runtime(8).run(|| {
            let handles: Vec<_> = (0..100)
                .map(|n| {
                    thread::spawn(move || {
                        (0..100).for_each(|_| thread::yield_now());
                        if n == 99 {
                            overflow();
                        }
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        });
        return;
    }
    let default = if cfg!(debug_assertions) {
        "1024 KiB"
    } else {
        "256 KiB"
    };
    let told = "green thread '<unnamed>' has overflowed its stack";
    overflows(name, &[told, default]);
}

/// Frames larger than the guard touch it all the same.
#[test]
fn large_frames_do_not_jump_over_the_guard() {
    let name = "large_frames_do_not_jump_over_the_guard";
    if is_child(name) {
        runtime(1).run(|| recurse::<100_000>(black_box(u64::MAX)));
        return;
    }
    overflows(name, &[]);
}

/// Takes `bytes` of the stack at once and touches the lowest of them only, as C code without probes does.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn take_at_once(bytes: usize) {
    // SAFETY: the stack pointer is put back, and what is overwritten lies below it.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("sub rsp, {0}", "mov byte ptr [rsp], 0", "add rsp, {0}", in(reg) bytes);
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("sub sp, sp, {0}", "strb wzr, [sp]", "add sp, sp, {0}", in(reg) bytes);
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn a_large_frame_that_is_not_probed_does_not_jump_over_the_guard() {
    const SIZE: usize = 128 << 10;
    let name = "a_large_frame_that_is_not_probed_does_not_jump_over_the_guard";
    if is_child(name) {
        runtime(1).run(|| {
            let sized = || Builder::new().stack_size(SIZE);
            let parked: Vec<_> = (0..8)
                .map(|_| sized().spawn(thread::park).unwrap())
                .collect();
            let deep = || take_at_once(black_box(SIZE + (48 << 10)));
            sized().spawn(deep).unwrap().join().unwrap();
            for handle in parked {
                handle.thread().unpark();
                handle.join().unwrap();
            }
        });
        return;
    }
    overflows(name, &[]);
}

#[test]
fn where_run_was_called_is_reported() {
    let name = "where_run_was_called_is_reported";
    if is_child(name) {
        runtime(1).run(overflow);
        return;
    }
    overflows(name, &["scheduler/tests/overflow.rs"]);
}

#[test]
fn an_os_thread_that_overflows_is_reported_by_std() {
    let name = "an_os_thread_that_overflows_is_reported_by_std";
    if is_child(name) {
        let runtime = runtime(1);
        runtime.run(thread::yield_now);
        let named = std::thread::Builder::new().name("plain".to_owned());
        let _ = named.spawn(overflow).unwrap().join();
        return;
    }
    let printed = dies_of(name, libc::SIGABRT);
    assert!(
        printed.contains("thread 'plain'") && printed.contains("has overflowed its stack"),
        "{printed}"
    );
    assert!(!printed.contains("green thread"), "{printed}");
}

#[test]
fn a_bad_pointer_is_no_overflow() {
    let name = "a_bad_pointer_is_no_overflow";
    if is_child(name) {
        runtime(1).run(|| {
            let nowhere = std::ptr::without_provenance::<u32>(black_box(64));
            // SAFETY: none. The fault is what is tested, in a process that ends with it.
            black_box(unsafe { nowhere.read_volatile() });
        });
        return;
    }
    let printed = dies_of(name, libc::SIGSEGV);
    assert!(!printed.contains("overflowed"), "{printed}");
}

/// A mapping of a file that ends before it does.
fn beyond_the_end_of_a_file() -> *mut u8 {
    // SAFETY: a new mapping of a new file, which is empty.
    let mapped = unsafe {
        let file = libc::memfd_create(c"empty".as_ptr(), 0);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            access,
            libc::MAP_SHARED,
            file,
            0,
        )
    };
    assert_ne!(mapped, libc::MAP_FAILED);
    mapped.cast()
}

#[test]
fn a_file_that_ends_before_its_mapping_is_no_overflow() {
    let name = "a_file_that_ends_before_its_mapping_is_no_overflow";
    if is_child(name) {
        let beyond = beyond_the_end_of_a_file().expose_provenance();
        runtime(1).run(|| {
            let beyond = std::ptr::with_exposed_provenance_mut::<u8>(beyond);
            // SAFETY: none. The fault is what is tested, in a process that ends with it.
            unsafe { beyond.write_volatile(1) };
        });
        return;
    }
    let printed = dies_of(name, libc::SIGBUS);
    assert!(!printed.contains("overflowed"), "{printed}");
}

#[test]
fn who_handled_sigbus_before_handles_that_of_a_file() {
    extern "C" fn exit(_: libc::c_int) {
        // SAFETY: it may be called in a signal handler.
        unsafe { libc::_exit(77) };
    }
    let name = "who_handled_sigbus_before_handles_that_of_a_file";
    if is_child(name) {
        let exit: extern "C" fn(libc::c_int) = exit;
        // SAFETY: the handler does what a handler may do.
        unsafe { libc::signal(libc::SIGBUS, exit as libc::sighandler_t) };
        let beyond = beyond_the_end_of_a_file().expose_provenance();
        runtime(1).run(|| {
            let beyond = std::ptr::with_exposed_provenance_mut::<u8>(beyond);
            // SAFETY: none. The fault is what is tested, in a process that ends with it.
            unsafe { beyond.write_volatile(1) };
        });
        return;
    }
    let _watchdog = watchdog("");
    for mut child in with_each_kind_of_guards(|| child(name)) {
        assert_eq!(child.output().unwrap().status.code(), Some(77));
    }
}

/// The stack of a coroutine, on a plain OS thread where no runtime is, and on a green thread.
#[test]
fn a_coroutine_that_overflows_is_reported_wherever_it_runs() {
    let name = "a_coroutine_that_overflows_is_reported_wherever_it_runs";
    let overflows = || {
        let kept: Vec<_> = (0..10)
            .map(|n| Generator::new(move |y| y.yield_(n)))
            .collect();
        let sized = coroutine::Builder::new().stack_size(64 << 10);
        let mut outer = Generator::new(move |_: &Yielder<(), u64>| {
            let inner = sized.coroutine(|yielder, ()| {
                yielder.yield_(1);
                overflow()
            });
            let inner = inner.unwrap();
            assert_eq!(inner.resume(()), State::Yielded(1));
            let _: State<_, u64> = inner.resume(());
        });
        outer.next();
        drop(kept);
    };
    match (
        is_child(name),
        std::env::var("ROVING_TEST_WHERE").as_deref(),
    ) {
        (false, _) => {}
        (true, Ok("main")) => return overflows(),
        (true, Ok("os")) => return std::thread::spawn(overflows).join().unwrap(),
        (true, _) => {
            let named = Builder::new().name("bottomless".to_owned());
            runtime(2).run(|| named.spawn(overflows).unwrap().join().unwrap());
            return;
        }
    }
    for place in ["main", "os", "green"] {
        let _watchdog = watchdog(place);
        let output = child(name)
            .env("ROVING_TEST_WHERE", place)
            .output()
            .unwrap();
        let printed = printed(&output);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{printed}");
        assert!(
            printed.contains("a coroutine has overflowed its stack"),
            "{printed}"
        );
        assert!(
            printed.contains("it was made at scheduler/tests/overflow.rs"),
            "{printed}"
        );
        assert!(printed.contains("with a stack of 64 KiB"), "{printed}");
        let names_thread = printed.contains("it ran on green thread 'bottomless'");
        assert_eq!(names_thread, place == "green", "{printed}");
    }
}

/// One that has ended has no stack: what a green thread does on the same one is its own.
#[test]
fn a_stack_that_was_a_coroutines_is_the_green_threads() {
    let name = "a_stack_that_was_a_coroutines_is_the_green_threads";
    if is_child(name) {
        const SIZE: usize = 64 << 10;
        let sized = coroutine::Builder::new().stack_size(SIZE);
        let ended = sized.generator(|y| y.yield_(1)).unwrap();
        assert_eq!(ended.sum::<u32>(), 1);
        let builder = roving_scheduler::Builder::new().workers(2).stack_size(SIZE);
        builder
            .pinned_thread_locals()
            .build()
            .unwrap()
            .run(overflow);
        return;
    }
    let printed = dies_of(name, libc::SIGABRT);
    assert!(
        printed.contains("green thread '<unnamed>' has overflowed its stack"),
        "{printed}"
    );
}

fn on_another_stack<R>(f: impl FnOnce() -> R) -> R {
    corosensei::on_stack(DefaultStack::new(64 << 10).unwrap(), f)
}

#[test]
fn another_stack_that_overflows_is_not_the_green_threads() {
    let name = "another_stack_that_overflows_is_not_the_green_threads";
    if is_child(name) {
        runtime(2).run(|| on_another_stack(overflow));
        return;
    }
    let printed = dies_of(name, libc::SIGSEGV);
    assert!(!printed.contains("green thread"), "{printed}");
}

/// The highest address below `address` that cannot be read. Guards that can be read are not found.
fn guard_below(address: usize) -> usize {
    let can_be_read = |address: &usize| {
        let path = std::ptr::with_exposed_provenance(*address);
        // SAFETY: the system reads on our behalf, and answers with an error where we would fault.
        unsafe { libc::access(path, libc::F_OK) };
        std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
    };
    let mut pages = (1..).map(|pages| (address & !4095) - pages * 4096);
    pages.find(|page| !can_be_read(page)).unwrap() + 4095
}

#[test]
fn a_bad_pointer_into_the_guard_from_another_stack_is_no_overflow() {
    let name = "a_bad_pointer_into_the_guard_from_another_stack_is_no_overflow";
    if is_child(name) {
        runtime(2).run(|| {
            let here = 0_u8;
            let guard = guard_below((&raw const here).addr());
            on_another_stack(|| {
                let guard = std::ptr::with_exposed_provenance::<u8>(black_box(guard));
                // SAFETY: none. The fault is what is tested, in a process that ends with it.
                black_box(unsafe { guard.read_volatile() });
            });
        });
        return;
    }
    let _watchdog = watchdog("");
    // Those that every system has, and that fault at a read.
    for kind in ["memfd", "mprotect"] {
        let mut child = child(name);
        child.env("ROVING_STACK_GUARDS", kind);
        let printed = dies(child, &[libc::SIGSEGV, libc::SIGBUS]);
        assert!(!printed.contains("overflowed"), "{printed}");
    }
}
