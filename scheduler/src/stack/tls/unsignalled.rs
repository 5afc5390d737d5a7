//! Calls during which no handler of a signal runs on the current OS thread.

use std::ptr;

use crate::protocol::lock::Inside;

/// The two that the C library has for itself, and that its own functions leave out: with one it cancels threads, with the other it has all change
/// their credentials.
pub(super) const OF_C_LIBRARY: u64 = 1 << 31 | 1 << 32;

/// Makes `call` while all signals but `open` are blocked, as they are then in a thread that it makes.
pub(super) fn with_open<T>(open: u64, call: impl FnOnce() -> T) -> T {
    let mask = |new: &u64, old: *mut u64| {
        // In a program that is adopted, it is no change of the program's.
        let _inside = Inside::enter();
        // SAFETY: reads and writes sets of the kernel's size.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                new,
                old,
                size_of::<u64>(),
            )
        };
    };
    let mut before = 0;
    mask(&!open, &mut before);
    let result = call();
    mask(&before, ptr::null_mut());
    result
}
