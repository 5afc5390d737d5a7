//! The global runtime, which starts by itself at its first use; in a forked child, at its first use
//! there.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::protocol::lock::Mutex;

use super::Runtime;
use super::builder::Builder;
use crate::protocol::passage::Passage;
use crate::protocol::process::PerProcess;
use crate::run::context;
use crate::run::green::Waiter;
use crate::run::panicking;
use crate::run::shared::Shared;

static GLOBAL: PerProcess<Runtime> = PerProcess::new();
/// Held while the global runtime starts.
static STARTING: PerProcess<Mutex<()>> = PerProcess::new();
/// How the program has configured it. A forked child starts it in the same way.
static CONFIGURED: OnceLock<Builder> = OnceLock::new();

/// See [`Handle::current`](super::Handle::current).
pub(crate) fn current() -> io::Result<Arc<Shared>> {
    match context::with_runtime(Arc::clone) {
        Some(runtime) => Ok(runtime),
        None => global(),
    }
}

/// Lends the same.
pub(crate) fn with_current<R>(f: impl FnOnce(&Arc<Shared>) -> io::Result<R>) -> io::Result<R> {
    // SAFETY: the current thread does not end before `f` does.
    let of_green = |waiter: &Waiter| Some(unsafe { waiter.green()?.runtime.lend() });
    match context::with_running(of_green).flatten() {
        Some(runtime) => f(&runtime),
        None => f(&current()?),
    }
}

/// Prepares what must be so before anything is locked.
fn prepare() {
    context::watch_forks();
    panicking::prepare(&Passage::enter());
}

/// The global runtime.
pub(crate) fn global() -> io::Result<Arc<Shared>> {
    let runtime = match GLOBAL.get() {
        Some(runtime) => runtime,
        None => {
            prepare();
            let _one_at_a_time = STARTING.get_or_make(Mutex::default).lock();
            match GLOBAL.get() {
                Some(runtime) => runtime,
                None => start_with(CONFIGURED.get().cloned().unwrap_or_default())?,
            }
        }
    };
    Ok(runtime.shared.clone())
}

impl Builder {
    /// Starts the global runtime, with these settings instead of the defaults.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); and [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the global
    /// runtime runs, which it does from its first use on: configure it first thing in `main`.
    pub fn build_global(self) -> io::Result<()> {
        prepare();
        let _one_at_a_time = STARTING.get_or_make(Mutex::default).lock();
        if GLOBAL.get().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the global runtime runs already: configure it before its first use, first thing in main",
            ));
        }
        start_with(self.clone())?;
        // A forked child that configures it otherwise does so for itself alone.
        let _ = CONFIGURED.set(self);
        Ok(())
    }
}

fn start_with(builder: Builder) -> io::Result<&'static Runtime> {
    let started = GLOBAL.set(builder.build()?);
    Ok(started.expect("only one starts at a time"))
}
