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

/// What a function gives that has failed with this error: -1.
pub(crate) fn fail<T: From<i8>>(error: c_int) -> T {
    set(error);
    T::from(-1)
}
