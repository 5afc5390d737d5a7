//! What a thread is to do, and later what it leaves: one place for both in its control block.
//!
//! Until the thread begins, its closure lies there, and from its end on its result, until somebody takes that; while
//! it runs, nothing does. What is small lies there itself, all else in a box.
//!
//! # Invariant
//!
//! Whoever has the right to run the thread has the place until the thread has [left](Errand::leave) its result; whose that is
//! then is not decided here (see [`completion`](crate::protocol::completion)).

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;

use super::coroutine::Suspender;

/// Most closures, strings and lists fit.
type Place = MaybeUninit<[usize; 3]>;

/// Takes the closure out of the place, and calls it, or drops it if there is nothing to call it with.
type Run = unsafe fn(*const Place, Option<Suspender>);

/// See the [module](self).
pub(crate) struct Errand {
    /// `None` if there is no closure.
    run: Cell<Option<Run>>,
    place: UnsafeCell<Place>,
}

impl Errand {
    /// Calls `closure` when it is run. If it is not, `closure` is dropped with it.
    ///
    /// # Safety
    ///
    /// What `closure` borrows stays borrowed until it has been called or dropped.
    #[inline]
    pub(crate) unsafe fn new<F: FnOnce(Suspender) + Send>(closure: F) -> Self {
        Self {
            run: Cell::new(Some(run::<F>)),
            place: UnsafeCell::new(Packed::new(closure).0),
        }
    }

    /// Takes the closure and calls it.
    ///
    /// # Safety
    ///
    /// The caller is the thread, and begins.
    #[inline]
    pub(super) unsafe fn run(&self, suspender: Suspender) {
        let run = self.run.take().expect("a thread begins once");
        // SAFETY: the closure is there, and by the caller's promise nobody else takes it.
        unsafe { run(self.place.get(), Some(suspender)) };
    }

    /// Leaves a result.
    ///
    /// # Safety
    ///
    /// The caller is the thread, which has begun, and there is no result.
    #[inline]
    pub(crate) unsafe fn leave<R>(&self, result: Packed<R>) {
        // SAFETY: the closure has been taken, and the place is the thread's.
        unsafe { *self.place.get() = result.0 };
    }

    /// Takes the result.
    ///
    /// # Safety
    ///
    /// A result of this type has been left, what happened then is seen, and it is the caller's alone.
    #[inline]
    pub(crate) unsafe fn take<R>(&self) -> R {
        // SAFETY: the caller's promise.
        unsafe { unpack(self.place.get()) }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            // SAFETY: the closure is there, and nobody else has this.
            unsafe { run(self.place.get(), None) };
        }
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").finish_non_exhaustive()
    }
}

/// Something as it lies in the place. Dropping this leaks it.
pub(crate) struct Packed<V>(Place, std::marker::PhantomData<V>);

impl<V> Packed<V> {
    #[inline]
    pub(crate) fn new(value: V) -> Self {
        let mut place = Place::uninit();
        let start = place.as_mut_ptr();
        if fits::<V>() {
            // SAFETY: it fits.
            unsafe { start.cast::<V>().write(value) };
        } else {
            // SAFETY: a pointer fits.
            unsafe { start.cast::<*mut V>().write(Box::into_raw(Box::new(value))) };
        }
        Self(place, std::marker::PhantomData)
    }
}

/// # Safety
///
/// A `V` has been packed there, and is taken here only.
#[inline]
unsafe fn unpack<V>(place: *const Place) -> V {
    if fits::<V>() {
        // SAFETY: the caller's promise.
        unsafe { place.cast::<V>().read() }
    } else {
        // SAFETY: the caller's promise; what was packed is from a box.
        unsafe { *Box::from_raw(place.cast::<*mut V>().read()) }
    }
}

pub(crate) const fn fits<V>() -> bool {
    size_of::<V>() <= size_of::<Place>() && align_of::<V>() <= align_of::<Place>()
}

/// # Safety
///
/// As [`unpack`].
unsafe fn run<F: FnOnce(Suspender)>(place: *const Place, suspender: Option<Suspender>) {
    // SAFETY: the caller's promise.
    let closure = unsafe { unpack::<F>(place) };
    if let Some(suspender) = suspender {
        closure(suspender);
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[repr(align(64))]
    struct Aligned(u8);

    #[test]
    fn what_is_packed_is_taken_as_it_was_small_or_large() {
        fn passes<V: PartialEq + fmt::Debug + Clone>(value: V) {
            let packed = Packed::new(value.clone());
            // SAFETY: it has just been packed.
            assert_eq!(unsafe { unpack::<V>(&raw const packed.0) }, value);
        }
        passes(());
        passes(String::from("three words"));
        passes([7_usize; 3]);
        passes([7_usize; 4]);
        passes(vec![String::from("a"); 3]);
        let packed = Packed::new(Aligned(3));
        // SAFETY: as above.
        assert_eq!(unsafe { unpack::<Aligned>(&raw const packed.0) }.0, 3);
    }

    #[test]
    fn a_closure_that_is_not_called_is_dropped_once() {
        let shared = Arc::new(());
        let (small, large) = (shared.clone(), [(); 5].map(|()| shared.clone()));
        // SAFETY: nothing is borrowed.
        let errands = unsafe {
            [
                Errand::new(move |_| drop(small)),
                Errand::new(move |_| drop(large)),
            ]
        };
        assert_eq!(Arc::strong_count(&shared), 7);
        drop(errands);
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
