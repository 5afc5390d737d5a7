//! Which thread the current one is.

use std::cell::Cell;
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libc::pthread_t;

use super::name::Name;
use super::{ALIVE, Known, Shared, Whose, end, list, whose};
use crate::next::next;

/// Ends the thread when its thread-locals go. It was there before those of the program, and goes after them.
struct Ends(Cell<Option<(pthread_t, Shared)>>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some((id, record)) = self.0.take() {
            set_known(ptr::null());
            end(id, &record);
        }
    }
}

thread_local! {
    /// The id of the current thread, if it is a green one that `pthread_create` made, also while its thread-locals go.
    static ID: Cell<pthread_t> = const { Cell::new(0) };
    /// What is known of it, until its end.
    static KNOWN: Cell<*const Known> = const { Cell::new(ptr::null()) };
    static ENDS: Ends = const { Ends(Cell::new(None)) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
pub(super) fn id() -> Option<pthread_t> {
    Some(ID.get()).filter(|&id| id != 0)
}

#[inline(never)]
fn known() -> *const Known {
    KNOWN.get()
}

#[inline(never)]
fn set_known(known: *const Known) {
    KNOWN.set(known);
}

/// Lends what is known of the current thread, if it is a green one that `pthread_create` made and has not come to its end.
pub(super) fn with_known<T>(f: impl FnOnce(&Known) -> T) -> Option<T> {
    // SAFETY: `ENDS` has a reference to it until it takes this back; that happens on this thread, and not while `f` runs, since that is
    // a call of this thread's.
    unsafe { known().as_ref() }.map(f)
}

/// This is the thread with that id, from now on.
#[inline(never)]
pub(super) fn begin(id: pthread_t, record: Shared) {
    ID.set(id);
    set_known(Arc::as_ptr(&record));
    ENDS.with(|ends| ends.0.set(Some((id, record))));
}

/// By which id the C library knows it.
pub(super) fn real_id() -> pthread_t {
    // SAFETY: it has no preconditions.
    unsafe { next!(pthread_self: unsafe extern "C" fn() -> pthread_t)() }
}

/// What it has been named, if it is a green one.
pub(super) fn name() -> Option<Name> {
    match whose(id()?) {
        Whose::Green(record) => record.lock().name,
        Whose::Nobody | Whose::Real => None,
    }
}

/// Lists the only thread of a forked child under the id that it has had, if it was a green one.
pub(super) fn in_child() {
    let Some(id) = id() else { return };
    let known = Arc::new(Known::default());
    known.begin();
    ALIVE.store(1, Ordering::SeqCst);
    list(id).lock().insert(id, known.clone());
    let _ = ENDS.try_with(|ends| {
        if let Some(of_parent) = ends.0.replace(None) {
            mem::forget(of_parent);
            set_known(Arc::as_ptr(&known));
            ends.0.set(Some((id, known)));
        }
    });
}
