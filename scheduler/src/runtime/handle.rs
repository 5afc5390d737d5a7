//! References to a runtime: [`Handle`].

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::run::context;
use crate::run::driver::Driver;
use crate::run::shared::{RuntimeId, Shared};

/// A reference to a runtime. It does not keep the runtime running.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// The runtime of the current green thread; on a plain OS thread the global runtime, which this
    /// starts if need be.
    ///
    /// # Errors
    ///
    /// The global runtime cannot be started: see [`Builder::build`](crate::Builder::build).
    pub fn current() -> io::Result<Self> {
        super::current().map(Self)
    }

    /// The runtime of the current green thread, if it is one.
    pub fn try_current() -> Option<Self> {
        context::with_runtime(Arc::clone).map(Self)
    }

    /// Which runtime this is.
    pub fn id(&self) -> RuntimeId {
        self.0.id
    }

    /// The runtime's IO driver, made by `make` if it has none yet.
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
