//! The locks of the runtime itself.
//!
//! They are `parking_lot`'s. In a program that is adopted the functions of the C library that block are defined anew, to park
//! green threads, and what the runtime calls itself on a green thread must not come out there. So with the feature `adopt`
//! a lock waits by the system call itself, and while a thread waits for one or has one, or is otherwise [`Inside`] of the
//! runtime, nothing that it calls parks it.

#[cfg(feature = "adopt")]
pub use self::counted::{Inside, Mutex, MutexGuard};
#[cfg(not(feature = "adopt"))]
pub use self::plain::{Inside, Mutex, MutexGuard};

#[cfg(not(feature = "adopt"))]
mod plain {
    pub use parking_lot::{Mutex, MutexGuard};

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

#[cfg(feature = "adopt")]
mod counted {
    use std::cell::Cell;
    use std::fmt;
    use std::marker::PhantomData;
    use std::mem;

    use parking_lot::lock_api;
    use rustix_futex_sync::RawMutex as Futex;

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
