//! How a function of the C library tells of an error.

use std::ffi::c_int;

/// The error of the current thread.
#[inline(never)]
pub(crate) fn get() -> c_int {
    // SAFETY: it is the current thread's own.
    unsafe { *libc::__errno_location() }
}

/// Sets the error of the current thread, which is asked for when a function has failed.
#[inline(never)]
pub(crate) fn set(error: c_int) {
    // SAFETY: it is the current thread's own.
    unsafe { *libc::__errno_location() = error };
}

/// What `call` gives, with the error left as it was.
pub(crate) fn kept<T>(call: impl FnOnce() -> T) -> T {
    let before = get();
    let result = call();
    set(before);
    result
}

/// What `call` gives, with the error left as it was if it succeeds: there may have been attempts that did not.
pub(crate) fn kept_by_success<T: PartialOrd + From<i8>>(call: impl FnOnce() -> T) -> T {
    let before = get();
    let result = call();
    if result >= T::from(0) {
        set(before);
    }
    result
}

/// What `attempt` gives, which does not wait; or what `wait` gives, if that fails with one of these errors. The error is left as it was
/// if it succeeds.
pub(crate) fn or_wait<T: PartialOrd + From<i8>>(
    would_wait: &[c_int],
    attempt: impl FnOnce() -> T,
    wait: impl FnOnce() -> T,
) -> T {
    kept_by_success(|| {
        let result = attempt();
        if result < T::from(0) && would_wait.contains(&get()) {
            wait()
        } else {
            result
        }
    })
}

/// What a function gives that has failed with this error: -1.
pub(crate) fn fail<T: From<i8>>(error: c_int) -> T {
    set(error);
    T::from(-1)
}

/// What a function gives that gives nothing else than whether it has failed: 0, or -1 with the error.
pub(crate) fn or_fail<T: From<i8>>(result: Result<(), c_int>) -> T {
    match result {
        Ok(()) => T::from(0),
        Err(error) => fail(error),
    }
}

/// What the functions of C11 give for an error of POSIX.
pub(crate) fn in_c(error: c_int) -> c_int {
    const SUCCESS: c_int = 0;
    const BUSY: c_int = 1;
    const ERROR: c_int = 2;
    const NO_MEMORY: c_int = 3;
    const TIMED_OUT: c_int = 4;
    match error {
        0 => SUCCESS,
        libc::EBUSY => BUSY,
        libc::ENOMEM => NO_MEMORY,
        libc::ETIMEDOUT => TIMED_OUT,
        _ => ERROR,
    }
}
