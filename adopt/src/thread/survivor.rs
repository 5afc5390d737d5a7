//! The only thread of a forked child, if it was a green one.
//!
//! It is an OS thread from then on, with no worker to go back to. The C library promises that it ends as any thread does: its thread-locals are
//! destroyed, whoever joins it gets what it leaves, and the others that the child has made go on until the last of them has ended. There is one such
//! thread in a process, and nobody has a handle of it: what it leaves is here. Its OS thread is its own until it ends, and what it is sent goes there.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Instant;

use libc::pthread_t;
use roving_scheduler::adopt::{self, Awaited};

use super::{Left, current};

/// Its id; 0 if there is none.
static ID: AtomicU64 = AtomicU64::new(0);
static HAS_ENDED: AtomicBool = AtomicBool::new(false);
static LEFT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// In a forked child, whose only thread is this one, if it was green.
pub(super) fn in_child(id: Option<pthread_t>) {
    HAS_ENDED.store(false, Ordering::Relaxed);
    ID.store(id.unwrap_or(0), Ordering::Relaxed);
}

pub(super) fn is(id: pthread_t) -> bool {
    ID.load(Ordering::Relaxed) == id
}

/// Whether it is the current thread.
pub(super) fn is_current() -> bool {
    current::id().is_some_and(is)
}

pub(super) fn has_ended() -> bool {
    HAS_ENDED.load(Ordering::Acquire)
}

fn place() -> usize {
    &raw const HAS_ENDED as usize
}

/// The current thread, which it is, has ended.
pub(super) fn ends(left: Left) {
    LEFT.store(left.into_inner(), Ordering::Relaxed);
    HAS_ENDED.store(true, Ordering::Release);
    adopt::wake(place(), !0, usize::MAX);
}

/// Waits until it has ended, the time has come, or the current thread is nudged. Whether it has ended.
pub(super) fn ends_by(until: Option<Instant>) -> bool {
    let lives = || !has_ended();
    let why = &"the end of the thread that has forked";
    while lives() {
        if adopt::wait(place(), !0, until, why, lives, || ()) == Awaited::TimedOut {
            break;
        }
    }
    !lives()
}

/// What it has left, when it has ended.
pub(super) fn left() -> Left {
    Left(LEFT.load(Ordering::Relaxed))
}
