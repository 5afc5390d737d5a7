//! Threads that exit from within C and C++, in a program that is adopted.

mod common;

use std::env;
use std::ffi::{CStr, c_char, c_int, c_long};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use common::library::{Library, load};
use common::{in_adopted_programs, in_programs, is_the_same, on_a_green_thread};

/// What a thread has left, and what it has done, in letters.
fn notes(library: Library, name: &CStr) -> (c_long, String) {
    // SAFETY: it has this type.
    let run: extern "C" fn(*mut c_char) -> c_long = unsafe { library.function(name) };
    notes_of(|letters| run(letters))
}

fn notes_of(run: impl FnOnce(*mut c_char) -> c_long) -> (c_long, String) {
    let mut letters = [0; 32];
    let left = run(letters.as_mut_ptr());
    // SAFETY: it ends with a zero.
    let letters = unsafe { CStr::from_ptr(letters.as_ptr()) };
    (left, letters.to_str().unwrap().to_owned())
}

#[test]
fn cleanup_handlers_run_in_c() {
    is_the_same("cleanup_handlers_run_in_c", || {
        let library = load("exits.c", "cc")?;
        let told = [
            notes(library, c"who_exits"),
            notes(library, c"who_is_cancelled"),
        ];
        assert_eq!(told[0], (7, "bav".to_owned()));
        Some(told)
    });
}

#[test]
fn a_thread_exits_in_a_handler_that_runs_as_it_lets_a_signal_come() {
    const NAME: &str = "a_thread_exits_in_a_handler_that_runs_as_it_lets_a_signal_come";
    is_the_same(NAME, || {
        let library = load("exits.c", "cc")?;
        let told = [
            notes(library, c"who_raises"),
            notes(library, c"who_lets_come"),
        ];
        let left = c_long::from(libc::SIGUSR2);
        assert_eq!(told, [(left, "a".to_owned()), (left, "ba".to_owned())]);
        Some(told)
    });
}

#[test]
fn a_thread_exits_in_a_handler_wherever_it_waits() {
    const WAITS: c_int = 10;
    is_the_same("a_thread_exits_in_a_handler_wherever_it_waits", || {
        let library = load("exits.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn(c_int, *mut c_char) -> c_long =
            unsafe { library.function(c"who_waits") };
        for kind in 0..WAITS {
            let told = notes_of(|letters| run(kind, letters));
            assert_eq!(told, (libc::SIGUSR2.into(), "a".to_owned()), "{kind}");
        }
        Some(())
    });
}

#[test]
fn who_allows_to_be_cancelled_anywhere_is_cancelled_there() {
    const NAME: &str = "who_allows_to_be_cancelled_anywhere_is_cancelled_there";
    is_the_same(NAME, || {
        let library = load("exits.c", "cc")?;
        // Not every C library leaves then what it says that it leaves.
        let (_, told) = notes(library, c"who_allows");
        assert_eq!(told, "da");
        Some(told)
    });
}

#[test]
fn who_waits_for_a_condition_is_cancelled_there() {
    is_the_same("who_waits_for_a_condition_is_cancelled_there", || {
        let library = load("exits.c", "cc")?;
        let told = notes(library, c"who_is_cancelled_at_a_condition");
        assert_eq!(told, (-1, "h".to_owned()));
        Some(told)
    });
}

#[test]
fn who_is_cancelled_ends_at_no_other_point() {
    is_the_same("who_is_cancelled_ends_at_no_other_point", || {
        let library = load("exits.c", "cc")?;
        let told = notes(library, c"who_is_cancelled_and_asks");
        assert_eq!(told, (-1, "nfc".to_owned()));
        Some(told)
    });
}

#[test]
fn a_thread_is_there_until_its_keys_are_destroyed() {
    is_the_same("a_thread_is_there_until_its_keys_are_destroyed", || {
        let library = load("exits.c", "cc")?;
        let told = notes(library, c"who_ends_detached");
        assert_eq!(told.0, 0);
        Some(told)
    });
}

/// What a thread has left that ends again in a destructor by `by`, and what it has done.
fn ended_in_a_destructor(by: u8) -> Option<(c_long, String)> {
    let library = load("exits.c", "cc")?;
    // SAFETY: it has this type.
    let run: extern "C" fn(*mut c_char, c_int) -> c_long =
        unsafe { library.function(c"who_ends_in_a_destructor") };
    Some(notes_of(|letters| run(letters, by.into())))
}

#[test]
fn who_exits_in_a_destructor_goes_on_with_the_next_one() {
    in_programs(
        "who_exits_in_a_destructor_goes_on_with_the_next_one",
        || {
            on_a_green_thread(|| {
                for (by, done) in [(b'e', "dv"), (b'h', "dv"), (b's', "d")] {
                    let Some(told) = ended_in_a_destructor(by) else {
                        return;
                    };
                    assert_eq!(told, (7, done.to_owned()), "{}", char::from(by));
                }
            });
        },
    );
}

#[test]
fn who_exits_in_a_thread_local_goes_on_with_the_next_one() {
    in_adopted_programs(
        "who_exits_in_a_thread_local_goes_on_with_the_next_one",
        || {
            let Some(library) = load("exits.c", "cc") else {
                return;
            };
            // SAFETY: it has this type.
            let run: extern "C" fn(*mut c_char) -> c_long =
                unsafe { library.function(c"who_ends_in_a_thread_local") };
            assert_eq!(notes_of(|letters| run(letters)), (7, "xf".to_owned()));
        },
    );
}

#[test]
fn who_has_been_cancelled_is_not_cancelled_in_a_destructor() {
    is_the_same(
        "who_has_been_cancelled_is_not_cancelled_in_a_destructor",
        || {
            let told = ended_in_a_destructor(b'c')?;
            assert_eq!(told, (-1, "d0gv".to_owned()));
            Some(told)
        },
    );
}

#[test]
fn who_has_forked_is_sent_signals_and_cancelled_in_the_child() {
    is_the_same(
        "who_has_forked_is_sent_signals_and_cancelled_in_the_child",
        || {
            let library = load("exits.c", "cc")?;
            // SAFETY: it has this type.
            let run: extern "C" fn(c_int) -> c_long =
                unsafe { library.function(c"what_is_sent_after_a_fork") };
            let told = [0, 1].map(|is_to_cancel| run(is_to_cancel));
            assert_eq!(told, [42 << 8; 2]);
            Some(told)
        },
    );
}

#[test]
fn who_jumps_in_a_call_is_handed_over_no_more() {
    is_the_same("who_jumps_in_a_call_is_handed_over_no_more", || {
        let library = load("exits.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn(c_int) -> c_long =
            unsafe { library.function(c"who_jumps_in_a_call") };
        let told = [0, 1].map(|is_within| run(is_within));
        assert_eq!(told, [1, 1]);
        Some(told)
    });
}

#[test]
fn destructors_run_in_cpp() {
    is_the_same("destructors_run_in_cpp", || {
        let library = load("exits.cpp", "c++")?;
        let told = [
            notes(library, c"who_exits_in_cpp"),
            notes(library, c"who_throws"),
        ];
        assert_eq!(told[0], (9, "ico".to_owned()));
        Some(told)
    });
}

#[test]
fn threads_of_cpp_are_green() {
    is_the_same("threads_of_cpp_are_green", || {
        let library = load("exits.cpp", "c++")?;
        // SAFETY: it has this type.
        let run: extern "C" fn() -> c_int = unsafe { library.function(c"threads_and_futures") };
        Some(run())
    });
}

#[test]
fn an_exception_of_nobody_ends_the_program() {
    in_programs("an_exception_of_nobody_ends_the_program", || {
        const THROWS: &str = "TEST_THROWS";
        let throws = || {
            let Some(library) = load("exits.cpp", "c++") else {
                return;
            };
            // SAFETY: it has this type.
            let run: extern "C" fn() = unsafe { library.function(c"throws_to_the_end") };
            run();
        };
        if std::env::var_os(THROWS).is_some() {
            return on_a_green_thread(throws);
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "an_exception_of_nobody_ends_the_program",
                "--exact",
                "--nocapture",
            ])
            .env(THROWS, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let is_tested = !told.contains("not tested");
        assert!(
            !is_tested || told.contains("of nobody") && !output.status.success(),
            "{told}"
        );
    });
}

#[test]
fn who_jumps_out_of_a_handler_is_out_of_it() {
    parks_after(
        "who_jumps_out_of_a_handler_is_out_of_it",
        c"who_jumps_out_of_a_handler_parks",
    );
}

#[test]
fn who_jumps_within_a_handler_leaves_it_once() {
    parks_after(
        "who_jumps_within_a_handler_leaves_it_once",
        c"who_jumps_within_a_handler_parks",
    );
}

#[test]
fn who_jumps_within_a_handler_stays_there() {
    const NAME: &str = "who_jumps_within_a_handler_stays_there";
    in_programs(NAME, || {
        on_a_green_thread(|| {
            let Some(library) = load("exits.c", "cc") else {
                return;
            };
            type Jumps = extern "C" fn(extern "C" fn() -> c_int, c_int) -> c_int;
            // SAFETY: it has this type.
            let jumps: Jumps =
                unsafe { library.function(c"who_jumps_within_a_handler_stays_there") };
            beside_others(move |others_have_run| {
                for flags in [0, libc::SA_ONSTACK, libc::SA_SIGINFO] {
                    let at_other_times = jumps(others_have_run, flags);
                    // Other workers run others.
                    if env::var("ROVING_WORKERS").unwrap() == "1" {
                        assert_eq!(at_other_times, 3, "flags {flags:x}");
                    }
                }
            });
        });
    });
}

/// Whether others run while a thread sleeps that has done what the function of that name does.
fn parks_after(test: &str, name: &'static CStr) {
    in_programs(test, move || {
        on_a_green_thread(move || {
            let Some(library) = load("exits.c", "cc") else {
                return;
            };
            type Jumps = extern "C" fn(extern "C" fn() -> c_int) -> c_int;
            // SAFETY: it has this type.
            let jumps: Jumps = unsafe { library.function(name) };
            beside_others(|others_have_run| assert!(jumps(others_have_run) > 0));
        });
    });
}

/// Calls `body` while another thread runs whenever it may, with what tells how often it has.
fn beside_others(body: impl FnOnce(extern "C" fn() -> c_int)) {
    static RUN: AtomicI32 = AtomicI32::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);
    extern "C" fn others_have_run() -> c_int {
        RUN.load(Ordering::SeqCst)
    }
    let other = thread::spawn(|| {
        while !DONE.load(Ordering::SeqCst) {
            RUN.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
        }
    });
    body(others_have_run);
    DONE.store(true, Ordering::SeqCst);
    other.join().unwrap();
}
