//! Cancellation.
//!
//! The C library promises that a thread which is cancelled ends at its next point of cancellation, or in the one in which it waits, as if it
//! called `pthread_exit` there: the handlers of `pthread_cleanup_push` run, and the destructors of C++. It can forbid that for a
//! while. So it is for a green thread. That it may be cancelled anywhere, if it asks for it, has no effect for one that others
//! cancel: it is cancelled at such a point.
//!
//! A [point](Point) looks when it is reached, and when it was interrupted for that: in a wait by a nudge, and in a call for which the thread has an
//! OS thread to itself by a [signal](super::interrupt). In between it may have done something, and then
//! the thread goes on to the next one. The C library's own functions know nothing of it, so that none of them unwinds through
//! one of this crate: a request is in the record of the thread, and what the thread allows is its own.
//!
//! At its beginning a point is where signals are heeded, too. Until something [comes](super::coming) for a green thread, all of that costs a look at a word.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::Ordering;

use roving_scheduler::adopt::{self, Inside};

use super::call::{CANCELED, pthread_exit};
use super::{Known, coming, current, interrupt, kernel, news, survivor};
use crate::next::next;

/// What a thread allows.
#[derive(Clone, Copy)]
struct Allows {
    state: c_int,
    kind: c_int,
}

const PTHREAD_CANCEL_ENABLE: c_int = 0;
const PTHREAD_CANCEL_DISABLE: c_int = 1;
const PTHREAD_CANCEL_DEFERRED: c_int = 0;
const PTHREAD_CANCEL_ASYNCHRONOUS: c_int = 1;

thread_local! {
    static ALLOWS: Cell<Allows> = const {
        Cell::new(Allows {
            state: PTHREAD_CANCEL_ENABLE,
            kind: PTHREAD_CANCEL_DEFERRED,
        })
    };
    /// Whether it ends, and is not cancelled any more, whatever it allows.
    static ENDS: Cell<bool> = const { Cell::new(false) };
    /// Whether the call that the thread is in was interrupted so that it ends.
    static IS_INTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

#[inline(never)]
fn allows() -> Allows {
    ALLOWS.get()
}

#[inline(never)]
fn set_allows(allows: Allows) {
    ALLOWS.set(allows);
}

/// From now on the current thread is not cancelled: it ends.
#[inline(never)]
pub(super) fn ends() {
    ENDS.set(true);
}

#[inline(never)]
fn is_at_end() -> bool {
    ENDS.get()
}

/// Cancels a green thread that is not the current one, or the [`survivor`] of a fork. Gives an error or 0.
pub(super) fn request(known: &Known) -> c_int {
    let thread = known.lock().thread.clone();
    let Some(thread) = thread else {
        let id = known.real_id().expect("it has begun");
        // SAFETY: an OS thread runs it, and what the C library has of it is on its stack, which stays.
        return unsafe { kernel::cancel_real(id) };
    };
    coming::note_cancellation();
    known.is_cancelled.store(true, Ordering::SeqCst);
    interrupt::interrupt(&thread);
    adopt::nudge(&thread);
    0
}

/// The current thread is the only one of a forked child, and was green. From now on the C library cancels it, which is to know what it allows.
pub(super) fn in_child() {
    let Allows { state, kind } = allows();
    tell_library(state, kind);
}

fn tell_library(state: c_int, kind: c_int) {
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_int) -> c_int;
    // SAFETY: these are what they take.
    unsafe {
        next!(pthread_setcancelstate: Next)(state, ptr::null_mut());
        next!(pthread_setcanceltype: Next)(kind, ptr::null_mut());
    }
}

/// Cancels the current thread, which is this one.
pub(super) fn request_of_current(known: &Known) {
    coming::note_cancellation();
    known.is_cancelled.store(true, Ordering::SeqCst);
}

/// Whether the current thread is to end, in the call that it is in.
pub(super) fn is_due() -> bool {
    let is_due = is_requested() && !Inside::is_current();
    if is_due {
        set_interrupted();
    }
    is_due
}

/// Whether the current thread allows that it is cancelled.
pub(super) fn is_allowed() -> bool {
    allows().state == PTHREAD_CANCEL_ENABLE && !is_at_end()
}

/// Whether the current thread has been cancelled and allows it.
#[inline(never)]
pub(super) fn is_requested() -> bool {
    let is_cancelled = |known: &Known| known.is_cancelled.load(Ordering::SeqCst);
    is_allowed() && current::with_known(is_cancelled).unwrap_or(false)
}

#[inline(never)]
fn set_interrupted() {
    IS_INTERRUPTED.set(true);
}

#[inline(never)]
fn take_interrupted() -> bool {
    IS_INTERRUPTED.replace(false)
}

/// A point of cancellation, for as long as the call takes. It may unwind at its beginning and at its end.
pub(crate) struct Point(());

impl Point {
    #[inline]
    pub(crate) fn begin() -> Self {
        if coming::is_anything() {
            look_up();
        }
        Self(())
    }
}

impl Drop for Point {
    #[inline]
    fn drop(&mut self) {
        if coming::is_cancellation() && take_interrupted() {
            look();
        }
    }
}

/// Heeds signals, and ends the current thread if it is to.
#[cold]
#[inline(never)]
fn look_up() {
    news::look();
    if coming::is_cancellation() {
        look();
    }
}

/// Ends the current thread if it is to.
#[cold]
#[inline(never)]
pub(super) fn look() {
    if is_requested() && !Inside::is_current() {
        ends();
        // SAFETY: a green thread that `pthread_create` has made may end anywhere in the program's own calls.
        unsafe { pthread_exit(CANCELED) }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int {
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_int) -> c_int;
    if current::id().is_none() {
        // SAFETY: the caller's promise.
        return unsafe { next!(pthread_setcancelstate: Next)(state, before) };
    }
    if ![PTHREAD_CANCEL_ENABLE, PTHREAD_CANCEL_DISABLE].contains(&state) {
        return libc::EINVAL;
    }
    let had = allows();
    set_allows(Allows { state, ..had });
    if !before.is_null() {
        // SAFETY: the caller's promise.
        unsafe { before.write(had.state) };
    }
    if survivor::is_current() {
        tell_library(state, had.kind);
    }
    if is_asynchronous() {
        look();
    }
    0
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int {
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_int) -> c_int;
    if current::id().is_none() {
        // SAFETY: the caller's promise.
        return unsafe { next!(pthread_setcanceltype: Next)(kind, before) };
    }
    if ![PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS].contains(&kind) {
        return libc::EINVAL;
    }
    let had = allows();
    set_allows(Allows { kind, ..had });
    if !before.is_null() {
        // SAFETY: the caller's promise.
        unsafe { before.write(had.kind) };
    }
    if survivor::is_current() {
        tell_library(had.state, kind);
    }
    if kind == PTHREAD_CANCEL_ASYNCHRONOUS {
        look();
    }
    0
}

#[unsafe(no_mangle)]
extern "C-unwind" fn pthread_testcancel() {
    let is_green = current::id().is_some();
    if is_green {
        news::look_up();
        look();
    }
    if !is_green || survivor::is_current() {
        // SAFETY: it has no preconditions.
        unsafe { next!(pthread_testcancel: unsafe extern "C-unwind" fn())() }
    }
}

/// Whether the current thread may be cancelled anywhere.
pub(super) fn is_asynchronous() -> bool {
    allows().kind == PTHREAD_CANCEL_ASYNCHRONOUS
}
