//! Signals arrive under whichever thread pointer is loaded. Handlers that use thread-locals and
//! errno work, and what they interrupt does too.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use roving::thread;
use roving_soundness::{ROUNDS, many, migrate, on_moving_threads};

unsafe extern "C" {
    fn locals_next() -> c_int;
    fn locals_calls() -> c_int;
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static RAISED: Cell<usize> = const { Cell::new(0) };
    static INTERRUPTED: Cell<usize> = const { Cell::new(0) };
}

extern "C" fn handle(signal: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the address of this thread's errno, which is put back; and a function of `locals.c`,
    // which uses thread-locals only.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        *errno = 77;
        if signal == libc::SIGUSR1 {
            RAISED.set(RAISED.get() + 1);
            locals_next();
        } else {
            INTERRUPTED.set(INTERRUPTED.get() + 1);
        }
        *errno = before;
    }
}

fn install(signal: c_int) {
    // SAFETY: the handler is async-signal-safe: it uses thread-locals without destructors, and
    // atomics.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

#[test]
fn a_signal_that_a_green_thread_raises_counts_on_it() {
    install(libc::SIGUSR1);
    on_moving_threads(|runtime| {
        many(runtime, |number| {
            for round in 1..=ROUNDS {
                // SAFETY: the handler is installed.
                assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
                migrate(number + round);
                assert_eq!(RAISED.get(), round);
                // SAFETY: a function of `locals.c`.
                assert_eq!(unsafe { locals_calls() }, round as c_int);
            }
        });
    });
}

#[test]
fn a_storm_of_signals_disturbs_no_switch() {
    install(libc::SIGPROF);
    let interval = libc::timeval {
        tv_sec: 0,
        tv_usec: 200,
    };
    let timer = libc::itimerval {
        it_interval: interval,
        it_value: interval,
    };
    // SAFETY: the handler is installed before the timer starts.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) };
    on_moving_threads(|runtime| {
        let before = HANDLED.load(Ordering::SeqCst);
        while HANDLED.load(Ordering::SeqCst) < before + 200 {
            many(runtime, |number| {
                let text = format!("{number}");
                for round in 0..ROUNDS {
                    thread::yield_now();
                    migrate(number + round);
                    assert_eq!(text, number.to_string());
                }
            });
        }
    });
    let stop = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
    };
    // SAFETY: stops the timer.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &stop, std::ptr::null_mut()) };
}
