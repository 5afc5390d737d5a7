//! When OS threads of ours start and end, and no fork may fall between.
//!
//! As a thread starts and as it ends, std takes a lock of its own to note where the guard of its stack is. In a child that
//! another thread forks meanwhile nobody would ever release it, and no thread could start there. So who starts a thread of
//! ours, and a thread of ours that ends, is in a [`Passage`]; a fork waits until nobody is in one, and who comes to one
//! meanwhile waits until the process has forked.
//!
//! Each side first says that it comes and then looks at the other, so that at least one sees the other; who is in a
//! passage goes first. Nobody in a passage waits for a fork, nor enters a second one. What forks from the handler of a
//! signal may have interrupted a passage on its own thread; so a fork does not wait [for ever](PATIENCE).

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crate::protocol::process::Process;

static PASSAGES: AtomicU32 = AtomicU32::new(0);
static FORKS: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(1);

/// What a thread takes to start takes microseconds, and forks are few.
const LOOKS_AGAIN: Duration = Duration::from_micros(50);

/// While it lives, this process does not fork.
pub(crate) struct Passage(Process);

impl Passage {
    pub(crate) fn enter() -> Self {
        loop {
            PASSAGES.fetch_add(1, Ordering::SeqCst);
            if FORKS.load(Ordering::SeqCst) == 0 {
                return Self(Process::current());
            }
            PASSAGES.fetch_sub(1, Ordering::SeqCst);
            while FORKS.load(Ordering::SeqCst) != 0 {
                thread::sleep(LOOKS_AGAIN);
            }
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        // A child counts anew.
        if self.0.is_current() {
            PASSAGES.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Calls `f` on an OS thread that ends with it. `None` if the system refuses one, or `f` panics.
pub(crate) fn on_an_os_thread<T: Send + 'static>(
    thread: Builder,
    f: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let _passage = Passage::enter();
    thread.spawn(f).ok()?.join().ok()
}

/// This thread is about to fork.
pub(super) fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let begin = Instant::now();
    while PASSAGES.load(Ordering::SeqCst) != 0 && begin.elapsed() < PATIENCE {
        thread::sleep(LOOKS_AGAIN);
    }
}

pub(super) fn in_parent() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// It has one thread, which is in no passage.
pub(super) fn in_child() {
    PASSAGES.store(0, Ordering::SeqCst);
    FORKS.store(0, Ordering::SeqCst);
}
