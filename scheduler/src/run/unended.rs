//! What a thread has begun on other stacks and not brought to its end: its coroutines, and what
//! [`greenly`](crate::greenly()) runs where that shares its thread-locals.
//!
//! Frames on such a stack may have borrowed a thread-local, and lent it in turn, to the threads of a scope for example. Frames
//! of the thread itself are gone when it ends; these may be suspended for ever, for what has been forgotten is nobody's. So a
//! thread knows all that it has begun, and ends what is left of it while its thread-locals are whole:
//!
//! - when its closure has ended, if it has a stack of its own;
//! - [before](super::first_destructor) its thread-locals are destroyed, whoever it is.
//!
//! # Invariants
//!
//! - A list lies in thread-locals, and is used by all who share them, one after the other; but a green thread that shares its
//!   worker's has one of its own, for what is its own. So is what is in a list.
//! - What is in a list stays where it is, and leaves the list before it goes: at its end.
//! - What runs is not ended. In the end of a thread that is only what has called `exit`, and never goes on.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::run::context::{self, Neighbour};
use crate::run::first_destructor;

/// What is in a list.
pub(crate) trait Unended {
    /// Whether it has not run, or is suspended.
    fn rests(&self) -> bool;

    /// Brings it to its end, in which it leaves the list. It rests, and the thread-locals are whole. Does not unwind.
    fn end(&self);
}

/// See the [module](self).
pub(crate) struct List {
    first: Cell<*const Entry>,
}

// SAFETY: a list, and what is in it, is touched by its thread only: it is reached by `context::with_unended` and by what that
// calls, and in a forked child, where there is one thread.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            first: Cell::new(ptr::null()),
        }
    }

    /// Takes over all that is in `other`, which is the current thread's, too.
    pub(super) fn take_over(&self, other: &Self) {
        while let Some(entry) = Entry::at(other.first.get()) {
            other.remove(entry);
            self.push(entry);
        }
    }

    fn push(&self, entry: &Entry) {
        let first = self.first.replace(entry);
        entry.previous.set(ptr::null());
        entry.next.set(first);
        if let Some(first) = Entry::at(first) {
            first.previous.set(entry);
        }
    }

    fn remove(&self, entry: &Entry) {
        let (previous, next) = (entry.previous.get(), entry.next.get());
        match Entry::at(previous) {
            Some(previous) => previous.next.set(next),
            None => self.first.set(next),
        }
        if let Some(next) = Entry::at(next) {
            next.previous.set(previous);
        }
    }

    /// One that rests, of those that `is_meant`.
    fn find(&self, is_meant: fn(&Entry) -> bool) -> Option<NonNull<dyn Unended>> {
        let first = Entry::at(self.first.get());
        let mut entries = std::iter::successors(first, |entry| Entry::at(entry.next.get()));
        entries.find_map(|entry| {
            let what = entry.what.get()?;
            // SAFETY: what is in a list is there.
            (is_meant(entry) && unsafe { what.as_ref() }.rests()).then_some(what)
        })
    }
}

/// The place of something in a list. It is part of that.
pub(crate) struct Entry {
    /// Nothing while it is in no list.
    what: Cell<Option<NonNull<dyn Unended>>>,
    /// Who ends it at its own end, if that is not only done when the thread-locals end.
    owner: Option<Neighbour>,
    previous: Cell<*const Self>,
    next: Cell<*const Self>,
}

impl Entry {
    /// For what is the current thread's alone.
    #[inline]
    pub(crate) fn of_thread() -> Self {
        Self::of(Some(Neighbour::current()))
    }

    /// For what any thread may have that has the current thread-locals.
    pub(crate) fn of_thread_locals() -> Self {
        Self::of(None)
    }

    #[inline]
    fn of(owner: Option<Neighbour>) -> Self {
        Self {
            what: Cell::new(None),
            owner,
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }

    fn at<'a>(entry: *const Self) -> Option<&'a Self> {
        // SAFETY: null, or in a list: then it is there, and all of it is in cells.
        unsafe { entry.as_ref() }
    }

    fn with_list(&self, f: impl FnOnce(&List)) {
        match self.owner {
            Some(owner) if !owner.is_os_thread() => context::with_unended(f),
            _ => context::with_unended_of_thread_locals(f),
        }
    }

    /// Puts `what`, of which this is a part, into its list.
    ///
    /// # Safety
    ///
    /// It has just been made by the current thread. It stays where it is until it has [left](Self::leave), which it does on this
    /// thread, or one with the same thread-locals if it may be anyone's; and it borrows nothing but thread-locals and what stays for ever.
    #[inline]
    pub(crate) unsafe fn enter(&self, what: NonNull<dyn Unended>) {
        self.what.set(Some(what));
        self.with_list(|list| list.push(self));
        first_destructor::guard();
    }

    /// Takes what this is a part of out of its list. `false` if it is in none.
    pub(crate) fn leave(&self) -> bool {
        let is_in_one = self.what.take().is_some();
        if is_in_one {
            self.with_list(|list| list.remove(self));
        }
        is_in_one
    }

    /// Whether what this is a part of belongs to another thread than the current one, which has the same thread-locals.
    #[inline]
    pub(crate) fn is_anothers(&self) -> bool {
        context::may_share() && self.owner.is_some_and(|owner| !owner.is_current())
    }
}

/// Ends what is the current thread's alone.
pub(crate) fn end_own() {
    let is_own = |entry: &Entry| entry.owner.is_some_and(Neighbour::is_current);
    while let Some(what) = context::with_unended(|list| list.find(is_own)) {
        end(what);
    }
}

/// Ends all that was begun with the current thread-locals, which are not shared by green threads.
#[allow(
    dead_code,
    reason = "nobody calls it where nothing runs before all destructors"
)]
pub(crate) fn end_all() {
    while let Some(what) = context::with_unended_of_thread_locals(|list| list.find(|_| true)) {
        end(what);
    }
}

fn end(what: NonNull<dyn Unended>) {
    // SAFETY: what is in a list is there, also while it is ended: it goes when it has left and its last handle has been dropped, and
    // one that is dropped while it runs keeps it.
    unsafe { what.as_ref() }.end();
}
