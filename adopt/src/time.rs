//! Sleeping, and letting others run.
//!
//! The C library promises that a sleep lasts at least so long, unless the handler of a signal runs: then it tells what is left.
//! A green thread is interrupted by no signal: handlers run on the OS threads of the runtime.

use std::ffi::{c_int, c_uint};
use std::time::Duration;

use libc::{clockid_t, timespec};
use roving_scheduler::adopt;

use crate::next::next;
use crate::{clock, errno, parks};

/// Parks the caller for so long.
pub(crate) fn sleep_for(time: Duration) {
    let until = clock::after(time);
    adopt::begin_masked().why(&"sleep").block(until);
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sleep(seconds: c_uint) -> c_uint {
    if parks() {
        sleep_for(Duration::from_secs(seconds.into()));
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { next!(sleep: unsafe extern "C" fn(c_uint) -> c_uint)(seconds) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn usleep(microseconds: libc::useconds_t) -> c_int {
    if parks() {
        sleep_for(Duration::from_micros(microseconds.into()));
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { next!(usleep: unsafe extern "C" fn(libc::useconds_t) -> c_int)(microseconds) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    if parks() {
        // SAFETY: the caller's promise.
        return match clock::duration(unsafe { *time }) {
            Some(time) => {
                sleep_for(time);
                0
            }
            None => errno::fail(libc::EINVAL),
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        next!(nanosleep: unsafe extern "C" fn(*const timespec, *mut timespec) -> c_int)(time, left)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    // Others may be set, or stand still.
    let is_steady = matches!(clock, libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME)
        || clock == libc::CLOCK_REALTIME && flags & libc::TIMER_ABSTIME == 0;
    if is_steady && parks() {
        // SAFETY: the caller's promise.
        let time = unsafe { *time };
        let time = if flags & libc::TIMER_ABSTIME == 0 {
            clock::duration(time).ok_or(libc::EINVAL)
        } else {
            clock::left(clock, time)
        };
        return time.map_or_else(
            |error| error,
            |time| {
                sleep_for(time);
                0
            },
        );
    }
    type Next = unsafe extern "C" fn(clockid_t, c_int, *const timespec, *mut timespec) -> c_int;
    // SAFETY: the caller's promise.
    unsafe { next!(clock_nanosleep: Next)(clock, flags, time, left) }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn sched_yield() -> c_int {
    if parks() {
        adopt::yield_now();
        return 0;
    }
    // SAFETY: it has no preconditions.
    unsafe { next!(sched_yield: unsafe extern "C" fn() -> c_int)() }
}
