//! The concurrency primitives of the protocols that are model-checked.
//!
//! `word`, `idle`, `parker`, `completion`, the locks of `sync` and the channels import from here
//! and from nowhere else, so that `--cfg roving_loom` runs the real code under loom. Everything
//! else uses `std` and `parking_lot` by name.

#[cfg(not(roving_loom))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard as Guard};
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
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
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
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

    /// loom's condition variable behind the interface of `parking_lot`.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    pub(crate) struct WaitResult;

    impl WaitResult {
        /// A model has no clock: its waits never time out.
        pub(crate) fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) -> bool {
            self.0.notify_one();
            true
        }

        pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            // SAFETY: `guard` is overwritten before anyone can use it or drop it: loom's `wait`
            // gives a guard of the same mutex back, and a panic in between ends the
            // model.
            unsafe {
                let held = std::ptr::read(guard);
                let held = self.0.wait(held).expect("a model thread panicked");
                std::ptr::write(guard, held);
            }
        }

        pub(crate) fn wait_until<T>(&self, guard: &mut Guard<'_, T>, _: Instant) -> WaitResult {
            self.wait(guard);
            WaitResult
        }
    }
}

pub(crate) use real::*;
