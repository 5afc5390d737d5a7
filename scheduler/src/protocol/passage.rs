//! When OS threads of ours start and end, and no fork should fall between.
//!
//! As a thread starts and as it ends, std takes a lock of its own to note where the guard of its stack is. In a child that
//! another thread forks meanwhile nobody would ever release it, and no thread could start there. So who starts a thread of
//! ours, and a thread of ours that ends, is in a [`Passage`], as is who makes what the process has one of with the help of
//! such a thread; a fork waits until nobody is in one, and who comes to one meanwhile waits until the process has forked.
//!
//! Each side first says that it comes and then looks at the other, so that at least one sees the other; who is in a
//! passage goes first. But neither waits [for ever](PATIENCE), since the one may wait for the other: handlers of the
//! program's that run within `fork` may start and join threads, a destructor in a passage may fork, and so may the handler of a
//! signal, on the thread that it has interrupted.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crate::protocol::lock::Inside;
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
        let _inside = Inside::enter();
        let passage = Self::count();
        if FORKS.load(Ordering::SeqCst) == 0 {
            return passage;
        }
        let begin = Instant::now();
        let mut outside = passage;
        loop {
            drop(outside);
            while FORKS.load(Ordering::SeqCst) != 0 && begin.elapsed() < PATIENCE {
                thread::sleep(LOOKS_AGAIN);
            }
            let passage = Self::count();
            if FORKS.load(Ordering::SeqCst) == 0 || begin.elapsed() >= PATIENCE {
                return passage;
            }
            outside = passage;
        }
    }

    fn count() -> Self {
        let process = Process::current();
        PASSAGES.fetch_add(1, Ordering::SeqCst);
        Self(process)
    }

    /// Calls `f` on an OS thread that ends with it. `None` if the system refuses one, or `f` panics.
    pub(crate) fn on_an_os_thread<T: Send + 'static>(
        &self,
        thread: Builder,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        // It is to be one also in a program that is adopted.
        let _inside = Inside::enter();
        thread.spawn(f).ok()?.join().ok()
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

/// This thread is about to fork.
pub(super) fn before_fork() {
    let _inside = Inside::enter();
    FORKS.fetch_add(1, Ordering::SeqCst);
    let begin = Instant::now();
    while PASSAGES.load(Ordering::SeqCst) != 0 && begin.elapsed() < PATIENCE {
        thread::sleep(LOOKS_AGAIN);
    }
}

/// It has. Who is told so has been told before that it would, unless this was loaded between.
pub(super) fn in_parent() {
    let _ = FORKS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |forks| {
        forks.checked_sub(1)
    });
}

/// What this thread, the only one, was in the middle of belongs to the parent.
pub(super) fn in_child() {
    PASSAGES.store(0, Ordering::SeqCst);
    FORKS.store(0, Ordering::SeqCst);
}
