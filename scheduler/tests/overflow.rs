//! Faults, each in a process of its own.
//!
//! - a green thread that overflows its stack is named, with where it was spawned and what helps,
//!   and the process aborts
//! - an OS thread's overflow is still reported by std
//! - a bad pointer on a green thread is no overflow: the signal does what it always does
//! - nor is a fault of one that is on another stack than its own

// A sanitizer has its own say when a program faults.
#![cfg(not(any(feature = "address-sanitizer", feature = "thread-sanitizer")))]

mod common;
#[cfg(target_os = "linux")]
#[path = "common/old_kernel.rs"]
mod old_kernel;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;

use corosensei::stack::DefaultStack;

use common::{child, is_child, printed, runtime, watchdog};
use roving_scheduler::thread::{self, Builder};

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
    let output = child(name).output().unwrap();
    let printed = printed(&output);
    assert_eq!(output.status.signal(), Some(signal), "{printed}");
    printed
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
    let printed = dies_of(name, libc::SIGABRT);
    assert!(
        printed.contains("green thread 'bottomless' has overflowed its stack"),
        "{printed}"
    );
    assert!(printed.contains("scheduler/tests/overflow.rs"), "{printed}");
    assert!(printed.contains("64 KiB"), "{printed}");
    assert!(printed.contains("ROVING_STACK_SIZE"), "{printed}");
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
    let printed = dies_of(name, libc::SIGABRT);
    assert!(
        printed.contains("green thread '<unnamed>' has overflowed its stack"),
        "{printed}"
    );
    let default = if cfg!(debug_assertions) {
        "1024 KiB"
    } else {
        "256 KiB"
    };
    assert!(printed.contains(default), "{printed}");
}

/// On kernels that cannot install guards in page tables.
#[cfg(target_os = "linux")]
#[test]
fn an_overflow_into_a_guard_of_the_other_kind_is_reported() {
    let name = "an_overflow_into_a_guard_of_the_other_kind_is_reported";
    if is_child(name) {
        old_kernel::refuse_guard_install();
        runtime(2).run(|| {
            let named = Builder::new().name("bottomless".to_owned());
            let _ = named.spawn(overflow).unwrap().join();
        });
        return;
    }
    let printed = dies_of(name, libc::SIGABRT);
    assert!(
        printed.contains("green thread 'bottomless' has overflowed its stack"),
        "{printed}"
    );
}

/// Frames larger than the guard touch it all the same.
#[test]
fn large_frames_do_not_jump_over_the_guard() {
    let name = "large_frames_do_not_jump_over_the_guard";
    if is_child(name) {
        runtime(1).run(|| recurse::<100_000>(black_box(u64::MAX)));
        return;
    }
    assert!(dies_of(name, libc::SIGABRT).contains("has overflowed its stack"));
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
    let printed = dies_of(name, libc::SIGABRT);
    assert!(printed.contains("has overflowed its stack"), "{printed}");
}

#[test]
fn where_run_was_called_is_reported() {
    let name = "where_run_was_called_is_reported";
    if is_child(name) {
        runtime(1).run(overflow);
        return;
    }
    assert!(dies_of(name, libc::SIGABRT).contains("scheduler/tests/overflow.rs"));
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

/// The highest address below `address` that cannot be read.
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
    let printed = dies_of(name, libc::SIGSEGV);
    assert!(!printed.contains("overflowed"), "{printed}");
}
