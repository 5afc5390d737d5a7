//! Sleeping, and letting others run.
//!
//! The C library promises that a sleep lasts at least so long, unless the handler of a signal runs: then it tells what is left.
//! A green thread is interrupted by signals that are sent to it: those to the process are handled by the OS threads of the runtime.

use std::ffi::{c_int, c_uint};
use std::ptr;
use std::time::{Duration, Instant};

use libc::{clockid_t, timespec};
use roving_scheduler::adopt;

use crate::hand_over::number_at_point;
use crate::next::next;
use crate::thread::{Heeded, Point, heed};
use crate::{clock, clock_set, errno, memory, parks};

/// Parks the caller for so long, or until it has heeded a signal.
///
/// # Errors
///
/// How much is left then.
pub(crate) fn sleep_for(time: Duration) -> Result<(), Duration> {
    let until = clock::after(time);
    loop {
        adopt::begin_masked().nudgeable().why(&"sleep").block(until);
        let heeded = heed(true);
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return Ok(());
        }
        if heeded != Heeded::Nothing {
            return Err(until.map_or(Duration::MAX, |until| until - now));
        }
    }
}

/// Whether there is a time. Who is given none, the system tells.
pub(crate) fn is_there(time: *const timespec) -> bool {
    memory::is_there(time.cast(), size_of::<timespec>())
}

/// What a function gives for that whose caller is told what is left.
///
/// # Safety
///
/// Null, or there is room for a time.
pub(crate) unsafe fn tell_left(
    slept: Result<(), Duration>,
    left: *mut timespec,
) -> Result<(), c_int> {
    slept.map_err(|rest| {
        if left.is_null() {
            return libc::EINTR;
        }
        let rest = timespec {
            tv_sec: rest.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        };
        // SAFETY: the caller's promise.
        let is_told = unsafe { memory::tell(left, rest) };
        is_told.err().unwrap_or(libc::EINTR)
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sleep(seconds: c_uint) -> c_uint {
    let _point = Point::begin();
    if parks() {
        let slept = sleep_for(Duration::from_secs(seconds.into()));
        return slept.map_or_else(|left| left.as_secs() as c_uint, |()| 0);
    }
    // SAFETY: the caller's promise.
    unsafe { next!(sleep: unsafe extern "C-unwind" fn(c_uint) -> c_uint)(seconds) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn usleep(microseconds: libc::useconds_t) -> c_int {
    let _point = Point::begin();
    if parks() {
        let slept = sleep_for(Duration::from_micros(microseconds.into()));
        return slept.map_or_else(|_| errno::fail(libc::EINTR), |()| 0);
    }
    // SAFETY: the caller's promise.
    unsafe { next!(usleep: unsafe extern "C-unwind" fn(libc::useconds_t) -> c_int)(microseconds) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    let _point = Point::begin();
    if parks() && is_there(time) {
        // SAFETY: the caller's promise.
        return match clock::duration(unsafe { *time }) {
            // SAFETY: the caller's promise.
            Some(time) => errno::or_fail(unsafe { tell_left(sleep_for(time), left) }),
            None => errno::fail(libc::EINVAL),
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        next!(nanosleep: unsafe extern "C-unwind" fn(*const timespec, *mut timespec) -> c_int)(
            time, left,
        )
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    let _point = Point::begin();
    type Next =
        unsafe extern "C-unwind" fn(clockid_t, c_int, *const timespec, *mut timespec) -> c_int;
    // SAFETY: the caller's promise.
    let next = || unsafe { next!(clock_nanosleep: Next)(clock, flags, time, left) };
    if !parks() || !is_there(time) {
        return next();
    }
    let is_until = flags & libc::TIMER_ABSTIME != 0;
    if clock == libc::CLOCK_REALTIME && is_until {
        // SAFETY: the caller's promise.
        return until_shown(unsafe { *time }).unwrap_or_else(|| number_at_point(next));
    }
    if matches!(
        clock,
        libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME | libc::CLOCK_REALTIME
    ) {
        // SAFETY: the caller's promise.
        let time = unsafe { *time };
        let time = if flags & libc::TIMER_ABSTIME == 0 {
            clock::duration(time).ok_or(libc::EINVAL)
        } else {
            clock::left(clock, time)
        };
        let left = if flags & libc::TIMER_ABSTIME == 0 {
            left
        } else {
            ptr::null_mut()
        };
        // SAFETY: the caller's promise.
        let slept = time.and_then(|time| unsafe { tell_left(sleep_for(time), left) });
        return slept.err().unwrap_or(0);
    }
    // Others may stand still.
    number_at_point(next)
}

/// Parks the caller until the system's clock shows a time, be it set meanwhile. Gives an error or 0; `None` if nobody would tell that it is
/// set.
#[inline(never)]
fn until_shown(time: timespec) -> Option<c_int> {
    match clock::left(libc::CLOCK_REALTIME, time) {
        Err(error) => return Some(error),
        Ok(left) if left.is_zero() => return Some(0),
        Ok(_) if !clock_set::is_told_of() => return None,
        Ok(_) => {}
    }
    loop {
        let seen = clock_set::times();
        let left = clock::left(libc::CLOCK_REALTIME, time).unwrap_or_default();
        if left.is_zero() {
            return Some(0);
        }
        clock_set::wait(seen, clock::after(left));
        if heed(true) != Heeded::Nothing {
            return Some(libc::EINTR);
        }
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn sched_yield() -> c_int {
    if parks() {
        adopt::yield_now();
        // Who only yields waits nowhere.
        heed(false);
        return 0;
    }
    // SAFETY: it has no preconditions.
    unsafe { next!(sched_yield: unsafe extern "C-unwind" fn() -> c_int)() }
}
