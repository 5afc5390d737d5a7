//! Whether anything comes for any green thread, which each call that may wait looks at.
//!
//! An OS thread has what it was sent delivered when it returns from any system call. A green thread whose calls never wait would never look. So all
//! look at one word: whoever sends a signal to a green thread counts it there until that has heeded it, and that a thread has been cancelled is said
//! there for good. Where nothing comes, a call pays for a load and a branch.

use std::sync::atomic::{AtomicUsize, Ordering};

static COMING: AtomicUsize = AtomicUsize::new(0);

/// Some thread has been cancelled.
const CANCELLATION: usize = 1;
/// One signal, in the count of those that were sent and have not been heeded.
const SIGNAL: usize = 2;

#[inline]
pub(super) fn is_anything() -> bool {
    COMING.load(Ordering::Relaxed) != 0
}

#[inline]
pub(super) fn is_cancellation() -> bool {
    COMING.load(Ordering::Relaxed) & CANCELLATION != 0
}

#[inline]
pub(super) fn is_signal() -> bool {
    COMING.load(Ordering::Relaxed) >= SIGNAL
}

/// From now on some thread has been cancelled.
pub(super) fn note_cancellation() {
    COMING.fetch_or(CANCELLATION, Ordering::SeqCst);
}

/// One more signal has been sent. The record of the thread is locked, as in [`less`].
pub(super) fn one_more() {
    COMING.fetch_add(SIGNAL, Ordering::Relaxed);
}

/// So many have been taken from the record.
pub(super) fn less(signals: usize) {
    COMING.fetch_sub(signals * SIGNAL, Ordering::Relaxed);
}

/// In a forked child, whose only thread was sent nothing.
pub(super) fn in_child() {
    COMING.fetch_and(CANCELLATION, Ordering::Relaxed);
}
