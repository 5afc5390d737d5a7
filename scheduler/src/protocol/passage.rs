//! When OS threads of ours start and end, and no fork should fall between.
//!
//! As a thread starts and as it ends, std takes a lock of its own to note where the guard of its stack is. In a child that
//! another thread forks meanwhile nobody would ever release it, and no thread could start there. So who starts a thread of
//! ours, and a thread of ours that ends, is in a [`Passage`], as is who makes what the process has one of with the help of
//! such a thread; a fork waits until nobody is in one, and who comes to one meanwhile waits until the process has forked.
//!
//! Each side first says that it comes and then looks at the other, so that at least one sees the other. Who is in a
//! passage goes first. Who comes to one when a fork has been announced lets it go before, but one alone: after that it says that it comes, and the
//! forks that follow wait for it. So neither forks without a pause nor threads that start and end without one keep the other side waiting.
//!
//! But neither [looks for ever](PATIENCE), since the one may wait for the other: handlers of the
//! program's that run within `fork` may start and join threads, a destructor in a passage may fork, and so may the handler of a
//! signal, on the thread that it has interrupted.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, Builder};
use std::time::Duration;

use crate::protocol::lock::Inside;
use crate::protocol::process::Process;

/// Those that somebody is in, or comes to first.
static PASSAGES: AtomicU32 = AtomicU32::new(0);
/// Forks that have been announced.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// Those of them that wait for nobody any more, or are about to look whether they must.
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);
/// How many there have been; it wraps.
static DONE: AtomicU32 = AtomicU32::new(0);

/// How often one side looks for the other: for a second or two, and for longer where others want the processors, since who is looked
/// for gets as little of them. Longer where it is tested that nobody needs it.
const PATIENCE: u32 = if cfg!(test) { 200_000 } else { 10_000 };

/// What a thread takes to start takes microseconds, and forks are few.
const LOOKS_AGAIN: Duration = Duration::from_micros(50);

/// While it lives, this process does not fork.
pub(crate) struct Passage(Process);

impl Passage {
    pub(crate) fn enter() -> Self {
        let _inside = Inside::enter();
        let done = DONE.load(Ordering::SeqCst);
        let passage = Self::count();
        if FORKS.load(Ordering::SeqCst) == 0 {
            return passage;
        }
        drop(passage);
        patiently(|| FORKS.load(Ordering::SeqCst) == 0 || DONE.load(Ordering::SeqCst) != done);
        let passage = Self::count();
        patiently(|| UNDER_WAY.load(Ordering::SeqCst) == 0);
        passage
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

/// Looks until it is so, or [`PATIENCE`] has an end: then `false`.
fn patiently(is_so: impl Fn() -> bool) -> bool {
    (0..PATIENCE).any(|_| {
        let is_so = is_so();
        if !is_so {
            thread::sleep(LOOKS_AGAIN);
        }
        is_so
    })
}

/// This thread is about to fork.
pub(super) fn before_fork() {
    let _inside = Inside::enter();
    FORKS.fetch_add(1, Ordering::SeqCst);
    let goes = patiently(|| {
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        let nobody_is_in_one = PASSAGES.load(Ordering::SeqCst) == 0;
        if !nobody_is_in_one {
            // Who comes first waits for those under way.
            UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
        }
        nobody_is_in_one
    });
    if !goes {
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    }
}

/// It has. Who is told so has been told before that it would, unless this was loaded between.
pub(super) fn in_parent() {
    let one_less = |count: &AtomicU32| {
        let _ = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
            count.checked_sub(1)
        });
    };
    one_less(&UNDER_WAY);
    DONE.fetch_add(1, Ordering::SeqCst);
    one_less(&FORKS);
}

/// What this thread, the only one, was in the middle of belongs to the parent.
pub(super) fn in_child() {
    PASSAGES.store(0, Ordering::SeqCst);
    FORKS.store(0, Ordering::SeqCst);
    UNDER_WAY.store(0, Ordering::SeqCst);
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn forks_without_a_pause_do_not_fall_into_a_passage() {
        let forks = AtomicU32::new(0);
        let forking = AtomicU32::new(0);
        let ends = AtomicBool::new(false);
        let forks_again_and_again = || {
            // Together they take longer than anybody's patience, and each of them does not.
            for _ in 0..300 {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                before_fork();
                forking.fetch_add(1, Ordering::SeqCst);
                thread::sleep(LOOKS_AGAIN * (PATIENCE / 50));
                forking.fetch_sub(1, Ordering::SeqCst);
                forks.fetch_add(1, Ordering::SeqCst);
                in_parent();
            }
        };
        thread::scope(|scope| {
            // While the one does not, the other one does.
            scope.spawn(forks_again_and_again);
            scope.spawn(|| {
                thread::sleep(LOOKS_AGAIN * (PATIENCE / 100));
                forks_again_and_again();
            });
            for _ in 0..3 {
                let before = forks.load(Ordering::SeqCst);
                while forks.load(Ordering::SeqCst) == before {
                    thread::yield_now();
                }
                let passage = Passage::enter();
                for _ in 0..100 {
                    assert_eq!(forking.load(Ordering::SeqCst), 0);
                    thread::yield_now();
                }
                drop(passage);
            }
            ends.store(true, Ordering::SeqCst);
        });
    }
}
