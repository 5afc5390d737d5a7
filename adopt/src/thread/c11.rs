//! Threads as the C standard has them. In the C library they are those of POSIX, by other names and with other errors; the functions
//! call each other within it, so that each is defined here.

use std::ffi::{c_int, c_void};

use libc::{pthread_t, timespec};

use super::attributes::Wanted;
use super::call::{self, Start};
use super::{Left, Point, join};
use crate::next::next;
use crate::time::{is_there, sleep_for, tell_left};
use crate::{clock, errno, first, is_adopted, parks};
use roving_scheduler::adopt::Inside;

type Begin = extern "C-unwind" fn(*mut c_void) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_create(
    thread: *mut pthread_t,
    start: Begin,
    argument: *mut c_void,
) -> c_int {
    type Next = unsafe extern "C-unwind" fn(*mut pthread_t, Begin, *mut c_void) -> c_int;
    first::at_thread();
    let posix_start = Start::C11(start);
    let wanted = if is_adopted() && !Inside::is_current() {
        // SAFETY: no attributes.
        unsafe { Wanted::of(std::ptr::null(), posix_start) }
    } else {
        None
    };
    // SAFETY: the caller's promise.
    unsafe {
        match wanted {
            Some(wanted) => {
                errno::in_c(super::create(thread, &wanted, posix_start, Left(argument)))
            }
            None => next!(thrd_create: Next)(thread, start, argument),
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn thrd_current() -> pthread_t {
    super::pthread_self()
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn thrd_join(id: pthread_t, result: *mut c_int) -> c_int {
    let mut left = std::ptr::null_mut();
    // SAFETY: the caller's promise, and there is room for what it leaves.
    let error = unsafe { join::pthread_join(id, &raw mut left) };
    if error == 0 && !result.is_null() {
        // SAFETY: the caller's promise.
        unsafe { result.write(left as usize as c_int) };
    }
    errno::in_c(error)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_detach(id: pthread_t) -> c_int {
    // SAFETY: the caller's promise.
    errno::in_c(unsafe { super::pthread_detach(id) })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn thrd_exit(result: c_int) -> ! {
    // SAFETY: the caller's promise.
    unsafe { call::pthread_exit(call::of_int(result).into_inner()) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn thrd_sleep(time: *const timespec, left: *mut timespec) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(*const timespec, *mut timespec) -> c_int;
    const INVALID: c_int = -2;
    if parks() && is_there(time) {
        // SAFETY: the caller's promise.
        return match clock::duration(unsafe { *time }) {
            // SAFETY: the caller's promise.
            Some(time) => match unsafe { tell_left(sleep_for(time), left) } {
                Ok(()) => 0,
                Err(_) => -1,
            },
            None => INVALID,
        };
    }
    // SAFETY: the caller's promise.
    unsafe { next!(thrd_sleep: Next)(time, left) }
}

#[unsafe(no_mangle)]
extern "C-unwind" fn thrd_yield() {
    crate::time::sched_yield();
}
