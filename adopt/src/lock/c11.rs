//! The same under the names that C has for it since 2011.
//!
//! Its mutexes, condition variables and flags are those of the C library under other types, and its functions call those of these
//! past all definitions. The results have other numbers.

use std::ffi::c_int;

use libc::{pthread_cond_t, pthread_mutex_t, pthread_once_t, timespec};

use super::{condition, mutex, once};
use crate::next::next;
use crate::{errno, is_adopted};

/// Defines a function of C as another one of the C library's, in a program that is adopted.
macro_rules! names {
    ($($name:ident($($argument:ident: $type:ty),*) is $other:path;)*) => { $(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($argument: $type),*) -> c_int {
            if is_adopted() {
                // SAFETY: the caller's promise.
                return errno::in_c(unsafe { $other($($argument),*) });
            }
            // SAFETY: the caller's promise.
            unsafe {
                next!($name: unsafe extern "C-unwind" fn($($type),*) -> c_int)($($argument),*)
            }
        }
    )* };
}

names! {
    mtx_lock(mutex: *mut pthread_mutex_t) is mutex::pthread_mutex_lock;
    mtx_timedlock(mutex: *mut pthread_mutex_t, time: *const timespec) is mutex::pthread_mutex_timedlock;
    mtx_unlock(mutex: *mut pthread_mutex_t) is mutex::pthread_mutex_unlock;
    cnd_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) is condition::pthread_cond_wait;
    cnd_timedwait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, time: *const timespec)
        is condition::pthread_cond_timedwait;
    cnd_signal(condition: *mut pthread_cond_t) is condition::pthread_cond_signal;
    cnd_broadcast(condition: *mut pthread_cond_t) is condition::pthread_cond_broadcast;
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn call_once(flag: *mut pthread_once_t, body: extern "C-unwind" fn()) {
    // SAFETY: the caller's promise.
    unsafe { once::pthread_once(flag, body) };
}
