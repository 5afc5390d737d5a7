//! Semaphores.
//!
//! The C library promises that each post lets one wait end, in whatever order, and that the handler of a signal may post. A handler that
//! runs inside of the runtime only [notes](adopt::wake) whom to wake.

use std::ffi::c_int;

use libc::{clockid_t, sem_t, timespec};
use roving_scheduler::adopt;

use super::layout::layout;
use super::{ANY, Until, insist, is_of_waits};
use crate::hand_over::hand_over;
use crate::next::next;
use crate::{errno, is_adopted, parks};

type OfSemaphore = unsafe extern "C-unwind" fn(*mut sem_t) -> c_int;
type Timed = unsafe extern "C-unwind" fn(*mut sem_t, *const timespec) -> c_int;
type Clocked = unsafe extern "C-unwind" fn(*mut sem_t, clockid_t, *const timespec) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sem_wait(semaphore: *mut sem_t) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(sem_wait: OfSemaphore)(semaphore) };
    if parks() {
        // SAFETY: the caller's promise.
        unsafe { wait(semaphore, Ok(None), real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sem_timedwait(semaphore: *mut sem_t, time: *const timespec) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(sem_timedwait: Timed)(semaphore, time) };
    if parks() {
        // SAFETY: the caller's promise.
        unsafe {
            let until = Until::new(libc::CLOCK_REALTIME, time);
            wait(semaphore, until.map(Some), real)
        }
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
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(sem_clockwait: Clocked)(semaphore, clock, time) };
    if is_of_waits(clock) && parks() {
        // SAFETY: the caller's promise.
        unsafe { wait(semaphore, Until::new(clock, time).map(Some), real) }
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
    let result = unsafe { next!(sem_post: unsafe extern "C" fn(*mut sem_t) -> c_int)(semaphore) };
    if result == 0 && is_adopted() {
        adopt::wake(semaphore.addr(), ANY, 1);
    }
    result
}

/// Waits until a time, which may be none, by `real` if the C library is to do it.
///
/// # Safety
///
/// The semaphore is one, and the caller may be parked.
#[inline(never)]
unsafe fn wait(
    semaphore: *mut sem_t,
    until: Result<Option<Until>, c_int>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let until = match until {
        Ok(until) => until,
        Err(error) => return errno::fail(error),
    };
    let attempt = || {
        let before = errno::get();
        // SAFETY: the caller's promise.
        let taken = unsafe { next!(sem_trywait: OfSemaphore)(semaphore) } == 0;
        errno::set(before);
        taken.then_some(0)
    };
    // SAFETY: the caller's promise.
    if unsafe { layout().shared_semaphore.is_on(semaphore) } {
        return attempt().unwrap_or_else(|| hand_over(real));
    }
    match insist(semaphore.addr(), ANY, until, "a semaphore", attempt) {
        0 => 0,
        error => errno::fail(error),
    }
}
