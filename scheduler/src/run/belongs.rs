//! The runtime that a green thread belongs to.
//!
//! To count each thread as a reference would be a locked instruction at each spawn and each end, all on one cache line, which
//! is the first thing that many workers wait for. So a thread has a reference that does not count.
//!
//! # Invariant
//!
//! **A runtime outlives its green threads.** One is alive from when it is counted in the [registry](super::registry) until it is
//! counted off. Whoever spawns it has the runtime until it is queued. Each worker has a reference that counts from its start
//! to its end, and workers are stopped when the registry is closed and empty, after which nothing is counted any
//! more. Where they are stopped earlier, since nothing can unwind (`panic = "abort"`), the runtime is kept for ever, as its
//! threads are. In a forked child the references of workers stay for ever.
//!
//! So whoever knows that a thread has not ended [has its runtime](Belongs::of_living): the thread itself, whoever has
//! the right to run it, whoever holds it. A ticket or a handle may be left when both are gone, and asks nothing of the runtime
//! but [which](Belongs::is_to) it was.
//!
//! A runtime that [records](crate::Builder::record) is told by whoever ends a wait, when that is done and the thread may be gone
//! already. The references of its threads do count.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use crate::run::shared::Shared;

/// See the [module](self).
pub(crate) struct Belongs {
    /// Of an `Arc`, with a [mark](COUNTS).
    runtime: *const Shared,
}

/// The bit beside the address that says that the reference counts.
const COUNTS: usize = 1;
const _: () = assert!(align_of::<Shared>() > COUNTS, "the mark fits");

// SAFETY: it leads to what is `Send` and `Sync`.
unsafe impl Send for Belongs {}
// SAFETY: as above.
unsafe impl Sync for Belongs {}

impl Belongs {
    #[inline]
    pub(crate) fn to(runtime: &Arc<Shared>) -> Self {
        let runtime = if runtime.is_recorded() {
            Arc::into_raw(runtime.clone()).map_addr(|address| address | COUNTS)
        } else {
            Arc::as_ptr(runtime)
        };
        Self { runtime }
    }

    #[inline]
    fn counts(&self) -> bool {
        self.runtime.addr() & COUNTS != 0
    }

    #[inline]
    fn address(&self) -> *const Shared {
        self.runtime.map_addr(|address| address & !COUNTS)
    }

    /// Whether it is, or was, to this one.
    #[inline]
    pub(crate) fn is_to(&self, runtime: *const Shared) -> bool {
        ptr::eq(self.address(), runtime)
    }

    /// The runtime of a thread that has not ended.
    ///
    /// # Safety
    ///
    /// The thread has been counted, and is not counted off as long as this is used.
    #[inline]
    pub(crate) unsafe fn of_living(&self) -> &Shared {
        // SAFETY: the module's invariant.
        unsafe { &*self.address() }
    }

    /// The same, to be cloned.
    ///
    /// # Safety
    ///
    /// As [`of_living`](Self::of_living).
    #[inline]
    pub(crate) unsafe fn lend(&self) -> ManuallyDrop<Arc<Shared>> {
        // SAFETY: it is of an `Arc`, of which by the module's invariant there is one as long as this is used.
        ManuallyDrop::new(unsafe { Arc::from_raw(self.address()) })
    }

    /// The runtime, if it records.
    #[inline]
    pub(crate) fn recorded(&self) -> Option<&Shared> {
        // SAFETY: this is a reference that counts.
        self.counts().then(|| unsafe { &*self.address() })
    }
}

impl Drop for Belongs {
    #[inline]
    fn drop(&mut self) {
        if self.counts() {
            // SAFETY: it was counted for this.
            unsafe { Arc::decrement_strong_count(self.address()) };
        }
    }
}

impl fmt::Debug for Belongs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Belongs").finish_non_exhaustive()
    }
}
