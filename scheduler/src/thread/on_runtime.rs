//! Spawning on a runtime that is named: [`Runtime::spawn`], [`Runtime::run`], [`Handle::spawn`].

use std::panic::Location;

use super::JoinHandle;
use super::spawn::{or_panic, run_in, spawn_in};
use crate::runtime::{Handle, Runtime};

impl Runtime {
    /// Calls `f` on a green thread of this runtime and waits for its result. The caller, green or
    /// not, is blocked meanwhile, so `f` may borrow from it. What would end the caller's waits, a
    /// cancellation, a deadline, a runtime that shuts down, cancels `f`, and is waited for: the caller
    /// unwinds when `f` has.
    ///
    /// # Panics
    ///
    /// A panic of `f` propagates to the caller. Panics if the system refuses a stack.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        run_in(&self.handle().0, f)
    }

    /// Spawns a green thread of this runtime.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle().spawn(f)
    }
}

impl Handle {
    /// Spawns a green thread of this runtime.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack, or if the runtime has shut down.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        or_panic(spawn_in(&self.0, Location::caller(), None, None, f))
    }
}
