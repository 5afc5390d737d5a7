//! Calls that block in the system, with the place of their worker handed over.
//!
//! A worker that sits in `getaddrinfo` runs no green thread. If that takes long, it is found, and a
//! spare OS thread takes its place; whoever knows before says so.

use crate::run::context;
use crate::run::worker::Worker;

/// Calls `f`, which may block in the system, and lets another OS thread run the other green threads
/// meanwhile. On a plain OS thread it just calls `f`.
///
/// `f` runs where it is, on the caller's stack and with its thread-locals, and may borrow. It may do all that
/// a green thread may, and block in Roving too: then its OS thread is free for others as ever.
///
/// Nothing depends on this: what blocks for longer than [some
/// milliseconds](crate::Builder::stuck_after) is found to do so. This is for calls that are known to block: the
/// others go on at once. It takes a fraction of a microsecond where nothing waits for the worker, else as
/// long as it takes to wake an OS thread.
///
/// Nothing ends `f` from outside: neither a cancellation nor a deadline nor the shutdown of the runtime, which
/// waits for it. They take effect at the next wait in Roving.
///
/// As many such calls may be under way as [`Builder::max_spares`](crate::Builder::max_spares) says, 512 if it
/// says nothing, and as there are workers beside. Beyond that `f` is called all the same, but what waits may
/// have to wait for it; the first time, a line on standard error says so. So it is where the system refuses
/// another OS thread.
///
/// # Panics
///
/// A panic of `f` goes on in the caller.
///
/// # Examples
///
/// ```
/// let folder = std::env::temp_dir();
/// let files = roving::blocking(|| std::fs::read_dir(&folder))?.count();
/// println!("{files} in {}", folder.display());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn run<T>(f: impl FnOnce() -> T) -> T {
    let _handed_over = HandedOver::begin();
    f()
}

/// The place of the current thread's worker is handed over until this is dropped.
struct HandedOver {
    /// Whether this has done it, and no call around this one.
    here: bool,
}

impl HandedOver {
    fn begin() -> Self {
        Self {
            here: with_busy_worker(Worker::gets_stuck).unwrap_or(false),
        }
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        if self.here {
            // It may be another worker now, if the thread has suspended meanwhile, and then is not stuck.
            with_busy_worker(Worker::is_back);
        }
    }
}

fn with_busy_worker<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    context::with_worker(|worker| worker.filter(|worker| worker.running().is_some()).map(f))
}
