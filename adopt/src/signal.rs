//! Waiting for signals.
//!
//! The system delivers signals to OS threads. A green thread that waits for one waits on the OS thread that runs it, which is handed
//! over: with the mask of signals that it has.

use std::ffi::c_int;

use libc::{siginfo_t, sigset_t, timespec};

use crate::hand_over::handed_over;

handed_over! {
    fn sigwait(signals: *const sigset_t, signal: *mut c_int) -> c_int;
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
