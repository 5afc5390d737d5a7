//! Faults in a program that is adopted: what the program sees of their handlers, and who is told of an overflow.

mod common;

use std::env;
use std::ffi::c_int;
use std::hint;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use common::{in_programs, is_the_same, on_a_green_thread};

const FAULTS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What is done with a signal: the handler, the flags, and whether others are held back.
type Told = (usize, c_int, bool);

fn told(action: &libc::sigaction) -> Told {
    // SAFETY: these are signals, and the set is there.
    let holds_back = |signal| unsafe { libc::sigismember(&raw const action.sa_mask, signal) == 1 };
    (
        action.sa_sigaction,
        action.sa_flags,
        (1..=64).any(holds_back),
    )
}

fn exchange(signal: c_int, action: Option<&libc::sigaction>) -> libc::sigaction {
    // SAFETY: null, or an action that was told or does what may be done; zeroes are one.
    unsafe {
        let mut before: libc::sigaction = mem::zeroed();
        let action = action.map_or(ptr::null(), ptr::from_ref);
        assert_eq!(libc::sigaction(signal, action, &raw mut before), 0);
        before
    }
}

fn of(signal: c_int) -> libc::sigaction {
    exchange(signal, None)
}

/// By the number of the system call.
fn handler_by_number(signal: c_int) -> usize {
    let mut told = [0_usize; 4];
    // SAFETY: there is room for what the system has of it.
    let failed = unsafe {
        let number = libc::SYS_rt_sigaction;
        libc::syscall(number, signal, 0_usize, told.as_mut_ptr(), size_of::<u64>())
    };
    assert_eq!(failed, 0);
    told[0]
}

#[test]
fn a_program_is_told_of_its_own_handlers_alone() {
    is_the_same("a_program_is_told_of_its_own_handlers_alone", || {
        extern "C" fn handles(_: c_int) {}
        FAULTS.map(|signal| {
            let found = of(signal);
            let by_number = handler_by_number(signal);
            // What crash reporters do: theirs in the place of what they have found, and that again at their end.
            let mut own = found;
            own.sa_sigaction = handles as *const () as usize;
            own.sa_flags = libc::SA_RESTART;
            let told = [
                told(&found),
                told(&exchange(signal, Some(&own))),
                told(&exchange(signal, Some(&found))),
                told(&of(signal)),
            ];
            // SAFETY: the default, and what was there.
            let by_name = unsafe {
                [
                    libc::signal(signal, libc::SIG_DFL),
                    libc::signal(signal, libc::SIG_DFL),
                    libc::signal(signal, handles as *const () as usize),
                    libc::signal(signal, libc::SIG_IGN),
                    libc::signal(signal, libc::SIG_DFL),
                    handler_by_number(signal),
                    exchange(signal, Some(&found)).sa_sigaction,
                ]
            };
            (told, by_number, by_name)
        })
    });
}

#[allow(unconditional_recursion, reason = "it is to overflow")]
fn deep(depth: usize) -> usize {
    let block = hint::black_box([depth; 64]);
    deep(depth + 1) + block[depth % 64]
}

/// In a process of its own does `overflows`, all that the test `name` does there, and gives what has become of it.
fn of_its_own(name: &str, overflows: impl FnOnce()) -> Output {
    const OVERFLOWS: &str = "TEST_OVERFLOWS";
    if env::var_os(OVERFLOWS).is_some() {
        overflows();
        std::process::exit(3);
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args([name, "--exact", "--nocapture"]);
    again.env(OVERFLOWS, "1").output().unwrap()
}

fn is_told(output: &Output) {
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{printed}");
    assert!(printed.contains("has overflowed its stack"), "{printed}");
}

/// For the test `name`: a green thread overflows its stack after it has had something done with each fault.
fn an_overflow_is_told_of_after(name: &str, set: fn(c_int)) {
    in_programs(name, || {
        let output = of_its_own(name, || {
            on_a_green_thread(move || {
                FAULTS.into_iter().for_each(set);
                println!("{}", deep(0));
            });
        });
        is_told(&output);
    });
}

#[test]
fn who_sets_what_was_found_has_overflows_told_of() {
    an_overflow_is_told_of_after("who_sets_what_was_found_has_overflows_told_of", |signal| {
        exchange(signal, Some(&of(signal)));
    });
}

#[test]
fn who_sets_the_default_has_overflows_told_of() {
    an_overflow_is_told_of_after("who_sets_the_default_has_overflows_told_of", |signal| {
        // SAFETY: it is what the system does.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    });
}

/// Each is asked of by the handler of std, which sets the default for what it does not know.
#[test]
fn overflows_at_the_same_moment_are_told_of() {
    const NAME: &str = "overflows_at_the_same_moment_are_told_of";
    in_programs(NAME, || {
        let output = of_its_own(NAME, || {
            on_a_green_thread(|| {
                let all = Arc::new(Barrier::new(2));
                let overflow = || {
                    let all = all.clone();
                    thread::spawn(move || {
                        all.wait();
                        println!("{}", deep(0));
                    })
                };
                let threads = [overflow(), overflow()];
                for thread in threads {
                    thread.join().unwrap();
                }
            });
        });
        is_told(&output);
    });
}

/// The first who overflows is in a handler that has set the default, and stays there.
#[test]
fn an_overflow_is_told_of_while_another_one_is_handled() {
    const NAME: &str = "an_overflow_is_told_of_while_another_one_is_handled";
    static IS_HANDLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn sets_default(_: c_int) {
        for signal in FAULTS {
            // SAFETY: it may be called in a handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        IS_HANDLED.store(true, Ordering::SeqCst);
        loop {
            hint::spin_loop();
        }
    }
    in_programs(NAME, || {
        if env::var("ROVING_WORKERS").unwrap() == "1" {
            // Nobody else runs meanwhile.
            return;
        }
        let output = of_its_own(NAME, || {
            let mut action = of(libc::SIGSEGV);
            action.sa_sigaction = sets_default as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            for signal in FAULTS {
                exchange(signal, Some(&action));
            }
            // Who looks is on an OS thread: a green one might be left to the worker that goes on no more.
            roving_adopt::adopt().unwrap();
            let first = thread::spawn(|| println!("{}", deep(0)));
            while !IS_HANDLED.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let second = thread::spawn(|| println!("{}", deep(0)));
            for thread in [first, second] {
                thread.join().unwrap();
            }
        });
        is_told(&output);
    });
}
