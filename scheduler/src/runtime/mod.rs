//! Runtimes from outside: the global one, those of one's own, and their end.
//!
//! # The end of a runtime
//!
//! 1. The registry is closed: nothing can be spawned any more.
//! 2. Every green thread that is alive is cancelled: it unwinds at its next wait, or from the one
//!    that it is in, and its destructors run, on its own stack. One that has not started drops its
//!    closure.
//! 3. The caller waits until the registry is empty.
//! 4. The workers are told to stop, and joined.
//!
//! With `panic = "abort"` nothing can unwind. Then step 2 is left out, and so is step 3 for those
//! that are parked: they stay as they are, and their memory with them, as with OS threads that are
//! alive when `main` returns.

pub(crate) mod builder;

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};
use std::thread as os_thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::run::context;
use crate::run::driver::Driver;
use crate::run::panicking;
use crate::run::shared::{RuntimeId, Shared};
use crate::runtime::builder::Builder;
use crate::stack;
use crate::stack::mode::{NoOwnThreadLocals, ThreadLocals};
use crate::thread::{self, JoinHandle, or_panic, spawn_in};

/// A set of workers, and the green threads that run on them.
///
/// Most programs never name one: [`spawn`](crate::thread::spawn) uses the runtime of the green
/// thread that calls it, and on plain OS threads the global runtime, which starts by itself. A
/// runtime of one's own isolates a test or a library: dropping it ends all its green threads.
///
/// # Examples
///
/// ```
/// use roving::{Builder, thread};
/// use std::time::Duration;
///
/// let runtime = Builder::new().workers(2).build()?;
/// let forever = runtime.spawn(|| thread::sleep(Duration::MAX));
/// runtime.shutdown();
/// assert!(forever.join().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Runtime {
    shared: Arc<Shared>,
    /// `None` once the end has begun.
    workers: Option<Vec<os_thread::JoinHandle<()>>>,
}

impl Runtime {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            workers: Some(Vec::new()),
        }
    }

    pub(crate) fn add_worker(&mut self, worker: os_thread::JoinHandle<()>) {
        self.workers.get_or_insert_default().push(worker);
    }

    /// Calls `f` on a green thread of this runtime and waits for its result. The caller, green or
    /// not, is blocked meanwhile, so `f` may borrow from it.
    ///
    /// # Panics
    ///
    /// A panic of `f` goes on in the caller. Panics if the system refuses a stack.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        thread::run_in(&self.shared, f)
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

    /// A reference to this runtime that does not keep it running.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// How many of its green threads are alive.
    pub fn green_threads(&self) -> usize {
        self.shared.registry.len()
    }

    /// Whose thread-locals its green threads use.
    pub fn thread_locals(&self) -> ThreadLocals {
        self.shared.mode.thread_locals
    }

    /// Why its green threads do not have their own thread-locals, if that is only because they
    /// cannot be had here; `None` if they have them, or if another mode was asked for.
    pub fn no_own_thread_locals(&self) -> Option<&NoOwnThreadLocals> {
        self.shared.mode.refused.as_ref()
    }

    /// Ends the runtime: unwinds its green threads, waits until the last one has ended, and joins
    /// the workers.
    ///
    /// A green thread that is in a wait unwinds from it; one that computes unwinds at its next
    /// wait, so this waits for it. Destructors run, and may block. Dropping a `Runtime` does
    /// the same. On a green thread of the same runtime, which cannot wait for its own end, it
    /// only begins the shutdown.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Like [`shutdown`](Self::shutdown), but gives up waiting after `timeout`.
    ///
    /// # Errors
    ///
    /// Some green threads were still alive then. They go on, and the workers end after the last of
    /// them.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Result<(), ShutdownTimedOut> {
        let deadline = Instant::now().checked_add(timeout);
        match self.end(deadline) {
            0 => Ok(()),
            alive => Err(ShutdownTimedOut { alive }),
        }
    }

    /// Ends the runtime, if that has not been done; gives how many green threads were alive at the
    /// deadline.
    fn end(&mut self, deadline: Option<Instant>) -> usize {
        let Some(workers) = self.workers.take() else {
            return 0;
        };
        let shared = &self.shared;
        let alive = shared.registry.close();
        if cfg!(panic = "unwind") {
            for waiter in alive {
                waiter.cancel(true);
            }
            // A green thread of this runtime cannot wait for its own end.
            if on_worker_of(shared) {
                stop_in_background(shared, workers);
                return 0;
            }
            let alive = shared.wait_until_all_ended(deadline);
            if alive > 0 {
                stop_in_background(shared, workers);
                return alive;
            }
        }
        stop(shared, workers);
        0
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end(None);
    }
}

// A panic leaves nothing of it half done.
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// Some green threads did not end in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownTimedOut {
    alive: usize,
}

impl ShutdownTimedOut {
    /// How many were alive when the time was up.
    pub fn green_threads(&self) -> usize {
        self.alive
    }
}

impl fmt::Display for ShutdownTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} green threads were still alive when the time for the shutdown was up: they compute, or block outside Roving",
            self.alive
        )
    }
}

impl std::error::Error for ShutdownTimedOut {}

fn stop(shared: &Shared, workers: Vec<os_thread::JoinHandle<()>>) {
    shared.stop();
    for worker in workers {
        // A worker that panics aborts the process, so it has ended well.
        let _ = worker.join();
    }
    // No worker of this runtime will do it any more.
    stack::cool_all();
}

/// Stops the workers when the last green thread has ended, whenever that is.
fn stop_in_background(shared: &Arc<Shared>, workers: Vec<os_thread::JoinHandle<()>>) {
    let shared = shared.clone();
    let spawned = os_thread::Builder::new()
        .name("roving-shutdown".to_owned())
        .spawn(move || {
            shared.wait_until_all_ended(None);
            stop(&shared, workers);
        });
    // Where no thread can be had, the workers stay, asleep.
    drop(spawned);
}

fn on_worker_of(shared: &Shared) -> bool {
    context::with_worker(|worker| worker.is_some_and(|worker| worker.shared().id == shared.id))
}

/// A reference to a runtime. It does not keep the runtime running.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// The runtime of the current green thread; on a plain OS thread the global runtime, which this
    /// starts if need be.
    ///
    /// # Errors
    ///
    /// The global runtime cannot be started: see [`Builder::build`].
    pub fn current() -> io::Result<Self> {
        current().map(Self)
    }

    /// The runtime of the current green thread, if it is one.
    pub fn try_current() -> Option<Self> {
        context::with_runtime(Arc::clone).map(Self)
    }

    /// Which runtime this is.
    pub fn id(&self) -> RuntimeId {
        self.0.id
    }

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
        or_panic(spawn_in(self.0.clone(), None, None, f))
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

static GLOBAL: OnceLock<Runtime> = OnceLock::new();
/// Held while the global runtime starts.
static STARTING: Mutex<()> = Mutex::new(());

/// See [`Handle::current`].
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

pub(crate) fn start_global(builder: Builder) -> io::Result<()> {
    let _one_at_a_time = STARTING.lock();
    if GLOBAL.get().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the global runtime runs already: configure it before its first use, first thing in main",
        ));
    }
    let runtime = builder.build()?;
    GLOBAL.get_or_init(|| runtime);
    Ok(())
}

/// Goes on with a panic, or says why there is no result.
pub(crate) fn result_or_unwind<T>(result: thread::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(payload) => panicking::resume(payload),
    }
}
