//! Who holds something, and where it was taken, for whoever asks what a thread waits for. In debug builds
//! one who waits for what it holds itself is told so too, instead of waiting for ever.
//!
//! **The word of a lock names its holder**, by an [address](here) on the stack that it was taken on, above the bits
//! that say that it is held. It is put there by the very step that takes the lock, and is gone with the one
//! that releases it. So whoever reads the word of a lock that a parked thread has taken finds that thread there, for
//! as long as it is parked. There is no address while the lock is a future's, whose task is no thread; and for
//! the moment in which it has been handed to one who was woken and has not come to note it.
//!
//! Where it was taken is noted in a [`Holder`] beside the word, a moment later. It stays there when the lock is
//! released: it tells of the holder only while there is one that has been parked since.

#[cfg(roving_loom)]
pub(super) use model::Holder;
#[cfg(not(roving_loom))]
pub(super) use real::Holder;

/// The bits of a word beside those of an address on a stack.
pub(super) const FLAGS: usize = 0b111;

/// Has an address with none of the [`FLAGS`].
#[repr(align(8))]
struct Here(#[allow(dead_code)] u8);

/// An address on the current stack.
#[inline(always)]
pub(super) fn here() -> usize {
    let here = Here(0);
    (&raw const here).addr()
}

#[cfg(not(roving_loom))]
mod real {
    use std::panic::Location;
    use std::ptr;
    use std::sync::atomic::{AtomicPtr, Ordering};

    #[cfg(debug_assertions)]
    use std::sync::atomic::AtomicUsize;

    use super::FLAGS;
    #[cfg(debug_assertions)]
    use crate::run::context;
    use crate::wait::{self, Needs, Whom};

    /// See the [module](super). Debuggers read it.
    #[derive(Debug)]
    #[repr(C)]
    pub(in crate::sync) struct Holder {
        place: AtomicPtr<Location<'static>>,
        /// The address of the thread's control block.
        #[cfg(debug_assertions)]
        thread: AtomicUsize,
    }

    #[cfg(debug_assertions)]
    fn me() -> usize {
        context::with_current(|waiter| ptr::from_ref(waiter).addr())
    }

    impl Holder {
        pub(in crate::sync) const fn new() -> Self {
            Self {
                place: AtomicPtr::new(ptr::null_mut()),
                #[cfg(debug_assertions)]
                thread: AtomicUsize::new(0),
            }
        }

        #[inline]
        #[track_caller]
        pub(in crate::sync) fn note(&self) {
            let place = ptr::from_ref(Location::caller()).cast_mut();
            self.place.store(place, Ordering::Relaxed);
            #[cfg(debug_assertions)]
            self.thread.store(me(), Ordering::Relaxed);
        }

        /// In debug builds, the current thread holds it no more, or no thread does, but a task.
        #[inline]
        pub(in crate::sync) fn forget(&self) {
            #[cfg(debug_assertions)]
            self.thread.store(0, Ordering::Relaxed);
        }

        /// In debug builds, panics if the current thread, which is about to wait, is the holder.
        #[inline]
        #[track_caller]
        pub(in crate::sync) fn panic_if_me(&self, what: &str) {
            #[cfg(debug_assertions)]
            assert!(
                self.thread.load(Ordering::Relaxed) != me(),
                "this thread {what} already: it would wait for itself for ever"
            );
            #[cfg(not(debug_assertions))]
            let _ = what;
        }

        /// Who must release what it has, if the word names one.
        pub(in crate::sync) fn in_word(&self, word: usize) -> Option<Needs<'static>> {
            let stack = word & !FLAGS;
            // SAFETY: null, or that of a place in the source, which stays.
            let place = unsafe { self.place.load(Ordering::Relaxed).as_ref() }?;
            (stack != 0).then_some(Needs(Whom::Holder(wait::Holder { stack, place })))
        }
    }
}

#[cfg(roving_loom)]
mod model {
    use crate::wait::Needs;

    /// Nothing: models do not ask.
    #[derive(Debug)]
    pub(in crate::sync) struct Holder;

    impl Holder {
        pub(in crate::sync) fn new() -> Self {
            Self
        }

        pub(in crate::sync) fn note(&self) {}

        pub(in crate::sync) fn forget(&self) {}

        pub(in crate::sync) fn panic_if_me(&self, _: &str) {}

        pub(in crate::sync) fn in_word(&self, _: usize) -> Option<Needs<'static>> {
            None
        }
    }
}
