//! What happens as this process forks.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{FORKS, HAS_FORKED};
use crate::protocol::passage;

/// Sees to it that a child forked from now on knows that it is one, and calls `in_child` on its only
/// thread, within `fork`. All calls have the same `in_child`, which may be called several times for one fork: who comes
/// here waits for nobody who is about to have all this called, since in a child that is forked meanwhile he would not exist.
pub(crate) fn watch_forks(in_child: extern "C" fn()) {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: the functions stay, do not unwind, and do in the child what may be done there.
    let refused = unsafe {
        libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(count_fork))
            | libc::pthread_atfork(None, None, Some(in_child))
    };
    assert!(
        refused == 0,
        "cannot watch for forks: {}",
        io::Error::from_raw_os_error(refused)
    );
    WATCHED.store(true, Ordering::Release);
}

extern "C" fn before_fork() {
    HAS_FORKED.store(true, Ordering::Relaxed);
    passage::before_fork();
}

extern "C" fn in_parent() {
    passage::in_parent();
}

extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    passage::in_child();
}
