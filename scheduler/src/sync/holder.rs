//! Who holds something, in debug builds, so that one who waits for what it holds itself is told so
//! instead of waiting for ever. In release builds this is nothing.

#[cfg(all(debug_assertions, not(roving_loom)))]
pub(super) use debug::Holder;
#[cfg(not(all(debug_assertions, not(roving_loom))))]
pub(super) use release::Holder;

#[cfg(all(debug_assertions, not(roving_loom)))]
mod debug {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::run::context;

    /// The thread that holds it, or 0.
    #[derive(Debug)]
    pub(in crate::sync) struct Holder(AtomicUsize);

    fn me() -> usize {
        context::with_current(|waiter| std::ptr::from_ref(waiter).addr())
    }

    impl Holder {
        pub(in crate::sync) const fn new() -> Self {
            Self(AtomicUsize::new(0))
        }

        pub(in crate::sync) fn note(&self) {
            self.0.store(me(), Ordering::Relaxed);
        }

        pub(in crate::sync) fn forget(&self) {
            self.0.store(0, Ordering::Relaxed);
        }

        /// Panics if the current thread, which is about to wait, is the holder.
        #[track_caller]
        pub(in crate::sync) fn panic_if_me(&self, what: &str) {
            assert!(
                self.0.load(Ordering::Relaxed) != me(),
                "this thread {what} already: it would wait for itself for ever"
            );
        }
    }
}

#[cfg(not(all(debug_assertions, not(roving_loom))))]
mod release {
    #[derive(Debug)]
    pub(in crate::sync) struct Holder;

    impl Holder {
        pub(in crate::sync) const fn new() -> Self {
            Self
        }

        #[inline]
        pub(in crate::sync) fn note(&self) {}

        #[inline]
        pub(in crate::sync) fn forget(&self) {}

        #[inline]
        pub(in crate::sync) fn panic_if_me(&self, _: &str) {}
    }
}
