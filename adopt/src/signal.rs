//! Waiting for signals.
//!
//! The system delivers signals to OS threads. A green thread that waits for one waits on the OS thread that runs it, which is handed
//! over: with the mask of signals that it has.

use std::ffi::c_int;
use std::ptr;

use libc::{siginfo_t, sigset_t, timespec};

use crate::hand_over::{hand_over_at_point, handed_over};
use crate::next::next;
use crate::thread::{Point, is_ending};
use crate::{errno, parks};

handed_over! {
    can be interrupted:
    fn sigwaitinfo(signals: *const sigset_t, info: *mut siginfo_t) -> c_int;
    fn sigtimedwait(signals: *const sigset_t, info: *mut siginfo_t, timeout: *const timespec) -> c_int;
    fn __sigtimedwait(signals: *const sigset_t, info: *mut siginfo_t, timeout: *const timespec) -> c_int;
    fn pause() -> c_int;
    fn sigsuspend(mask: *const sigset_t) -> c_int;
    fn __sigsuspend(mask: *const sigset_t) -> c_int;
    fn sigpause(mask: c_int) -> c_int;
    fn __sigpause(signal_or_mask: c_int, is_signal: c_int) -> c_int;
    fn __xpg_sigpause(signal: c_int) -> c_int;
}

/// The C library's goes on when it is interrupted, and so does this, unless the caller is to end.
///
/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sigwait(signals: *const sigset_t, signal: *mut c_int) -> c_int {
    let _point = Point::begin();
    if !parks() {
        type Next = unsafe extern "C-unwind" fn(*const sigset_t, *mut c_int) -> c_int;
        // SAFETY: the caller's promise.
        return unsafe { next!(sigwait: Next)(signals, signal) };
    }
    type Wait = unsafe extern "C-unwind" fn(*const sigset_t, *mut siginfo_t) -> c_int;
    errno::kept(|| {
        loop {
            // SAFETY: the caller's promise; nothing else is asked for.
            let wait = || unsafe { next!(sigwaitinfo: Wait)(signals, ptr::null_mut()) };
            let taken = hand_over_at_point(wait);
            if taken >= 0 {
                // SAFETY: the caller's promise.
                unsafe { signal.write(taken) };
                return 0;
            }
            match errno::get() {
                libc::EINTR if !is_ending() => {}
                error => return error,
            }
        }
    })
}
