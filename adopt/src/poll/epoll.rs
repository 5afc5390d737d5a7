//! `epoll_wait` and its kin: an epoll instance is a descriptor that is ready when it has an event.

use std::ffi::c_int;

use libc::{epoll_event, sigset_t, timespec};

use super::{Awaited, Time, ask_and_wait};
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::parks;
use crate::thread::Point;

type EpollWait = unsafe extern "C-unwind" fn(c_int, *mut epoll_event, c_int, c_int) -> c_int;

/// # Safety
///
/// That of `epoll_wait`.
#[inline(never)]
unsafe fn epoll_green(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    time: Time,
    call: impl FnOnce() -> c_int,
) -> c_int {
    let awaited = || Some(vec![Awaited::new(epoll, true, false)?]);
    // SAFETY: the caller's promise.
    let ask = || unsafe { next!(epoll_wait: EpollWait)(epoll, events, most, 0) };
    ask_and_wait(awaited, time, ask, call)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let epoll_wait = || unsafe { next!(epoll_wait: EpollWait)(epoll, events, most, timeout) };
    if timeout == 0 || !parks() {
        return epoll_wait();
    }
    let time = Time::of_milliseconds(timeout);
    // SAFETY: the caller's promise.
    unsafe { epoll_green(epoll, events, most, time, epoll_wait) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut epoll_event,
        c_int,
        c_int,
        *const sigset_t,
    ) -> c_int;
    // SAFETY: the caller's promise.
    let epoll_pwait = || unsafe { next!(epoll_pwait: Next)(epoll, events, most, timeout, mask) };
    if timeout == 0 || !parks() {
        return epoll_pwait();
    }
    if !mask.is_null() {
        return hand_over_at_point(epoll_pwait);
    }
    let time = Time::of_milliseconds(timeout);
    // SAFETY: the caller's promise.
    unsafe { epoll_green(epoll, events, most, time, epoll_pwait) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_pwait2(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut epoll_event,
        c_int,
        *const timespec,
        *const sigset_t,
    ) -> c_int;
    // SAFETY: the caller's promise.
    let epoll_pwait2 = || unsafe { next!(epoll_pwait2: Next)(epoll, events, most, timeout, mask) };
    if !parks() {
        return epoll_pwait2();
    }
    // SAFETY: the caller's promise.
    match unsafe { Time::of_timespec(timeout) } {
        Some(time) if mask.is_null() => {
            // SAFETY: the caller's promise.
            unsafe { epoll_green(epoll, events, most, time, epoll_pwait2) }
        }
        _ => hand_over_at_point(epoll_pwait2),
    }
}
