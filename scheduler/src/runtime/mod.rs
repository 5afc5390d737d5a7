//! Runtimes from outside: how one is configured, started and ended, and the global one.
//!
//! | file       | what it is                                                      |
//! |------------|-----------------------------------------------------------------|
//! | `builder`  | how a runtime is configured and started                         |
//! | `environment` | what the environment sets where a builder is silent            |
//! | `cpus`     | how many CPUs there are for it                                  |
//! | `handle`   | references to a runtime                                         |
//! | `global`   | the one that starts by itself                                   |
//! | `asleep`   | what is said when nothing is left that could wake anybody       |
//! | `leaks/`   | threads that nothing can ever wake                              |
//! | `state`    | what a thread does at a moment                                  |
//! | `dump/`    | what all green threads do                                       |
//! | `record/`  | what has happened lately                                        |
//! | `debugger` | what a debugger reads to find them                              |
//! | `metrics/` | numbers of a runtime                                            |
//! | `console/` | a socket at which a program tells all that                      |
//! | `stuck`    | what is said of who keeps a worker for too long                 |
//! | `deadlock/` | green threads that wait for one another                         |
//! | `shutdown` | the end of a runtime                                            |
//!
//! It may use the floors below: `wait`, `run`, `stack` and `protocol`. It knows green threads as what
//! runs and is counted; how one is spawned and joined is the business of `thread`.

pub(crate) mod asleep;
pub(crate) mod builder;
#[cfg_attr(not(all(feature = "console", unix)), path = "console/without.rs")]
mod console;
mod cpus;
pub(crate) mod deadlock;
pub(crate) mod debugger;
pub(crate) mod dump;
mod environment;
mod global;
mod handle;
pub(crate) mod leaks;
pub(crate) mod metrics;
pub(crate) mod record;
mod shutdown;
pub(crate) mod state;
mod stuck;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::thread as os_thread;
use std::time::{Duration, Instant};

use crate::run::shared::Shared;
use crate::stack::mode::{NoOwnThreadLocals, ThreadLocals};

pub(crate) use global::{current, global, with_current};
pub use handle::Handle;
use leaks::Leak;
use metrics::Metrics;
pub use shutdown::ShutdownTimedOut;

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

    /// A reference to this runtime that does not keep it running.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Returns how many workers it has.
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Returns how many of its green threads are alive.
    pub fn green_threads(&self) -> usize {
        self.shared.registry.len()
    }

    /// Returns its numbers: what has been counted since it started, and what there is now. See [`Metrics`].
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = roving::Builder::new().build()?;
    /// let threads: Vec<_> = (0..10).map(|_| runtime.spawn(|| ())).collect();
    /// threads.into_iter().for_each(|thread| thread.join().unwrap());
    /// let metrics = runtime.metrics();
    /// assert_eq!((metrics.spawned, metrics.ended, metrics.alive), (10, 10, 0));
    /// assert!(metrics.runs >= 10);
    /// println!("{metrics}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.shared)
    }

    /// Returns its green threads that wait for what can never come: nobody is left who could wake them, but the end of the
    /// runtime.
    ///
    /// It is certain of each of them, and finds those of which it can be certain by counting who has a
    /// reference to them:
    ///
    /// - in [`park`](crate::thread::park()), when nobody has the [`Thread`](crate::thread::Thread) or the handle;
    /// - in a [wait](crate::wait) of one's own, when all its tickets are lost;
    /// - in [`block_on`](crate::block_on), when nobody has a waker;
    /// - who joins a thread that is leaked, or waits for a lock that one has, or for the closure of a
    ///   [`Once`](crate::sync::Once) that one runs; and those that wait so for one another, in a circle (which the runtime
    ///   itself ends where [deadlocks](crate::Builder::deadlocks) are set to panic): if nobody has a reference to them either.
    ///
    /// It does not know who has the other side of a channel, an event, a semaphore, or a value that was forgotten: what waits
    /// for these is never told. Nor is what a [`CancelToken`](crate::CancelToken) or a scope may cancel, nor what is meant to
    /// last, as a [`sleep`](crate::thread::sleep()) without end.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::{Builder, thread};
    /// use std::time::Duration;
    ///
    /// let runtime = Builder::new().build()?;
    /// // Nobody keeps the handle.
    /// drop(runtime.spawn(thread::park));
    /// while runtime.leaks().is_empty() {
    ///     std::thread::sleep(Duration::from_millis(1));
    /// }
    /// println!("{}", runtime.leaks()[0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leaks(&self) -> Vec<Leak> {
        leaks::of(&self.shared)
    }

    /// Returns whose thread-locals its green threads use.
    pub fn thread_locals(&self) -> ThreadLocals {
        self.shared.mode.thread_locals
    }

    /// Returns why its green threads do not have their own thread-locals, if that is only because they
    /// are not available here; `None` if they have them, or if another mode was asked for.
    pub fn no_own_thread_locals(&self) -> Option<&NoOwnThreadLocals> {
        self.shared.mode.refused.as_ref()
    }

    /// Ends the runtime: unwinds its green threads, waits until the last one has ended, and joins
    /// the workers.
    ///
    /// A green thread that is in a wait unwinds from it; one that computes unwinds at its next
    /// wait, so this waits for it. Destructors run, and may block. Dropping a `Runtime` does
    /// the same. On a green thread of the same runtime, which cannot wait for its own end, it
    /// only begins the shutdown. In a process that was forked from that of the runtime it does nothing.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Like [`shutdown`](Self::shutdown), but gives up waiting after `timeout`.
    ///
    /// # Errors
    ///
    /// Some green threads were still alive then. They continue, and the workers end after the last of
    /// them.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Result<(), ShutdownTimedOut> {
        let deadline = Instant::now().checked_add(timeout);
        match self.end(deadline) {
            0 => Ok(()),
            alive => Err(ShutdownTimedOut { alive }),
        }
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
