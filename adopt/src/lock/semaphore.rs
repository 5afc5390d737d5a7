//! Semaphores.
//!
//! The C library promises that each post lets one wait end, in whatever order, and that the handler of a signal may post. A handler that
//! runs inside of the runtime only [notes](roving_scheduler::adopt::wake) whom to wake.

use std::ffi::c_int;

use libc::{clockid_t, sem_t, timespec};

use super::layout::layout;
use super::{ANY, Until, insist, is_of_waits};
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::thread::Point;
use crate::{errno, is_adopted, parks};

type OfSemaphore = unsafe extern "C-unwind" fn(*mut sem_t) -> c_int;
type Post = unsafe extern "C-unwind" fn(*mut sem_t) -> c_int;
type Timed = unsafe extern "C-unwind" fn(*mut sem_t, *const timespec) -> c_int;
type Clocked = unsafe extern "C-unwind" fn(*mut sem_t, clockid_t, *const timespec) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sem_wait(semaphore: *mut sem_t) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(sem_wait: OfSemaphore)(semaphore) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { wait(semaphore, None, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sem_timedwait(semaphore: *mut sem_t, time: *const timespec) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(sem_timedwait: Timed)(semaphore, time) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { wait_until(semaphore, libc::CLOCK_REALTIME, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sem_clockwait(
    semaphore: *mut sem_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(sem_clockwait: Clocked)(semaphore, clock, time) };
    if is_adopted() && is_of_waits(clock) {
        // SAFETY: the caller's promise.
        unsafe { wait_until(semaphore, clock, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_post(semaphore: *mut sem_t) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { next_post()(semaphore) };
    if result == 0 && is_adopted() {
        super::wake(semaphore.addr(), ANY, 1);
    }
    result
}

/// The C library's `sem_post`, which the handler of a signal may ask for as soon as it was found.
pub(super) fn next_post() -> Post {
    // SAFETY: it is of this type.
    unsafe { next!(sem_post: Post) }
}

/// # Safety
///
/// That of `sem_clockwait`, in a program that is adopted, with a clock by which one waits.
unsafe fn wait_until(
    semaphore: *mut sem_t,
    clock: clockid_t,
    time: *const timespec,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { Until::new(clock, time) } {
        // SAFETY: the caller's promise.
        Ok(until) => unsafe { wait(semaphore, Some(until), real) },
        Err(error) => errno::fail(error),
    }
}

/// Waits, by `real` if the C library is to do it.
///
/// # Safety
///
/// That of `sem_wait`, in a program that is adopted.
unsafe fn wait(semaphore: *mut sem_t, until: Option<Until>, real: impl FnOnce() -> c_int) -> c_int {
    if !parks() {
        return real();
    }
    // SAFETY: the caller's promise.
    match unsafe { attempt(semaphore) } {
        Some(result) => result,
        // SAFETY: the caller's promise.
        None => unsafe { wait_at_zero(semaphore, until, real) },
    }
}

/// `None` if it is zero. The error of the thread stays as it is.
///
/// # Safety
///
/// That of `sem_trywait`.
unsafe fn attempt(semaphore: *mut sem_t) -> Option<c_int> {
    let before = errno::get();
    // SAFETY: the caller's promise.
    let result = unsafe { next!(sem_trywait: OfSemaphore)(semaphore) };
    if result == 0 {
        return Some(0);
    }
    errno::set(before);
    None
}

/// # Safety
///
/// That of `wait`.
#[cold]
#[inline(never)]
unsafe fn wait_at_zero(
    semaphore: *mut sem_t,
    until: Option<Until>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    if unsafe { layout().shared_semaphore.is_on(semaphore) } {
        return hand_over_at_point(real);
    }
    // SAFETY: the caller's promise.
    let attempt = || unsafe { attempt(semaphore) };
    match insist(semaphore.addr(), ANY, until, "a semaphore", true, attempt) {
        0 => 0,
        error => errno::fail(error),
    }
}
