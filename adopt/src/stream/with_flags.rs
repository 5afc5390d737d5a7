//! Reading and writing at a place in the file, or with flags.

use std::ffi::c_int;

use libc::{iovec, off_t, ssize_t};

use super::read::readv;
use super::write::writev;
use super::{HERE, PreadV2};
use crate::next::next;
use crate::parks;
use crate::thread::Point;

/// Defines functions that do what others do, unless there is a place in the file, or a flag.
macro_rules! with_flags {
    ($($name:ident: $does:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(
            fd: c_int,
            buffers: *const iovec,
            count: c_int,
            at: off_t,
            flags: c_int,
        ) -> ssize_t {
            let _point = Point::begin();
            // SAFETY: the caller's promise.
            unsafe {
                if at == HERE && flags == 0 && parks() {
                    $does(fd, buffers, count)
                } else {
                    next!($name: PreadV2)(fd, buffers, count, at, flags)
                }
            }
        }
    )*};
}

with_flags! {
    preadv2: readv
    preadv64v2: readv
    pwritev2: writev
    pwritev64v2: writev
}
