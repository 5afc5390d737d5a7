//! Who holds something, and where it was taken, for whoever asks what a thread waits for. In debug builds
//! one who waits for what it holds itself is told so too, instead of waiting for ever.
//!
//! It is noted when something is taken, and stays there when that is given back: it tells of the holder only
//! while there is one. A lock that a future has is a task's, and no thread is noted.

#[cfg(roving_loom)]
pub(super) use model::Holder;
#[cfg(not(roving_loom))]
pub(super) use real::Holder;

#[cfg(not(roving_loom))]
mod real {
    use std::panic::Location;
    use std::ptr;
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    #[cfg(debug_assertions)]
    use crate::run::context;
    use crate::wait;

    /// See the [module](super). Debuggers read it.
    #[derive(Debug)]
    #[repr(C)]
    pub(in crate::sync) struct Holder {
        /// An address on the stack that it was taken on.
        stack: AtomicUsize,
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
                stack: AtomicUsize::new(0),
                place: AtomicPtr::new(ptr::null_mut()),
                #[cfg(debug_assertions)]
                thread: AtomicUsize::new(0),
            }
        }

        #[inline]
        #[track_caller]
        pub(in crate::sync) fn note(&self) {
            let here = 0_u8;
            let place = ptr::from_ref(Location::caller()).cast_mut();
            self.stack
                .store((&raw const here).addr(), Ordering::Relaxed);
            self.place.store(place, Ordering::Relaxed);
            #[cfg(debug_assertions)]
            self.thread.store(me(), Ordering::Relaxed);
        }

        /// No thread holds it, though perhaps a task does.
        pub(in crate::sync) fn note_task(&self) {
            self.place.store(ptr::null_mut(), Ordering::Relaxed);
            self.forget();
        }

        /// In debug builds, the current thread holds it no more.
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

        /// Who was noted last. It is the holder if there is one.
        pub(in crate::sync) fn get(&self) -> Option<wait::Holder> {
            // SAFETY: null, or that of a place in the source, which stays.
            let place = unsafe { self.place.load(Ordering::Relaxed).as_ref() }?;
            Some(wait::Holder {
                stack: self.stack.load(Ordering::Relaxed),
                place,
            })
        }
    }
}

#[cfg(roving_loom)]
mod model {
    use crate::wait;

    /// Nothing: models do not ask.
    #[derive(Debug)]
    pub(in crate::sync) struct Holder;

    impl Holder {
        pub(in crate::sync) fn new() -> Self {
            Self
        }

        pub(in crate::sync) fn note(&self) {}

        pub(in crate::sync) fn note_task(&self) {}

        pub(in crate::sync) fn forget(&self) {}

        pub(in crate::sync) fn panic_if_me(&self, _: &str) {}

        pub(in crate::sync) fn get(&self) -> Option<wait::Holder> {
            None
        }
    }
}
