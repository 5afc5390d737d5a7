//! The global runtime, which starts by itself at its first use.

use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Runtime;
use super::builder::Builder;
use crate::run::context;
use crate::run::shared::Shared;

static GLOBAL: OnceLock<Runtime> = OnceLock::new();
/// Held while the global runtime starts.
static STARTING: Mutex<()> = Mutex::new(());

/// See [`Handle::current`](super::Handle::current).
pub(crate) fn current() -> io::Result<Arc<Shared>> {
    match context::with_runtime(Arc::clone) {
        Some(runtime) => Ok(runtime),
        None => global(),
    }
}

fn global() -> io::Result<Arc<Shared>> {
    if GLOBAL.get().is_none() {
        let _one_at_a_time = STARTING.lock();
        if GLOBAL.get().is_none() {
            let runtime = Builder::new().build()?;
            GLOBAL.get_or_init(|| runtime);
        }
    }
    Ok(GLOBAL.get().expect("just started").shared.clone())
}

impl Builder {
    /// Starts the global runtime, with these settings instead of the defaults.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); and [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the global
    /// runtime runs, which it does from its first use on: configure it first thing in `main`.
    pub fn build_global(self) -> io::Result<()> {
        let _one_at_a_time = STARTING.lock();
        if GLOBAL.get().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the global runtime runs already: configure it before its first use, first thing in main",
            ));
        }
        let runtime = self.build()?;
        GLOBAL.get_or_init(|| runtime);
        Ok(())
    }
}
