//! The same under the names that the C library has for libraries which were built long ago.

use std::ffi::c_int;

use libc::{pthread_mutex_t, pthread_once_t, pthread_rwlock_t};

use super::{mutex, once, rwlock};

macro_rules! old_names {
    ($($name:ident($($argument:ident: $type:ty),*) is $other:path;)*) => { $(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($argument: $type),*) -> c_int {
            // SAFETY: the caller's promise.
            unsafe { $other($($argument),*) }
        }
    )* };
}

old_names! {
    __pthread_mutex_lock(mutex: *mut pthread_mutex_t) is mutex::pthread_mutex_lock;
    __pthread_mutex_trylock(mutex: *mut pthread_mutex_t) is mutex::pthread_mutex_trylock;
    __pthread_mutex_unlock(mutex: *mut pthread_mutex_t) is mutex::pthread_mutex_unlock;
    __pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) is rwlock::pthread_rwlock_rdlock;
    __pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) is rwlock::pthread_rwlock_wrlock;
    __pthread_rwlock_tryrdlock(lock: *mut pthread_rwlock_t) is rwlock::pthread_rwlock_tryrdlock;
    __pthread_rwlock_trywrlock(lock: *mut pthread_rwlock_t) is rwlock::pthread_rwlock_trywrlock;
    __pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) is rwlock::pthread_rwlock_unlock;
    __pthread_once(once: *mut pthread_once_t, body: extern "C-unwind" fn()) is once::pthread_once;
}
