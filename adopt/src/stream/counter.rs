//! Event counters, by the functions that the C library has for them: it reads and writes within itself there.

use std::ffi::c_int;

use libc::{eventfd_t, ssize_t};

use super::read::read;
use super::write::write;
use crate::is_adopted;
use crate::next::next;

/// As many bytes are read from one, and written to it.
const SIZE: usize = size_of::<eventfd_t>();

fn result(moved: ssize_t) -> c_int {
    if moved == SIZE as ssize_t { 0 } else { -1 }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn eventfd_read(fd: c_int, value: *mut eventfd_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(c_int, *mut eventfd_t) -> c_int;
    // SAFETY: the caller's promise.
    unsafe {
        if is_adopted() {
            result(read(fd, value.cast(), SIZE))
        } else {
            next!(eventfd_read: Next)(fd, value)
        }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn eventfd_write(fd: c_int, value: eventfd_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(c_int, eventfd_t) -> c_int;
    // SAFETY: the caller's promise, and the value is there.
    unsafe {
        if is_adopted() {
            result(write(fd, (&raw const value).cast(), SIZE))
        } else {
            next!(eventfd_write: Next)(fd, value)
        }
    }
}
