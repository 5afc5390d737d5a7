//! Read-write locks.
//!
//! The C library promises readers that share and writers that exclude, that an owner is told who would wait for himself, and limits
//! in time. What it prefers, readers or writers, concerns those who wait in the system: in the table writers
//! are not preferred. Where somebody has unlocked, all readers who are parked try again, and one writer.

use std::ffi::c_int;

use libc::{clockid_t, pthread_rwlock_t, timespec};
use roving_scheduler::adopt;

use super::owner;
use super::{ALL, LONG_AGO, Until, insist, is_of_waits};
use crate::hand_over::hand_over;
use crate::next::next;
use crate::thread::look_up;
use crate::{is_adopted, parks};

type OfLock = unsafe extern "C-unwind" fn(*mut pthread_rwlock_t) -> c_int;
type Timed = unsafe extern "C-unwind" fn(*mut pthread_rwlock_t, *const timespec) -> c_int;
type Clocked =
    unsafe extern "C-unwind" fn(*mut pthread_rwlock_t, clockid_t, *const timespec) -> c_int;

const READS: u32 = 1;
const WRITES: u32 = 2;

/// How one of them takes the lock.
struct Way {
    bits: u32,
    attempt: OfLock,
    timed: Timed,
}

impl Way {
    fn reading() -> Self {
        Self {
            bits: READS,
            // SAFETY: they are of these types.
            attempt: unsafe { next!(pthread_rwlock_tryrdlock: OfLock) },
            // SAFETY: likewise.
            timed: unsafe { next!(pthread_rwlock_timedrdlock: Timed) },
        }
    }

    fn writing() -> Self {
        Self {
            bits: WRITES,
            // SAFETY: they are of these types.
            attempt: unsafe { next!(pthread_rwlock_trywrlock: OfLock) },
            // SAFETY: likewise.
            timed: unsafe { next!(pthread_rwlock_timedwrlock: Timed) },
        }
    }

    /// Takes the lock, by `real` if the C library is to do it.
    ///
    /// # Safety
    ///
    /// The lock is one, and the program is adopted.
    unsafe fn take(
        self,
        lock: *mut pthread_rwlock_t,
        until: Option<Until>,
        real: impl FnOnce() -> c_int,
    ) -> c_int {
        look_up();
        // SAFETY: the caller's promise.
        match unsafe { self.attempt(lock) } {
            Some(result) => result,
            // SAFETY: the caller's promise.
            None => unsafe { self.take_busy(lock, until, real) },
        }
    }

    /// `None` if it cannot be had now.
    ///
    /// # Safety
    ///
    /// The lock is one.
    unsafe fn attempt(&self, lock: *mut pthread_rwlock_t) -> Option<c_int> {
        // SAFETY: the caller's promise.
        let result = unsafe { known_to_others(lock, 1, || (self.attempt)(lock)) };
        (result != libc::EBUSY).then_some(result)
    }

    /// # Safety
    ///
    /// That of `take`.
    #[cold]
    #[inline(never)]
    unsafe fn take_busy(
        self,
        lock: *mut pthread_rwlock_t,
        until: Option<Until>,
        real: impl FnOnce() -> c_int,
    ) -> c_int {
        if !parks() {
            // SAFETY: the caller's promise.
            let result = unsafe { known_to_others(lock, 1, real) };
            if result == libc::ETIMEDOUT {
                // It was preferred to readers while it waited. Those who are parked do not know that it has given up.
                adopt::wake(lock.addr(), READS, ALL);
            }
            return result;
        }
        // SAFETY: the caller's promise.
        if unsafe { owner::is_rwlock_known_to_others(lock) } {
            return hand_over(|| owner::among_processes(1, real));
        }
        // To try does not tell the owner of his mistake.
        // SAFETY: the caller's promise; and it is a time.
        let result = unsafe { (self.timed)(lock, &raw const LONG_AGO) };
        if result != libc::ETIMEDOUT {
            return result;
        }
        // SAFETY: the caller's promise.
        let attempt = || unsafe { self.attempt(lock) };
        insist(
            lock.addr(),
            self.bits,
            until,
            "a read-write lock",
            false,
            attempt,
        )
    }

    /// # Safety
    ///
    /// The lock is one, the time is one that the C library has been given, and the program is adopted.
    unsafe fn take_until(
        self,
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
        real: impl FnOnce() -> c_int,
    ) -> c_int {
        // SAFETY: the caller's promise.
        match unsafe { Until::new(clock, time) } {
            // SAFETY: the caller's promise.
            Ok(until) => unsafe { self.take(lock, Some(until), real) },
            Err(error) => error,
        }
    }
}

/// Calls a function of the C library on a lock, after which the caller has taken it so many times `more` if it succeeds.
///
/// # Safety
///
/// The lock is one, and the program is adopted.
#[inline]
unsafe fn known_to_others(
    lock: *mut pthread_rwlock_t,
    more: i32,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    if unsafe { owner::is_rwlock_known_to_others(lock) } {
        owner::among_processes(more, real)
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_rwlock_rdlock: OfLock)(lock) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { Way::reading().take(lock, None, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_rwlock_wrlock: OfLock)(lock) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { Way::writing().take(lock, None, real) }
    } else {
        real()
    }
}

/// Defines functions that try. They take no lock that is not free, but its owner is noted, as it is where it is waited for.
macro_rules! tries {
    ($($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $name(lock: *mut pthread_rwlock_t) -> c_int {
            // SAFETY: the caller's promise.
            let real = || unsafe { next!($name: OfLock)(lock) };
            if is_adopted() {
                // SAFETY: the caller's promise.
                unsafe { known_to_others(lock, 1, real) }
            } else {
                real()
            }
        }
    )*};
}

tries!(pthread_rwlock_tryrdlock pthread_rwlock_trywrlock);

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_rwlock_timedrdlock(
    lock: *mut pthread_rwlock_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_rwlock_timedrdlock: Timed)(lock, time) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { Way::reading().take_until(lock, libc::CLOCK_REALTIME, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_rwlock_timedwrlock(
    lock: *mut pthread_rwlock_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_rwlock_timedwrlock: Timed)(lock, time) };
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { Way::writing().take_until(lock, libc::CLOCK_REALTIME, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_rwlock_clockrdlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_rwlock_clockrdlock: Clocked)(lock, clock, time) };
    if is_adopted() && is_of_waits(clock) {
        // SAFETY: the caller's promise.
        unsafe { Way::reading().take_until(lock, clock, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_rwlock_clockwrlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_rwlock_clockwrlock: Clocked)(lock, clock, time) };
    if is_adopted() && is_of_waits(clock) {
        // SAFETY: the caller's promise.
        unsafe { Way::writing().take_until(lock, clock, time, real) }
    } else {
        real()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe {
        let real = || next!(pthread_rwlock_unlock: OfLock)(lock);
        if is_adopted() {
            known_to_others(lock, -1, real)
        } else {
            real()
        }
    };
    let address = lock.addr();
    if result == 0 && is_adopted() && adopt::is_announced(address) {
        adopt::wake(address, READS, ALL);
        adopt::wake(address, WRITES, 1);
    }
    result
}
