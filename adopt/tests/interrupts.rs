//! Threads that others send signals and cancel, in a program that is adopted.

mod common;

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use common::library::load;
use common::{in_adopted_programs, is_the_same, or_error, until};
use roving_scheduler::CancelToken;

/// What a function of `interrupts.c` tells, in as many numbers.
fn told(run: impl Fn(*mut c_int) -> c_int) -> Vec<c_int> {
    let mut told = [0; 128];
    let count = run(told.as_mut_ptr());
    told[..count as usize].to_vec()
}

#[test]
fn who_gets_a_signal_handles_it_in_any_wait() {
    is_the_same("who_gets_a_signal_handles_it_in_any_wait", || {
        // SAFETY: it has this type.
        let told = unsafe { load("interrupts.c", "cc")?.told(c"who_gets_a_signal") };
        for told in told.chunks(4) {
            // It has failed, and on the thread itself a handler has run.
            assert_eq!((told[0], told[2], told[3]), (-1, 1, 0), "{told:?}");
        }
        Some(told)
    });
}

#[test]
fn who_jumps_out_of_a_call_parks_as_before() {
    extern "C" fn may_park() -> c_int {
        roving_scheduler::adopt::may_park().into()
    }
    in_adopted_programs("who_jumps_out_of_a_call_parks_as_before", || {
        let Some(library) = load("interrupts.c", "cc") else {
            return;
        };
        // SAFETY: it has this type.
        let run: extern "C" fn(c_int, extern "C" fn() -> c_int) -> c_int =
            unsafe { library.function(c"who_jumps_out_of_calls") };
        assert_eq!(run(300, may_park), 300);
    });
}

#[test]
fn who_is_cancelled_ends_in_any_wait() {
    is_the_same("who_is_cancelled_ends_in_any_wait", || {
        let library = load("interrupts.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn(*mut c_int, c_int, c_int) -> c_int =
            unsafe { library.function(c"who_is_cancelled_in_a_wait") };
        // Before it waits, or while it does. Those that are given stacks are OS threads.
        let all = [(0, 0), (2_000, 0), (0, 1), (2_000, 1)];
        let all = all.map(|(delay, has_stack)| told(|told| run(told, delay, has_stack)));
        for told in &all {
            let (is_locked, told) = told.split_last().unwrap();
            assert_eq!(*is_locked, 0);
            // The thread of the condition has an inner handler too, if it has come to that.
            let has_ended = |told: &[c_int]| told[0] == 1 && told[1] == 0 && told[2] >= 1;
            assert!(told.chunks(3).all(has_ended), "{told:?}");
        }
        Some(all.map(|told| told.len()))
    });
}

#[test]
fn who_is_cancelled_ends_in_a_call_on_an_os_thread() {
    is_the_same("who_is_cancelled_ends_in_a_call_on_an_os_thread", || {
        let library = load("interrupts.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn(*mut c_int, c_int, c_int) -> c_int =
            unsafe { library.function(c"who_is_cancelled_in_a_call") };
        // Those that are given stacks are OS threads, which the C library cancels by the same signal.
        let all = [(0, 0), (0, 1), (300, 0), (2_000, 1)];
        let all = all.map(|(delay, has_stack)| told(|told| run(told, delay, has_stack)));
        for told in &all {
            assert!(told.chunks(3).all(|told| told == [1, 0, 1]), "{told:?}");
        }
        Some(all.map(|told| told.len()))
    });
}

/// A thread that Roving cancels, or what it does, is told of it by an error, as in any wait for a descriptor.
#[test]
fn roving_cancels_who_is_in_a_call_on_an_os_thread() {
    in_adopted_programs("roving_cancels_who_is_in_a_call_on_an_os_thread", || {
        // SAFETY: it has no preconditions.
        let pauses = || or_error(unsafe { libc::pause() });
        fn takes_a_message() -> Result<i64, i32> {
            // SAFETY: the queue is made and removed here, and there is room for a message of nothing.
            unsafe {
                let queue = libc::msgget(libc::IPC_PRIVATE, 0o600);
                let mut message = 0_i64;
                let told = or_error(libc::msgrcv(queue, (&raw mut message).cast(), 0, 0, 0) as i64);
                libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut());
                told
            }
        }
        let calls: [fn() -> Result<i64, i32>; 2] = [pauses, takes_a_message];
        for (call, delay) in calls.into_iter().flat_map(|call| [(call, 0), (call, 2)]) {
            let begun = Arc::new(AtomicBool::new(false));
            let begins = begun.clone();
            let waits = roving_scheduler::thread::spawn(move || {
                begins.store(true, Ordering::SeqCst);
                call()
            });
            until(|| begun.load(Ordering::SeqCst));
            thread::sleep(Duration::from_millis(delay));
            waits.cancel();
            assert_eq!(waits.join().unwrap(), Err(libc::ECANCELED));

            let token = CancelToken::new();
            let (cancels, (sender, receiver)) = (token.clone(), mpsc::channel());
            let waits = thread::spawn(move || {
                token.run(|| {
                    sender.send(()).unwrap();
                    call()
                })
            });
            receiver.recv().unwrap();
            thread::sleep(Duration::from_millis(delay));
            cancels.cancel();
            assert_eq!(waits.join().unwrap().unwrap(), Err(libc::ECANCELED));
        }
    });
}

#[test]
fn who_forbids_it_is_not_interrupted() {
    is_the_same("who_forbids_it_is_not_interrupted", || {
        // SAFETY: it has this type.
        let told = unsafe { load("interrupts.c", "cc")?.told(c"who_forbids_it_in_a_call") };
        assert_eq!(told, [7, 1, 1]);
        Some(told)
    });
}

#[test]
fn a_wait_with_a_time_ends_with_a_handler() {
    is_the_same("a_wait_with_a_time_ends_with_a_handler", || {
        let library = load("interrupts.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn() -> c_int = unsafe { library.function(c"who_waits_for_a_time") };
        Some(run())
    });
}

#[test]
fn a_handler_may_let_a_wait_go_on() {
    is_the_same("a_handler_may_let_a_wait_go_on", || {
        let library = load("interrupts.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn() -> c_int = unsafe { library.function(c"who_goes_on") };
        Some(run())
    });
}

#[test]
fn signals_of_real_time_are_queued() {
    is_the_same("signals_of_real_time_are_queued", || {
        let library = load("interrupts.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn() -> c_int = unsafe { library.function(c"who_gets_values") };
        Some(run())
    });
}

#[test]
fn who_forbids_it_is_cancelled_later() {
    is_the_same("who_forbids_it_is_cancelled_later", || {
        let library = load("interrupts.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn(*mut c_char) -> c_int =
            unsafe { library.function(c"who_forbids_to_be_cancelled") };
        let mut letters = [0; 8];
        let is_cancelled = run(letters.as_mut_ptr());
        // SAFETY: it ends with a zero.
        let letters = unsafe { CStr::from_ptr(letters.as_ptr()) };
        assert_eq!((is_cancelled, letters), (1, c"edai"));
        Some(is_cancelled)
    });
}
