//! Queues of messages and semaphores of the system, which processes share.
//!
//! They are handed over. Where a call can be made so that it does not wait, it is made so first. Those whose
//! descriptors were opened, or whose calls were made, not to wait fail as they do there.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

use libc::{mqd_t, sembuf, timespec};

use crate::hand_over::{hand_over_at_point, handed_over};
use crate::next::next;
use crate::thread::Point;
use crate::{errno, parks};

handed_over! {
    can be interrupted:
    fn mq_receive(queue: mqd_t, message: *mut c_char, length: usize, priority: *mut c_uint) -> isize;
    fn mq_timedreceive(queue: mqd_t, message: *mut c_char, length: usize, priority: *mut c_uint,
        until: *const timespec) -> isize;
    fn mq_send(queue: mqd_t, message: *const c_char, length: usize, priority: c_uint) -> c_int;
    fn mq_timedsend(queue: mqd_t, message: *const c_char, length: usize, priority: c_uint,
        until: *const timespec) -> c_int;
}

handed_over! {
    at no point of cancellation:
    fn semop(set: c_int, operations: *mut sembuf, count: usize) -> c_int;
    fn semtimedop(set: c_int, operations: *mut sembuf, count: usize, timeout: *const timespec) -> c_int;
}

/// Calls `next` with flags, first so that it does not wait. It does not wait at all if the caller says so or may not be parked.
fn wait_if_not_at_once<T: PartialOrd + From<i8>>(
    flags: c_int,
    would_wait: c_int,
    next: impl Fn(c_int) -> T,
) -> T {
    if flags & libc::IPC_NOWAIT != 0 || !parks() {
        return next(flags);
    }
    let attempt = || next(flags | libc::IPC_NOWAIT);
    errno::or_wait(&[would_wait], attempt, || {
        hand_over_at_point(|| next(flags))
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn msgsnd(
    queue: c_int,
    message: *const c_void,
    length: usize,
    flags: c_int,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *const c_void, usize, c_int) -> c_int;
    // SAFETY: the caller's promise.
    wait_if_not_at_once(flags, libc::EAGAIN, |flags| unsafe {
        next!(msgsnd: Next)(queue, message, length, flags)
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn msgrcv(
    queue: c_int,
    message: *mut c_void,
    length: usize,
    kind: c_long,
    flags: c_int,
) -> isize {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_void, usize, c_long, c_int) -> isize;
    // SAFETY: the caller's promise.
    wait_if_not_at_once(flags, libc::ENOMSG, |flags| unsafe {
        next!(msgrcv: Next)(queue, message, length, kind, flags)
    })
}
