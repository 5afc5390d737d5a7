//! Which thread the current one is.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libc::pthread_t;
use roving_scheduler::adopt;

use super::name::Name;
use super::{ALIVE, Known, Record, Shared, list};
use crate::next::next;

thread_local! {
    /// The id of the current thread, if it is a green one that `pthread_create` made.
    static ID: Cell<pthread_t> = const { Cell::new(0) };
    /// What is known of it, until its end: a reference that it has. It is not dropped with the thread-locals, since the
    /// destructors of others, and those of keys, are the thread's too.
    static KNOWN: Cell<*const Known> = const { Cell::new(ptr::null()) };
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
    // SAFETY: the thread has a reference to it until `take`; that happens on this thread, and not while `f` runs, since that is
    // a call of this thread's.
    unsafe { known().as_ref() }.map(f)
}

/// The id of the current thread and what is known of it, as [`with_known`].
pub(super) fn shared() -> Option<(pthread_t, Shared)> {
    let (id, known) = (id()?, known());
    if known.is_null() {
        return None;
    }
    // SAFETY: it is from `Arc::into_raw`, and the thread has a reference to it until `take`, which this thread calls.
    unsafe {
        Arc::increment_strong_count(known);
        Some((id, Arc::from_raw(known)))
    }
}

/// This is the thread with that id, from now on.
#[inline(never)]
pub(super) fn begin(id: pthread_t, record: Shared) {
    ID.set(id);
    set_known(Arc::into_raw(record));
}

/// The id of the current thread and what is known of it, if it is a green one that `pthread_create` made. From now on nothing is.
pub(super) fn take() -> Option<(pthread_t, Shared)> {
    let (id, known) = (id()?, known());
    if known.is_null() {
        return None;
    }
    set_known(ptr::null());
    // SAFETY: it is from `Arc::into_raw`, and is found nowhere any more.
    Some((id, unsafe { Arc::from_raw(known) }))
}

/// By which id the C library knows it.
pub(crate) fn real_id() -> pthread_t {
    // SAFETY: it has no preconditions.
    unsafe { next!(pthread_self: unsafe extern "C" fn() -> pthread_t)() }
}

/// What it has been named, if it is a green one.
pub(super) fn name() -> Option<Name> {
    with_known(|known| known.name.get()).flatten()
}

/// Lists the only thread of a forked child under the id that it has had, if it was a green one.
pub(super) fn in_child() {
    let Some(id) = id() else { return };
    let of_child = Arc::new(Known::new(
        name(),
        with_known(|known| known.asked).unwrap_or_default(),
        Record::default(),
    ));
    of_child.begin(with_known(Known::blocked).unwrap_or_else(adopt::blocked));
    ALIVE.store(1, Ordering::SeqCst);
    list(id).lock().insert(id, of_child.clone());
    if !known().is_null() {
        // That of the parent is left as it is.
        set_known(Arc::into_raw(of_child));
    }
}
