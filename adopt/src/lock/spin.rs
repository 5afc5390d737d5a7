//! Locks for which one spins.
//!
//! The C library promises exclusion, for sections that are short. But a green thread that has such a lock may be suspended, and another
//! one that spins on its worker would keep it from going on. So a green thread spins for a while, and then lets others
//! run.

use std::ffi::c_int;
use std::hint;

use libc::pthread_spinlock_t;
use roving_scheduler::adopt;

use crate::next::next;
use crate::parks;

/// About as often as a short section takes.
const SPINS: u32 = 100;

type OfLock = unsafe extern "C-unwind" fn(*mut pthread_spinlock_t) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_spin_lock(lock: *mut pthread_spinlock_t) -> c_int {
    if !parks() {
        // SAFETY: the caller's promise.
        return unsafe { next!(pthread_spin_lock: OfLock)(lock) };
    }
    loop {
        for _ in 0..SPINS {
            // SAFETY: the caller's promise.
            let result = unsafe { next!(pthread_spin_trylock: OfLock)(lock) };
            if result != libc::EBUSY {
                return result;
            }
            hint::spin_loop();
        }
        adopt::yield_now();
    }
}
