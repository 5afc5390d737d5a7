//! The concurrency primitives of the protocols that are model-checked.
//!
//! `word`, `idle`, `parker`, `completion`, the locks of `sync` and the channels import from here
//! and from nowhere else, so that `--cfg roving_loom` runs the real code under loom. Everything
//! else uses `std` and `parking_lot` by name.

#[cfg(not(roving_loom))]
mod real {
    use std::sync::{MutexGuard, PoisonError};
    use std::time::Instant;

    pub(crate) use parking_lot::{Mutex, MutexGuard as Guard};
    pub(crate) use std::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use std::thread_local;

    /// `std::cell::UnsafeCell` with loom's closure interface.
    #[derive(Debug, Default)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// std's mutex, for threads that sleep in a [`Condvar`].
    #[derive(Debug, Default)]
    pub(crate) struct SleepLock(std::sync::Mutex<()>);

    impl SleepLock {
        pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// std's condition variable. Unlike that of `parking_lot` it has no list of the sleepers in the
    /// memory of the process, which a forked child inherits without the sleepers.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(std::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn wait<'a>(&self, guard: MutexGuard<'a, ()>) -> MutexGuard<'a, ()> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// `true` if the deadline came.
        pub(crate) fn wait_until<'a>(
            &self,
            guard: MutexGuard<'a, ()>,
            deadline: Instant,
        ) -> (MutexGuard<'a, ()>, bool) {
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = self.0.wait_timeout(guard, left);
            let (guard, result) = waited.unwrap_or_else(PoisonError::into_inner);
            (guard, result.timed_out())
        }
    }
}

#[cfg(roving_loom)]
mod real {
    use std::time::Instant;

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use loom::thread_local;

    /// loom's mutex behind the interface of `parking_lot`.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) type Guard<'a, T> = loom::sync::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            self.0.lock().expect("a model thread panicked")
        }
    }

    pub(crate) type SleepLock = Mutex<()>;

    /// loom's condition variable.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn wait<'a, T>(&self, guard: Guard<'a, T>) -> Guard<'a, T> {
            self.0.wait(guard).expect("a model thread panicked")
        }

        /// A model has no clock: what waits for a time does so until others have had their turn.
        pub(crate) fn wait_until<'a, T>(
            &self,
            guard: Guard<'a, T>,
            _: Instant,
        ) -> (Guard<'a, T>, bool) {
            loom::thread::yield_now();
            (guard, true)
        }
    }
}

pub(crate) use real::*;
