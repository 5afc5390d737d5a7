//! Condition variables.
//!
//! The C library promises that a thread is among those who wait before its mutex is free, that a signal wakes one of these and
//! a broadcast all, and that the mutex is locked when the wait has ended. Its own function unlocks the mutex by itself, which wakes nobody
//! who is parked. So all threads wait in the table: the mutex is released when nobody can signal in
//! between, and locked as by anybody.
//!
//! Who waits goes on using the mutex, as the C library counts it: to destroy it then fails.
//!
//! A wait may end for nothing. The C library's own functions are called all the same by who signals: some may wait there since
//! before the program was adopted. An OS thread that waits here is not cancelled.

use std::ffi::c_int;

use libc::{clockid_t, pthread_cond_t, pthread_mutex_t, timespec};
use roving_scheduler::adopt::Awaited;

use super::layout::layout;
use super::owner;
use super::{ALL, ANY, Until, is_of_waits, mutex};
use crate::hand_over::in_system;
use crate::is_adopted;
use crate::next::next;
use crate::thread::{Point, is_ending};

type OfCondition = unsafe extern "C-unwind" fn(*mut pthread_cond_t) -> c_int;
type Wait = unsafe extern "C-unwind" fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int;
type TimedWait = unsafe extern "C-unwind" fn(
    *mut pthread_cond_t,
    *mut pthread_mutex_t,
    *const timespec,
) -> c_int;
type ClockWait = unsafe extern "C-unwind" fn(
    *mut pthread_cond_t,
    *mut pthread_mutex_t,
    clockid_t,
    *const timespec,
) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_cond_wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_cond_wait: Wait)(condition, mutex) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { wait(condition, mutex, None, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_cond_timedwait: TimedWait)(condition, mutex, time) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { wait_until(condition, mutex, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let real =
        || unsafe { next!(pthread_cond_clockwait: ClockWait)(condition, mutex, clock, time) };
    if is_adopted() && is_of_waits(clock) {
        // SAFETY: the caller's promise.
        match unsafe { Until::new(clock, time) } {
            // SAFETY: the caller's promise.
            Ok(until) => unsafe { wait(condition, mutex, Some(until), real) },
            Err(error) => error,
        }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { next!(pthread_cond_signal: OfCondition)(condition) };
    if is_adopted() {
        super::wake(condition.addr(), ANY, 1);
    }
    result
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { next!(pthread_cond_broadcast: OfCondition)(condition) };
    if is_adopted() {
        super::wake(condition.addr(), ANY, ALL);
    }
    result
}

/// # Safety
///
/// That of `pthread_cond_timedwait`, in a program that is adopted.
unsafe fn wait_until(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    let clock = if unsafe { layout().monotonic_condition.is_on(condition) } {
        libc::CLOCK_MONOTONIC
    } else {
        libc::CLOCK_REALTIME
    };
    // SAFETY: the caller's promise.
    match unsafe { Until::new(clock, time) } {
        // SAFETY: the caller's promise.
        Ok(until) => unsafe { wait(condition, mutex, Some(until), real) },
        Err(error) => error,
    }
}

/// Waits, by `real` if the C library is to do it.
///
/// # Safety
///
/// That of `pthread_cond_wait`, in a program that is adopted.
unsafe fn wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: Option<Until>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let layout = layout();
    // SAFETY: the caller's promise.
    if unsafe { mutex::is_refused(mutex) } {
        // It is not the caller's.
        return libc::EPERM;
    }
    // SAFETY: the caller's promise.
    if unsafe { layout.shared_condition.is_on(condition) && layout.shared_mutex.is_on(mutex) } {
        // SAFETY: the caller's promise.
        let is_owned = unsafe { owner::is_known_to_others(mutex) };
        return in_system(|| {
            if is_owned {
                owner::among_processes(0, real)
            } else {
                real()
            }
        });
    }
    // SAFETY: the caller's promise. A robust one is not asked who uses it.
    let is_counted = unsafe { !layout.robust_mutex.is_on(mutex) };
    let users = layout.mutex_users.filter(|_| is_counted);
    let counts = |is_one_more| {
        users.inspect(|users| {
            // SAFETY: the caller's promise: the caller has the mutex, whose owner alone changes the count.
            unsafe { users.count(mutex, is_one_more) };
        })
    };
    let mut released = 0;
    let release = || {
        counts(true);
        // SAFETY: the caller's promise.
        released = unsafe { mutex::release(mutex) };
        if released != 0 {
            counts(false);
        }
        released == 0
    };
    let deadline = until.and_then(Until::deadline);
    let awaited = super::wait(
        condition.addr(),
        deadline,
        "a condition",
        release,
        Some(mutex.addr()),
    );
    if awaited == Awaited::Changed {
        return released;
    }
    // Who was not woken may be cancelled, and is when it has the mutex again.
    if awaited == Awaited::TimedOut {
        is_ending();
    }
    // SAFETY: the caller's promise.
    let locked = unsafe { mutex::lock(mutex) };
    counts(false);
    match locked {
        0 if awaited == Awaited::TimedOut && until.is_some_and(Until::has_come) => libc::ETIMEDOUT,
        result => result,
    }
}
