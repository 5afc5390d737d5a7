//! Mutexes.
//!
//! The C library promises exclusion, owners that may lock again or are told of their mistakes, and limits in time. Owners are known
//! by the id of the thread, and a green thread has one that is no other's; so all this is the C library's still.
//!
//! Mutexes that inherit priority are taken and released by it, but in what it does for those who wait, the
//! system looks for the owner among its own threads. So all threads wait for such a mutex in the table, and inherit nothing;
//! who is inside of the runtime naps and looks again. One that is also shared or robust a green thread [cannot have](is_refused).

use std::ffi::c_int;

use libc::{clockid_t, pthread_mutex_t, timespec};
use roving_scheduler::adopt::{self, Inside};

use super::layout::layout;
use super::owner;
use super::{ANY, LONG_AGO, MOMENT, Until, insist, is_of_waits};
use crate::hand_over::in_system;
use crate::next::next;
use crate::thread::{look_up, nap};
use crate::{is_adopted, parks};

type OfMutex = unsafe extern "C-unwind" fn(*mut pthread_mutex_t) -> c_int;
type TimedLock = unsafe extern "C-unwind" fn(*mut pthread_mutex_t, *const timespec) -> c_int;
type ClockLock =
    unsafe extern "C-unwind" fn(*mut pthread_mutex_t, clockid_t, *const timespec) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    if is_adopted() {
        look_up();
        // SAFETY: the caller's promise.
        unsafe { lock(mutex) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { next!(pthread_mutex_lock: OfMutex)(mutex) }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let real = || next!(pthread_mutex_trylock: OfMutex)(mutex);
        if !is_adopted() {
            return real();
        }
        if is_refused(mutex) {
            return libc::ENOTSUP;
        }
        known_to_others(mutex, 1, real)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_consistent(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let real = || next!(pthread_mutex_consistent: OfMutex)(mutex);
        if is_adopted() {
            known_to_others(mutex, 0, real)
        } else {
            real()
        }
    }
}

/// Calls a function of the C library on a mutex, after which the caller has locked it so many times `more` if it succeeds.
///
/// # Safety
///
/// That of `pthread_mutex_trylock`, in a program that is adopted.
#[inline]
unsafe fn known_to_others(
    mutex: *mut pthread_mutex_t,
    more: i32,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    if unsafe { owner::is_known_to_others(mutex) } {
        owner::among_processes(more, real)
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_mutex_timedlock(
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_mutex_timedlock: TimedLock)(mutex, time) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { lock_until(mutex, libc::CLOCK_REALTIME, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_mutex_clocklock: ClockLock)(mutex, clock, time) };
    if is_adopted() && is_of_waits(clock) {
        // SAFETY: the caller's promise.
        unsafe { lock_until(mutex, clock, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { release(mutex) };
    if result == 0 && is_adopted() {
        super::wake(mutex.addr(), ANY, 1);
    }
    result
}

/// # Safety
///
/// That of `pthread_mutex_lock`, in a program that is adopted.
pub(super) unsafe fn lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { attempt(mutex) } {
        Some(result) => result,
        // SAFETY: the caller's promise.
        None => unsafe {
            lock_busy(
                mutex,
                || Ok(None),
                || next!(pthread_mutex_lock: OfMutex)(mutex),
            )
        },
    }
}

/// # Safety
///
/// That of `pthread_mutex_clocklock`, in a program that is adopted, with a clock by which one waits.
unsafe fn lock_until(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
    real: impl FnOnce() -> c_int,
) -> c_int {
    look_up();
    // SAFETY: the caller's promise.
    match unsafe { attempt(mutex) } {
        Some(result) => result,
        // SAFETY: the caller's promise.
        None => unsafe { lock_busy(mutex, || Until::new(clock, time).map(Some), real) },
    }
}

/// Unlocks it, and wakes nobody who is parked.
///
/// # Safety
///
/// That of `pthread_mutex_unlock`.
pub(super) unsafe fn release(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let real = || next!(pthread_mutex_unlock: OfMutex)(mutex);
        if is_adopted() {
            known_to_others(mutex, -1, real)
        } else {
            real()
        }
    }
}

/// `None` if it is locked.
///
/// # Safety
///
/// That of `pthread_mutex_trylock`.
unsafe fn attempt(mutex: *mut pthread_mutex_t) -> Option<c_int> {
    // SAFETY: the caller's promise.
    let result = unsafe { pthread_mutex_trylock(mutex) };
    (result != libc::EBUSY).then_some(result)
}

/// Whether it is one that the caller cannot have, since it is green, and the system is to know the owner.
///
/// # Safety
///
/// That of `pthread_mutex_trylock`, in a program that is adopted.
pub(super) unsafe fn is_refused(mutex: *mut pthread_mutex_t) -> bool {
    let layout = layout();
    // SAFETY: the caller's promise.
    let is = |mark: super::layout::Mark| unsafe { mark.is_on(mutex) };
    is(layout.mutex_inherits_priority)
        && (is(layout.shared_mutex) || is(layout.robust_mutex))
        && adopt::thread_number().is_some()
}

/// Locks a mutex that was locked a moment ago, until a time that may turn out to be none; by `real` if the C library is to do it.
///
/// # Safety
///
/// That of `pthread_mutex_lock`.
#[cold]
#[inline(never)]
unsafe fn lock_busy(
    mutex: *mut pthread_mutex_t,
    until: impl FnOnce() -> Result<Option<Until>, c_int>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let layout = layout();
    // SAFETY: the caller's promise.
    let is = |mark: super::layout::Mark| unsafe { mark.is_on(mutex) };
    if is(layout.shared_mutex) || is(layout.robust_mutex) || is(layout.mutex_has_ceiling) {
        // SAFETY: the caller's promise.
        return in_system(|| unsafe { known_to_others(mutex, 1, real) });
    }
    let inherits_priority = is(layout.mutex_inherits_priority);
    if !inherits_priority && (Inside::is_current() || !parks()) {
        return real();
    }
    // Who tries one that inherits priority is told that he has it.
    if is(layout.mutex_checks_errors) && !inherits_priority {
        // To try does not tell the owner of his mistake.
        // SAFETY: the caller's promise; and it is a time.
        let result =
            unsafe { next!(pthread_mutex_timedlock: TimedLock)(mutex, &raw const LONG_AGO) };
        if result != libc::ETIMEDOUT {
            return result;
        }
    }
    // SAFETY: the caller's promise.
    let attempt = || unsafe { attempt(mutex) };
    match until() {
        Ok(until) if Inside::is_current() => look_again(until, attempt),
        Ok(until) => insist(mutex.addr(), ANY, until, "a mutex", false, attempt),
        Err(error) => error,
    }
}

/// Tries until it succeeds or a time has come. In between the caller, who is inside of the runtime, [naps](nap).
fn look_again(until: Option<Until>, mut attempt: impl FnMut() -> Option<c_int>) -> c_int {
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        if until.is_some_and(Until::has_come) {
            return libc::ETIMEDOUT;
        }
        nap(MOMENT);
    }
}
