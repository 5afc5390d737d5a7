//! Which kind of guards stacks get, on systems that lack something, each in a process of its own.
//!
//! - the first kind that the system allows, from the one that the environment names on; what it has refused
//!   is kept, with the reason
//! - what a system only pretends to do is not believed
//! - memory that is locked is guarded too, and not filled
//! - memory that is refused, also as it was, is an error
//! - guards that somebody has taken away are made anew
//! - guards stay when the pages above them go back to the system

// A sanitizer has its own say when a program faults. The filters are those of Linux.
#![cfg(all(
    target_os = "linux",
    not(any(feature = "address-sanitizer", feature = "thread-sanitizer"))
))]

mod common;
#[path = "common/old_kernel.rs"]
mod old_kernel;

use std::fs;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    child, is_child, printed, run, runtime, unwatched, watchdog, with_each_kind_of_guards,
};
use roving_scheduler::coroutine::{self, Generator, Yielder};
use roving_scheduler::thread::{self, Builder, JoinHandle};
use roving_scheduler::{Builder as RuntimeBuilder, Guards, stacks};

/// In a child of its own, calls `test`.
fn in_child(name: &str, test: impl FnOnce()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        test();
    } else {
        let mut child = child(name);
        child.env_remove("ROVING_STACK_GUARDS");
        run(child);
    }
}

/// The kind of guards of a green thread that is spawned now.
fn guards() -> Guards {
    runtime(1).run(|| stacks().guards).unwrap()
}

/// With which error the system has refused a kind of guards.
fn error_of(guards: Guards) -> Option<i32> {
    let refused = stacks().refused;
    let refusal = refused.iter().find(|refusal| refusal.guards() == guards);
    refusal.and_then(|refusal| refusal.raw_os_error())
}

#[test]
fn the_environment_names_the_kind() {
    let name = "the_environment_names_the_kind";
    let _watchdog = watchdog("");
    if !is_child(name) {
        return with_each_kind_of_guards(|| child(name)).for_each(|child| drop(run(child)));
    }
    let asked = std::env::var("ROVING_STACK_GUARDS").unwrap();
    assert_eq!(stacks().guards, None);
    // Coroutines have stacks of that kind too, also before there is a runtime.
    drop(Generator::new(|_: &Yielder<(), ()>| ()));
    let of_coroutine = stacks().guards;
    let guards = guards();
    assert_eq!(of_coroutine, Some(guards));
    // On older systems a later one.
    let is_refused = |refused: &roving_scheduler::NoGuards| refused.guards().to_string() == asked;
    assert!(guards.to_string() == asked || stacks().refused.iter().any(is_refused));
    assert_eq!(
        stacks().limit.is_some(),
        matches!(guards, Guards::Memfd | Guards::Mprotect)
    );
    assert!(stacks().to_string().contains(&guards.to_string()));
}

#[test]
fn a_kernel_without_the_advice() {
    in_child("a_kernel_without_the_advice", || {
        old_kernel::refuse_guard_install();
        assert!([Guards::Poison, Guards::WriteProtect].contains(&guards()));
        assert_eq!(error_of(Guards::Madvise), Some(libc::EINVAL));
    });
}

#[test]
fn a_kernel_that_pretends_to_know_the_advice() {
    in_child("a_kernel_that_pretends_to_know_the_advice", || {
        old_kernel::pretend_guard_install();
        assert_ne!(guards(), Guards::Madvise);
        assert_eq!(stacks().refused[0].guards(), Guards::Madvise);
        assert_eq!(error_of(Guards::Madvise), None);
    });
}

#[test]
fn a_container_without_userfaultfd_on_an_old_kernel() {
    in_child("a_container_without_userfaultfd_on_an_old_kernel", || {
        old_kernel::refuse_guard_install();
        old_kernel::refuse_userfaultfd();
        assert_eq!(guards(), Guards::Memfd);
        assert_eq!(error_of(Guards::Poison), Some(libc::EPERM));
        assert_eq!(error_of(Guards::WriteProtect), Some(libc::EPERM));
        // Few stacks of that size fit in a slab, so each would have a file of its own.
        let large = Builder::new().stack_size(64 << 20);
        runtime(1).run(|| large.spawn(|| ()).unwrap().join().unwrap());
        assert_eq!(stacks().guards, Some(Guards::Mprotect));
        assert_eq!(guards(), Guards::Mprotect, "the free ones come first");
    });
}

#[test]
fn a_container_with_nothing() {
    in_child("a_container_with_nothing", || {
        old_kernel::refuse_guard_install();
        old_kernel::refuse_userfaultfd();
        old_kernel::refuse_memfd();
        assert_eq!(guards(), Guards::Mprotect);
        assert_eq!(error_of(Guards::Memfd), Some(libc::ENOSYS));
    });
}

/// What is refused for a moment is asked for again.
#[test]
fn no_descriptor_is_free() {
    let name = "no_descriptor_is_free";
    let _watchdog = watchdog("");
    if !is_child(name) {
        let mut child = common::child_with_limits(name, "ulimit -n 64");
        child.env("ROVING_STACK_GUARDS", "memfd");
        run(child);
        return;
    }
    // Who looks who is stuck opens files.
    let runtime = unwatched(1);
    let guards_of = |size| {
        let sized = Builder::new().stack_size(size);
        runtime.run(|| sized.spawn(|| stacks().guards).unwrap().join().unwrap())
    };
    assert_eq!(guards_of(16 << 10), Some(Guards::Memfd));
    let taken: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    assert!(!taken.is_empty());
    assert_eq!(guards_of(32 << 10), Some(Guards::Mprotect));
    assert_eq!(error_of(Guards::Memfd), Some(libc::EMFILE));
    drop(taken);
    assert_eq!(guards_of(128 << 10), Some(Guards::Memfd));
}

/// Of stacks whose memory is neither to be had anew nor as it was, nobody gets one.
#[test]
fn memory_that_is_lost_is_an_error() {
    let name = "memory_that_is_lost_is_an_error";
    let _watchdog = watchdog("");
    if !is_child(name) {
        let mut child = child(name);
        child.env("ROVING_STACK_GUARDS", "memfd");
        run(child);
        return;
    }
    let runtime = unwatched(1);
    let spawns = runtime.spawn(|| {
        thread::park();
        let of_new_slab = Builder::new().stack_size(32 << 10).spawn(|| ());
        of_new_slab.unwrap().join().unwrap();
    });
    let coroutine = || coroutine::Builder::new().generator(|_: &Yielder<(), ()>| ());
    let mut coroutines = vec![coroutine().unwrap()];
    assert_eq!(stacks().guards, Some(Guards::Memfd));
    // What this thread is refused is not refused to the worker.
    old_kernel::refuse_access();
    let lost = loop {
        match coroutine() {
            Ok(made) => coroutines.push(made),
            Err(error) => break error.to_string(),
        }
    };
    assert!(lost.contains("nor gave it back (limits: "), "{lost}");
    assert!(coroutine().is_err(), "there is no access to a new slab");
    drop(coroutines);
    spawns.thread().unpark();
    spawns.join().unwrap();
}

/// A file that is too large for this limit would end the process by a signal.
#[test]
fn a_limit_of_the_size_of_files() {
    let name = "a_limit_of_the_size_of_files";
    let _watchdog = watchdog("");
    if is_child(name) {
        assert_eq!(guards(), Guards::Mprotect);
        return;
    }
    let mut child = common::child_with_limits(name, "ulimit -f 8");
    child.env("ROVING_STACK_GUARDS", "memfd");
    run(child);
}

const PARKED: usize = 1000;

/// Spawns green threads that park.
fn parked() -> Vec<JoinHandle<()>> {
    (0..PARKED).map(|_| thread::spawn(thread::park)).collect()
}

fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == u64::MAX {
        return frame[0];
    }
    black_box(overflow(depth + 1)) + frame[15]
}

/// Runs a child that must die of an overflow which is told, and gives what it printed.
fn overflows(mut child: Command) -> String {
    let output = child.output().unwrap();
    let printed = printed(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{printed}");
    assert!(printed.contains("has overflowed its stack"), "{printed}");
    printed
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

fn lock_all(flags: libc::c_int) {
    // SAFETY: it has no preconditions.
    let refused = unsafe { libc::mlockall(flags) };
    assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
}

/// Whether this process may lock more memory than the tests need.
fn may_lock() -> bool {
    const BYTES: usize = 512 << 20;
    // SAFETY: a new mapping, which is there as long as it is used.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let mapped = libc::mmap(std::ptr::null_mut(), BYTES, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(mapped, libc::MAP_FAILED);
        let may = libc::mlock2(mapped, BYTES, libc::MLOCK_ONFAULT) == 0;
        libc::munmap(mapped, BYTES);
        may
    }
}

/// In children of its own, one with each kind of guards, calls `test`, which overflows a stack at its end.
fn where_memory_can_be_locked(name: &str, test: impl FnOnce()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        test();
    } else if may_lock() {
        with_each_kind_of_guards(|| child(name)).for_each(|child| drop(overflows(child)));
    } else {
        println!("not tested: this process may not lock its memory");
    }
}

#[test]
fn memory_that_is_locked_is_guarded_and_not_filled() {
    where_memory_can_be_locked("memory_that_is_locked_is_guarded_and_not_filled", || {
        lock_all(libc::MCL_FUTURE);
        let runtime = runtime(2);
        let before = resident();
        runtime.run(|| {
            let parked = parked();
            let taken = resident().saturating_sub(before);
            assert!(taken < PARKED * (64 << 10), "{taken} bytes are resident");
            parked.iter().for_each(|handle| handle.thread().unpark());
            parked.into_iter().for_each(|handle| handle.join().unwrap());
        });
        let stacks = stacks();
        assert_ne!(stacks.guards, Some(Guards::Madvise));
        let advice = |refused: &&roving_scheduler::NoGuards| refused.guards() == Guards::Madvise;
        if let Some(refused) = stacks.refused.iter().find(advice) {
            assert!(refused.to_string().contains("locked") || refused.raw_os_error().is_some());
        }
        runtime.run(|| overflow(black_box(0)));
    });
}

#[test]
fn memory_may_be_locked_later() {
    where_memory_can_be_locked("memory_may_be_locked_later", || {
        // Small, since those of which the mapping is there are filled: that is what is asked for.
        let builder = RuntimeBuilder::new().workers(2).stack_size(16 << 10);
        let runtime = builder.build().unwrap();
        runtime.run(|| {
            let first = parked();
            lock_all(libc::MCL_CURRENT | libc::MCL_FUTURE);
            let before = resident();
            let second = parked();
            let third = parked();
            let taken = resident().saturating_sub(before);
            assert!(
                taken < 2 * PARKED * (32 << 10),
                "{taken} bytes are resident"
            );
            for handle in first.into_iter().chain(second).chain(third) {
                handle.thread().unpark();
                handle.join().unwrap();
            }
        });
        let fresh = Builder::new().stack_size(32 << 10);
        let _ = runtime.run(|| fresh.spawn(|| overflow(black_box(0))).unwrap().join());
    });
}

/// The error names the limit, and the process goes on.
#[test]
fn no_more_memory_may_be_locked() {
    let name = "no_more_memory_may_be_locked";
    let _watchdog = watchdog("");
    if !is_child(name) {
        run(common::child_with_limits(name, "ulimit -l 8192"));
        return;
    }
    // SAFETY: they change who this process belongs to, and nothing else.
    unsafe {
        if libc::geteuid() == 0 {
            // The superuser has no such limit.
            assert_eq!(libc::setuid(65534), 0);
        }
    }
    // More workers than are there would need memory that is locked too.
    let runtime = runtime(1);
    runtime.run(|| ());
    lock_all(libc::MCL_FUTURE);
    runtime.run(|| {
        let mut handles = Vec::new();
        let error = loop {
            match Builder::new().stack_size(2 << 20).spawn(thread::park) {
                Ok(handle) => handles.push(handle),
                Err(error) => break error,
            }
        };
        let message = error.to_string();
        assert!(message.contains("ulimit -l"), "{message}");
        assert!(handles.len() < 8, "{} stacks of 2 MiB", handles.len());
        for handle in handles {
            handle.thread().unpark();
            handle.join().unwrap();
        }
    });
}

/// As programs do that become a daemon: all descriptors are closed, and others get their numbers.
#[test]
fn guards_that_somebody_has_taken_away_are_made_anew() {
    let name = "guards_that_somebody_has_taken_away_are_made_anew";
    let _watchdog = watchdog("");
    if !is_child(name) {
        let with_guards = |kind| {
            let mut child = child(name);
            child.env("ROVING_STACK_GUARDS", kind);
            child
        };
        let printed = overflows(with_guards("write-protect"));
        assert_eq!(
            printed.matches("somebody has closed").count(),
            1,
            "{printed}"
        );
        for kind in ["memfd", "mprotect"] {
            let printed = overflows(with_guards(kind));
            assert!(!printed.contains("somebody has closed"), "{printed}");
        }
        return;
    }
    // Who looks who is stuck opens files.
    let runtime = unwatched(2);
    runtime.run(|| {
        let first = parked();
        // SAFETY: nobody in this process uses one of them but the guards.
        let null = unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
            libc::open(c"/dev/null".as_ptr(), libc::O_RDWR)
        };
        assert!(null >= 3);
        for number in 3..100 {
            // SAFETY: none of these numbers is used.
            unsafe { libc::dup2(null, number) };
        }
        let second = parked();
        for number in 3..100 {
            // SAFETY: it reads the flags of a descriptor.
            let is_there = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
            assert!(is_there, "it belongs to somebody else");
        }
        for handle in first.into_iter().chain(second) {
            handle.thread().unpark();
            handle.join().unwrap();
        }
    });
    // On a stack that was there before.
    runtime.run(|| overflow(black_box(0)));
}

/// Uses some `BYTES` of the stack, then calls `f`.
#[inline(never)]
fn deep<const BYTES: usize>(f: fn()) {
    let mut frame = [1_u8; BYTES];
    black_box(&mut frame);
    f();
    black_box(&frame);
}

/// Runs green threads of which each uses much of its stack, until they have given it back. `then` is what each
/// does after that.
fn until_given_back(workers: usize, then: fn()) {
    const DEEP: usize = 100 << 10;
    static USED: AtomicUsize = AtomicUsize::new(0);
    USED.store(0, Ordering::Release);
    let runtime = runtime(workers);
    runtime.run(|| {
        let before = resident();
        let parked: Vec<_> = (0..PARKED)
            .map(|_| {
                let uses_much = move || {
                    deep::<DEEP>(|| _ = USED.fetch_add(1, Ordering::AcqRel));
                    thread::park();
                    then();
                };
                let sized = Builder::new().stack_size(512 << 10);
                sized.spawn(uses_much).unwrap()
            })
            .collect();
        while USED.load(Ordering::Acquire) < PARKED || resident() > before + PARKED * (DEEP / 4) {
            thread::sleep(std::time::Duration::from_millis(1));
        }
        eprintln!("{GIVEN_BACK}");
        parked.iter().for_each(|handle| handle.thread().unpark());
        parked.into_iter().for_each(|handle| drop(handle.join()));
    });
}

const GIVEN_BACK: &str = "they have given it back";

fn each_overflows_though_pages_go_back(name: &str) {
    let _watchdog = watchdog("");
    for mut child in with_each_kind_of_guards(|| child(name)) {
        child.env("ROVING_RECLAIM_SECONDS", "0.05");
        assert!(overflows(child).contains(GIVEN_BACK));
    }
}

#[test]
fn guards_stay_when_a_parked_thread_gives_back() {
    let name = "guards_stay_when_a_parked_thread_gives_back";
    if is_child(name) {
        return until_given_back(2, || assert_eq!(overflow(black_box(0)), 0));
    }
    each_overflows_though_pages_go_back(name);
}

#[test]
fn guards_stay_when_free_stacks_give_back() {
    let name = "guards_stay_when_free_stacks_give_back";
    if is_child(name) {
        until_given_back(2, || ());
        return until_given_back(1, || assert_eq!(overflow(black_box(0)), 0));
    }
    each_overflows_though_pages_go_back(name);
}
