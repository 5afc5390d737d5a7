//! The concurrency primitives of the protocols that are model-checked.
//!
//! `word`, `idle`, `parker`, `completion`, the locks of `sync` and the channels import from here
//! and from nowhere else, so that `--cfg roving_loom` runs the real code under loom. Everything
//! else uses `std` and [`lock`](super::lock) by name.

#[cfg(not(roving_loom))]
mod real {
    pub(crate) use crate::protocol::lock::{Mutex, MutexGuard as Guard};
    pub(crate) use crate::protocol::sleep::{Condvar, SleepLock};
    pub(crate) use std::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(not(unix))]
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
}

#[cfg(roving_loom)]
mod real {
    use std::time::Instant;

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use loom::thread_local;

    /// loom's mutex behind the interface of [`lock`](super::lock).
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
