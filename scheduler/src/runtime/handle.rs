//! References to a runtime: [`Handle`].

use std::fmt;
use std::io;
use std::sync::Arc;

use super::leaks::{self, Leak};
use super::metrics::Metrics;
use crate::run::context;
use crate::run::driver::Driver;
use crate::run::shared::{RuntimeId, Shared};
use crate::stack::mode::{NoOwnThreadLocals, ThreadLocals};

/// A reference to a runtime. It does not keep the runtime running.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// Returns the runtime of the current green thread; on a plain OS thread the global runtime, which this
    /// starts if need be.
    ///
    /// # Errors
    ///
    /// The global runtime cannot be started: see [`Builder::build`](crate::Builder::build).
    pub fn current() -> io::Result<Self> {
        super::current().map(Self)
    }

    /// Returns the runtime of the current green thread, if it is one.
    pub fn try_current() -> Option<Self> {
        context::with_runtime(Arc::clone).map(Self)
    }

    /// Returns which runtime this is.
    pub fn id(&self) -> RuntimeId {
        self.0.id
    }

    /// Returns how many workers it has.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::Handle;
    ///
    /// // The global runtime's, on a plain OS thread.
    /// let runtime = Handle::current()?;
    /// println!(
    ///     "{} green threads on {} workers, thread-locals: {:?}",
    ///     runtime.green_threads(),
    ///     runtime.workers(),
    ///     runtime.thread_locals(),
    /// );
    /// assert!(runtime.workers() >= 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn workers(&self) -> usize {
        self.0.workers.len()
    }

    /// Returns how many of its green threads are alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::{Handle, go, thread};
    ///
    /// let parked = go!(thread::park);
    /// assert!(Handle::current()?.green_threads() >= 1);
    /// parked.thread().unpark();
    /// parked.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn green_threads(&self) -> usize {
        self.0.registry.len()
    }

    /// Returns its numbers: see [`Runtime::metrics`](crate::Runtime::metrics).
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.0)
    }

    /// Returns its green threads that wait for what can never come: see [`Runtime::leaks`](crate::Runtime::leaks).
    pub fn leaks(&self) -> Vec<Leak> {
        leaks::of(&self.0)
    }

    /// Returns whose thread-locals its green threads use.
    pub fn thread_locals(&self) -> ThreadLocals {
        self.0.mode.thread_locals
    }

    /// Returns why its green threads do not have their own thread-locals, if that is only because they
    /// are not available here; `None` if they have them, or if another mode was asked for.
    pub fn no_own_thread_locals(&self) -> Option<&NoOwnThreadLocals> {
        self.0.mode.refused.as_ref()
    }

    /// Returns the runtime's IO driver, made by `make` if it has none yet.
    ///
    /// # Errors
    ///
    /// Those of `make`, or the runtime has a driver of another type.
    pub fn driver<D: Driver>(&self, make: impl FnOnce() -> io::Result<D>) -> io::Result<Arc<D>> {
        self.0.driver_or_install(make)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.0).finish()
    }
}
