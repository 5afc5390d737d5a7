//! The locks of the runtime itself.
//!
//! Where processes fork, who waits for one is known to the system alone, by the address of a word: on Linux by a futex, elsewhere by
//! what std's locks wait with. Those of `parking_lot` have lists of the waiters in the memory of the process. A child that is forked
//! while a thread waits for any of them would inherit such a list without the thread, whose memory other threads get there, or nobody
//! has, and would go through it when it waits for another lock. On Windows, where nothing forks, they are the cheapest.
//!
//! In a program that is adopted the functions of the C library that block are defined anew, to park
//! green threads, and what the runtime calls itself on a green thread must not come out there. A futex is waited for by the system
//! call itself; and with the feature `adopt`, while a thread waits for a lock or has one, or is otherwise [`Inside`] of the
//! runtime, nothing that it calls parks it.

#[cfg(feature = "adopt")]
pub use self::counted::{Inside, Mutex, MutexGuard};
#[cfg(not(feature = "adopt"))]
pub use self::plain::{Inside, Mutex, MutexGuard};

#[cfg(not(feature = "adopt"))]
mod plain {
    #[cfg(all(unix, not(target_os = "linux")))]
    pub use super::of_std::{Mutex, MutexGuard};
    #[cfg(not(unix))]
    pub use parking_lot::{Mutex, MutexGuard};
    #[cfg(target_os = "linux")]
    pub use rustix_futex_sync::{Mutex, MutexGuard};

    /// Nobody asks whether there is one.
    #[derive(Debug)]
    pub struct Inside;

    impl Inside {
        /// Does nothing.
        #[inline]
        pub fn enter() -> Self {
            Self
        }
    }
}

/// std's, which know of panics what nobody asks here.
#[cfg(all(unix, not(target_os = "linux")))]
mod of_std {
    use std::sync;
    use std::sync::{PoisonError, TryLockError};

    /// A lock of the runtime.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(sync::Mutex<T>);
    /// Holds a lock of the runtime.
    pub type MutexGuard<'a, T> = sync::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        /// One that nobody holds.
        pub const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        /// Waits until nobody else holds it.
        #[inline]
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// `None` if somebody holds it.
        #[inline]
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }

        /// What it protects, which nobody else has.
        pub fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }

        /// What it has protected.
        pub fn into_inner(self) -> T {
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(feature = "adopt")]
mod counted {
    use std::cell::Cell;
    use std::fmt;
    use std::marker::PhantomData;
    use std::mem;

    use rustix_futex_sync::RawMutex as Futex;
    use rustix_futex_sync::lock_api;

    /// A lock of the runtime.
    pub type Mutex<T> = lock_api::Mutex<Counted, T>;
    /// Holds a lock of the runtime.
    pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Counted, T>;

    thread_local! {
        /// How often the current thread, green or not, has entered the runtime. It has left it whenever it is suspended.
        static ENTERED: Cell<u32> = const { Cell::new(0) };
    }

    /// While it lives, the current thread is inside of the runtime.
    #[derive(Debug)]
    pub struct Inside(PhantomData<*const ()>);

    impl Inside {
        /// Until it is dropped.
        pub fn enter() -> Self {
            count(1);
            Self(PhantomData)
        }

        /// Drops as many of the current thread's, whose frames have been jumped over.
        pub fn leave_abandoned(abandoned: u32) {
            count(-abandoned.cast_signed());
        }

        /// How many there are on the current thread.
        #[inline(never)]
        pub fn depth() -> u32 {
            ENTERED.get()
        }

        /// Has as many of them on the current thread as there were at some time before, where no frame is left of those that have come since.
        #[inline(never)]
        pub fn return_to(depth: u32) {
            ENTERED.set(depth);
        }

        /// Whether there is one on the current thread.
        #[inline(never)]
        pub fn is_current() -> bool {
            ENTERED.get() != 0
        }
    }

    impl Drop for Inside {
        fn drop(&mut self) {
            count(-1);
        }
    }

    // Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
    #[inline(never)]
    fn count(change: i32) {
        ENTERED.set(ENTERED.get().wrapping_add_signed(change));
    }

    /// A futex whose owner is [`Inside`].
    pub struct Counted(Futex);

    impl fmt::Debug for Counted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Counted").finish_non_exhaustive()
        }
    }

    // SAFETY: it locks as the futex does.
    unsafe impl lock_api::RawMutex for Counted {
        const INIT: Self = Self(Futex::INIT);

        // The owner unlocks it: it is that thread which is inside.
        type GuardMarker = lock_api::GuardNoSend;

        fn lock(&self) {
            mem::forget(Inside::enter());
            self.0.lock();
        }

        fn try_lock(&self) -> bool {
            // As in `lock`: whoever interrupts the owner finds it inside.
            let inside = Inside::enter();
            let locked = self.0.try_lock();
            if locked {
                mem::forget(inside);
            }
            locked
        }

        unsafe fn unlock(&self) {
            // SAFETY: the caller's promise.
            unsafe { self.0.unlock() };
            count(-1);
        }

        fn is_locked(&self) -> bool {
            self.0.is_locked()
        }
    }
}
