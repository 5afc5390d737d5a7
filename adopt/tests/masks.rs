//! Masks of signals, in a program that is adopted.

mod common;

use std::env;
use std::ffi::{CStr, c_int};
use std::fs;
use std::mem;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::os::unix::thread::JoinHandleExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::library::load;
use common::{in_programs, is_the_same, on_a_green_thread, until};

/// Those that `masks.c` tells to be blocked, as bits.
const USR1: c_int = 1;
const USR2: c_int = 2;
const TERM: c_int = 4;
const HUP: c_int = 8;

/// Checks what a function of `masks.c` tells, if it can be compiled.
fn tells(function: &CStr, expected: &[c_int]) -> Option<Vec<c_int>> {
    // SAFETY: it has this type.
    let told = unsafe { load("masks.c", "cc")?.told(function) };
    assert_eq!(told, expected);
    Some(told)
}

/// Checks that a function of `masks.c` tells the same everywhere, and on an OS thread what is expected.
fn tells_the_same(name: &'static str, function: &'static CStr, expected: &'static [c_int]) {
    is_the_same(name, move || tells(function, expected));
}

#[test]
fn a_mask_is_its_threads_own() {
    tells_the_same("a_mask_is_its_threads_own", c"who_has_a_mask", &[0, 0]);
}

#[test]
fn a_mask_is_inherited() {
    tells_the_same(
        "a_mask_is_inherited",
        c"who_inherits_a_mask",
        &[USR1 | USR2, USR1, TERM, USR1 | HUP, 0],
    );
}

#[test]
fn what_is_sent_to_a_thread_before_it_has_begun_is_pending_if_it_inherits_it_blocked() {
    const NAME: &str =
        "what_is_sent_to_a_thread_before_it_has_begun_is_pending_if_it_inherits_it_blocked";
    is_the_same(NAME, || {
        let maker = thread::spawn(|| {
            // SAFETY: zeroes are a set.
            let set = unsafe {
                let mut set = mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                assert_eq!(
                    libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()),
                    0
                );
                set
            };
            (0..20).for_each(|_| {
                let waits = thread::spawn(move || {
                    let mut signal = 0;
                    // SAFETY: it is a set, and there is room for the number.
                    assert_eq!(unsafe { libc::sigwait(&raw const set, &raw mut signal) }, 0);
                    signal
                });
                // SAFETY: it has not been joined.
                let sent = unsafe { libc::pthread_kill(waits.as_pthread_t(), libc::SIGUSR1) };
                assert_eq!((sent, waits.join().unwrap()), (0, libc::SIGUSR1));
            });
        });
        maker.join().unwrap();
        Some(())
    });
}

/// Whether the system tells by the program's numbers what is pending for a thread. An emulation of another processor may have its own, of
/// which `/proc` knows nothing.
fn pending_is_told_by_number() -> bool {
    let tell = || {
        let signal = libc::SIGRTMIN();
        change_mask(libc::SIG_BLOCK, &[signal]);
        // SAFETY: it is blocked, and ends with the thread.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let mut lines = status.lines();
        let pending = lines.find_map(|line| line.strip_prefix("SigPnd:")).unwrap();
        u64::from_str_radix(pending.trim(), 16).unwrap() == 1 << (signal - 1)
    };
    thread::spawn(tell).join().unwrap()
}

#[test]
fn what_is_blocked_is_pending_for_its_thread() {
    if !pending_is_told_by_number() {
        return eprintln!("not tested: /proc tells of pending signals by other numbers");
    }
    tells_the_same(
        "what_is_blocked_is_pending_for_its_thread",
        c"what_is_blocked_is_pending",
        &[
            0,
            0,
            0,
            7,
            0,
            1,
            0,
            3,
            0,
            libc::SIGUSR2,
            0,
            0,
            0,
            0,
            -1,
            libc::EAGAIN,
            0,
            10,
            11,
            12,
        ],
    );
}

#[test]
fn who_waits_for_signals_finds_what_is_pending() {
    // The C library tells of it as if it came from another process.
    let (signal, told) = (libc::SIGUSR1, libc::SI_USER);
    let ends = |handled| [-1, libc::EINTR, handled, USR1];
    let takes = [signal, told, 0, 4, USR1];
    let expected = [
        &ends(1)[..],
        &ends(2),
        &ends(3),
        &ends(4),
        &takes,
        &takes,
        &[0],
    ]
    .concat();
    tells_the_same(
        "who_waits_for_signals_finds_what_is_pending",
        c"who_waits_finds_what_is_pending",
        expected.leak(),
    );
}

#[test]
fn what_a_thread_causes_is_its_own() {
    tells_the_same(
        "what_a_thread_causes_is_its_own",
        c"who_raises_waits_and_handles",
        &[0, 1, 1, -1, libc::EPIPE, 1, 0, libc::SIGPIPE, 0, 0, 0],
    );
}

#[test]
fn jumps_restore_masks() {
    tells_the_same(
        "jumps_restore_masks",
        c"who_jumps_has_the_mask_of_the_place",
        &[TERM, 0, USR1, 0, HUP, USR2, 0],
    );
}

#[test]
fn masks_are_changed_in_many_ways() {
    tells_the_same(
        "masks_are_changed_in_many_ways",
        c"who_changes_it_otherwise",
        &[
            USR1,
            0,
            0,
            USR1,
            0,
            USR2,
            0,
            -1,
            libc::EINVAL,
            libc::EINVAL,
            USR2,
            0,
            USR2,
            0,
        ],
    );
}

/// What a function of `masks.c` tells on an OS thread of a program that is not adopted, and of one that is.
fn tells_on_os_threads(name: &'static str, function: &'static CStr, expected: &'static [c_int]) {
    in_programs(name, || {
        let tell = || _ = tells(function, expected);
        thread::spawn(tell).join().unwrap();
        roving_adopt::adopt().unwrap();
        tell();
    });
}

#[test]
fn who_ends_has_handled_what_was_sent_to_it() {
    const BY_HANDLER: c_int = libc::SIGUSR1;
    tells_on_os_threads(
        "who_ends_has_handled_what_was_sent_to_it",
        c"who_ends_has_handled_all",
        &[1, 0, BY_HANDLER, 0, 1, 0, BY_HANDLER, 0],
    );
}

#[test]
fn masks_and_signals_are_asked_for_by_number() {
    const SIGNAL: c_int = libc::SIGUSR1;
    tells_on_os_threads(
        "masks_and_signals_are_asked_for_by_number",
        c"who_asks_by_number",
        &[
            1,
            SIGNAL,
            SIGNAL,
            -1,
            libc::EINTR,
            1,
            USR1,
            0,
            SIGNAL,
            SIGNAL,
        ],
    );
}

/// The current thread changes its mask by these.
fn change_mask(how: c_int, signals: &[c_int]) {
    // SAFETY: zeroes are a set, and the signals are valid.
    unsafe {
        let mut set = mem::zeroed();
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        assert_eq!(
            libc::pthread_sigmask(how, &raw const set, ptr::null_mut()),
            0
        );
    }
}

/// A handler that comes as such a thread begins, is parked, goes on or ends finds its worker, and not the thread.
#[test]
fn who_has_a_signal_blocked_is_interrupted_by_none() {
    let name = "who_has_a_signal_blocked_is_interrupted_by_none";
    in_programs(name, || {
        static HANDLED: AtomicUsize = AtomicUsize::new(0);
        static ON_GREEN: AtomicUsize = AtomicUsize::new(0);
        static DONE: AtomicBool = AtomicBool::new(false);
        extern "C" fn handles(_: c_int) {
            // SAFETY: it has no preconditions.
            let me = unsafe { libc::pthread_self() };
            // Ids of the C library are even.
            ON_GREEN.fetch_add(me as usize & 1, Ordering::SeqCst);
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(status) = with_all_blocked(name, "waits") {
            assert!(status.success());
            return;
        }
        // SAFETY: the other thread of this process waits; the handler does what may be done in one.
        unsafe {
            // A spare that sleeps would let it come.
            env::set_var("ROVING_MAX_SPARES", "0");
            libc::signal(libc::SIGUSR1, handles as *const () as usize);
        }
        change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
        roving_adopt::adopt().unwrap();
        change_mask(libc::SIG_BLOCK, &[libc::SIGUSR1]);
        let workers: usize = env::var("ROVING_WORKERS").unwrap().parse().unwrap();
        // No worker is idle.
        let threads: Vec<_> = (0..2 * workers + 2)
            .map(|n| {
                thread::spawn(move || {
                    for round in 0.. {
                        if DONE.load(Ordering::SeqCst) {
                            break;
                        }
                        match round % 8 {
                            0 => thread::sleep(Duration::from_micros(10)),
                            1 if n % 2 == 0 => thread::spawn(thread::yield_now).join().unwrap(),
                            _ => thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        for sent in 0..300 {
            // SAFETY: there is a handler.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
            while HANDLED.load(Ordering::SeqCst) <= sent {
                thread::sleep(Duration::from_micros(50));
            }
        }
        DONE.store(true, Ordering::SeqCst);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(ON_GREEN.load(Ordering::SeqCst), 0);
    });
}

/// What is pending for a thread is told from what is for the process without a descriptor, if none is left.
#[test]
fn what_is_blocked_stays_pending_where_no_descriptor_is_left() {
    let name = "what_is_blocked_stays_pending_where_no_descriptor_is_left";
    in_programs(name, || {
        static HANDLED: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn handles(_: c_int) {
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }
        on_a_green_thread(|| {
            // SAFETY: the handler does what may be done in one; limits and a set are there.
            unsafe {
                libc::signal(libc::SIGUSR1, handles as *const () as usize);
                change_mask(libc::SIG_BLOCK, &[libc::SIGUSR1]);
                libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1);
                let mut limit = mem::zeroed();
                libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
                let none = libc::rlimit {
                    rlim_cur: 0,
                    ..limit
                };
                assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none), 0);
                for _ in 0..10 {
                    thread::yield_now();
                    thread::sleep(Duration::from_micros(100));
                }
                assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
                assert_eq!(HANDLED.load(Ordering::SeqCst), 0);
                let mut pending = mem::zeroed();
                libc::sigpending(&raw mut pending);
                assert_eq!(libc::sigismember(&raw const pending, libc::SIGUSR1), 1);
                change_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
                assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
            }
        });
    });
}

/// Begins a program anew that does the test `name`, with `SIGUSR1`, `SIGCHLD` and `SIGRTMIN` blocked in all of its threads. `None` in that program.
fn with_all_blocked(name: &str, role: &str) -> Option<std::process::ExitStatus> {
    const ROLE: &str = "TEST_WITH_ALL_BLOCKED";
    if env::var(ROLE).is_ok_and(|had| had == role) {
        return None;
    }
    let mut program = Command::new(env::current_exe().unwrap());
    program
        .args([name, "--exact", "--nocapture"])
        .env(ROLE, role);
    // SAFETY: the signal is valid, and the closure does what may be done there.
    let status = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigaddset(&raw mut set, libc::SIGRTMIN());
        program.pre_exec(move || {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
            Ok(())
        });
        program.status()
    };
    Some(status.unwrap())
}

/// Checks what a function of `masks.c` tells in a program whose threads have those signals blocked.
fn tells_with_all_blocked(name: &'static str, function: &'static CStr, expected: &'static [c_int]) {
    in_programs(name, || {
        if let Some(status) = with_all_blocked(name, "tells") {
            assert!(status.success());
            return;
        }
        let tell = || _ = tells(function, expected);
        thread::spawn(tell).join().unwrap();
        on_a_green_thread(tell);
    });
}

#[test]
fn a_thread_exits_in_a_handler_before_it_begins() {
    tells_with_all_blocked(
        "a_thread_exits_in_a_handler_before_it_begins",
        c"who_exits_before_it_begins",
        &[1, 0],
    );
}

#[test]
fn a_thread_alone_lets_a_signal_to_the_process_come() {
    tells_with_all_blocked(
        "a_thread_alone_lets_a_signal_to_the_process_come",
        c"who_lets_a_signal_come",
        &[
            -1,
            libc::EINTR,
            -1,
            libc::EINTR,
            libc::SIGUSR1,
            2,
            0,
            libc::SI_USER,
            1,
            libc::SI_QUEUE,
            1,
            77,
        ],
    );
}

#[test]
fn what_is_told_of_a_signal_to_the_process_is_told_by_who_takes_it() {
    tells_with_all_blocked(
        "what_is_told_of_a_signal_to_the_process_is_told_by_who_takes_it",
        c"who_is_told_of_signals",
        &[libc::CLD_EXITED, 1, 7, libc::SI_ASYNCIO, 8, 2, 0],
    );
}

#[test]
fn a_signal_to_the_process_outlives_the_thread_that_lets_it_come() {
    tells_with_all_blocked(
        "a_signal_to_the_process_outlives_the_thread_that_lets_it_come",
        c"who_ends_leaves_what_is_for_all",
        &[1, 78],
    );
}

/// Of an OS thread that runs the system promises less: it may block them before it is told that there are any.
#[test]
fn what_was_sent_to_the_process_is_handled_before_the_last_blocks_it_or_ends() {
    let name = "what_was_sent_to_the_process_is_handled_before_the_last_blocks_it_or_ends";
    in_programs(name, || {
        if let Some(status) = with_all_blocked(name, "tells") {
            assert!(status.success());
            return;
        }
        roving_adopt::adopt().unwrap();
        let tell = || _ = tells(c"who_lets_go_has_handled_what_was_for_all", &[400, 0, 0]);
        tell();
        on_a_green_thread(tell);
    });
}

#[test]
fn a_thread_alone_lets_the_end_of_the_process_come() {
    let name = "a_thread_alone_lets_the_end_of_the_process_come";
    in_programs(name, || {
        for role in ["an OS thread", "a green thread"] {
            if let Some(status) = with_all_blocked(name, role) {
                let is_tested = Command::new("cc").arg("--version").output().is_ok();
                assert_eq!(
                    status.signal(),
                    is_tested.then_some(libc::SIGUSR1),
                    "{role}"
                );
                continue;
            }
            let end = || {
                // SAFETY: it has this type.
                Some(unsafe { load("masks.c", "cc")?.told(c"who_lets_its_end_come") })
            };
            if role == "an OS thread" {
                thread::spawn(end).join().unwrap();
            } else {
                on_a_green_thread(end);
            }
            return;
        }
    });
}

/// How many OS threads of this process have `SIGUSR1` not blocked.
fn let_it_come() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let lets = tasks.filter(|task| {
        let path = task.as_ref().unwrap().path().join("status");
        // It may have ended.
        let status = std::fs::read_to_string(path).unwrap_or_default();
        // That one waits for it, and runs no handler.
        if status.starts_with("Name:\troving-signals\n") {
            return false;
        }
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let set = blocked.map(|set| u64::from_str_radix(set.trim(), 16).unwrap());
        set.is_some_and(|set| set & 1 << (libc::SIGUSR1 - 1) == 0)
    });
    lets.count()
}

/// Those that take its worker's place while it waits in the system, it starts itself.
#[test]
fn no_os_thread_keeps_a_mask_of_a_green_thread() {
    let name = "no_os_thread_keeps_a_mask_of_a_green_thread";
    in_programs(name, || {
        if let Some(status) = with_all_blocked(name, "keeps") {
            assert!(status.success());
            return;
        }
        roving_adopt::adopt().unwrap();
        let (begin, begins) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: the sets are there, the signals are valid, and the time is one.
            unsafe {
                let mut set: libc::sigset_t = mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
                let mut other: libc::sigset_t = mem::zeroed();
                libc::sigaddset(&raw mut other, libc::SIGUSR2);
                let wait = move || {
                    let time = libc::timespec {
                        tv_sec: 0,
                        tv_nsec: 10_000_000,
                    };
                    libc::sigtimedwait(&raw const other, ptr::null_mut(), &raw const time)
                };
                let others: Vec<_> = (0..20).map(|_| thread::spawn(wait)).collect();
                wait();
                others
                    .into_iter()
                    .for_each(|thread| assert_eq!(thread.join().unwrap(), -1));
                tell.send(let_it_come() > 0).unwrap();
                begins.recv().unwrap();
                tell.send(let_it_come() > 0).unwrap();
            }
        });
        assert!(told.recv().unwrap());
        // It waits, and then it has ended.
        until(|| let_it_come() == 0);
        begin.send(()).unwrap();
        assert!(told.recv().unwrap());
        thread.join().unwrap();
        until(|| let_it_come() == 0);
    });
}
