//! What a program calls that was compiled to have its buffers checked: the function itself, unless the buffer is too small, of
//! which the C library tells.

use std::ffi::{c_int, c_void};

use libc::{size_t, sockaddr, socklen_t, ssize_t};

use super::read::read;
use super::receive::{recv, recvfrom};
use crate::next::next;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __read_chk(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    size: size_t,
) -> ssize_t {
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t, size_t) -> ssize_t;
    // SAFETY: the caller's promise.
    unsafe {
        if len > size {
            next!(__read_chk: Next)(fd, buf, len, size)
        } else {
            read(fd, buf, len)
        }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __recv_chk(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    size: size_t,
    flags: c_int,
) -> ssize_t {
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t, size_t, c_int) -> ssize_t;
    // SAFETY: the caller's promise.
    unsafe {
        if len > size {
            next!(__recv_chk: Next)(fd, buf, len, size, flags)
        } else {
            recv(fd, buf, len, flags)
        }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __recvfrom_chk(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    size: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut c_void,
        size_t,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t;
    // SAFETY: the caller's promise.
    unsafe {
        if len > size {
            next!(__recvfrom_chk: Next)(fd, buf, len, size, flags, address, address_len)
        } else {
            recvfrom(fd, buf, len, flags, address, address_len)
        }
    }
}
