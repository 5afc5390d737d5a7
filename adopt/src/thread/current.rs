//! Which thread the current one is.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::pthread_t;
use roving_scheduler::adopt;

use super::name::Name;
use super::records::{Place, Shared, list_survivor};
use super::{ALIVE, Known, Record, kernel, survivor};
use crate::next::next;

thread_local! {
    /// The id of the current thread, if it is a green one that `pthread_create` made.
    static ID: Cell<pthread_t> = const { Cell::new(0) };
    /// What is known of it, until its end: a reference that it has. It is not dropped with the thread-locals, since the
    /// destructors of others, and those of keys, are the thread's too.
    static KNOWN: Cell<*const Place> = const { Cell::new(ptr::null()) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
pub(super) fn id() -> Option<pthread_t> {
    Some(ID.get()).filter(|&id| id != 0)
}

#[inline(never)]
fn known() -> *const Place {
    KNOWN.get()
}

#[inline(never)]
fn set_known(known: *const Place) {
    KNOWN.set(known);
}

/// Lends what is known of the current thread, if it is a green one that `pthread_create` made and has not come to its end.
pub(super) fn with_known<T>(f: impl FnOnce(&Known) -> T) -> Option<T> {
    // SAFETY: the thread has a reference to it until `take`; that happens on this thread, and not while `f` runs, since that is
    // a call of this thread's.
    unsafe { known().as_ref().map(|place| f(place.known())) }
}

/// The id of the current thread and what is known of it, as [`with_known`].
pub(super) fn shared() -> Option<(pthread_t, Shared)> {
    let (id, known) = (id()?, known());
    if known.is_null() {
        return None;
    }
    // SAFETY: it is from `into_raw`, and the thread has that reference until `take`, which this thread calls: so this is not dropped.
    let own = ManuallyDrop::new(unsafe { Shared::from_raw(known) });
    Some((id, Shared::clone(&own)))
}

/// This is the thread with that id, from now on.
#[inline(never)]
pub(super) fn begin(id: pthread_t, record: Shared) {
    ID.set(id);
    set_known(record.into_raw());
}

/// What is known of the current thread, if it is a green one that `pthread_create` made. From now on nothing is.
pub(super) fn take() -> Option<Shared> {
    let known = known();
    if known.is_null() {
        return None;
    }
    set_known(ptr::null());
    // SAFETY: it is from `into_raw`, and is found nowhere any more.
    Some(unsafe { Shared::from_raw(known) })
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
    survivor::in_child(id());
    let Some(id) = id() else { return };
    let is_detached = with_known(Known::is_detached).unwrap_or_default();
    let is_cancelled =
        with_known(|known| known.is_cancelled.load(Ordering::SeqCst)).unwrap_or_default();
    let of_child = Known {
        is_detached: AtomicBool::new(is_detached),
        is_cancelled: AtomicBool::new(is_cancelled),
        ..Known::new(
            name(),
            with_known(|known| known.asked).unwrap_or_default(),
            Record::default(),
        )
    };
    of_child.begin(with_known(Known::blocked).unwrap_or_else(adopt::blocked));
    of_child
        .os_thread
        .store(kernel::os_thread(), Ordering::Relaxed);
    ALIVE.store(1, Ordering::SeqCst);
    let of_child = list_survivor(id, of_child);
    // That of the parent is left as it is.
    if let Some(of_child) = of_child.filter(|_| !known().is_null()) {
        set_known(of_child.into_raw());
    }
}
