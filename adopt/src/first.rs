//! Adoption when a program makes its first thread: for programs that cannot ask for it themselves.
//!
//! A library that is loaded before a program has its say before `main`. To start a runtime then would be too early. Most programs,
//! and most of the children that inherit the library, make no thread; a daemon forks and closes all descriptors first; and
//! signals that are to be waited for are blocked before there are threads, so that all inherit that, which the workers then
//! do too. So all that is done then is to ask, and the first who makes a thread adopts the program.
//!
//! What makes threads meanwhile is the runtime, which gets OS threads, as does whoever else is early, and as do constructors that the
//! [loader](crate::loader) runs with its lock held: a runtime would not start there.

use std::sync::atomic::{AtomicBool, Ordering};

use roving_scheduler::adopt::Inside;

use crate::{errno, next};

static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// Has the program adopted when it makes its first thread. If that is refused then, a line on standard error says so, and the
/// program goes on with OS threads.
#[doc(hidden)]
pub fn adopt_at_first_thread() {
    next::find_all();
    IS_ASKED.store(true, Ordering::Relaxed);
}

/// Whether the program is to be adopted and has made no thread.
pub(crate) fn is_asked() -> bool {
    IS_ASKED.load(Ordering::Relaxed)
}

/// A thread is about to be made.
pub(crate) fn at_thread() {
    if is_asked() && !Inside::is_current() && IS_ASKED.swap(false, Ordering::Relaxed) {
        adopt();
    }
}

#[cold]
fn adopt() {
    let error_before = errno::get();
    if let Err(error) = crate::adopt() {
        eprintln!("roving: {error}; its threads are OS threads");
    }
    errno::set(error_before);
}
